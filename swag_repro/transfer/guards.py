"""When a pair has gone astray, and when it has come to its end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.linalg import vector_norm

from swag_repro.errors import SettingError, check_choice

WATCHED = ("loss", "image")


@dataclass(frozen=True, kw_only=True)
class Guards:
    """When a pair has gone astray, and how often it may start again.

    A loss that isn't finite, or stays above `explosion` times the best one for `patience` evaluations, sends
    a pair back to its best image. From there L-BFGS goes on under the strong Wolfe conditions, Adam with its
    learning rate times `step_scale`; each further time, either's step is scaled down so.

    Attributes:
        explosion: factor, above 1.
        patience: evaluations in a row; at least 1.
        recoveries: before a pair is given up as `diverged`; 0 or more.
        step_scale: in (0, 1).

    Raises:
        SettingError: a value is outside its range.
    """

    explosion: float
    patience: int
    recoveries: int
    step_scale: float

    def __post_init__(self) -> None:
        rules = {
            "explosion": (self.explosion > 1, "should be above 1"),
            "patience": (self.patience >= 1, "should be at least 1"),
            "recoveries": (self.recoveries >= 0, "should be at least 0"),
            "step_scale": (0 < self.step_scale < 1, "should be between 0 and 1"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise SettingError(f"guards.{name}", rule, getattr(self, name), "Leave it at its default.")


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Ends a pair that changes little from check to check (Demystifying, section 4.1).

    Of a loss that draws samples the mean since the last check is compared, else its newest value.

    Attributes:
        change: above 0; None for never. Of a loss as part of that at the last check, `|l − l'| / |l'|`; of an
            image v, as its canvas writes it, `‖v − v'‖ / ‖v‖`. The paper's is 0.005.
        every: iterations between checks, at least 1. The paper doesn't say; the authors' code checks the
            image after each.
        of: `loss`, as the paper has it, or `image`, as its authors' code.

    Raises:
        SettingError: a value is outside its range.
    """

    change: float | None = None
    every: int
    of: str

    def __post_init__(self) -> None:
        check_choice("stop.of", self.of, WATCHED)
        if self.change is not None and not 0 < self.change < math.inf:
            rule = "should be above 0, or null"
            raise SettingError("stop.change", rule, self.change, "The paper's is 0.005.")
        if self.every < 1:
            raise SettingError("stop.every", "should be at least 1", self.every, "50 is a good number.")


@dataclass
class Trend:
    """Losses of one pair since its last check, or its image."""

    summed: float | Tensor = 0.0
    count: int = 0
    checked: int = 0
    level: float | Tensor | None = None

    def settled(self, plateau: Plateau, iterations: int, seen: float | Tensor, *, mean: bool) -> bool:
        """Takes one more loss or image; whether at a check it has changed less than the plateau allows."""
        self.summed, self.count = (self.summed + seen, self.count + 1) if mean else (seen, 1)
        if plateau.change is None or iterations < self.checked + plateau.every:
            return False
        before, self.level = self.level, self.summed / self.count
        self.summed, self.count, self.checked = 0.0, 0, iterations
        return before is not None and _moved_little(before, self.level, plateau.change)


def _moved_little(before: Any, now: Any, change: float) -> bool:
    """Whether a number or a tensor has; each relative to what its source divides by."""
    if isinstance(now, Tensor):
        return bool(vector_norm(now - before) < change * vector_norm(now))
    return bool(abs(now - before) < change * abs(before))
