"""The progress of a sweep, read from the run directories of its cells."""

from __future__ import annotations

import shlex
from pathlib import Path

from analysis.progress import CellStatus, GridProgress
from experiments.sweeps.sweep import Sweep
from swag_repro.errors import SettingError


def newest_sweep(output: Path) -> Path:
    """Return the folder of the sweep that began last.

    Raises:
        SettingError: there is no sweep.
    """
    plans = [path.parent for path in output.glob("sweeps/*/plan.json")]
    if not plans:
        rule = "should be an output folder with a sweep, or the folder of one"
        raise SettingError("--runs", rule, output, "Begin one with -m.")
    return max(plans, key=lambda path: path.name)


def of_sweep(sweep: Sweep) -> GridProgress:
    """Return the progress of a multirun; a second call for the same sweep is fast."""
    found = sweep.cells()
    workers = sum(cell.state == "running" for cell in found)
    experiment = next((item for item in sweep.command if item.startswith("experiment=")), sweep.entry)
    return GridProgress(
        f"{experiment}, {sweep.launcher}, {sweep.directory}",
        [CellStatus.of(number, sweep.grid.own(number), cell) for number, cell in enumerate(found)],
        workers,
        sweep.seconds_left() if workers else None,
        shlex.join(["python", f"experiments/{sweep.entry}.py", "-m", *sweep.command]),
    )
