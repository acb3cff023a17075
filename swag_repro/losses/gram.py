"""The losses of Gatys et al. and of SWAG: Gram matrices for style, features themselves for content."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.linalg import vecdot
from torch.nn import functional as F

from swag_repro.errors import check_number
from swag_repro.losses.base import NormalizedLoss, Normalizers, column, squares
from swag_repro.statistics import gram


def takes_style_basis(channels: int, positions: int, style_positions: int) -> bool:
    """Return whether `gram_distance_in_style_basis` takes fewer operations than `D × D` matrices."""
    return positions + 2 * style_positions < channels


def gram_distance_to(features: Tensor, style_gram: Tensor) -> Tensor:
    """Return `‖F Fᵀ − G‖²` of each image.

    Args:
        features: `(B, D, M)`.
        style_gram: `(B, D, D)`, symmetric.

    Returns:
        `(B,)` float64. Its gradient `4 (F Fᵀ − G) F` is one product of matrices; autograd would take two.
    """
    distance: Tensor = _Direct.apply(features, style_gram)
    return distance


def gram_distance_in_style_basis(features: Tensor, basis: Tensor, coordinates: Tensor) -> Tensor:
    """Return `‖F Fᵀ − S Sᵀ‖²` of each image, where `S = Q R` has fewer positions than channels.

    With `A = QᵀF` and the remainder `O = F − QA`, orthogonal to Q, it is
    `‖A Aᵀ − R Rᵀ‖² + 2 ⟨AᵀA, OᵀO⟩ + ‖OᵀO‖²`. This form needs no `D × D` matrix. Unlike the polynomial
    kernel's `‖FᵀF‖² + ‖SᵀS‖² − 2 ‖FᵀS‖²` (Demystifying, eq. 6) it subtracts no large numbers, so it stays as
    exact as the direct form when F comes close to S.

    Args:
        features: `(B, D, M)`.
        basis: Q `(B, D, K)` with orthonormal columns.
        coordinates: R `(B, K, K')`.

    Returns:
        `(B,)` float64.
    """
    distance: Tensor = _InStyleBasis.apply(features, basis, coordinates)
    return distance


class _Context(FunctionCtx):
    saved_tensors: tuple[Tensor, ...]
    unit: Tensor


class _Direct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, features: Tensor, style_gram: Tensor) -> Tensor:
        ctx.unit = _peak_of_gram(style_gram)
        difference = torch.baddbmm(style_gram, features, features.mT, beta=-1)
        difference.div_(column(ctx.unit, difference))
        ctx.save_for_backward(features, difference)
        distance: Tensor = squares(difference) * ctx.unit.square()
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, upstream: Tensor) -> tuple[Tensor, None]:
        features, difference = ctx.saved_tensors
        slope = column(4 * upstream * ctx.unit, features)
        # Rows put channels side by side in memory, as convolutions prefer and as the features have them.
        return (features.mT @ difference).mul_(slope).mT, None


class _InStyleBasis(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, features: Tensor, basis: Tensor, coordinates: Tensor) -> Tensor:
        style_gram = gram(coordinates)
        ctx.unit = _peak_of_gram(style_gram)
        unit = column(ctx.unit, features)
        inside = basis.mT @ features
        outside = torch.baddbmm(features, basis, inside, alpha=-1)
        difference = torch.baddbmm(style_gram, inside, inside.mT, beta=-1) / unit
        inner, outer = gram(inside.mT) / unit, gram(outside.mT) / unit
        ctx.save_for_backward(basis, inside, outside, difference, inner, outer)
        cross = vecdot(inner.flatten(1), outer.flatten(1)).double()
        distance: Tensor = (squares(difference) + 2 * cross + squares(outer)) * ctx.unit.square()
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, upstream: Tensor) -> tuple[Tensor, None, None]:
        basis, inside, outside, difference, inner, outer = ctx.saved_tensors
        gradient = basis @ (difference @ inside + inside @ outer)
        gradient.baddbmm_(outside, inner + outer)
        return gradient.mul_(column(4 * upstream * ctx.unit, gradient)), None, None


def _peak_of_gram(matrices: Tensor) -> Tensor:
    """Return the largest value of each Gram matrix `(B, D, D)`; 1 where it is 0.

    By Cauchy–Schwarz it lies on the diagonal. Differences are squared in units of it.
    """
    largest = matrices.diagonal(dim1=1, dim2=2).amax(dim=1).double()
    return torch.where(largest > 0, largest, 1.0)


# A loss is ‖G/M − G_s/M_s‖² times one of these functions of D.
NORMALIZERS: Normalizers = {
    "paper": lambda channels, _: 1 / (4 * channels**2),  # 1 / (4 D² M²) on G (Gatys et al. 2016, eq. 4; SWAG)
    "mean": lambda channels, _: 1 / channels**4,  # mean squared difference of G / DM (SWAG, authors' release)
    "gatys": lambda channels, _: 1 / channels**2,  # mean squared difference of G / M (Gatys's notebook)
}


class GramTarget:
    """The Gram matrix per position of one style image, `S Sᵀ / M_s`, in the form that its loss asks for.

    Args:
        features: `(1, D, ...)`.
    """

    def __init__(self, features: Tensor) -> None:
        matrix = features[0].flatten(1)
        self.channels, self.positions = matrix.shape
        if self.positions < self.channels:
            self._features = matrix / math.sqrt(self.positions)
        else:  # the Gram matrix is fewer numbers than the features
            self.gram = gram(matrix.unsqueeze(0))[0] / self.positions

    @cached_property
    def gram(self) -> Tensor:
        """The Gram matrix, `(D, D)`."""
        return gram(self._features.unsqueeze(0))[0]

    @cached_property
    def factors(self) -> tuple[Tensor, Tensor]:
        """Q `(D, M_s)` and R `(M_s, M_s)` with `Q R = S / √M_s`; only where `M_s < D`."""
        basis, coordinates = torch.linalg.qr(self._features)
        return basis, coordinates


def gram_distance_to_targets(
    matrix: Tensor,
    targets: Sequence[GramTarget],
    *,
    shares: Tensor | None = None,
    smaller_side: bool = True,
) -> Tensor:
    """Return `‖G/M − G_s/M_s‖²` of each image, which compares style images of any size.

    Args:
        matrix: `(A, D, M)`.
        targets: one for each of the A style images.
        shares: how much each column counts, `(A, M)` with sums of 1 (guided Gram matrices of Gatys et al.,
            CVPR 2017); None for all alike.
        smaller_side: use the style's basis where that takes fewer operations than `D × D` matrices.

    Returns:
        `(A,)` float64.
    """
    _, channels, positions = matrix.shape
    matrix = _scale_columns(matrix, shares)
    most = max(target.positions for target in targets)
    # The style's side takes the factor M because it is the smaller side.
    if smaller_side and takes_style_basis(channels, positions, most):
        bases, coordinates = zip(*(target.factors for target in targets), strict=True)
        padded = _padded(coordinates) * math.sqrt(positions)
        distance = gram_distance_in_style_basis(matrix, _padded(bases), padded)
    else:
        distance = gram_distance_to(matrix, torch.stack([target.gram for target in targets]) * positions)
    return distance / positions**2


def _scale_columns(matrix: Tensor, shares: Tensor | None) -> Tensor:
    """Scale the columns `(A, D, M)` so that their Gram matrix counts each by its share `(A, M)`, if given."""
    if shares is None:
        return matrix
    return matrix * (shares * matrix.shape[2]).sqrt().unsqueeze(1).to(matrix.dtype)


@dataclass(frozen=True, kw_only=True)
class GramLoss(NormalizedLoss):
    """The squared difference of Gram matrices, each divided by its own number of positions M.

    Where both images have the same size, `paper` is the equation.

    Attributes:
        normalizer: `paper`, `mean` or `gatys`, see `NORMALIZERS`.
        smaller_side: see `gram_distance_to_targets`.
        precise: whether matrix products are in float64.

    Raises:
        SettingError: an unknown normaliser.
    """

    NORMALIZERS: ClassVar[Normalizers] = NORMALIZERS

    smaller_side: bool
    precise: bool = False

    def keep(self, matrix: Tensor) -> GramTarget:
        """Return the style image's side of the loss, from a layer `(1, D, M)`."""
        return GramTarget(matrix.double() if self.precise else matrix)

    def distance(
        self, matrix: Tensor, kept: Sequence[GramTarget], *, shares: Tensor | None, draws: Sequence[int]
    ) -> Tensor:
        """Return the loss of each image, `(A,)` float64."""
        del draws
        matrix = matrix.double() if self.precise else matrix
        distance = gram_distance_to_targets(matrix, kept, shares=shares, smaller_side=self.smaller_side)
        return self.normalized(distance, *matrix.shape[1:])


