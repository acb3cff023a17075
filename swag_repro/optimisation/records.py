"""The records of a pair and of a step."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

from swag_repro.errors import SettingError


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
