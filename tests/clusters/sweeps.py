"""Sweeps by the command line, with or without an engine."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from experiments.settings import CONF
from tests.tables import measured

ROOT = Path(__file__).parents[2]
SMOKE = ["experiment=smoke", "images.size=32", "compute.threads=1"]
"""Four cells."""


MERGED = pytest.mark.filterwarnings(r"ignore:\s*'hydra/launcher/:UserWarning")
"""Of tests that call `launcher`: pytest forgets what `experiments.sweeps.launchers` says of warnings."""


@dataclass(frozen=True)
class Engine:
    """What starts the workers of a sweep.

    Attributes:
        arguments: that choose it.
        environment: of the command; None is this process's.
        python: that the command runs in.
    """

    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] | None = None
    python: Path = Path(sys.executable)

    def start(self, folder: Path, *arguments: str, entry: str = "measure_activations") -> subprocess.Popen:
        """A sweep with its output in `folder/out`; a process whose output is one stream of text."""
        command = [str(self.python), str(ROOT / "experiments" / f"{entry}.py"), "-m", *self.arguments]
        return subprocess.Popen(
            [*command, *arguments, f"output={folder / 'out'}"],
            env=_importable(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
        )

    def run(self, folder: Path, *arguments: str) -> tuple[int, str]:
        """Run such a sweep; return its exit status and what it printed."""
        process = self.start(folder, *arguments)
        printed = process.communicate()[0]
        return process.returncode, printed


def launcher(*overrides: str) -> DictConfig:
    """`hydra.launcher`, as a command's overrides make it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("measure_activations", list(overrides), return_hydra_config=True).hydra.launcher


def table(folder: Path) -> bytes:
    """The rows of `table.csv`, collected from the output in `folder/out`."""
    command = [sys.executable, "-m", "swag_repro", "collect", "--output", str(folder / "out")]
    subprocess.run(
        [*command, "--results", str(folder / "results")],
        env=_importable(None),
        check=True,
        capture_output=True,
        cwd=folder,
    )
    return measured(folder / "results" / "table.csv")


def table_alone(folder: Path, *arguments: str) -> bytes:
    """The table of a sweep's cells, computed one after the other in one process."""
    status, printed = Engine().run(folder, *arguments, "tracking=disabled")
    assert status == 0, printed
    return table(folder)


def _importable(environment: dict[str, str] | None) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "experiments" / "plugins")])
    return {**(os.environ if environment is None else environment), "PYTHONPATH": path}
