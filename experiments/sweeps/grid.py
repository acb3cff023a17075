"""The cells of a sweep: the product of the values of each key."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Grid:
    """Cells in the order in which Hydra counts them: the last key changes fastest.

    Attributes:
        axes: For each key its overrides, one or more.
    """

    axes: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return math.prod(map(len, self.axes))

    def __getitem__(self, number: int) -> list[str]:
        """Return the overrides of a cell, counted from 0."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        chosen = []
        for axis in reversed(self.axes):
            number, index = divmod(number, len(axis))
            chosen.append(axis[index])
        return chosen[::-1]

    @cached_property
    def swept(self) -> tuple[int, ...]:
        """The indices of the axes that tell cells apart; all axes if there is only one cell."""
        several = tuple(index for index, axis in enumerate(self.axes) if len(axis) > 1)
        return several or tuple(range(len(self.axes)))

    def own(self, number: int) -> list[str]:
        """Return the overrides that tell a cell from the others, as typed."""
        cell = self[number]
        return [as_typed(cell[index]) for index in self.swept]

    def samples(self, wanted: Callable[[str], bool]) -> list[int]:
        """Return the first cell, and each cell in which a wanted override occurs for the first time."""
        steps = [math.prod(map(len, self.axes[index + 1 :])) for index in range(len(self.axes))]
        others = (
            step * index
            for axis, step in zip(self.axes, steps, strict=True)
            for index in range(1, len(axis))
            if wanted(axis[index])
        )
        return [0, *others]


def as_typed(override: str) -> str:
    r"""Return an override without the escapes that Hydra's sweeper adds: `$\{a.b\}` becomes `${a.b}`."""
    return re.sub(r"\\([\\()\[\]{}:=, \t])", r"\1", override)


def common(cells: Sequence[Sequence[str]]) -> frozenset[str]:
    """Return the overrides that all of these cells share."""
    return frozenset.intersection(*map(frozenset, cells)) if cells else frozenset()
