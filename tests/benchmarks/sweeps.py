"""The cost of a sweep besides what its cells compute, at its start and far into it; the gain by workers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from hydra import initialize_config_dir
from rich.table import Table

from experiments.running import CellTask
from experiments.settings import CONF
from experiments.sweeps.composing import Composer, Grid
from experiments.sweeps.sweep import CellPlace
from experiments.sweeps.worker import Outcome, Worker
from tests.benchmarks.cells import Trivial
from tests.sweeps.started import started

FAR = 10_000
"""Cells that ended before, where a sweep is far advanced."""

WORKLOAD = [
    "experiment=smoke",
    "network=resnet18",
    "smoothing=none,swag",
    "images.size=128",
    "images.source.limit=2",
]


def overhead(modes: Sequence[str], *, cells: int) -> Table:
    """Milliseconds of a cell that computes nothing, in a sweep, by W&B's modes."""
    table = Table(title=f"A cell of a sweep that computes nothing, medians of {cells}")
    table.add_column("tracking")
    for column in ("ms a cell, from the first on", f"after {FAR} others", "ratio"):
        table.add_column(column, justify="right")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for mode in modes:
            first, far = (_milliseconds(mode, before, cells) for before in (0, FAR))
            table.add_row(mode, f"{first:.0f}", f"{far:.0f}", f"{far / first:.2f}")
    return table


def _milliseconds(mode: str, before: int, cells: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        seeds = tuple(f"weights.seed={seed}" for seed in range(before + cells))
        axes = (seeds, (f"tracking={mode}",), (f"output={folder}",), ("progress=false",))
        sweep = started(Path(folder), Grid(axes), entry=Trivial.reads, workers=1)
        for number in range(before):
            CellPlace(sweep, number).note_refusal("ended")
        composer, ends = Composer(sweep.entry), list[float]()

        def compute(place: CellPlace) -> Outcome:
            overrides = sweep.grid[place.number]
            return CellTask(composer(overrides), overrides, place, Trivial, wait=False).run()

        def tell(_: Outcome, place: CellPlace) -> None:
            place.sweep.time_left()  # as an entry point does to print a line
            ends.append(time.monotonic())

        Worker(sweep, compute, tell).work()
        return 1e3 * median(after - one for one, after in pairwise(ends))


def speedup(*, seeds: int, workers: int) -> Table:
    """Cells a minute of one worker and of several, each beside what it began with."""
    table = Table(title=f"{2 * seeds} cells of ResNet-18 at 128 px, one thread a worker")
    for column in ("workers", "cells a minute", "× one worker"):
        table.add_column(column, justify="right")
    rates = {count: _cells_a_minute(seeds, count) for count in (1, workers)}
    for count, rate in rates.items():
        table.add_row(str(count), f"{rate:.1f}", f"{rate / rates[1]:.2f}")
    return table


def _cells_a_minute(seeds: int, workers: int) -> float:
    """Return cells a minute since all workers have computed one, so that their start is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        settings = [
            "tracking=disabled",
            "compute.threads=1",
            f"output={folder}",
            f"weights.seed=range(0,{seeds})",
        ]
        launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}"]
        script = Path(__file__).parents[1] / "measure_activations.py"
        command = [sys.executable, str(script), "-m", *WORKLOAD, *settings, *launcher]
        subprocess.run(command, check=True, capture_output=True)
        ends = sorted(path.stat().st_mtime for path in Path(folder).glob("runs/*/status.json"))
        return 60 * (len(ends) - workers) / (ends[-1] - ends[workers - 1])
