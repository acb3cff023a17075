"""A sweep: its plan and the runs of its cells, in a folder that all its workers share.

<output>/sweeps/<date>/plan.json      the cells, the time of the start and the command
                       cells/<n>.json the run directories of a cell, or the reason why it has none
                       stopped        asks workers to begin no cell and to interrupt those in progress

The state of a cell stands in its run directories. The cell's settings and pictures determine which these are.
To find them takes up to a tenth of a second, so the first worker that does so notes them for all workers.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import DictConfig

from experiments.programs import typed
from experiments.signals import deferred
from experiments.sweeps.composing import Grid
from experiments.sweeps.progress import duration
from experiments.sweeps.states import Found, state_of
from swag_repro.errors import SettingError, StoreError, check_number
from swag_repro.runs.files import MALFORMED, is_folder, parsed, refuse_other, unreadable, write_text
from swag_repro.runs.store import Store

PLAN_VERSION = 3

KEPT = ("entry", "program", "label", "command", "launcher", "workers", "config_dir", "started_at")
"""The attributes that the plan stores as they are."""

SWEEPS = "sweeps"
"""The name of the folder of sweeps in an output folder."""

LAST = "last"
"""The handle of the newest sweep."""

LISTED = 8
"""The most sweeps that an error names."""

SHARE = 0.05
"""The largest share of its time in which a process looks at all cells, to estimate the time left."""


def check_sweep(settings: DictConfig) -> None:
    """Raise a `SettingError` unless the numbers of `conf/sweep` are in range."""
    if settings.workers is not None:
        check_number("sweep.workers", settings.workers, least=1, whole=True)
    check_number("sweep.max_cells", settings.max_cells, least=1, whole=True)


@dataclass
class Sweep:
    """A multirun and its state.

    Attributes:
        directory: The folder of its files.
        output: The folder of its run directories; relative to this process's folder if it lies below it.
        entry: The config's name.
        program: The entry point that was run, such as `judge` with the config `stylize`.
        label: The name of its runs in the config, by which a user finds it.
        grid: Its cells.
        command: The overrides of the command.
        launcher: Hydra's name of the launcher.
        workers: The number of processes that it was launched with.
        config_dir: The folder of the user's settings beside `conf/`; None without one.
        started_at: The seconds since 1970 of its start.
    """

    directory: Path
    output: Path
    entry: str
    program: str
    label: str
    grid: Grid
    command: Sequence[str]
    launcher: str
    workers: int
    config_dir: str | None = None
    started_at: float = field(default_factory=time.time)
    _ended: dict[int, list[Found]] = field(default_factory=dict, compare=False, repr=False)
    _time_left: tuple[float, str] = field(default=(0.0, ""), compare=False, repr=False)

    launched: ClassVar[Sweep | None] = None
    """The sweep that this process has launched; None in other processes."""

    def write(self) -> None:
        """Write the plan.

        Raises:
            StoreError: It can't be written.
        """
        kept = {name: getattr(self, name) for name in KEPT}
        plan = {"schema": PLAN_VERSION, "cells": len(self.grid), "axes": self.grid.axes, **kept}
        plan["output"] = os.path.relpath(self.output, self.directory)
        write_text(self.directory / "plan.json", json.dumps(plan, indent=1))

    @classmethod
    def read(cls, directory: Path) -> Sweep:
        """Return the sweep of a folder.

        Raises:
            StoreError: Its plan is missing, malformed, or of another version.
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
            output = Path(os.path.normpath(directory.absolute() / plan.get("output", "../..")))
            return cls(directory=directory.absolute(), output=_from_here(output), grid=grid, **kept)
        except (*MALFORMED, KeyError) as error:
            raise unreadable(path, error) from error

    @property
    def name(self) -> str:
        """The name of its folder, by which runs refer to it."""
        return self.directory.name

    def stop(self) -> None:
        """Ask all workers to end.

        Raises:
            OSError: The request can't be written.
        """
        (self.directory / "stopped").touch()

    @property
    def stopped(self) -> bool:
        """True if workers were asked to end."""
        return (self.directory / "stopped").exists()

    def note(self, number: int, note: dict[str, Any]) -> None:
        """Note the runs of a cell, or the `reason` why it has none; do nothing if the disk is full."""
        with suppress(OSError):
            path = self._note(number)
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(note), encoding="utf-8")

    def _note(self, number: int) -> Path:
        return self.directory / "cells" / f"{number}.json"

    def state_of(self, number: int) -> Found:
        """Return the state of a cell."""
        return self._summary(self._states(number))

    def _states(self, number: int) -> list[Found]:
        """Return the states of a cell's runs, as far as these are known."""
        if number not in self._ended:
            found = self._runs(number)
            if not self._summary(found).ended:
                return found
            self._ended[number] = found
        return self._ended[number]

    def _runs(self, number: int) -> list[Found]:
        try:
            note = json.loads(self._note(number).read_bytes())
            if "reason" in note:
                return [Found("failed", str(note["reason"]), sweep=self.name)]
            return [self._run(place, anew=note["anew"]) for place in note["runs"]] or [Found("missing")]
        except (*MALFORMED, KeyError):  # another worker is writing it, nobody has, or it is damaged
            return [Found("missing")]

    def _run(self, place: str | None, *, anew: bool) -> Found:
        """Return the state of a run; one to be computed `anew` is done only after this sweep computed it."""
        if place is None:
            return Found("missing")
        directory = Path(os.path.normpath(self.directory / place))
        found = state_of(directory, self.name)
        if anew and found.state == "done" and found.sweep != self.name:
            held = Store(directory.parents[1]).is_held(directory.name)
            return Found("running" if held else "missing", path=found.path)
        return found

    @staticmethod
    def _summary(found: Sequence[Found]) -> Found:
        return next((run for run in found if run.state != "done"), found[0])

    def outcome(self, number: int) -> str:
        """Return the word for a cell in the summary: `computed`, `judged`, `skipped`, or its state."""
        found = self._states(number)
        if (summary := self._summary(found)).state != "done":
            return summary.state
        own = [run.sweep == self.name for run in found]
        return "computed" if own[0] else "judged" if any(own) else "skipped"

    def outcomes(self) -> Counter[str]:
        """Return the number of cells of each outcome."""
        return Counter(self.outcome(number) for number in range(len(self.grid)))

    def cells(self) -> list[Found]:
        """Return the state of each cell."""
        return [self.state_of(number) for number in range(len(self.grid))]

    def cells_left(self) -> int:
        """Return how many cells have not ended."""
        return sum(not found.ended for found in self.cells())

    def run_ids(self, number: int) -> frozenset[str]:
        """Return the ids of a cell's runs, as far as these are known."""
        return frozenset(Path(found.path).name for found in self._states(number) if found.path is not None)

    @property
    def handle(self) -> list[str]:
        """The arguments by which commands find it while it is the newest: `last`, or its folder."""
        if self.directory.parent != self.output.absolute() / SWEEPS:
            return [str(_from_here(self.directory))]
        return [LAST] if self.output == Path("outputs") else [LAST, "--output", str(self.output)]

    @property
    def typed_command(self) -> str:
        """The command that computes what is missing, as typed in a shell."""
        flags = [] if self.config_dir is None else [f"--config-dir={self.config_dir}"]
        return typed(self.program, ["-m", *flags, *self.command])

    def seconds_left(self) -> float | None:
        """Return an estimate from the pace of the cells computed so far; None before the first of them."""
        cells = self.cells()
        begun = [cell.since for cell in cells if cell.sweep == self.name and cell.since is not None]
        computed = sum(cell.ended and cell.sweep == self.name for cell in cells)
        if not (begun and computed):
            return None
        return (time.time() - min(begun)) / computed * sum(not cell.ended for cell in cells)

    def time_left(self) -> str:
        """Return `about 3:20 left`, or an empty text without an estimate; large sweeps update it rarely."""
        until, line = self._time_left
        if (began := time.monotonic()) >= until:
            seconds = self.seconds_left()
            line = "" if seconds is None else f"about {duration(seconds)} left"
            now = time.monotonic()
            self._time_left = now + (now - began) / SHARE, line
        return line


