"""A multirun's plan and outcomes, in files that all launchers' processes share.

<output>/sweeps/<date>/plan.json    how many cells, since when
<output>/sweeps/<date>/cells/7.json what became of the seventh
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.markup import escape

from experiments.progress import console, duration
from swag_repro import sweeps
from swag_repro.errors import StoreError
from swag_repro.store import whole_file


@dataclass(frozen=True)
class Outcome:
    """What became of one cell.

    Attributes:
        number: of the cell in its sweep, from 0; 0 outside one.
        overrides: that tell it from the other cells.
        state: `computed`, `skipped` (it was there) or `failed`.
        reason: why it failed.
        path: of its run directory, where it got one.
        seconds: it took.
    """

    number: int
    overrides: list[str]
    state: str
    seconds: float
    reason: str | None = None
    path: str | None = None


@dataclass(frozen=True)
class Sweep:
    """The plan of a multirun and the outcomes so far."""

    directory: Path
    cells: int
    started_at: float

    @classmethod
    def start(cls, directory: Path, *, cells: int) -> Sweep:
        """Writes the plan."""
        sweep = cls(directory, cells, time.time())
        _write_json(directory / "plan.json", {"cells": cells, "started_at": sweep.started_at})
        return sweep

    @classmethod
    def current(cls) -> Sweep | None:
        """The sweep that this job belongs to; None outside one."""
        hydra = HydraConfig.get()
        if hydra.mode != RunMode.MULTIRUN:
            return None
        directory = Path(hydra.sweep.dir)
        return cls(directory, **json.loads((directory / "plan.json").read_text()))

    def record(self, outcome: Outcome) -> None:
        """Writes a cell's outcome."""
        _write_json(self.directory / "cells" / f"{outcome.number}.json", asdict(outcome))

    def outcomes(self) -> list[Outcome]:
        """Of the cells that have ended."""
        files = self.directory.glob("cells/*.json")
        return sorted(
            (Outcome(**json.loads(file.read_text())) for file in files), key=lambda cell: cell.number
        )

    def time_left(self) -> str:
        """`about 3:20 left`, by the pace of the cells computed so far; empty before the first."""
        outcomes = self.outcomes()
        computed = sum(outcome.state == "computed" for outcome in outcomes)
        if not computed:
            return ""
        pace = (time.time() - self.started_at) / computed
        return f"about {duration(pace * (self.cells - len(outcomes)))} left"


def _write_json(path: Path, value: object) -> None:
    with whole_file(path) as file:
        file.write(json.dumps(value, indent=2).encode())


class SweepCallback(Callback):
    """Checks the output folder before anything starts, and writes the plan of a multirun."""

    started: ClassVar[Sweep | None] = None

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Ends the process where the output folder can't be written to."""
        _check_writable(Path(config.output))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Likewise, and writes the plan."""
        _check_writable(Path(config.output))
        jobs = sweeps.jobs(config.hydra)
        SweepCallback.started = Sweep.start(Path(config.hydra.sweep.dir), cells=len(jobs))


def _check_writable(output: Path) -> None:
    try:
        with whole_file(output / ".writable") as file:
            file.write(b"")
        (output / ".writable").unlink(missing_ok=True)
    except StoreError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(1)


def summarize(sweep: Sweep) -> bool:
    """Prints what became of a sweep's cells; True if all are there."""
    outcomes = sweep.outcomes()
    states = Counter(outcome.state for outcome in outcomes)
    lost = sweep.cells - len(outcomes)
    listed = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    if lost:
        listed += f", {lost} without an outcome (killed?)"
    console.print(f"\n{sweep.cells} cells in {duration(time.time() - sweep.started_at)}: {listed}.")
    for outcome in outcomes:
        if outcome.state == "failed":
            console.print(
                f"  [red]failed:[/] {escape(' '.join(outcome.overrides))}\n    {escape(outcome.reason or '')}"
            )
    if states["failed"] or lost:
        console.print("The same command computes what is missing, and skips the rest.")
    return not (states["failed"] or lost)
