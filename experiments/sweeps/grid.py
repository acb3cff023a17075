"""The cells of a sweep: the product of what each key is swept over."""

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
        axes: for each key the overrides that it takes, one after the other; at least one.
    """

    axes: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return math.prod(map(len, self.axes))

    def __getitem__(self, number: int) -> list[str]:
        """The overrides of a cell, counted from 0."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        chosen = []
        for axis in reversed(self.axes):
            number, index = divmod(number, len(axis))
            chosen.append(axis[index])
        return chosen[::-1]

    @cached_property
    def swept(self) -> tuple[int, ...]:
        """Which axes tell cells apart; all, where there is one cell."""
        several = tuple(index for index, axis in enumerate(self.axes) if len(axis) > 1)
        return several or tuple(range(len(self.axes)))

    def own(self, number: int) -> list[str]:
        """The overrides that tell a cell from the others, as they were typed."""
        cell = self[number]
        return [as_typed(cell[index]) for index in self.swept]

    def samples(self, wanted: Callable[[str], bool]) -> list[int]:
        """The first cell, and those in which a wanted override stands for the first time."""
        steps = [math.prod(map(len, self.axes[index + 1 :])) for index in range(len(self.axes))]
        others = (
            step * index
            for axis, step in zip(self.axes, steps, strict=True)
            for index in range(1, len(axis))
            if wanted(axis[index])
        )
        return [0, *others]


def as_typed(override: str) -> str:
    r"""An override without the escapes that Hydra's sweeper puts before signs: `$\{a.b\}` is `${a.b}`."""
    return re.sub(r"\\([\\()\[\]{}:=, \t])", r"\1", override)


def common(cells: Sequence[Sequence[str]]) -> frozenset[str]:
    """The overrides that all of these cells have."""
    return frozenset.intersection(*map(frozenset, cells)) if cells else frozenset()
