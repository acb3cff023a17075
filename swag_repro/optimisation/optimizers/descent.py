"""The descent of one image, whatever the method."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor

Constants = Literal["relative", "torch"]


class StopReason(StrEnum):
    """The reason why an image no longer moves by itself."""

    GRADIENT = "gradient below tolerance"
    CHANGE = "change below tolerance"
    NO_DESCENT = "no direction of descent"
    LINE_SEARCH = "line search failed"
    NON_FINITE = "loss or gradient is not finite"


class ImageProgress(NamedTuple):
    """The progress of one image.

    `loss` belongs to the last accepted iterate, and `best_loss` is the least of all evaluations (both are NaN
    or infinite before the first). `stopped` gives the reason; None while the image is under way.
    """

    iterations: int
    evaluations: int
    loss: float
    best_loss: float
    stopped: str | None


class Descent(ABC):
    """The descent of one flat image (N,). Its vectors are replaced, never written into."""

    settings: ClassVar[tuple[str, ...]] = ("constants",)  # attributes outside the state

    def __init__(self, start: Tensor, lr: float, constants: Constants) -> None:
        self.iterate = start
        self.best = start
        self.lr = lr
        self.constants = constants
        self.unit: float | None = None
        self.loss = math.nan
        self.best_loss = math.inf
        self.iterations = 0
        self.evaluations = 0
        self.stopped: str | None = None

    @property
    def point(self) -> Tensor:
        """The point to evaluate next, (N,)."""
        return self.iterate

    @property
    def position(self) -> Tensor:
        """The newest accepted iterate, (N,), evaluated or not."""
        return self.iterate

    def observe(self, loss: float, gradient: Tensor) -> None:
        """Go on from the evaluation at `point`; the image may keep `gradient` (N,)."""
        if self.unit is None and self.constants == "relative":
            self.unit = _unit(float(gradient.double().abs().mean()))
        told = (loss, gradient) if self.unit is None else (loss / self.unit, gradient / self.unit)
        self.go_on(*told)

    @abstractmethod
    def go_on(self, loss: float, gradient: Tensor) -> None:
        """Go on from the evaluation at `point`, in the image's own unit."""

    @abstractmethod
    def forget(self) -> None:
        """Lose all memory of earlier gradients, and evaluate the iterate anew."""

    def stop(self, reason: str) -> None:
        """Freeze the image where it is."""
        self.stopped = str(reason)

    def count(self, loss: float) -> None:
        """Record an evaluation at `point`; the loss is infinite if it or the gradient was not finite."""
        self.evaluations += 1
        if loss < self.best_loss:
            self.best, self.best_loss = self.point, loss

    @property
    def progress(self) -> ImageProgress:
        """The progress of the image, in the unit of the losses that it was told."""
        loss, best = (value * (self.unit or 1.0) for value in (self.loss, self.best_loss))
        return ImageProgress(self.iterations, self.evaluations, loss, best, self.stopped)

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides what comes next."""
        return {name: value for name, value in vars(self).items() if name not in self.settings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of another descent."""
        vars(self).update(state)


def _unit(magnitude: float) -> float | None:
    """Return the power of 2 below the mean magnitude of a first gradient: dividing by it rounds nothing.

    In this unit an objective and any multiple of it take the same path. Return None if the magnitude is 0 or
    not finite.
    """
    return 2.0 ** math.floor(math.log2(magnitude)) if 0 < magnitude < math.inf else None
