"""The state of each cell of a sweep or command, read from run directories, and its look on a terminal."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from analysis.tables.answers import runs_by_key
from analysis.tables.kept import tables_of
from analysis.tables.reading import Row
from analysis.tables.runs import FILE_SETTINGS, settings_of
from experiments.asking import Cell, Wanted
from experiments.science import EXPERIMENT_VERSIONS
from experiments.sweeps.progress import duration
from experiments.sweeps.states import Found, state_of
from experiments.sweeps.sweep import Sweep
from swag_repro.runs.schema import holds_tables

CELL_COLORS = {
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "left": "red",
    "killed": "magenta",
    "interrupted": "yellow",
    "stale": "yellow",
    "missing": "dim",
}
"""State of a cell → its colour, in the order of display."""

CELLS_LISTED = 12
"""Largest number of cells that are listed for a state."""


@dataclass(frozen=True, kw_only=True)
class CellStatus(Found):
    """One cell of a grid.

    Attributes:
        number: number of the cell in its sweep, from 0.
        overrides: Hydra overrides that tell it from others.
    """

    number: int
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, number: int, overrides: Sequence[str], found: Found) -> CellStatus:
        """Return the status of a cell from its run directories."""
        return cls(**vars(found), number=number, overrides=tuple(overrides))


@dataclass(frozen=True)
class GridProgress:
    """The progress of a grid's cells.

    Attributes:
        what: heading.
        cells: the cells in order.
        workers: number of workers that are alive.
        seconds_left: estimate by the pace so far; None where the pace is unknown.
        command: command that computes what is missing.
    """

    what: str
    cells: Sequence[CellStatus]
    workers: int
    seconds_left: float | None
    command: str

    @property
    def counts(self) -> dict[str, int]:
        """The number of cells in each state."""
        counted = Counter[str](cell.state for cell in self.cells)
        return {state: counted[state] for state in CELL_COLORS if counted[state]}

    @property
    def complete(self) -> bool:
        """True if all cells are done."""
        return self.counts.get("done", 0) == len(self.cells)

    def to_plain(self) -> dict[str, Any]:
        """Return the progress as plain values, for JSON."""
        cells = [
            {name: value for name, value in vars(cell).items() if value is not None} for cell in self.cells
        ]
        return vars(self) | {"complete": self.complete, "counts": self.counts, "cells": cells}

    def shown(self) -> RenderableType:
        """Return the progress for a terminal."""
        parts: list[RenderableType] = [Text(self.what, style="bold"), self._bar(), *self._grid()]
        now = time.time()
        for state in CELL_COLORS:
            if state not in ("done", "missing"):
                parts.extend(self._cell_lines(state, now))
        if not self.complete:
            parts.append(Text.from_markup(f"computed by  [bold]{escape(self.command)}[/]"))
        return Group(*parts)

    def _bar(self) -> Text:
        counts = [f"[{CELL_COLORS[state]}]{number} {state}[/]" for state, number in self.counts.items()]
        left = "" if self.seconds_left is None else f"; about {duration(self.seconds_left)} left"
        workers = f"; {self.workers} workers" if self.workers else ""
        return Text.from_markup(f"{len(self.cells)} cells: {', '.join(counts)}{workers}{left}")

    def _grid(self) -> Iterator[Table]:
        """Yield a table of states by the first swept key, if it fits and tells anything."""
        firsts = {cell.overrides[0]: Counter[str]() for cell in self.cells if cell.overrides}
        for cell in self.cells:
            firsts[cell.overrides[0]][cell.state] += 1
        if not 1 < len(firsts) <= CELLS_LISTED or len(self.counts) == 1:
            return
        table = Table(box=None, pad_edge=False)
        table.add_column("")
        for state in self.counts:
            table.add_column(state, justify="right", style=CELL_COLORS[state])
        for first, counted in firsts.items():
            table.add_row(Text(first), *(str(counted[state] or "·") for state in self.counts))
        yield table

    def _cell_lines(self, state: str, now: float) -> Iterator[Text]:
        cells = [cell for cell in self.cells if cell.state == state]
        for cell in cells[:CELLS_LISTED]:
            since = "" if cell.since is None else f", since {duration(max(0.0, now - cell.since))}"
            beat = "" if cell.heartbeat is None else f", heard {max(0.0, now - cell.heartbeat):.0f} s ago"
            host = "" if cell.host is None else f" on {cell.host}"
            about = f"{host}{since if state == 'running' else ''}{beat}"
            reason = "" if cell.reason is None else f"\n    {escape(cell.reason)}"
            own = escape(" ".join(cell.overrides))
            yield Text.from_markup(f"  [{CELL_COLORS[state]}]{state}[/] {own}{escape(about)}{reason}")
        if len(cells) > CELLS_LISTED:
            yield Text(f"  ... and {len(cells) - CELLS_LISTED} more {state}")


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


def of_command(overrides: Sequence[str], root: Path) -> GridProgress:
    """Return the state of each cell of a command, from any run that computed it.

    Args:
        overrides: Hydra overrides, as given to the experiment.
        root: The output folder.

    Raises:
        SettingError, CellsError: The overrides can't be composed.
        StoreError: The output folder does not exist.
    """
    wanted = Wanted.of(overrides, root)
    cells = wanted.cells
    with tables_of(root) as kept:
        found = runs_by_key(kept, {cell.key for cell in cells})
    states = [_state(number, cell, found[cell.key], root) for number, cell in enumerate(cells)]
    seconds = [run["seconds"] for runs in found.values() for run in runs]
    known = [value for value in seconds if value is not None]
    running = sum(cell.state == "running" for cell in states)
    left = sum(cell.state != "done" for cell in states)
    return GridProgress(
        f"{' '.join(overrides)}, {root}",
        states,
        running,
        fmean(known) * left / running if known and running else None,
        shlex.join(wanted.command),
    )


def _state(number: int, cell: Cell, runs: Sequence[Row], root: Path) -> CellStatus:
    """Return the state of a cell by its best run: a finished one, else one that is under way."""
    rank = list(CELL_COLORS).index
    states = (_state_of_run(cell, run, root) for run in runs)
    found = min(states, key=lambda one: rank(one.state), default=Found("missing"))
    return CellStatus.of(number, cell.own, found)


def _state_of_run(cell: Cell, run: Row, root: Path) -> Found:
    path = root / run["path"]
    if run["state"] == "damaged":
        return Found("failed", run["reason"], path=str(path))
    if run["state"] == "finished" and holds_tables(root):
        return Found("done", path=str(path))
    found = state_of(path)
    if found.state == "done" and (changed := _reason_stale(cell, run["version"], found.since or 0.0)):
        return replace(found, state="stale", reason=changed)
    return found


def _reason_stale(cell: Cell, version: int, began: float) -> str | None:
    """Return what has changed since a run began; None if nothing has."""
    now = EXPERIMENT_VERSIONS.get(cell.entry)
    if now is not None and version != now:
        return f"computed by version {version} of the experiment; it is {now} now"
    settings = settings_of(cell.config)
    files = [value for name, value in settings.items() if name in FILE_SETTINGS and isinstance(value, str)]
    newer = [name for name in files if os.path.isfile(name) and os.path.getmtime(name) > began]  # noqa: PTH113, PTH204
    return f"changed since: {', '.join(newer)}" if newer else None
