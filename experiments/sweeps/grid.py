"""The cells of a sweep: the product of what each key is swept over."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf


@dataclass(frozen=True)
class Grid:
    """Cells in the order in which Hydra counts them: the last key changes fastest.

    Attributes:
        axes: for each key the overrides that it takes, one after the other; at least one.
    """

    axes: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, hydra: DictConfig) -> Grid:
        """The cells of a multirun.

        Args:
            hydra: The `hydra` node of a config composed for it: `sweeper.params` of the experiment's file and
                the command line's overrides, which win.

        Raises:
            HydraException: a key is swept over what Hydra's own sweeper can't list.
        """
        plain: Any = OmegaConf.to_container(hydra, resolve=False)  # interpolations are each cell's to resolve
        params = [f"{key}={value}" for key, value in (plain["sweeper"]["params"] or {}).items()]
        parsed = _parser().parse_overrides([*params, *plain["overrides"]["task"]])
        last = {override.get_key_element(): override for override in parsed}  # at the place of the first
        # One key at a time: the product of all may be larger than memory.
        alone = (BasicSweeper.split_arguments([override], None)[0] for override in last.values())
        return cls(tuple(tuple(override for [override] in axis) for axis in alone))

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


def _parser() -> OverridesParser:
    """With the means to list the files that a `glob` stands for."""
    return OverridesParser.create(GlobalHydra.instance().config_loader())


def as_typed(override: str) -> str:
    r"""An override without the escapes that Hydra's sweeper puts before signs: `$\{a.b\}` is `${a.b}`."""
    return re.sub(r"\\([\\()\[\]{}:=, \t])", r"\1", override)


def common(cells: Sequence[Sequence[str]]) -> frozenset[str]:
    """The overrides that all of these cells have."""
    return frozenset.intersection(*map(frozenset, cells)) if cells else frozenset()
