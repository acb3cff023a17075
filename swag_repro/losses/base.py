"""The base of all losses, which turn features of a network's taps into a number for each image and part.

Losses are float64: they may lie near the end of float32's range (squared Gram differences of SWAG's σ are
near 1e-30), and line searches compare them closely. No value mixes two images of a batch.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.linalg import vecdot
from torch.nn import functional as F

from swag_repro.errors import SettingError, check_choice, check_number
from swag_repro.statistics import Features

PIXELS = "pixels"
"""The key of the images themselves, `(A, 3, H, W)`, in the features of a loss that reads them."""


@dataclass(frozen=True)
class LossContext:
    """The draws and masks of an evaluation of A images, which a loss reads besides their features.

    Attributes:
        draws: A numbers; a loss that samples takes equal samples for equal numbers, in any batch.
        mask: `(A, 1, H, W)` in [0, 1], 1 where the style is wanted; None for everywhere.
    """

    draws: Sequence[int]
    mask: Tensor | None = None

    def position_weights(self, size: Sequence[int]) -> Tensor | None:
        """Return each position's share in a layer of this size, `(A, M)`, sums of 1; None for all alike."""
        if self.mask is None:
            return None
        height, width = size
        pooled = F.adaptive_avg_pool2d(self.mask, (height, width)).flatten(1)
        return pooled / pooled.sum(dim=1, keepdim=True)


@runtime_checkable
class Loss(Protocol):
    """A comparison of features with those of a reference image, part by part; a file of `conf/loss`."""

    @property
    def stochastic(self) -> bool:
        """True if the loss depends on `LossContext.draws`; if so, the optimiser must expect noise."""

    @property
    def reads_pixels(self) -> bool:
        """True if its features must hold `PIXELS`."""

    def weights(self, taps: Mapping[str, float], content_weight: float) -> dict[str, float]:
        """Return each part's name and weight, given the weights of the taps and of the content term."""

    def target(self, features: Features) -> Any:
        """Return what the loss keeps of one reference image's features `(1, D, H, W)`."""

    def __call__(self, features: Features, targets: Sequence[Any], context: LossContext) -> dict[str, Tensor]:
        """Return part → `(A,)` float64, from features `(A, D, H, W)`; target i belongs to image i."""


