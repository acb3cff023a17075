"""Every command of the documentation: all are parsed; those that can be are executed, page by page, at smoke size."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from analysis import cli
from analysis.commands import ANALYSIS_COMMANDS, parser
from experiments.asking import UsersSettings
from experiments.command import check_overrides
from experiments.settings import below
from experiments.sweeps.sweep import Sweep
from tests.documented import ENTRIES, LEFT, PAGES, ROOT, Block, blocks, commands, left, shown, small

COMMANDS = [(page.relative_to(ROOT).as_posix(), words) for page in PAGES for words in shown(page)]

FLAGS = {"-m", "--dry-run", "--help", "--retry-failed", "--only-missing", "--config-dir=conf"}

PICTURES = (
    "photo.jpg", "painting.jpg", "a.jpg", "b.jpg", "c.jpg", "d.jpg", "sky.png", "ground.png", "frames/1.jpg", "frames/2.jpg",
    "my/images/content/1.jpg", "my/images/style/2.jpg", "my/photographs/1.jpg", "my/paintings/2.jpg",
)  # fmt: skip
"""The reader's own files, which pages name."""


def executed(page: Path) -> list[Block]:
    """Return the blocks of a page of which something is executed."""
    return [
        block
        for block in blocks(page)
        if block.title
        or block.language == "python"
        or (block.language == "sh" and not all(map(left, commands(block.text))))
    ]


RUN = [page for page in PAGES if executed(page)]


def check(words: list[str]) -> None:
    """Raise unless `swag` knows a command, its flags and its settings."""
    name, *given = words
    assert name in cli.COMMANDS or name in ("--help", "completion")
    if name in ANALYSIS_COMMANDS and given:
        parser(name).parse_intermixed_args(given)
    if name not in ENTRIES:
        return
    entry = "stylize" if name == "judge" else ENTRIES[name]
    overrides = [word for word in given if not word.startswith("-")]
    assert {word for word in given if word.startswith("-")} <= FLAGS
    if "--config-dir=conf" in given or "--help" in given:
        return
    elsewhere = ("network=", "hydra/launcher=")  # what no file has, and what may not be installed
    check_overrides(entry, [one for one in overrides if not one.startswith(elsewhere)])
    keys = {one.partition("=")[0] for one in overrides if one[0] not in "+~"}
    assert {key for key in keys if not key.startswith("hydra")} <= set(below(entry))


def test_every_page_is_read() -> None:
    assert len(COMMANDS) > 80
    assert {name for name, _ in COMMANDS} >= {
        "README.md",
        "CONTRIBUTING.md",
        "docs/start.md",
        "docs/stylize.md",
    }


@pytest.mark.parametrize("page", sorted({page for page, _ in COMMANDS}))
def test_commands_are_known(page: str) -> None:
    for words in (words for name, words in COMMANDS if name == page):
        if words[0] == "swag" and not re.search(r"<|\.\.\.|…|[A-Z]{3}", " ".join(words)):
            check(words[1:])
        elif words[0] == "make":
            assert re.search(rf"^{re.escape(words[1])}:", (ROOT / "Makefile").read_text(), flags=re.M)
        elif words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file()


def test_each_reason_not_to_execute_a_command_has_one() -> None:
    typed = [" ".join(words) for _, words in COMMANDS]
    assert not [pattern for pattern in LEFT if not any(re.search(pattern, command) for command in typed)]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a reader, with the pictures that pages name."""
    random = np.random.default_rng(0)
    for name in PICTURES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(UsersSettings, "folder", None)
    return tmp_path


def swag(words: list[str], patch: pytest.MonkeyPatch) -> None:
    """Run a command of `swag` in this process."""
    patch.setattr(sys, "argv", ["swag", *small(words)])
    patch.setattr(Sweep, "launched", None)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert not exit_.value.code, " ".join(sys.argv)


def execute(block: Block, reader: Path, patch: pytest.MonkeyPatch) -> None:
    """Write the file that a block shows, or do what it says."""
    if block.title:
        (reader / block.title).parent.mkdir(parents=True, exist_ok=True)
        (reader / block.title).write_text(block.text, encoding="utf-8")
    elif block.language == "python":
        exec(compile(block.text, "documentation", "exec"), {})
    for words in commands(block.text) if block.language == "sh" else ():
        if words == ["export", "PYTHONPATH=$PWD"]:
            patch.syspath_prepend(reader)
        elif left(words) is None:
            assert words[0] == "swag", words
            swag(words[1:], patch)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("page", RUN, ids=[page.stem for page in RUN])
def test_commands_work(page: Path, reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in executed(page):
        execute(block, reader, monkeypatch)
    for picture in reader.glob("results/myfigure/*.png"):
        red, green, blue = np.moveaxis(np.asarray(Image.open(picture).convert("RGB"), dtype=int), -1, 0)
        assert (np.abs(red - green) + np.abs(green - blue) > 30).any(), "its lines are drawn, in colours"


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_no_other_host(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "-q", "-f", ROOT / ".mkdocs.yml", "-d", tmp_path]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(build, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    pages = [path for path in tmp_path.rglob("*.html") if "report" not in path.parts]
    assert len(pages) > 30
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|iframe)[^>]*\ssrc=\"?(\S+)|<link[^>]*\shref=\"?(\S+)", page.read_text("utf-8")
        )
        assert not [one for one in map("".join, loaded) if one.startswith(("http", "//"))], page
