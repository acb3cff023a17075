"""Every command that the programs print as a next step, pasted into a shell."""

import os
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments.asking import UsersSettings
from experiments.sweeps.sweep import Sweep
from swag_repro.__main__ import main

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*found in sys.modules:RuntimeWarning"
)  # a program, run twice

ROOT = Path(__file__).parents[2]
CONF = ROOT / "tests" / "conf"
TINY = ["network=tiny", "weights=random", "images.size=32", "compute.threads=1"]
PICTURES = [*TINY, "steps=1", "measures=none"]
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "experiments" / "plugins")])

SWEEPS = {
    "lists": ("measure", f"--config-dir={CONF}", *TINY, "network.statistic_taps=[a],[a,b]"),
    "ranges and a subdirectory": (
        "measure", f"--config-dir={CONF}", *TINY, "weights.seed=range(0,2)", "hydra.sweep.subdir=${hydra.job.num}",
    ),
    "interpolations and a search path": (
        "stylize", f"hydra.searchpath=[file://{CONF}]", *PICTURES, "images.source.limit=1", "seed=0,1", "objective.content_weight=${seed}",
    ),
    "pictures and a name": (
        "stylize", f"--config-dir={CONF}", *PICTURES, "content=astronaut,chelsea", "style=starry_night", "name=my name",
    ),
    "an experiment": (
        "measure", f"--config-dir={CONF}", "experiment=smoke", *TINY, "smoothing=none,softmax", "output=my runs",
    ),
    "a folder elsewhere": (
        "measure", f"--config-dir={CONF}", *TINY, "weights.seed=0,1", "output=my runs", "hydra.sweep.dir=plans/mine",
    ),
}  # fmt: skip


def shell(folder, command):
    """The exit status of a line typed into a shell, and what it printed."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": PATHS,
        "WANDB_MODE": "disabled",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def typed(tmp_path, monkeypatch, capfd):
    """Run a line as a shell would, in this process: `typed(line) -> exit status, output, errors`."""

    def run(line):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("WANDB_MODE", "disabled")
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        monkeypatch.setattr(Sweep, "launched", None)
        monkeypatch.setattr(UsersSettings, "folder", None)
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code or 0, *capfd.readouterr()

    return run


def printed(said):
    """The commands that a program proposes, each on a line of its own."""
    return [line.strip() for line in said.splitlines() if line.startswith("  swag ")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", SWEEPS)
def test_what_a_sweep_prints_works(tmp_path, typed, kind):
    """In a real shell once, with a blank in a folder's name."""
    run = partial(shell, tmp_path) if kind == "an experiment" else typed
    program, flag, *rest = SWEEPS[kind]
    words = " ".join(f"'{word}'" for word in (flag, *rest))
    status, _, said = run(f"swag {program} -m {words}")
    assert status == 0, said
    commands = printed(said)
    shown = ["runs", "plot", *(["sheet"] if program == "stylize" else [])]
    assert [command.split()[1] for command in commands] == shown
    for command in commands:
        status, lines, error = run(command)
        assert status == 0, error
        assert "Traceback" not in error
        if " runs " in command:
            assert sum("finished" in line for line in lines.splitlines()) == 2
        else:
            assert all((tmp_path / line).is_file() for line in lines.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistaken",
    [
        "swag stylize -m experiment=smoke",
        "swag measure experiment=smoke",
        f"swag measure --config-dir={CONF} experiment=smoke network=tiny",
        f"swag judge 'hydra.searchpath=[file://{CONF}]' experiment=fig1 network=tiny weights=random",
    ],
)
def test_the_remedy_of_a_mistake_works(typed, mistaken):
    status, _, said = typed(mistaken)
    assert status == 1
    command = said.strip().rpartition("Type: ")[2]
    assert command.startswith("swag judge" if "judge" in mistaken else "swag measure")
    status, _, said = typed(f"{command} --dry-run")
    missing = said.count("`stylization` should be a finished run")  # no picture is there to be judged
    assert (status, missing) == ((1, 3) if "judge" in mistaken else (0, 0)), said
    assert "Nothing was computed." in said


@pytest.mark.slow
def test_what_an_incomplete_sweep_prints_goes_on(typed):
    arguments = f"--config-dir={CONF} {' '.join(TINY)} network.builder.channels=0,4"
    status, _, said = typed(f"swag measure -m {arguments}")
    assert status == 1
    [command] = printed(said)
    status, _, said = typed(command)
    assert status == 1
    assert "1 failed, 1 skipped." in said
    status, lines, _ = typed("swag status last")
    assert status == 0
    assert lines.strip().splitlines()[-1].removeprefix("computed by  ") == command
