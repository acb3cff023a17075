"""What the README, CONTRIBUTING and the pages of `docs/` show: files, commands, Python; and the same at smoke size."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from hydra import compose, initialize_config_dir

from analysis.figures import FIGURES
from experiments.programs import NAMES
from experiments.settings import CONF, entry_of, experiments

ROOT = CONF.parent

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

BLOCK = re.compile(r"^```(\w+)(?: title=\"(.+?)\")?\n(.*?)^```$", flags=re.M | re.S)

INLINE = re.compile(r"`(swag [^`\n]+)`")

ENTRIES = {name: entry for entry, name in NAMES.items()}
"""Name in `swag` → entry point."""

LEFT = {
    r"<|\.\.\.|…|[A-Z]{4}": "a pattern, to be filled in",
    r"^(git|cd|source|pip|pre-commit|eval)\b": "for a shell of one's own",
    r"^make\b": "installs, or is what CI runs",
    r"^(uv|docker)\b": "asks a package index, or a registry of images",
    r"^wandb\b|^swag (sync|rebuild|dashboard)|tracking=online": "asks a W&B server; tests/experiments/test_wandb.py has one",
    r"hydra/launcher=": "starts processes; tests/experiments/test_launchers.py and tests/clusters do",
    r"^swag study serve": "serves until Ctrl-C; tests/analysis/test_study.py does",
    r"weights=imagenet|timm/|preset/feedforward": "downloads weights",
    r"^swag train ": "trains on data that is downloaded, or the reader's",
    r"weights=run|^swag transfer run=": "wants a training of the reader's",
    r"^python -m (tests|experiments\.measure_pictures)|^swag (calibrate|study analyse)|^python experiments/export": "takes long, or people's answers",
    r"weights=file": "wants weights of the reader's",
    r"^swag claims$|--output copy": "reads runs that were computed elsewhere; tests/analysis/test_claims.py",
}
"""Pattern of commands that are parsed but not executed → why."""

SMALL = {
    "measure": ["images.size=32", "images.source.limit=1"],
    "units": ["images.size=32", "images.source.limit=1"],
    "stylize": ["images.size=32", "images.source.limit=1", "steps=1", "evaluations=null", "scales=[1.0]"],
    "transfer": ["images.size=32", "images.source.limit=1"],
    "train-feedforward": ["images.size=32", "images.source.limit=1", "recipe.steps=2", "recipe.batch_size=1", "crop.short=40", "crop.size=32"],
}  # fmt: skip
SMALL["judge"] = SMALL["stylize"]
SMALL["search"] = [*SMALL["stylize"], "search.trials=2"]


class Block(NamedTuple):
    """A fenced block of a page: its language, the file that it shows (or an empty text), and what stands in it."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a block, without comments; `&&` parts two commands."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&")
        lexer.whitespace_split = True
        for between, words in groupby(lexer, lambda word: word == "&&"):
            if not between:
                yield list(words)


def shown(page: Path) -> list[list[str]]:
    """Return the words of all commands of a page, those within a line of text, too."""
    within = INLINE.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))
    fenced = [block.text for block in blocks(page) if block.language == "sh"]
    return [words for text in (*fenced, *within) for words in commands(text)]


def left(words: Sequence[str]) -> str | None:
    """Return why a command is not executed here; None if it is."""
    typed = " ".join(words)
    return next((reason for pattern, reason in LEFT.items() if re.search(pattern, typed)), None)


def small(words: Sequence[str]) -> list[str]:
    """Return a command of `swag` at smoke size: tiny pictures, one step, of an experiment one cell."""
    name, *given = words
    if name == "figure":
        source = FIGURES.get(given[0])
        if source is None or source.experiment is None:
            return list(words)
        return [
            *words,
            *_smaller(NAMES[entry_of(source.experiment)], [f"experiment={source.experiment}"])[1:],
        ]
    if name not in SMALL or "--help" in given:
        return list(words)
    return [name, *_smaller(name, given)]


def _smaller(name: str, given: Sequence[str]) -> list[str]:
    ours = [*SMALL[name], "tracking=disabled", "compute.threads=1"]
    if name != "train-feedforward" and any(
        word.startswith(("content=", "style=", "experiment=")) for word in given
    ):
        ours.remove("images.source.limit=1")  # they may name any picture that ships
    ours += ["weights.seed=0" for word in given if word.startswith("weights.seed=")]
    ours += [f"{key}={values.split(',')[0]}" for key, values in _swept(given).items()]
    keys = {override.partition("=")[0] for override in ours if not override.startswith("network")}
    flags = [word for word in given if word.startswith("-")]
    kept = [word for word in given if not word.startswith("-") and word.partition("=")[0] not in keys]
    named = {word.partition("=")[0] for word in kept}
    return [*flags, *kept, *(one for one in ours if one.partition("=")[0] not in named)]


def _swept(given: Sequence[str]) -> dict[str, str]:
    """Return what an experiment that ships sweeps, by key; a reader's own is small."""
    names = [word.partition("=")[2] for word in given if word.startswith("experiment=")]
    return {} if not names or names[0] not in experiments() else _params(names[0])


@cache
def _params(experiment: str) -> dict[str, str]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose(entry_of(experiment), [f"experiment={experiment}"], return_hydra_config=True)
    return {key: str(values) for key, values in (composed.hydra.sweeper.params or {}).items()}
