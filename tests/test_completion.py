"""Tab completion: what may stand at the cursor, and that real shells put it there."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.cli import COMMANDS
from analysis.completion import completion

BREAKS = " \t\n\"'@><=;|&(:"
"""Bash's own."""


def offered(line, shell="zsh"):
    return completion(shell, line, BREAKS, COMMANDS)


@pytest.mark.parametrize(
    ("line", "among"),
    [
        ("swag sty", ["stylize"]),
        ("swag stylize netw", ["network="]),
        ("swag stylize network=vgg1", ["network=vgg16", "network=vgg19"]),
        ("swag stylize -m network=vgg16,resnet1", ["network=vgg16,resnet18"]),
        ("swag stylize smoothing.temp", ["smoothing.temperature="]),
        ("swag stylize smoothing@objective.like=so", ["smoothing@objective.like=softmax"]),
        ("swag stylize network@measures.net", ["network@measures.network="]),
        ("swag stylize objective.style.norm", ["objective.style.normalizer="]),
        ("swag stylize execution.", ["execution.autocast="]),
        ("swag stylize force=", ["force=true", "force=false"]),
        ("swag stylize --dry", ["--dry-run"]),
        ("swag stylize --help smooth", ["smoothing"]),
        ("swag judge measures=", ["measures=resnet50_half"]),
        ("swag measure -m experiment=fig3_t", ["experiment=fig3_trained"]),
        ("swag train rec", ["recipe="]),
        ("swag figure fig", ["fig1", "fig3"]),
        ("swag figure fig3 weights.s", ["weights.seed="]),
        ("swag figure fig3 la", ["last"]),
        ("swag plot --int", ["--interval"]),
        ("swag plot x=smoothing.temp", ["x=smoothing.temperature"]),
        ("swag sheet experiment=fig3 batchn", ["batchnorm="]),
        ("swag study build experiment=pref", ["experiment=preferences"]),
        ("swag study --rat", ["--raters"]),
    ],
)
def test_what_may_stand_there(line, among):
    found = offered(line)
    assert set(among) <= set(found)
    assert all(one.startswith(line.rpartition(" ")[2]) for one in found)


def test_an_experiment_is_offered_to_its_entry_point_only():
    assert "experiment=fig3" not in offered("swag stylize experiment=fig")


def test_files_are_offered_in_the_quotes_that_hydra_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "folder"))
    (tmp_path / "folder").mkdir()
    for name in ("photo.jpg", "photo 2 (1).jpg", "folder/own.png", ".photo"):
        (tmp_path / name).touch()
    assert offered("swag stylize content=ph") == ["content=\"'photo 2 (1).jpg'\"", "content=photo.jpg"]
    assert offered("swag stylize 'style=[photo.jpg,fo") == ["style=[photo.jpg,folder/"]
    assert offered("swag transfer style=folder/") == ["style=folder/own.png"]
    assert offered("swag transfer style=~/o") == ["style=~/own.png"]
    assert offered("swag explain ph")[-1] == "photo.jpg"


def test_bash_replaces_what_follows_its_last_break():
    assert offered("swag stylize network=vgg1", "bash") == ["vgg16", "vgg16_avg", "vgg19", "vgg19_avg"]


def test_it_is_quick_and_loads_nothing_heavy():
    script = """
import sys
from analysis.cli import main
for line in ("swag ", "swag stylize ", "swag stylize network=", "swag figure ", "swag stylize --", "swag plot --"):
    sys.argv = ["swag", "completion", "bash", line]
    try:
        main()
    except SystemExit:
        pass
import resource
print(sorted({"torch", "hydra", "pandas", "matplotlib"} & sys.modules.keys()), resource.getrusage(resource.RUSAGE_SELF).ru_utime < 0.5)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] True"


STARTED = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


@pytest.mark.parametrize("shell", STARTED)
def test_a_real_shell_completes(shell, tmp_path):
    """Typed at a terminal, with Tab; `echo` shows what the shell has then."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (tmp_path / "my photo.jpg").touch()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        environment = {**os.environ, "PATH": path, "TERM": "dumb", "PS1": "> ", "HOME": str(tmp_path)}
        os.execvpe(shell, STARTED[shell], environment)
    try:
        type_(terminal, f'eval "$(swag completion {shell})"; echo rea""dy\n', "ready")
        type_(terminal, "echo \b\b\b\b\bswag stylize network=vgg1\t", "vgg1")
        type_(terminal, "\x15swag stylize smoothing=soft\t", "smoothing=softmax")
        type_(terminal, "content=my\t", "my photo.jpg'")
        type_(terminal, "\x15swag figure fig3_pre\t", "fig3_pretrained")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def type_(terminal, text, expected):
    os.write(terminal, text.encode())
    seen, end = "", time.monotonic() + 60
    while expected not in seen:
        assert time.monotonic() < end, seen
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
