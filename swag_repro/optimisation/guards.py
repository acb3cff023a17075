"""The rules that find a pair's divergence and its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.linalg import vector_norm

from swag_repro.errors import check_choice, check_number

WATCHED = ("loss", "image")


@dataclass(frozen=True, kw_only=True)
class Guards:
    """The limits at which a pair has diverged, and the number of times that it may start again.

    A pair goes back to its best image if its loss isn't finite, or stays above `explosion` times the best one
    for `patience` evaluations. Then L-BFGS goes on under the strong Wolfe conditions, and the other
    optimisers go on with their learning rate times `step_scale`. Each further time the step of any optimiser
    is scaled by `step_scale`.

    Attributes:
        explosion: factor on the best loss, above 1.
        patience: evaluations in a row, at least 1.
        recoveries: times that a pair may go back before it is `diverged`; 0 or more.
        step_scale: factor on the step, in (0, 1).

    Raises:
        SettingError: a value is outside its range.
    """

    explosion: float
    patience: int
    recoveries: int
    step_scale: float

    def __post_init__(self) -> None:
        check_number("guards.explosion", self.explosion, above=1)
        check_number("guards.patience", self.patience, least=1, whole=True)
        check_number("guards.recoveries", self.recoveries, least=0, whole=True)
        check_number("guards.step_scale", self.step_scale, above=0, below=1)


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """The rule that ends a pair that changes little from check to check (Demystifying, section 4.1).

    A loss that draws samples is compared by its mean since the last check, any other by its newest value.

    Attributes:
        change: a smaller change ends a pair; above 0, None never ends it. The change of a loss is
            `|l − l'| / |l'|`, where l' is the loss at the last check. The change of an image v, as its canvas
            writes it, is `‖v − v'‖ / ‖v‖`. The paper has 0.005.
        every: iterations between checks, at least 1. The paper doesn't say; the authors' code checks the
            image after each iteration.
        of: `loss`, as in the paper, or `image`, as in the authors' code.

    Raises:
        SettingError: a value is outside its range.
    """

    change: float | None = None
    every: int
    of: str

    def __post_init__(self) -> None:
        check_choice("stop.of", self.of, WATCHED)
        if self.change is not None:
            check_number("stop.change", self.change, above=0, remedy="null never ends a pair early.")
        check_number("stop.every", self.every, least=1, whole=True)


@dataclass
class Trend:
    """The losses of one pair since its last check, or its image."""

    summed: float | Tensor = 0.0
    count: int = 0
    checked: int = 0
    level: float | Tensor | None = None

    def settled(self, plateau: Plateau, iterations: int, seen: float | Tensor, *, mean: bool) -> bool:
        """Take one more loss or image; return whether a check finds less change than the plateau's."""
        self.summed, self.count = (self.summed + seen, self.count + 1) if mean else (seen, 1)
        if plateau.change is None or iterations < self.checked + plateau.every:
            return False
        before, self.level = self.level, self.summed / self.count
        self.summed, self.count, self.checked = 0.0, 0, iterations
        return before is not None and _moved_little(before, self.level, plateau.change)


def _moved_little(before: Any, now: Any, change: float) -> bool:
    """Return whether a number or tensor moved by less than `change`, relative as its source defines it."""
    if isinstance(now, Tensor):
        return bool(vector_norm(now - before) < change * vector_norm(now))
    return bool(abs(now - before) < change * abs(before))
