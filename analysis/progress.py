"""The progress of a grid's cells, for people and for machines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from experiments.sweeps.progress import duration
from experiments.sweeps.states import Found

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
        """Whether all cells are done."""
        return self.counts.get("done", 0) == len(self.cells)

    def to_plain(self) -> dict[str, Any]:
        """Return the progress as plain values, for JSON."""
        return {
            "what": self.what,
            "complete": self.complete,
            "counts": self.counts,
            "workers": self.workers,
            "seconds_left": self.seconds_left,
            "command": self.command,
            "cells": [
                {name: value for name, value in asdict(cell).items() if value is not None}
                for cell in self.cells
            ],
        }

    def shown(self) -> RenderableType:
        """Return the progress for a terminal."""
        parts: list[RenderableType] = [Text(self.what, style="bold"), self._bar(), *self._grid()]
        now = time.time()
        for state in CELL_COLORS:
            if state not in ("done", "missing"):
                parts.extend(self._listed(state, now))
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

    def _listed(self, state: str, now: float) -> Iterator[Text]:
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