def _from_here(path: Path) -> Path:
    """Return a path relative to this process's folder if it lies below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


@dataclass(frozen=True)
class CellPlace:
    """The place of a cell: its sweep, and its number, counted from 0."""

    sweep: Sweep
    number: int

    def __str__(self) -> str:
        return f"{self.number + 1}/{len(self.sweep.grid)}"

    @property
    def own(self) -> list[str]:
        """The overrides that tell the cell from the others, as typed."""
        return self.sweep.grid.own(self.number)

    def note_runs(self, runs: Sequence[Path | None], *, anew: bool) -> None:
        """Note the cell's run directories, and whether they are computed anew although their results exist.

        None stands for a run that is unknown until the run before it is done.
        """
        directory = self.sweep.directory
        places = [None if run is None else os.path.relpath(run, directory) for run in runs]
        self.sweep.note(self.number, {"runs": places, "anew": anew})

    def note_refusal(self, reason: str) -> None:
        """Note why the cell can't be computed."""
        self.sweep.note(self.number, {"reason": reason})


def is_handle(argument: str) -> bool:
    """Return whether an argument of a command names a sweep; overrides have `=`, or `~` to delete."""
    return ("=" not in argument and not argument.startswith("~")) or _has_plan(Path(argument))


def find(handle: str, output: Path) -> Sweep:
    """Return the sweep that a handle means.

    Args:
        handle: `last`, for the newest sweep; its folder, or the name of that; or the name of its runs, for
            the newest of this name.
        output: The folder of run directories that holds it.

    Raises:
        SettingError: There is no such sweep.
        StoreError: The plan of the folder can't be read.
    """
    folder = Path(handle)
    if _has_plan(folder):
        return Sweep.read(folder)
    known = sorted(_sweeps(output), key=lambda sweep: sweep.started_at, reverse=True)
    if found := [sweep for sweep in known if handle in (LAST, sweep.name, sweep.label)]:
        return found[0]
    if is_folder(folder):
        raise SettingError("sweep", "should be a folder with plan.json", repr(handle), _instead_of(folder))
    names = list(dict.fromkeys(sweep.label for sweep in known))
    if not names:
        remedy = "A command with -m begins one. Other folders: --output FOLDER."
        raise SettingError("sweep", "should be one that was begun", f"none in {output} yet", remedy)
    there = f"There are {', '.join([LAST, *names[:LISTED]])} in {output}."
    rule = "should be `last`, the folder of a sweep, or its name"
    raise SettingError("sweep", rule, repr(handle), f"{there} Other folders: --output FOLDER.")


def _instead_of(folder: Path) -> str:
    """Return the remedy for a folder that is no sweep: what it is, and what to choose."""
    if (folder / "status.json").is_file():
        return "It is a run: choose its sweep, or last, the newest."
    if is_folder(folder / SWEEPS):
        return f"Choose one of its sweeps: {shlex.join(['last', '--output', str(folder)])}"
    return f"Choose last, the newest, or a folder in {SWEEPS} of an output folder."


def _has_plan(folder: Path) -> bool:
    return is_folder(folder) and (folder / "plan.json").is_file()


def _sweeps(output: Path) -> Iterator[Sweep]:
    """Yield the sweeps of an output folder, except those whose plans can't be read."""
    for plan in output.glob(f"{SWEEPS}/*/plan.json"):
        with suppress(StoreError):
            yield Sweep.read(plan.parent)


@contextmanager
def interruptible(place: CellPlace | None) -> Iterator[Callable[[], int | None]]:
    """Defer signals to this process, and the sweep's stop, so that work in progress can be finished.

    The yielded function returns the number of the signal, or None.
    """
    with deferred() as came:
        yield lambda: came() or (signal.SIGTERM if place is not None and place.sweep.stopped else None)
