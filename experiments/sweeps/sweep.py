"""A sweep: its plan, and what became of its cells, in a folder that all its workers share.

<output>/sweeps/<date>/plan.json   its cells, since when, of which command
                       queue       the first cell that nobody took
                       workers/    what each worker did, see `ledger`
                       stopped     no cell is to begin any more, and those under way are to be interrupted
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock

from experiments.signals import deferred
from experiments.sweeps.grid import Grid
from experiments.sweeps.ledger import Ledger, Log
from experiments.sweeps.progress import duration
from swag_repro.runs.files import MALFORMED, parsed, refuse_other, unreadable, whole_file

PLAN_VERSION = 1

KEPT = ("entry", "started_at", "command", "launcher", "workers", "folder")
"""Attributes that stand in the plan as they are."""


@dataclass(frozen=True)
class Sweep:
    """A multirun.

    Attributes:
        directory: of its files.
        entry: the config's name.
        grid: its cells.
        started_at: seconds since 1970.
        command: the overrides as they were given.
        launcher: Hydra's name of it.
        workers: how many processes it was launched with.
        folder: where the command was given: relative paths are meant from there.
    """

    directory: Path
    entry: str
    grid: Grid
    started_at: float
    command: tuple[str, ...]
    launcher: str
    workers: int
    folder: str

    launched: ClassVar[Sweep | None] = None
    """In the process that launches it; None in others."""

    @classmethod
    def start(
        cls, directory: Path, entry: str, grid: Grid, *, command: Sequence[str], launcher: str, workers: int
    ) -> Sweep:
        """Writes the plan.

        Raises:
            StoreError: it can't be written.
        """
        now, folder = time.time(), str(Path.cwd())
        sweep = cls(directory.absolute(), entry, grid, now, tuple(command), launcher, workers, folder)
        kept = {name: getattr(sweep, name) for name in KEPT}
        plan = {"schema": PLAN_VERSION, "cells": len(grid), "axes": grid.axes, **kept}
        with whole_file(directory / "queue") as file:
            file.write(_counted(0))
        with whole_file(directory / "plan.json") as file:
            file.write(json.dumps(plan, indent=1).encode())
        return sweep

    @classmethod
    def read(cls, directory: Path) -> Sweep:
        """The sweep of a folder.

        Raises:
            StoreError: its plan is missing, malformed, or of a later version.
        """
        path = directory / "plan.json"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise unreadable(path, error) from error
        plan = parsed(path, content, json.loads)
        try:
            refuse_other("plan.json", plan["schema"], PLAN_VERSION)
            grid = Grid(tuple(tuple(axis) for axis in plan["axes"]))
            kept: dict[str, Any] = {name: plan[name] for name in KEPT}
            return cls(directory.absolute(), grid=grid, **kept | {"command": tuple(plan["command"])})
        except (*MALFORMED, KeyError) as error:
            raise unreadable(path, error) from error

    @cached_property
    def ledger(self) -> Ledger:
        """Read once, and then only what is new."""
        return Ledger(self.directory / "workers")

    def stop(self) -> None:
        """Asks all workers to end; an `OSError` where even that can't be written."""
        (self.directory / "stopped").touch()

    @property
    def stopped(self) -> bool:
        """Whether they were asked to."""
        return (self.directory / "stopped").exists()

    def take(self, log: Log) -> int | None:
        """The next cell for a worker, which its log then names; None if there is nothing left to do.

        First those that nobody took, in order; then those that were interrupted, that other sweeps computed,
        or whose worker was killed.

        Raises:
            OSError: the folder can't be reached.
        """
        with FileLock(self.directory / "queue.lock"):
            queue = self.directory / "queue"
            number = int(queue.read_bytes())
            if number >= len(self.grid):
                again = next(self.ledger.read().remaining(), None)
                if again is not None:
                    log.took(again, self.ledger.latest[again].number + 1)
                return again
            log.took(number, 0)
            with queue.open("r+b") as file:
                file.write(_counted(number + 1))
            return number

    def untaken(self) -> int:
        """The first cell that nobody took; how many there are, if all were."""
        return int((self.directory / "queue").read_bytes())

    def ended(self) -> int:
        """How many cells have ended."""
        return sum(self.ledger.read().counts.values())

    def cells_left(self) -> bool:
        """Whether a worker would find one."""
        return self.untaken() < len(self.grid) or next(self.ledger.read().remaining(), None) is not None

    @property
    def output(self) -> str:
        """The folder of run directories; relative to where the command was given, if it lies below."""
        output, given = self.directory.parents[1], Path(self.folder)
        return str(output.relative_to(given) if output.is_relative_to(given) else output)

    @property
    def age(self) -> float:
        """Seconds since it was started, by this host's clock."""
        return time.time() - self.started_at

    def seconds_left(self) -> float | None:
        """By the pace of the cells computed since the first worker began; None before the first of them."""
        ledger = self.ledger.read()
        if not (computed := ledger.counts["computed"] + ledger.counts["judged"]):
            return None
        worked = time.time() - min(worker.since for worker in ledger.workers.values())
        return worked / computed * (len(self.grid) - sum(ledger.counts.values()))

    def time_left(self) -> str:
        """`about 3:20 left`; empty where nothing tells."""
        seconds = self.seconds_left()
        return "" if seconds is None else f"about {duration(seconds)} left"


def _counted(number: int) -> bytes:
    return b"%19d\n" % number  # always of one length, so that a full disk takes it


@dataclass(frozen=True)
class Place:
    """Where a cell stands: of which sweep, and the how many-th it is, from 0."""

    sweep: Sweep
    number: int

    def __str__(self) -> str:
        return f"{self.number + 1}/{len(self.sweep.grid)}"

    @property
    def own(self) -> list[str]:
        """The overrides that tell it from the others, as they were typed."""
        return self.sweep.grid.own(self.number)

    @property
    def stopped(self) -> bool:
        """Whether its sweep was asked to end."""
        return self.sweep.stopped


@contextmanager
def interruptible(place: Place | None) -> Iterator[Callable[[], int | None]]:
    """Within, Ctrl-C, SIGTERM or SIGHUP, of this process or of the sweep's, only make a function return it.

    So what is under way can be finished first.
    """
    with deferred() as came:
        yield lambda: came() or (signal.SIGTERM if place is not None and place.stopped else None)