class LayerLoss(ABC):
    """A loss that takes each layer by itself, as a set of M columns of D features; its parts are the taps."""

    reads_pixels: ClassVar[bool] = False
    least_positions: ClassVar[int] = 1

    @property
    def stochastic(self) -> bool:
        """False, unless a subclass says otherwise."""
        return False

    def weights(self, taps: Mapping[str, float], content_weight: float) -> dict[str, float]:  # noqa: ARG002
        """Return the taps' own weights."""
        return dict(taps)

    def target(self, features: Features) -> dict[str, Any]:
        """Return what the loss keeps of each layer."""
        return {tap: self.keep(self._matrix(tap, layer)) for tap, layer in features.items()}

    def __call__(self, features: Features, targets: Sequence[Any], context: LossContext) -> dict[str, Tensor]:
        """Return tap → `(A,)` float64."""
        return {
            tap: self.distance(
                self._matrix(tap, layer),
                [target[tap] for target in targets],
                shares=context.position_weights(layer.shape[2:]),
                draws=context.draws,
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
        """Return what the loss keeps of a layer `(1, D, M)` of one reference image."""

    @abstractmethod
    def distance(
        self, matrix: Tensor, kept: Sequence[Any], *, shares: Tensor | None, draws: Sequence[int]
    ) -> Tensor:
        """Return the loss of each image, `(A,)` float64.

        Args:
            matrix: `(A, D, M)`.
            kept: what `keep` returned for each of the A reference images.
            shares: how much each position counts, `(A, M)` with sums of 1; None for all alike.
            draws: A numbers, see `LossContext`.
        """


Normalizers = Mapping[str, Callable[[int, int], float]]
"""Name → the factor of a loss, a function of D and M."""


@dataclass(frozen=True, kw_only=True)
class NormalizedLoss(LayerLoss):
    """A distance times one of several factors.

    Attributes:
        normalizer: a name in `NORMALIZERS`.

    Raises:
        SettingError: an unknown normaliser.
    """

    NORMALIZERS: ClassVar[Normalizers]

    normalizer: str

    def __post_init__(self) -> None:
        check_choice(f"normalizer of {type(self).__name__}", self.normalizer, self.NORMALIZERS)

    def normalized(self, distance: Tensor, channels: int, positions: int) -> Tensor:
        """Return the distance times its factor."""
        return distance * self.NORMALIZERS[self.normalizer](channels, positions)


class Fusion:
    """A weighted sum `Σ_i w_i · loss_i` (Demystifying Neural Style Transfer, IJCAI 2017, section 4.4).

    Its parts are `name/part`: an objective balances each by itself.

    Args:
        losses: name → loss, of any kind. A loss of weight 0 is not computed.
        weights: one for each loss, in their order; 0 or more, scaled to a sum of 1.

    Raises:
        SettingError: no loss, another number of weights, or weights that are negative, not finite, or all 0.
    """

    def __init__(self, *, losses: Mapping[str, Loss], weights: Sequence[float]) -> None:
        _check(losses, weights)
        total = math.fsum(weights)
        self._weighted = {
            name: (loss, weight / total)
            for (name, loss), weight in zip(losses.items(), weights, strict=True)
            if weight > 0
        }

    @property
    def stochastic(self) -> bool:
        """True if any of the losses is stochastic."""
        return any(loss.stochastic for loss, _ in self._weighted.values())

    @property
    def reads_pixels(self) -> bool:
        """True if any of the losses reads pixels."""
        return any(loss.reads_pixels for loss, _ in self._weighted.values())

    def weights(self, taps: Mapping[str, float], content_weight: float) -> dict[str, float]:
        """Return `name/part` → the loss's weight times the part's."""
        return {
            f"{name}/{part}": weight * of_part
            for name, (loss, weight) in self._weighted.items()
            for part, of_part in loss.weights(taps, content_weight).items()
        }

    def target(self, features: Features) -> dict[str, Any]:
        """Return what each loss keeps."""
        return {name: loss.target(_read_by(loss, features)) for name, (loss, _) in self._weighted.items()}

    def __call__(
        self, features: Features, targets: Sequence[Mapping[str, Any]], context: LossContext
    ) -> dict[str, Tensor]:
        """Return `name/part` → `(A,)` float64, without the weights."""
        return {
            f"{name}/{part}": found
            for name, (loss, _) in self._weighted.items()
            for part, found in loss(
                _read_by(loss, features), [target[name] for target in targets], context
            ).items()
        }


def _read_by(loss: Loss, features: Features) -> Features:
    if loss.reads_pixels:
        return features
    return {tap: layer for tap, layer in features.items() if tap != PIXELS}


def _check(losses: Mapping[str, Loss], weights: Sequence[float]) -> None:
    if not losses:
        rule, remedy = "should name a loss", "Add one: +loss@objective.style.losses.bn=bn"
        raise SettingError("losses of Fusion", rule, "none", remedy)
    if len(weights) != len(losses):
        rule = f"should be one for each of {list(losses)}"
        raise SettingError("weights of Fusion", rule, list(weights), "Give as many as losses.")
    for name, weight in zip(losses, weights, strict=True):
        check_number(f"weight of {name} in Fusion", weight, least=0)
    if not math.fsum(weights) > 0:
        raise SettingError("weights of Fusion", "should have a sum above 0", list(weights), "Raise one.")


def squares(matrices: Tensor) -> Tensor:
    """Return the sum of squares of each image: `(A, ...)` → `(A,)` float64."""
    flat = matrices.flatten(1)
    summed: Tensor = vecdot(flat, flat)
    return summed.double()


def column(numbers: Tensor, like: Tensor) -> Tensor:
    """Return numbers `(A,)` as `(A, 1, 1)`, in the type of the matrices that they will scale."""
    return numbers.to(like.dtype).view(-1, 1, 1)


def total_variation(images: Tensor) -> Tensor:
    """Return the mean squared difference of vertical neighbours plus that of horizontal ones.

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


def generator(*numbers: int) -> torch.Generator:
    """Return a generator seeded by these integers (a seed, a draw), which may be negative.

    Other integers give independent random numbers. The generator is on the CPU, so that samples are the same
    for all devices.
    """
    digest = hashlib.blake2b(repr([int(number) for number in numbers]).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
