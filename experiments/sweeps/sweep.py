"""A sweep: its plan, and which runs its cells have, in a folder that all its workers share.

<output>/sweeps/<date>/plan.json      its cells, since when, of which command
                       cells/<n>.json the run directories of a cell, or why it can have none
                       stopped        no cell is to begin any more, and those under way are to be interrupted

What became of a cell stands in its run directories. Its settings and its pictures decide which these are; to
find that out takes up to a tenth of a second, so that the first worker which does writes it down for all.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from experiments.signals import deferred
from experiments.sweeps.grid import Grid
from experiments.sweeps.progress import duration
from experiments.sweeps.states import Found, look
from swag_repro.runs.files import MALFORMED, parsed, refuse_other, unreadable, whole_file
from swag_repro.runs.store import Store

PLAN_VERSION = 2

KEPT = ("entry", "started_at", "command", "launcher", "workers", "folder")
"""Attributes that stand in the plan as they are."""

SHARE = 0.05
"""Part of its time for which a process looks at all cells, at most, to tell how long the sweep will take."""


@dataclass
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
    _ended: dict[int, list[Found]] = field(default_factory=dict, compare=False, repr=False)
    _time_left: tuple[float, str] = field(default=(0.0, ""), compare=False, repr=False)

    launched: ClassVar[Sweep | None] = None
    """In the process that launches it; None in others."""

    @classmethod
    def start(
        cls, directory: Path, entry: str, grid: Grid, *, command: Sequence[str], launcher: str, workers: int
    ) -> Sweep:
        """Write the plan.

        Raises:
            StoreError: it can't be written.
        """
        now, folder = time.time(), str(Path.cwd())
        sweep = cls(directory.absolute(), entry, grid, now, tuple(command), launcher, workers, folder)
        kept = {name: getattr(sweep, name) for name in KEPT}
        plan = {"schema": PLAN_VERSION, "cells": len(grid), "axes": grid.axes, **kept}
        with whole_file(directory / "plan.json") as file:
            file.write(json.dumps(plan, indent=1).encode())
        return sweep

    @classmethod
    def read(cls, directory: Path) -> Sweep:
        """Return the sweep of a folder.

        Raises:
            StoreError: its plan is missing, malformed, or of another version.
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

    @property
    def name(self) -> str:
        """That of its folder, by which runs name it."""
        return self.directory.name

    def stop(self) -> None:
        """Ask all workers to end; an `OSError` where even that can't be written."""
        (self.directory / "stopped").touch()

    @property
    def stopped(self) -> bool:
        """Whether they were asked to."""
        return (self.directory / "stopped").exists()

    def note(self, number: int, note: dict[str, Any]) -> None:
        """Write down the runs of a cell, or its `reason` to have none; where there is no room, it is not."""
        with suppress(OSError):
            path = self._note(number)
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(note))

    def _note(self, number: int) -> Path:
        return self.directory / "cells" / f"{number}.json"

    def look(self, number: int) -> Found:
        """Return what became of a cell."""
        return self._summary(self._found(number))

    def _found(self, number: int) -> list[Found]:
        """Return what became of each run of a cell, as far as they are known."""
        if number not in self._ended:
            found = self._runs(number)
            if not self._summary(found).ended:
                return found
            self._ended[number] = found
        return self._ended[number]

    def _runs(self, number: int) -> list[Found]:
        try:
            note = json.loads(self._note(number).read_bytes())
        except (OSError, ValueError):  # not whole yet, or not at all
            return [Found("missing")]
        if "reason" in note:
            return [Found("failed", note["reason"], sweep=self.name)]
        return [self._run(place, anew=note["anew"]) for place in note["runs"]]

    def _run(self, place: str | None, *, anew: bool) -> Found:
        """Return what became of a run; one that is to be computed `anew` is done once this sweep has."""
        if place is None:
            return Found("missing")
        directory = Path(os.path.normpath(self.directory / place))
        found = look(directory, self.name)
        if anew and found.state == "done" and found.sweep != self.name:
            held = Store(directory.parents[1]).is_held(directory.name)
            return Found("running" if held else "missing", path=found.path)
        return found

    @staticmethod
    def _summary(found: Sequence[Found]) -> Found:
        return next((run for run in found if run.state != "done"), found[0])

    def outcome(self, number: int) -> str:
        """Return what a summary counts a cell as: `computed`, `judged`, `skipped`, or its state."""
        found = self._found(number)
        if (summary := self._summary(found)).state != "done":
            return summary.state
        own = [run.sweep == self.name for run in found]
        return "computed" if own[0] else "judged" if any(own) else "skipped"

    def outcomes(self) -> Counter[str]:
        """Return how many cells came to each outcome."""
        return Counter(self.outcome(number) for number in range(len(self.grid)))

    def cells(self) -> list[Found]:
        """Return what became of each cell."""
        return [self.look(number) for number in range(len(self.grid))]

    def cells_left(self) -> int:
        """Return how many cells have not ended."""
        return sum(not found.ended for found in self.cells())

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
        """Return an estimate by the pace of the cells computed so far; None before the first of them."""
        cells = self.cells()
        begun = [cell.since for cell in cells if cell.sweep == self.name and cell.since is not None]
        computed = sum(cell.ended and cell.sweep == self.name for cell in cells)
        if not (begun and computed):
            return None
        return (time.time() - min(begun)) / computed * sum(not cell.ended for cell in cells)

    def time_left(self) -> str:
        """Return `about 3:20 left`; empty where nothing tells. It is some seconds old in a large sweep."""
        until, told = self._time_left
        if (began := time.monotonic()) >= until:
            seconds = self.seconds_left()
            told = "" if seconds is None else f"about {duration(seconds)} left"
            now = time.monotonic()
            self._time_left = now + (now - began) / SHARE, told
        return told


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

    def note_runs(self, runs: Sequence[Path | None], *, anew: bool) -> None:
        """Write down the cell's run directories, and whether they are computed anew although they are there.

        None stands for a run that is known only once the one before it is done.
        """
        directory = self.sweep.directory
        places = [None if run is None else os.path.relpath(run, directory) for run in runs]
        self.sweep.note(self.number, {"runs": places, "anew": anew})

    def note_refusal(self, reason: str) -> None:
        """Write down why the cell can't be computed at all."""
        self.sweep.note(self.number, {"reason": reason})


@contextmanager
def interruptible(place: Place | None) -> Iterator[Callable[[], int | None]]:
    """Within, Ctrl-C, SIGTERM or SIGHUP, of this process or of the sweep's, only make a function return it.

    So what is under way can be finished first.
    """
    with deferred() as came:
        yield lambda: came() or (signal.SIGTERM if place is not None and place.stopped else None)
