"""Maximum mean discrepancies between columns of features.

The source is Demystifying Neural Style Transfer (Li et al., IJCAI 2017). A kernel k compares two columns.
`MMD² = E k(x, x') + E k(y, y') − 2 E k(x, y)` is 0 where k finds no difference between the distributions of
columns x of the image and y of the style image. `xᵀy` compares means, `(xᵀy)²` compares Gram matrices, and
the Gaussian compares everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.linalg import vecdot, vector_norm

from swag_repro.errors import SettingError, check_choice, check_number, check_seed
from swag_repro.losses.base import NormalizedLoss, Normalizers, generator, squares
from swag_repro.losses.bn import channel_means
from swag_repro.losses.gram import GramTarget, gram_distance_to_targets
from swag_repro.smoothing import at_least_float32
from swag_repro.statistics import BLOCK

# The normaliser `demystifying` is the authors' code: its factor, and the sum that its gradients belong to.
# There both images have M positions; here sums are M times means.
ESTIMATORS = ("linear", "quadratic")
# Matrices of this many positions take 256 MiB each in float32.
QUADRATIC_POSITIONS = 8192

# --- Kernels of products --------------------------------------------------------------------------------


def mean_distance(features: Tensor, style_means: Tensor, *, shares: Tensor | None = None) -> Tensor:
    """Return `‖μ − μ_s‖²`, MMD² with the kernel `xᵀy`.

    Args:
        features: `(A, D, M)`.
        style_means: `(A, D)`.
        shares: how much each column counts, `(A, M)` with sums of 1; None for all alike.

    Returns:
        `(A,)` float64.
    """
    return squares(channel_means(features, shares) - style_means)


@dataclass(frozen=True, kw_only=True)
class LinearMMD(NormalizedLoss):
    """MMD² with the kernel `xᵀy`.

    Attributes:
        normalizer: `mean` (MMD² itself) or `demystifying`.

    Raises:
        SettingError: an unknown normaliser.
    """

    NORMALIZERS: ClassVar[Normalizers] = {
        "mean": lambda *_: 1.0,
        # ½ ‖ΔΣx‖²
        "demystifying": lambda channels, positions: 2e3 / (channels * positions) * positions**2 / 2,
    }

    def keep(self, matrix: Tensor) -> Tensor:
        """Return the means of the style image, `(1, D)`."""
        return channel_means(at_least_float32(matrix))

    def distance(
        self, matrix: Tensor, kept: Sequence[Tensor], *, shares: Tensor | None, draws: Sequence[int]
    ) -> Tensor:
        """Return the loss of each image, `(A,)` float64."""
        del draws
        distance = mean_distance(at_least_float32(matrix), torch.cat(list(kept)), shares=shares)
        return self.normalized(distance, *matrix.shape[1:])


class PolynomialTarget(NamedTuple):
    """The Gram matrix and the means `(1, D)` that `PolynomialMMD` keeps of one style image."""

    gram: GramTarget
    means: Tensor


@dataclass(frozen=True, kw_only=True)
class PolynomialMMD(NormalizedLoss):
    """MMD² with the kernel `(xᵀy + c)²`: `‖G/M − G_s/M_s‖² + 2c ‖μ − μ_s‖²`. `c = 0` gives the Gram loss.

    Attributes:
        c: 0 or more.
        normalizer: `mean` (MMD² itself) or `demystifying`.

    Raises:
        SettingError: a c that is negative or not finite, or an unknown normaliser.
    """

    NORMALIZERS: ClassVar[Normalizers] = {
        "mean": lambda *_: 1.0,
        # ¼ ‖ΔG‖² + ½ c ‖ΔΣx‖²
        "demystifying": lambda channels, positions: 0.1 / (channels**2 * positions) * positions**2 / 4,
    }

    c: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("c of PolynomialMMD", self.c, least=0)

    def keep(self, matrix: Tensor) -> PolynomialTarget:
        """Return the Gram matrix and the means of the style image."""
        matrix = at_least_float32(matrix)
        return PolynomialTarget(GramTarget(matrix), channel_means(matrix))

    def distance(
        self,
        matrix: Tensor,
        kept: Sequence[PolynomialTarget],
        *,
        shares: Tensor | None,
        draws: Sequence[int],
    ) -> Tensor:
        """Return the loss of each image, `(A,)` float64."""
        del draws
        matrix = at_least_float32(matrix)
        distance = gram_distance_to_targets(matrix, [target.gram for target in kept], shares=shares)
        if self.c > 0:
            means = torch.cat([target.means for target in kept])
            distance = distance + 2 * self.c * mean_distance(matrix, means, shares=shares)
        return self.normalized(distance, *matrix.shape[1:])


# --- Gaussian kernel, all pairs -------------------------------------------------------------------------

Bandwidth = float | Literal["mean"]


def gaussian_mmd(
    rows: Tensor, style_rows: Tensor, *, bandwidth: Bandwidth, shares: Tensor | None = None
) -> Tensor:
    """Return unbiased MMD² with `k(x, y) = exp(−‖x − y‖² / 2σ²)`: no position is compared with itself.

    It is the U-statistic of Gretton et al., JMLR 2012, eq. 3, and may be negative. If the shares leave only
    one position, there is no pair, and `E k(x, x') = k(x, x) = 1`.

    Args:
        rows: columns of one image, `(M, D)`.
        style_rows: columns of the style image, `(M_s, D)`.
        bandwidth: σ; or `mean`: then 2σ² is the mean of `‖x − x'‖²`, `‖y − y'‖²` and twice `‖x − y‖²`, and
            is constant in the backward pass. Where all columns coincide, this mean and MMD² are 0.
        shares: how much each row counts, `(M,)` with a sum of 1; None for all alike.

    Returns:
        A scalar, float64.
    """
    own = _uniform(rows) if shares is None else shares.to(rows.dtype)
    others = _uniform(style_rows)
    within = _SquaredDistances.apply(rows, rows)
    of_style = _SquaredDistances.apply(style_rows, style_rows)
    across = _SquaredDistances.apply(rows, style_rows)

    def means(xx: Tensor, yy: Tensor, xy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _mean_of_others(xx, own), _mean_of_others(yy, others), (own @ (xy @ others)).double()

    xx, yy, xy = means(within, of_style, across)
    width = _width(bandwidth, (xx + yy + 2 * xy) / 4).to(rows.dtype)
    xx, yy, xy = means(*((distances / -width).exp() for distances in (within, of_style, across)))
    return xx + yy - 2 * xy


def _uniform(rows: Tensor) -> Tensor:
    return rows.new_full((len(rows),), 1 / len(rows))


def _mean_of_others(values: Tensor, shares: Tensor) -> Tensor:
    """Return `Σ_{i≠j} p_i p_j v_ij / Σ_{i≠j} p_i p_j`, float64, of values v `(M, M)`.

    Where one p is 1, return its v_ii.
    """
    same = shares.square()
    of_same = vecdot(same, values.diagonal()).double()
    total = vecdot(shares, values @ shares).double()
    count = shares.double().sum().square() - same.double().sum()
    return torch.where(count > 0, (total - of_same) / torch.where(count > 0, count, 1.0), of_same)


def _width(bandwidth: Bandwidth, mean_square: Tensor) -> Tensor:
    """Return `2σ²`, detached; 1 where it is 0, because all distances are 0 there."""
    if bandwidth != "mean":
        return torch.full_like(mean_square, 2 * bandwidth**2)
    return torch.where(mean_square > 0, mean_square, 1.0).detach()


class _Context(FunctionCtx):
    saved_tensors: tuple[Tensor, ...]


class _SquaredDistances(torch.autograd.Function):
    """Squared distances `‖x_i − y_j‖²`, `(M, D)` and `(N, D)` → `(M, N)`.

    They come from differences, because `‖x‖² + ‖y‖² − 2 xᵀy` would leave only rounding of short distances.
    The backward pass multiplies matrices and is twenty times as fast as that of `cdist`.
    """

    @staticmethod
    def forward(ctx: _Context, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square_()

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, upstream: Tensor) -> tuple[Tensor, Tensor]:
        x, y = ctx.saved_tensors
        of_x = x * upstream.sum(dim=1, keepdim=True) - upstream @ y
        of_y = y * upstream.sum(dim=0).unsqueeze(1) - upstream.mT @ x
        return of_x.mul_(2), of_y.mul_(2)


# --- Gaussian kernel, some pairs ------------------------------------------------------------------------


def gaussian_mmd_of_pairs(
    rows: Tensor, style_rows: Tensor, pairs: Tensor, style_pairs: Tensor, *, bandwidth: Bandwidth
) -> Tensor:
    """Return an estimate of `gaussian_mmd` in linear time (Gretton et al., JMLR 2012, Lemma 14).

    It is the mean over pairs of `h = k(x₁, x₂) + k(y₁, y₂) − k(x₁, y₂) − k(x₂, y₁)`. If all pairs are equally
    likely and σ is a number, its expectation is `gaussian_mmd`. The mean of `k(x₁, x₂)` leaves out pairs of
    one position with itself, unless there is no other pair.

    Args:
        rows: columns of one image, `(M, D)`.
        style_rows: columns of the style image, `(M_s, D)`, without gradient.
        pairs: positions of x₁ and x₂, `(2, n)`.
        style_pairs: positions of y₁ and y₂, `(2, n)`.
        bandwidth: as for `gaussian_mmd`, but `mean` is the mean over these pairs.

    Returns:
        A scalar, float64.
    """
    estimate: Tensor = _OfPairs.apply(rows, style_rows, pairs, style_pairs, bandwidth)
    return estimate


def permuted_pairs(positions: int, count: int, random: torch.Generator) -> Tensor:
    """Return `count` pairs of different positions, `(2, count)`, from random permutations.

    Each permutation has every position in one pair, except for the last of an odd number.
    """
    half = positions // 2
    permutations = [
        torch.randperm(positions, generator=random)[: 2 * half].view(2, half)
        for _ in range(math.ceil(count / half))
    ]
    return torch.cat(permutations, dim=1)[:, :count]


def drawn_pairs(shares: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Return pairs of positions, `(2, count)`, each position drawn in proportion to its share `(M,)`."""
    return torch.multinomial(shares, 2 * count, replacement=True, generator=random).view(2, count)


