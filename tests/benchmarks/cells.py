"""What a cell costs beside what it computes: its run directory, its log, its mirror."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from statistics import median

from rich.table import Table

from experiments.config import checked
from experiments.frame import Context, Experiment
from experiments.running import CellTask
from tests.benchmarks.timing import composed, interleaved


class Trivial(Experiment):
    """Computes nothing, and writes one row."""

    name = "trivial"
    version = 1
    reads = "measure_activations"

    @property
    def label(self) -> str:
        """Its name."""
        return self.name

    def compute(self, context: Context) -> None:
        """Writes one row, and mirrors one number."""
        context.run.write_rows([{"statistic": "one", "value": 1.0}])
        context.tracker.log({"one": 1.0})


def cells(modes: Sequence[str], *, repeats: int) -> Table:
    """Milliseconds of a trivial cell with its config at hand, by W&B's modes."""
    table = Table(title=f"A cell that computes nothing, median of {repeats}")
    for column in ("tracking", "ms a cell", "min–max"):
        table.add_column(column, justify="left" if column == "tracking" else "right")
    with tempfile.TemporaryDirectory() as folder:
        measured = interleaved([_cell(mode, Path(folder)) for mode in modes], repeats=repeats)
    for mode, seconds in zip(modes, measured, strict=True):
        milliseconds = [1e3 * value for value in seconds]
        spread = f"{min(milliseconds):.0f}–{max(milliseconds):.0f}"
        table.add_row(mode, f"{median(milliseconds):.0f}", spread)
    return table


def _cell(mode: str, folder: Path) -> Callable[[], object]:
    """Return another cell at each call."""
    overrides = (f"tracking={mode}", f"output={folder / mode}")
    config = checked(composed(Trivial.reads, *overrides), Trivial.reads)
    seeds = count()

    def run() -> object:
        config.plain["weights"]["seed"] = next(seeds)
        return CellTask(config, [], None, Trivial).compute(Trivial.build(config))

    return run
