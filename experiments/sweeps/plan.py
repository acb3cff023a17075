"""A multirun's plan and outcomes, in files that all launchers' processes share.

<output>/sweeps/<date>/plan.json    how many cells, since when
<output>/sweeps/<date>/cells/7.json what became of the eighth
<output>/sweeps/<date>/stopped      no cell is to begin any more, and those under way are to be interrupted
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.markup import escape

from experiments.signals import deferred
from experiments.sweeps import jobs as sweeps
from experiments.sweeps.progress import console, duration
from swag_repro.errors import StoreError
from swag_repro.runs.files import whole_file

ROOM = 2**16
"""Bytes that should be free before anything starts: Hydra's own files raise what has no message."""


@dataclass(frozen=True)
class Outcome:
    """What became of one cell.

    Attributes:
        number: of the cell in its sweep, from 0; 0 outside one.
        overrides: that tell it from the other cells.
        state: `computed`, `skipped` (it was there), `interrupted` or `failed`.
        reason: why it failed.
        path: of its run directory, where it got one.
        signal: that interrupted it.
        seconds: it took.
    """

    number: int
    overrides: list[str]
    state: str
    seconds: float
    reason: str | None = None
    path: str | None = None
    signal: int | None = None


@dataclass(frozen=True)
class Sweep:
    """The plan of a multirun and the outcomes so far.

    Attributes:
        directory: where both are kept.
        cells: how many.
        started_at: seconds since 1970.
        common: overrides that all cells have, where there are several.
    """

    directory: Path
    cells: int
    started_at: float
    common: list[str]

    unrecorded: ClassVar[list[Outcome]] = []
    """Of this process, for which there was no room on the disk."""

    @classmethod
    def start(cls, directory: Path, jobs: list[list[str]]) -> Sweep:
        """Writes the plan of these jobs, each by its overrides.

        Raises:
            StoreError: it can't be written.
        """
        first = jobs[0] if len(jobs) > 1 else []
        common = [override for override in first if all(override in job for job in jobs)]
        sweep = cls(directory, len(jobs), time.time(), common)
        plan = {"cells": sweep.cells, "started_at": sweep.started_at, "common": common}
        _write_json(directory / "plan.json", plan)
        cls.unrecorded.clear()
        return sweep

    @classmethod
    def current(cls) -> Sweep | None:
        """The sweep that this job belongs to; None outside one."""
        hydra = HydraConfig.get()
        if hydra.mode != RunMode.MULTIRUN:
            return None
        directory = Path(hydra.sweep.dir)
        return cls(directory, **json.loads((directory / "plan.json").read_text()))

    def stop(self) -> None:
        """Asks the processes of all launchers to end; an `OSError` where even that can't be written."""
        (self.directory / "stopped").touch()

    @property
    def stopped(self) -> bool:
        """Whether they were asked to."""
        return (self.directory / "stopped").exists()

    def own(self, overrides: list[str]) -> list[str]:
        """Those that tell a cell from the others, as they were typed."""
        return [as_typed(override) for override in overrides if override not in self.common]

    def record(self, outcome: Outcome) -> None:
        """Writes a cell's outcome, or remembers it where there is no room."""
        try:
            _write_json(self.directory / "cells" / f"{outcome.number}.json", asdict(outcome))
        except StoreError:
            self.unrecorded.append(outcome)

    def outcomes(self) -> list[Outcome]:
        """Of the cells that have ended."""
        files = self.directory.glob("cells/*.json")
        recorded = [Outcome(**json.loads(file.read_text())) for file in files]
        return sorted([*recorded, *self.unrecorded], key=lambda cell: cell.number)

    def time_left(self) -> str:
        """`about 3:20 left`, by the pace of the cells computed so far; empty before the first."""
        outcomes = self.outcomes()
        computed = sum(outcome.state == "computed" for outcome in outcomes)
        if not computed:
            return ""
        pace = (time.time() - self.started_at) / computed
        return f"about {duration(pace * (self.cells - len(outcomes)))} left"


@contextmanager
def interruptible(sweep: Sweep | None) -> Iterator[Callable[[], int | None]]:
    """Within, Ctrl-C, SIGTERM or SIGHUP, of this process or of the sweep's, only make a function return it.

    So what is under way can be finished first.
    """
    with deferred() as came:
        yield lambda: came() or (signal.SIGTERM if sweep is not None and sweep.stopped else None)


def as_typed(override: str) -> str:
    r"""An override without the escapes that Hydra's sweeper puts before signs: `$\{a.b\}` is `${a.b}`."""
    return re.sub(r"\\([\\()\[\]{}:=, \t])", r"\1", override)


def _write_json(path: Path, value: object) -> None:
    with whole_file(path) as file:
        file.write(json.dumps(value, indent=2).encode())


class SweepCallback(Callback):
    """Checks the output folder before anything starts, and writes the plan of a multirun."""

    started: ClassVar[Sweep | None] = None
    """In the process that launches its cells; None in others."""

    entry: ClassVar[str] = ""
    jobs: ClassVar[list[list[str]]] = []
    """The config's name and each cell's overrides, in the same process."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Ends the process where the output folder can't be written to."""
        _check_writable(Path(config.output))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Likewise, and writes the plan."""
        _check_writable(Path(config.output))
        SweepCallback.entry, SweepCallback.jobs = config.hydra.job.config_name, sweeps.jobs(config.hydra)
        try:
            SweepCallback.started = Sweep.start(Path(config.hydra.sweep.dir), SweepCallback.jobs)
        except StoreError as error:
            _refuse(error)


def _check_writable(output: Path) -> None:
    try:
        with whole_file(output / ".writable") as file:
            file.write(bytes(ROOM))
        (output / ".writable").unlink(missing_ok=True)
    except StoreError as error:
        _refuse(error)


def _refuse(error: StoreError) -> NoReturn:
    # Hydra makes warnings of exceptions, so that a callback can end the process only like this.
    console.print(f"[bold red]error:[/] {escape(str(error))}")
    raise SystemExit(1)


def summarize(sweep: Sweep, *, interrupted: bool) -> bool:
    """Prints what became of a sweep's cells; True if all are there."""
    outcomes = sweep.outcomes()
    states = Counter(outcome.state for outcome in outcomes)
    listed = [f"{number} {state}" for state, number in sorted(states.items())]
    if lost := sweep.cells - len(outcomes):
        listed.append(f"{lost} {'not begun' if interrupted else 'without an outcome (killed?)'}")
    console.print(
        f"\n{sweep.cells} cells in {duration(time.time() - sweep.started_at)}: {', '.join(listed)}."
    )
    for outcome in outcomes:
        if outcome.state == "failed":
            console.print(
                f"  [red]failed:[/] {escape(' '.join(outcome.overrides))}\n    {escape(outcome.reason or '')}"
            )
    complete = not (lost or states["failed"] or states["interrupted"])
    if not complete:
        console.print("The same command computes what is missing, and skips the rest.")
    return complete
