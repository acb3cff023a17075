"""The experiments, their numbers of cells, and their costs, estimated from the runs in an output folder.

swag experiments
swag experiments --output outputs
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console
from rich.table import Table

from experiments.command import CONF, experiments
from experiments.sweeps.composing import grid_along
from experiments.sweeps.progress import duration
from swag_repro.runs.files import parse_yaml, path_of
from swag_repro.runs.records import RunRecord, all_runs

WIDE = 140
"""Columns that a terminal needs for the descriptions of the experiments."""

RUNS_AVERAGED = 20
"""The largest number of runs per experiment whose sizes are averaged."""


@dataclass(frozen=True)
class Listed:
    """One experiment.

    Attributes:
        name: The experiment's name, for `experiment=`.
        entry: The entry point that computes it.
        about: The first sentence of its file.
        cells: The number of its cells.
        seconds: The time of all cells, from the mean over existing runs; None without runs.
        size: The bytes of all cells, from the mean over existing runs; None without runs.
    """

    name: str
    entry: str
    about: str
    cells: int
    seconds: float | None
    size: float | None


def list_experiments(runs: Path) -> list[Listed]:
    """Return all experiments of `conf/`.

    Args:
        runs: The output folder of earlier runs, whose costs are averaged.
    """
    found: dict[str, list[RunRecord]] = {}
    for record in all_runs(runs):
        if record.status.state == "finished":
            found.setdefault(record.status.name, []).append(record)
    return [_list_experiment(name, found) for name in experiments()]


def _list_experiment(name: str, found: dict[str, list[RunRecord]]) -> Listed:
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    settings: dict[str, Any] = parse_yaml(text)
    params = settings.get("hydra", {}).get("sweeper", {}).get("params") or {}
    parsed = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
    cells = len(grid_along(parsed))
    known = found.get(str(settings.get("name")), [])
    return Listed(
        name,
        str(settings["entry"]),
        _about(text),
        cells,
        cells * fmean(record.status.seconds or 0.0 for record in known) if known else None,
        cells * fmean(_size(record.path) for record in known[:RUNS_AVERAGED]) if known else None,
    )


def _about(text: str) -> str:
    """Return the first sentence of the comment that follows the command."""
    comments = [line[2:] for line in text.splitlines()[2:] if line.startswith("# ")]
    return " ".join(comments).partition(". ")[0].rstrip(".")


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of the experiments."""
    parser = argparse.ArgumentParser(
        prog="swag experiments", description="What can be computed: experiments, their cells, what they cost."
    )
    parser.add_argument(
        "--output", type=path_of, default=Path("outputs"), help="runs that tell what a cell costs"
    )
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 2 * WIDE)
    table = Table(box=None, pad_edge=False)
    for column in ("experiment", "computed by"):
        table.add_column(column, no_wrap=True, min_width=20)
    for column in ("cells", "time", "disk"):
        table.add_column(column, no_wrap=True, justify="right")
    if console.width >= WIDE:
        table.add_column("", no_wrap=True, ratio=1)
    for one in list_experiments(options.output):
        time = "?" if one.seconds is None else duration(one.seconds)
        disk = "?" if one.size is None else f"{one.size / 2**20:.0f} MiB"
        about = [one.about] if console.width >= WIDE else []
        table.add_row(one.name, one.entry, str(one.cells), time, disk, *about)
    console.print(table)
    console.print(
        f"Time (of one worker) and disk are by the runs in {options.output}; ? where there are none."
    )


if __name__ == "__main__":
    main()
