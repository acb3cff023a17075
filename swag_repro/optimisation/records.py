"""The records of a pair and of a step, and the rules that find a pair's divergence and its end."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

from torch import Tensor
from torch.linalg import vector_norm

from swag_repro.errors import SettingError, check_choice, check_number


class TooLargeError(SettingError):
    """The error that images, network and optimiser do not fit in memory."""


class PairStatus(StrEnum):
    """The status of a pair."""

    RUNNING = "running"
    FINISHED = "finished"
    UNCHANGED = "unchanged"
    DIVERGED = "diverged"


class Losses(NamedTuple):
    """The terms of one image's objective; all but `total` are without their weights."""

    content: float
    style: float
    total_variation: float
    total: float


@dataclass(frozen=True)
class PairRecord:
    """The state of one pair after a step.

    Attributes:
        losses: at the last evaluation; in the middle of a line search they may lie above the iterate's.
        best: the losses of least total so far; infinite before a finite one. If the newest image is returned,
            they are that image's losses at the end; if the objective draws samples, they are means over some.
        first: the losses at the start.
        iterations: steps that its optimiser has accepted.
        evaluations: evaluations of its loss and gradient.
        recoveries: times that a guard sent it back to its best image.
        overshoots: evaluations in a row with an exploding loss.
        status: `running`, or how it ended: `finished`; `unchanged`, if its loss fell by less than 0.1 % or
            its pixels moved by less than half a grey level on average; `diverged`, if guards couldn't help.
        reason: why it ended; None before the end.
    """

    losses: Losses
    best: Losses
    first: Losses
    iterations: int = 0
    evaluations: int = 0
    recoveries: int = 0
    overshoots: int = 0
    status: PairStatus = PairStatus.RUNNING
    reason: str | None = None


UNKNOWN_LOSSES = Losses(math.nan, math.nan, math.nan, math.inf)


@dataclass(frozen=True)
class Step:
    """One evaluation of every pair that was under way.

    Attributes:
        step: most iterations of any pair.
        evaluations: most evaluations of any pair.
        pairs: one record per pair, including those that have ended.
        seconds: time spent computing since the start, over all resumptions.
    """

    step: int
    evaluations: int
    pairs: tuple[PairRecord, ...]
    seconds: float


def plain_record(pair: PairRecord) -> dict[str, Any]:
    """Return a record in plain containers, as a checkpoint takes it."""
    values = {field.name: getattr(pair, field.name) for field in fields(pair)}
    plain = {name: tuple(value) for name, value in values.items() if isinstance(value, Losses)}
    return values | plain | {"status": str(pair.status)}


def restored(**saved: Any) -> PairRecord:
    """Return the record that `plain_record` wrote."""
    losses = {name: Losses(*saved[name]) for name in ("losses", "best", "first")}
    return PairRecord(**{**saved, **losses, "status": PairStatus(saved["status"])})


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