class _OfPairs(torch.autograd.Function):
    """The estimate in blocks that stay in the cache: the only copy of a layer is its gradient."""

    @staticmethod
    def forward(
        ctx: _Context,
        rows: Tensor,
        style_rows: Tensor,
        pairs: Tensor,
        style_pairs: Tensor,
        bandwidth: Bandwidth,
    ) -> Tensor:
        distances = rows.new_empty(4, pairs.shape[1])
        for some, x, x_mate, y, y_mate in _blocks(rows, style_rows, pairs, style_pairs):
            for kind, difference in enumerate((x - x_mate, y - y_mate, x - y_mate, x_mate - y)):
                distances[kind, some] = vector_norm(difference, dim=1).square_()
        weights = _weights_of_pairs(pairs).to(rows.dtype)
        width = _width(bandwidth, vecdot(weights.abs(), distances).mean())
        terms = (distances / -width).exp_().mul_(weights)
        ctx.save_for_backward(rows, style_rows, pairs, style_pairs, terms * (-2 / width))
        estimate: Tensor = terms.double().sum()
        return estimate

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        rows, style_rows, pairs, style_pairs, slopes = ctx.saved_tensors
        slopes = (slopes * upstream.to(slopes.dtype)).unsqueeze(2)
        gradient = torch.zeros_like(rows)
        for some, x, x_mate, y, y_mate in _blocks(rows, style_rows, pairs, style_pairs):
            within = (x - x_mate).mul_(slopes[0, some])
            of_x = torch.addcmul(within, x.sub_(y_mate), slopes[2, some])
            of_mate = within.neg_().addcmul_(x_mate.sub_(y), slopes[3, some])
            gradient.index_add_(0, pairs[0, some], of_x)
            gradient.index_add_(0, pairs[1, some], of_mate)
        return gradient, None, None, None, None


