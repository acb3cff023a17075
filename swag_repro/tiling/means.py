"""Losses and smoothings of a layer that comes in parts: functions of means over positions, and a softmax."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from swag_repro.losses import (
    CONTENT_NORMALIZERS,
    NORMALIZERS,
    BatchNormLoss,
    ContentLoss,
    GramLoss,
    Loss,
    RobustGramLoss,
    content_distance,
)
from swag_repro.losses.base import squares
from swag_repro.losses.bn import BN_NORMALIZERS, moments_distance
from swag_repro.smoothing import Log1p, NoSmoothing, Power, Scale, Smoothing, Softmax, at_least_float32
from swag_repro.tiling.features import Patch


class Means(ABC):
    """The means of a loss, and how it is computed from them."""

    keeps_positions: ClassVar[bool] = False
    """Whether the loss keeps its own `target` of a reference image's whole layer."""

    @abstractmethod
    def added(self, matrix: Tensor, shares: Tensor | None, kept: Sequence[Any], patch: Patch) -> Tensor:
        """Return what a part of a layer adds to its sums over positions, `(A, ...)`, differentiable.

        Args:
            matrix: `(A, D, m)`.
            shares: how much each position counts, `(A, m)`; None for 1.
            kept: what is kept of the A reference images; empty while it is made.
            patch: where the part lies.
        """

    @abstractmethod
    def distance(self, means: Tensor, kept: Sequence[Any], positions: int) -> Tensor:
        """Return the loss of each image, `(A,)` float64.

        Args:
            means: what `added` gives for a whole layer with shares that sum to 1, `(A, ...)` float64.
            kept: what is kept of the A reference images.
            positions: M.
        """

    def keep(self, means: Tensor) -> Any:
        """Return what `distance` reads of one reference image with means `(1, ...)`; by default the means."""
        return means


@dataclass(frozen=True)
class ContentMeans(Means):
    """Half the squared distance to the same positions of the content image."""

    loss: ContentLoss
    keeps_positions: ClassVar[bool] = True

    def added(self, matrix: Tensor, shares: Tensor | None, kept: Sequence[Any], patch: Patch) -> Tensor:
        """Return half the squared distance of a part, `(A,)`."""
        del shares
        return content_distance(matrix, patch.of(torch.cat(list(kept)) if len(kept) > 1 else kept[0]))

    def distance(self, means: Tensor, kept: Sequence[Any], positions: int) -> Tensor:
        """Return the loss, from half the squared distance per position."""
        return means * positions * CONTENT_NORMALIZERS[self.loss.normalizer](kept[0].numel())


@dataclass(frozen=True)
class GramMeans(Means):
    """Gram matrices per position, `(A, D, D)`."""

    loss: GramLoss | RobustGramLoss

    def added(self, matrix: Tensor, shares: Tensor | None, kept: Sequence[Any], patch: Patch) -> Tensor:
        """Return `Σ_k p_k F_k F_kᵀ`; p is 1 without shares."""
        del kept, patch
        if isinstance(self.loss, GramLoss) and self.loss.precise:
            matrix = matrix.double()
        weighted = matrix if shares is None else matrix * shares.unsqueeze(1).to(matrix.dtype)
        return weighted @ matrix.mT

    def distance(self, means: Tensor, kept: Sequence[Any], positions: int) -> Tensor:
        """Return the loss, from Gram matrices per position."""
        del positions
        wanted = torch.cat(list(kept))
        if isinstance(self.loss, RobustGramLoss):
            return self.loss.between(means, wanted)
        return squares(means - wanted) * NORMALIZERS[self.loss.normalizer](means.shape[1])


