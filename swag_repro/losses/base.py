"""What all losses have in common: features of a network's taps in, one number for each image and part out.

Losses are float64: they may lie near the end of float32's range (of SWAG's σ, squared Gram differences are
near 1e-30), and line searches compare them closely. Each image has its own; no value mixes two of a batch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.linalg import vecdot
from torch.nn import functional as F

from swag_repro.errors import SettingError

Features = Mapping[str, Tensor]
"""Tap → activations `(A, D, H, W)`."""

PIXELS = "pixels"
"""The images themselves, `(A, 3, H, W)`, among the features of a loss that reads them."""


@dataclass(frozen=True)
class Look:
    """How an evaluation looks at its A images, beside their features.

    Attributes:
        draws: A numbers; a loss that samples takes equal samples for equal numbers, whoever the neighbours.
        mask: `(A, 1, H, W)` in [0, 1], where the style is wanted; None for everywhere.
    """

    draws: Sequence[int]
    mask: Tensor | None = None

    def shares(self, size: Sequence[int]) -> Tensor | None:
        """How much each position of a layer of this size counts: `(A, M)`, sums of 1; None for all alike."""
        if self.mask is None:
            return None
        height, width = size
        pooled = F.adaptive_avg_pool2d(self.mask, (height, width)).flatten(1)
        return pooled / pooled.sum(dim=1, keepdim=True)


class Loss(Protocol):
    """Compares features with those of a reference image, part by part; one file of `conf/loss`."""

    @property
    def stochastic(self) -> bool:
        """Whether `Look.draws` matter; then it needs an optimiser that expects noise."""

    @property
    def reads_pixels(self) -> bool:
        """Whether its features are to hold `PIXELS`."""

    def weights(self, taps: Mapping[str, float], content_weight: float) -> dict[str, float]:
        """Each part's name and weight, given the weights of the taps and of the content term."""

    def target(self, features: Features) -> Any:
        """What to keep of one reference image's features `(1, D, H, W)`."""

    def __call__(self, features: Features, targets: Sequence[Any], look: Look) -> dict[str, Tensor]:
        """Part → `(A,)` float64, from features `(A, D, H, W)`; target i belongs to image i."""


class LayerLoss(ABC):
    """A loss that takes each layer by itself, as a set of M columns of D features; its parts are the taps."""

    reads_pixels: ClassVar[bool] = False
    least_positions: ClassVar[int] = 1

    @property
    def stochastic(self) -> bool:
        """Not unless a subclass says so."""
        return False

    def weights(self, taps: Mapping[str, float], content_weight: float) -> dict[str, float]:  # noqa: ARG002
        """The taps' own."""
        return dict(taps)

    def target(self, features: Features) -> dict[str, Any]:
        """What to keep of each layer."""
        return {tap: self.keep(self._matrix(tap, layer)) for tap, layer in features.items()}

    def __call__(self, features: Features, targets: Sequence[Any], look: Look) -> dict[str, Tensor]:
        """Tap → `(A,)` float64."""
        return {
            tap: self.distance(
                self._matrix(tap, layer),
                [target[tap] for target in targets],
                shares=look.shares(layer.shape[2:]),
                draws=look.draws,
            )
            for tap, layer in features.items()
        }

    def _matrix(self, tap: str, layer: Tensor) -> Tensor:
        matrix = layer.flatten(2)
        if matrix.shape[2] < self.least_positions:
            raise SettingError(
                "images.size",
                f"should leave {tap} at least {self.least_positions} positions for {type(self).__name__}",
                matrix.shape[2],
                "Choose a larger images.size, or shallower layers.",
            )
        return matrix

    @abstractmethod
    def keep(self, matrix: Tensor) -> Any:
        """What to keep of a layer of one reference image, `(1, D, M)`."""

    @abstractmethod
    def distance(
        self, matrix: Tensor, kept: Sequence[Any], *, shares: Tensor | None, draws: Sequence[int]
    ) -> Tensor:
        """`(A,)` float64.

        Args:
            matrix: `(A, D, M)`.
            kept: of the A reference images, by `keep`.
            shares: how much each position counts, `(A, M)` with sums of 1; None for all alike.
            draws: A numbers, see `Look`.
        """


def squares(matrices: Tensor) -> Tensor:
    """Sum of squares of each image: `(A, ...)` → `(A,)` float64."""
    flat = matrices.flatten(1)
    summed: Tensor = vecdot(flat, flat)
    return summed.double()


def column(numbers: Tensor, like: Tensor) -> Tensor:
    """`(A,)` → `(A, 1, 1)`, in the type of the matrices that it is to scale."""
    return numbers.to(like.dtype).view(-1, 1, 1)


def total_variation(images: Tensor) -> Tensor:
    """Mean squared difference of vertical neighbours plus that of horizontal ones.

    Args:
        images: `(B, 3, H, W)`.

    Returns:
        `(B,)` float64; 0 for a side of one pixel.
    """
    steps = (images.diff(dim=-2), images.diff(dim=-1))
    return sum(
        (step.square().mean(dim=(1, 2, 3)).double() for step in steps if step.numel()),
        start=torch.zeros(len(images), dtype=torch.float64, device=images.device),
    )


def check_weight(setting: str, weight: float) -> None:
    """Raises a `SettingError` unless the weight is a finite number from 0."""
    if not (isinstance(weight, int | float) and 0 <= weight < math.inf):
        raise SettingError(setting, "should be a number from 0", repr(weight), "0 leaves the term out.")