def _blocks(
    rows: Tensor, style_rows: Tensor, pairs: Tensor, style_pairs: Tensor
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor]]:
    """Yield some of the pairs at a time, and copies of their rows x₁, x₂, y₁, y₂, `(m, D)` each."""
    count, step = pairs.shape[1], max(1, BLOCK // rows.shape[1])
    for start in range(0, count, step):
        some = slice(start, min(start + step, count))
        x, x_mate = (rows.index_select(0, at[some]) for at in pairs)
        y, y_mate = (style_rows.index_select(0, at[some]) for at in style_pairs)
        yield some, x, x_mate, y, y_mate


def _weights_of_pairs(pairs: Tensor) -> Tensor:
    """Return the signed weight of each pair `(2, n)` in the four means of h, `(4, n)` float64."""
    apart = pairs[0] != pairs[1]
    apart = (apart | ~apart.any()).double()
    uniform = torch.full_like(apart, 1 / len(apart))
    return torch.stack([apart / apart.sum(), uniform, -uniform, -uniform])


# --- Gaussian kernel, loss ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class GaussianMMD(NormalizedLoss):
    """MMD² with a Gaussian kernel, by an unbiased estimator: near the minimum it may be negative.

    Attributes:
        estimator: `linear` takes random pairs of positions, other pairs at each draw; `quadratic` takes all
            pairs, in layers of up to `QUADRATIC_POSITIONS`.
        bandwidth: σ in units of the features; or `mean`, see `gaussian_mmd`.
        least_pairs: the least number of pairs of the linear estimator. One permutation of positions gives
            M/2 pairs; deep layers have few positions and take more permutations, for less noise.
        seed: chooses the pairs, together with the number of the draw.
        normalizer: `mean` (MMD² itself) or `demystifying`.

    Raises:
        SettingError: a setting outside its range, or too many positions for `quadratic`.
    """

    NORMALIZERS: ClassVar[Normalizers] = {
        "mean": lambda *_: 1.0,
        # ½ Σ h over M/2 pairs
        "demystifying": lambda channels, positions: 3e14 / (channels * positions) * positions / 4,
    }
    least_positions: ClassVar[int] = 2

    estimator: str
    bandwidth: Bandwidth
    least_pairs: int
    seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("estimator of GaussianMMD", self.estimator, ESTIMATORS)
        if self.bandwidth != "mean":
            remedy = "`mean` is the authors' choice."
            check_number("bandwidth of GaussianMMD", self.bandwidth, above=0, remedy=remedy)
        check_number("least_pairs of GaussianMMD", self.least_pairs, least=1, whole=True)
        check_seed("seed of GaussianMMD", self.seed)

    @property
    def stochastic(self) -> bool:
        """True if pairs are drawn."""
        return self.estimator == "linear"

    def keep(self, matrix: Tensor) -> Tensor:
        """Return the rows of the style image, `(M_s, D)`."""
        return self._rows(matrix)[0]

    def distance(
        self, matrix: Tensor, kept: Sequence[Tensor], *, shares: Tensor | None, draws: Sequence[int]
    ) -> Tensor:
        """Return the loss of each image, `(A,)` float64.

        The linear estimator draws positions in proportion to their shares.
        """
        own = [None] * len(kept) if shares is None else shares.unbind()
        images = zip(self._rows(matrix).unbind(), kept, own, draws, strict=True)
        found = torch.stack([self._of_one(*image) for image in images])
        return self.normalized(found, *matrix.shape[1:])

    def _of_one(self, rows: Tensor, style_rows: Tensor, shares: Tensor | None, draw: int) -> Tensor:
        if not self.stochastic:
            return gaussian_mmd(rows, style_rows, bandwidth=self.bandwidth, shares=shares)
        random = generator(self.seed, draw)
        half = len(rows) // 2
        count = half * math.ceil(self.least_pairs / half)
        pairs = (
            permuted_pairs(len(rows), count, random)
            if shares is None
            else drawn_pairs(shares.detach().cpu(), count, random)
        )
        style_pairs = permuted_pairs(len(style_rows), count, random)
        pairs, style_pairs = (at.to(rows.device) for at in (pairs, style_pairs))
        return gaussian_mmd_of_pairs(rows, style_rows, pairs, style_pairs, bandwidth=self.bandwidth)

    def _rows(self, matrix: Tensor) -> Tensor:
        """Return the rows `(A, M, D)` of columns `(A, D, M)`, each row contiguous."""
        if not self.stochastic and matrix.shape[2] > QUADRATIC_POSITIONS:
            rule = f"should be linear for layers of more than {QUADRATIC_POSITIONS} positions"
            found = f"quadratic, and {matrix.shape[2]} positions"
            remedy = "Choose estimator=linear, a smaller images.size, or deeper layers."
            raise SettingError("estimator of GaussianMMD", rule, found, remedy)
        return at_least_float32(matrix).mT.contiguous()
