"""Line searches, which turn losses and slopes into the next step or the accepted point.

Source: Nocedal & Wright, *Numerical Optimization*, 2nd ed., 2006 (NW06); bounds as in `torch.optim.LBFGS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

LineSearch = Literal["none", "armijo", "strong_wolfe"]


_SUFFICIENT_DECREASE = 1e-4  # c1 of NW06 (3.4), and torch's


_CURVATURE = 0.9  # c2 of NW06 (3.5b), and torch's


_EXTRA_TRIALS = 25  # evaluations of one search beyond its first: torch's max_ls


class Point(NamedTuple):
    """An evaluation along a search direction: `loss` φ(t) and `slope` φ'(t) at step t.

    A loss or slope that is not finite is recorded as an infinite loss, which no rule accepts.
    """

    step: float
    loss: float
    slope: float
    gradient: Tensor


def cubic_minimum(near: Point, far: Point, lower: float, upper: float) -> float:
    """Return the minimiser in [lower, upper] of the cubic through two points (NW06, eq. 3.59).

    The cubic has the points' losses and slopes. Return the interval's middle if the cubic has no minimum, and
    a tenth of the way to `far` if the loss there is infinite.
    """
    if not math.isfinite(far.loss):
        return near.step + 0.1 * (far.step - near.step)
    left, right = (near, far) if near.step <= far.step else (far, near)
    width = right.step - left.step
    d1 = left.slope + right.slope - 3 * (right.loss - left.loss) / width
    square = d1 * d1 - left.slope * right.slope
    d2 = math.sqrt(square) if 0 <= square < math.inf else math.nan
    divisor = right.slope - left.slope + 2 * d2
    if math.isnan(divisor) or divisor == 0:
        return (lower + upper) / 2
    minimum = right.step - width * (right.slope + d2 - d1) / divisor
    return min(max(minimum, lower), upper)


@dataclass
class Search:
    """A search along one direction from `start`, whose step is 0. `step` is the step to try next.

    Steps that differ by less than `resolution` count as equal.
    """

    start: Point
    step: float
    resolution: float
    trials: int = 0

    def observe(self, trial: Point) -> Point | None:
        """Return the accepted point, `start` itself after a failure, or None while the search goes on."""
        raise NotImplementedError

    def decreases(self, trial: Point, slack: float = 0.0) -> bool:
        """Return whether Armijo's rule holds (NW06, eq. 3.4)."""
        goal = self.start.loss + _SUFFICIENT_DECREASE * trial.step * self.start.slope
        return trial.loss <= goal + slack


@dataclass
class _FixedStep(Search):
    """A search that takes the first step, whatever its loss."""

    def observe(self, trial: Point) -> Point | None:
        return trial


@dataclass
class _Armijo(Search):
    """A backtracking search (NW06, algorithm 3.1).

    The step shrinks to the cubic's minimum until Armijo's rule holds. Losses may rise by one unit of
    rounding; without this the search would fail on noise close to a minimum.
    """

    def observe(self, trial: Point) -> Point | None:
        noise = torch.finfo(trial.gradient.dtype).eps * abs(self.start.loss)
        if self.decreases(trial, slack=noise):
            return trial
        step = cubic_minimum(self.start, trial, 0.1 * trial.step, 0.5 * trial.step)
        if self.trials == _EXTRA_TRIALS or step < self.resolution:
            return self.start
        self.trials += 1
        self.step = step
        return None


@dataclass
class _StrongWolfe(Search):
    """A search that brackets and then zooms (NW06, algorithms 3.5, 3.6), in torch's order, with its bounds.

    `low` is the best point so far (while bracketing, the last point). `high` is the bracket's other end.
    """

    low: Point | None = None
    high: Point | None = None
    stalled: bool = False

    def observe(self, trial: Point) -> Point | None:
        low = self.low or self.start
        return self._bracket(low, trial) if self.high is None else self._zoom(low, self.high, trial)

    def _bracket(self, last: Point, trial: Point) -> Point | None:
        if self.trials == _EXTRA_TRIALS:
            return trial if trial.loss < self.start.loss else self.start
        if not self.decreases(trial) or (self.trials > 1 and trial.loss >= last.loss):
            return self._divide(*_by_loss(last, trial))
        if self._is_flat(trial):
            return trial
        if trial.slope >= 0:
            return self._divide(*_by_loss(last, trial))
        least = trial.step + 0.01 * (trial.step - last.step)
        self._try(cubic_minimum(last, trial, least, 10 * trial.step))
        self.low = trial
        return None

    def _zoom(self, low: Point, high: Point, trial: Point) -> Point | None:
        if not self.decreases(trial) or trial.loss >= low.loss:
            return self._divide(*_by_loss(low, trial))
        if self._is_flat(trial):
            return trial
        turned = trial.slope * (high.step - low.step) >= 0
        return self._divide(trial, low if turned else high)

    def _divide(self, low: Point, high: Point) -> Point | None:
        """Try a step inside the bracket, or accept `low` if no room or no trial is left."""
        self.low, self.high = low, high
        left, right = sorted((low.step, high.step))
        if self.trials == _EXTRA_TRIALS or right - left <= self.resolution:
            return low
        self._try(self._inside(cubic_minimum(low, high, left, right), left, right))
        return None

    def _inside(self, step: float, left: float, right: float) -> float:
        """Return the step, moved a tenth of the bracket away from an end if it is close a second time."""
        margin = 0.1 * (right - left)
        close = min(right - step, step - left) < margin
        push = close and (self.stalled or not left < step < right)
        self.stalled = close and not push
        if not push:
            return step
        return right - margin if right - step < step - left else left + margin

    def _is_flat(self, trial: Point) -> bool:
        """Return whether the strong curvature condition holds (NW06, eq. 3.7b)."""
        return abs(trial.slope) <= -_CURVATURE * self.start.slope

    def _try(self, step: float) -> None:
        self.step = step
        self.trials += 1


def _by_loss(first: Point, second: Point) -> tuple[Point, Point]:
    return (first, second) if first.loss <= second.loss else (second, first)


SEARCHES: dict[LineSearch, type[Search]] = {
    "none": _FixedStep,
    "armijo": _Armijo,
    "strong_wolfe": _StrongWolfe,
}