def robust_squares(differences: Tensor, threshold: Tensor) -> Tensor:
    """Return `Σ 2δ² (√(1 + (Δ/δ)²) − 1)` of each image: Δ² where Δ is small, 2δ|Δ| where it is large.

    This is a smooth form of Huber's loss (Charbonnier et al., ICIP 1994), doubled so that its limit is Δ².

    Args:
        differences: Δ, `(A, ...)`.
        threshold: δ, `(A,)`; 0 gives 0.

    Returns:
        `(A,)` float64.
    """
    unit = torch.where(threshold > 0, threshold, 1.0)
    relative = (differences / column(unit, differences)).flatten(1).square()
    # This form of √(1 + x) − 1 is exact for small x.
    summed = (relative / (1 + (1 + relative).sqrt())).sum(dim=1).double()
    return 2 * threshold.square() * summed


@dataclass(frozen=True, kw_only=True)
class RobustGramLoss(NormalizedLoss):
    """A `GramLoss` in which a difference of two entries counts by its square only where it is small.

    It tells whether the squares over-fit the few largest entries: the gradient of each entry is at most that
    of a squared difference of δ.

    Attributes:
        normalizer: `paper`, `mean` or `gatys`, see `NORMALIZERS`.
        threshold: δ in units of the root mean square of the style's entries, above 0. Layers keep their
            shares of the loss, because both grow with the square of the entries.

    Raises:
        SettingError: an unknown normaliser, or no threshold above 0.
    """

    NORMALIZERS: ClassVar[Normalizers] = NORMALIZERS

    threshold: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("threshold of RobustGramLoss", self.threshold, above=0)

    def keep(self, matrix: Tensor) -> GramTarget:
        """Return the style image's side of the loss, from a layer `(1, D, M)`."""
        return GramTarget(matrix)

    def distance(
        self, matrix: Tensor, kept: Sequence[GramTarget], *, shares: Tensor | None, draws: Sequence[int]
    ) -> Tensor:
        """Return the loss of each image, `(A,)` float64."""
        del draws
        wanted = torch.stack([target.gram for target in kept])
        return self.between(gram(_scale_columns(matrix, shares)) / matrix.shape[2], wanted)

    def between(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Return the loss of Gram matrices per position, `(A, D, D)` both."""
        channels = wanted.shape[1]
        threshold = self.threshold * squares(wanted).sqrt() / channels
        return self.normalized(robust_squares(found - wanted, threshold), channels, 1)


def largest(differences: Tensor, part: float) -> Tensor:
    """Return a mask of the entries with the largest magnitude in each image's matrix, `(A, D, D)` bool.

    Args:
        differences: differences of Gram matrices, `(A, D, D)`.
        part: the part of all entries to choose, in (0, 1]; at least one entry, and more where several tie.
    """
    sizes = differences.flatten(1).abs()
    count = max(1, round(part * sizes.shape[1]))
    least = sizes.topk(count, dim=1).values[:, -1:]
    return (sizes >= least).view_as(differences)


def share_of_entries(differences: Tensor, chosen: Tensor) -> Tensor:
    """Return the share of `‖Δ‖²` that chosen entries hold in each image, `(A,)` float64; NaN where Δ is 0.

    Args:
        differences: Δ, `(A, D, D)`.
        chosen: the mask of the chosen entries, `(A, D, D)` bool.
    """
    return squares(differences.double() * chosen) / squares(differences.double())


def _padded(matrices: Sequence[Tensor]) -> Tensor:
    """Return matrices `(n, k_i)` as one tensor, padded with zeros, which change no Gram matrix."""
    rows, columns = (max(matrix.shape[side] for matrix in matrices) for side in (0, 1))
    return torch.stack([F.pad(m, (0, columns - m.shape[1], 0, rows - m.shape[0])) for m in matrices])


def content_distance(features: Tensor, target: Tensor) -> Tensor:
    """Return `½ ‖F − F_c‖²` of each image (Gatys et al. 2016, eq. 1; SWAG).

    Args:
        features: `(B, D, ...)`.
        target: the same shape.

    Returns:
        `(B,)` float64.
    """
    return squares(features - target) / 2


@dataclass(frozen=True, kw_only=True)
class ContentLoss(NormalizedLoss):
    """Squared difference of features, position by position.

    Attributes:
        normalizer: `half_sum` (the papers) or `mean` (the authors' release).

    Raises:
        SettingError: an unknown normaliser.
    """

    NORMALIZERS: ClassVar[Normalizers] = {
        "half_sum": lambda *_: 1.0,  # ½ ‖F − F_c‖² (Gatys et al. 2016, eq. 1; SWAG)
        "mean": lambda channels, positions: 2 / (channels * positions),  # SWAG, authors' release
    }

    def keep(self, matrix: Tensor) -> Tensor:
        """Return the content image's features."""
        return matrix

    def distance(
        self, matrix: Tensor, kept: Sequence[Tensor], *, shares: Tensor | None, draws: Sequence[int]
    ) -> Tensor:
        """Return the loss of each image, `(A,)` float64; the content term ignores `shares`."""
        del shares, draws
        return self.normalized(content_distance(matrix, _joined(kept)), *matrix.shape[1:])


def _joined(kept: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(kept)) if len(kept) > 1 else kept[0]