@dataclass(frozen=True)
class MomentMeans(Means):
    """Means of values and of their squares, `(A, 2, D)`."""

    loss: BatchNormLoss

    def added(self, matrix: Tensor, shares: Tensor | None, kept: Sequence[Any], patch: Patch) -> Tensor:
        """Return `Σ_k p_k F_ik` and `Σ_k p_k F_ik²`, in float64: their difference is a variance."""
        del kept, patch
        wide = matrix.double()
        weighted = wide if shares is None else wide * shares.unsqueeze(1)
        return torch.stack([weighted.sum(dim=2), (weighted * wide).sum(dim=2)], dim=1)

    def distance(self, means: Tensor, kept: Sequence[Any], positions: int) -> Tensor:
        """Return the loss, from means of values and of their squares."""
        wanted_means, wanted_deviations = zip(*kept, strict=True)
        wanted = (torch.cat(wanted_means), torch.cat(wanted_deviations))
        normalizer = BN_NORMALIZERS[self.loss.normalizer](means.shape[2], positions)
        return moments_distance(*_moments(means), wanted) * normalizer

    def keep(self, means: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations of the style image, `(1, D)` both."""
        return _moments(means)


EPSILON = 1e-14
"""A variance below this part of the mean square is rounding of float64."""


def _moments(means: Tensor) -> tuple[Tensor, Tensor]:
    """Return `μ_i` and `s_i`, `(A, D)` both. A constant channel has the gradient 0."""
    mean, square = means.unbind(dim=1)
    variance = square - mean.square()
    varies = variance > EPSILON * square
    return mean, torch.where(varies, torch.where(varies, variance, 1.0).sqrt(), 0.0)


MEANS: dict[type, Callable[[Any], Means]] = {
    ContentLoss: ContentMeans,
    GramLoss: GramMeans,
    RobustGramLoss: GramMeans,
    BatchNormLoss: MomentMeans,
}
"""Losses that are functions of means; add those of your own."""


def means_of(loss: Loss) -> Means | None:
    """Return the means that a loss is a function of; None if it is none of `MEANS`."""
    return MEANS[type(loss)](loss) if type(loss) in MEANS else None


POINTWISE: set[type] = {NoSmoothing, Scale, Log1p, Power}
"""Smoothings whose values depend on no other position; add those of your own."""


def reads_whole_layers(smoothing: Smoothing) -> bool:
    """Return whether a value may depend on other positions than its own."""
    if isinstance(smoothing, Softmax):
        return smoothing.over == "layer"
    return type(smoothing) not in POINTWISE


@dataclass(frozen=True)
class Shared:
    """The numbers that all values of a layer's softmax share.

    Attributes:
        shift: the largest value, `(B, 1)`; a constant of the gradient.
        total: `Σ e^{(F − shift)/T}`, `(B, 1)` float64.
    """

    shift: Tensor
    total: Tensor


def softmax_weights(softmax: Softmax, features: Tensor, reference: Tensor, shift: Tensor) -> Tensor:
    """Return `e^{(F − shift)/T}` of a layer or a part of it, in the shape of `features` `(B, D, ...)`.

    Args:
        softmax: a softmax over layers.
        features: float32 or wider.
        reference: see `Smoothing`.
        shift: `(B, 1)`, a constant.
    """
    rows = (features.flatten(1) - shift) / softmax.temperature.of(reference)
    return rows.exp().view_as(features)


def shared(softmax: Softmax, features: Tensor, reference: Tensor, before: Shared | None) -> Shared:
    """Return what the values of a layer's parts share, up to this part.

    Args:
        softmax: a softmax over layers.
        features: a part of a layer, `(B, D, ...)`.
        reference: see `Smoothing`.
        before: what the values of the earlier parts share; None at the first part.
    """
    features = at_least_float32(features)
    shift = features.flatten(1).amax(dim=1, keepdim=True)
    shift = shift if before is None else torch.maximum(shift, before.shift)
    total = softmax_weights(softmax, features, reference, shift).flatten(1).sum(dim=1, keepdim=True).double()
    if before is not None:
        total = total + before.total * softmax_weights(softmax, before.shift, reference, shift)
    return Shared(shift, total)


def of_part(softmax: Softmax, features: Tensor, reference: Tensor, whole: Shared, count: int) -> Tensor:
    """Return σ of a part of a layer.

    Args:
        softmax: a softmax over layers.
        features: `(B, D, ...)`.
        reference: see `Smoothing`.
        whole: what the values of the whole layer share; σ can be differentiated by its `total`.
        count: the number of values of a whole image, D·M.
    """
    features = at_least_float32(features)
    unit = whole.total.to(features.dtype) / (count if softmax.mean_one else 1)
    unit = unit.view(-1, *[1] * (features.dim() - 1))
    return softmax_weights(softmax, features, reference, whole.shift) / unit
