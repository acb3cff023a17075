"""The progress of a sweep, read from the run directories of its cells."""

from __future__ import annotations

from analysis.progress import CellStatus, GridProgress
from experiments.sweeps.sweep import Sweep


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
        sweep.typed_command,
    )
