"""The statistics of SWAG's Figure 3, maximum and normalised entropy, and statistics of shape.

They measure activations and Gram matrices. A maximum and a softmax entropy depend on how large activations
are and on how peaked they are. Linear entropy, max over RMS, kurtosis, participation ratio and effective rank
don't change when activations are multiplied by a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.linalg import vecdot

from swag_repro.errors import NonFiniteError
from swag_repro.smoothing import Smoothing, at_least_float32, smooth

Features = Mapping[str, Tensor]
"""Tap → activations `(A, D, H, W)`."""

# The number of values processed at a time: few enough for the cache, enough to outweigh the calls.
BLOCK = 1 << 18
# e^−87 adds nothing to the peak's e^0, not even four million times. Below it exp underflows and is ten times
# slower.
NEGLIGIBLE_LOGIT = -87.0


def gram(features: Tensor) -> Tensor:
    """Return `G_ij = Σ_k F_ik F_jk` (SWAG, eq. 1) of each image.

    Args:
        features: `(B, D, ...)`; the trailing dimensions are the M positions.

    Returns:
        `(B, D, D)`, not divided by anything.
    """
    matrix = features.flatten(2)
    return matrix @ matrix.mT


def maximum(values: Tensor) -> Tensor:
    """Return the largest value of each image: `(B, ...)` → `(B,)`."""
    return values.flatten(1).amax(dim=1)


def softmax_entropy(values: Tensor, scale: float = 1.0) -> Tensor:
    """Return `−Σ p log p / log N` with `p = softmax(scale · x)` over an image's N values, as in the paper.

    Args:
        values: `(B, ...)`.
        scale: a factor on the values (`1 / DM` for a Gram matrix), applied without a copy of them.

    Returns:
        `(B,)` float64 in [0, 1]; 1 for a uniform image, 0 where one value outweighs all others.
    """
    return _values_sums(at_least_float32(values), (scale,))[0].softmax_entropy(scale)


def linear_entropy(values: Tensor) -> Tensor:
    """Return `−Σ p log p / log N` with `p = |x| / Σ |x|` over an image's N values.

    It doesn't change when an image is multiplied by a number. An image of zeros counts as uniform.

    Args:
        values: `(B, ...)`.

    Returns:
        `(B,)` float64 in [0, 1].
    """
    return _values_sums(at_least_float32(values), ())[0].linear_entropy()


def max_over_rms(values: Tensor) -> Tensor:
    """Return `max x / √(mean x²)` over an image's N values: 1 for a constant, √N for a single peak.

    An image of zeros counts as a constant.

    Args:
        values: `(B, ...)`.

    Returns:
        `(B,)` float64.
    """
    return _values_sums(at_least_float32(values), ())[1].max_over_rms()


def kurtosis(values: Tensor) -> Tensor:
    """Return Pearson's `mean (x − x̄)⁴ / (mean (x − x̄)²)²` over an image's N values.

    It is at least 1, and 3 for a normal distribution. A constant has 1; values that differ only by rounding
    count as constant.

    Args:
        values: `(B, ...)`.

    Returns:
        `(B,)` float64.
    """
    return _values_sums(at_least_float32(values), ())[1].kurtosis()


def participation_ratio(values: Tensor) -> Tensor:
    """Return `(Σ x²)² / (N Σ x⁴)` over an image's N values: the part of them that holds its energy.

    The source is Bell and Dean, Atomic vibrations in vitreous silica, 1970. It is 1 for a constant and k/N
    for k equal peaks. An image of zeros counts as a constant.

    Args:
        values: `(B, ...)`.

    Returns:
        `(B,)` float64 in [1/N, 1].
    """
    return _values_sums(at_least_float32(values), ())[1].participation_ratio()


def effective_rank(features: Tensor) -> Tensor:
    """Return `(Σ λ)² / Σ λ² = (tr G)² / ‖G‖_F²` of the eigenvalues λ of an image's Gram matrix.

    It is the participation ratio of principal components (Gao et al., A theory of multineuronal
    dimensionality, 2017) of features that are not centred: it is near 1 if their mean outweighs their
    variation over positions. Roy and Vetterli's effective rank, the exponential of an entropy, differs. A
    Gram matrix of zeros counts as D equal eigenvalues.

    Args:
        features: `(B, D, ...)`.

    Returns:
        `(B,)` float64 in [1, D].
    """
    return _gram_sums(at_least_float32(features), ())[1]


class _Sums:
    """The sums that give entropies, over blocks of an image's values, without a second copy of them.

    Args:
        peak: largest value of each image, `(B,)`; equal to a value in the blocks, to the last bit.
        magnitude: largest magnitude of each image, `(B,)`.
        scales: the scales of the softmax entropies to come.
    """

    def __init__(self, peak: Tensor, magnitude: Tensor, scales: Collection[float]) -> None:
        self.peak = peak[:, None]
        self.magnitude = magnitude[:, None].clamp_min(torch.finfo(peak.dtype).tiny)
        self.total, self.surprise = torch.zeros(2, len(peak), dtype=torch.float64, device=peak.device)
        self.partition = {scale: torch.zeros_like(self.total) for scale in scales}
        self.energy = {scale: torch.zeros_like(self.total) for scale in scales}
        self.size = 0

    def add(self, block: Tensor, times: int = 1) -> Tensor:
        """Add values `(B, n)`, each of them `times` times; return them divided by the magnitude."""
        self.size += times * block.shape[1]
        self._add_softmax(block, times)
        scaled = block / self.magnitude
        magnitudes = scaled.abs()  # near 1, where p log p is exact
        self.total += times * magnitudes.sum(dim=1)
        smallest = torch.finfo(block.dtype).tiny
        self.surprise -= times * vecdot(magnitudes, magnitudes.clamp_min(smallest).log_())
        return scaled

    def _add_softmax(self, block: Tensor, times: int) -> None:
        if not self.partition:
            return
        below = block - self.peak  # before scaling: a difference of large products would be rounding
        highest = float(below.amax())
        for scale in self.partition:
            if scale * highest <= NEGLIGIBLE_LOGIT:  # the whole block adds nothing; NaN fails this test
                continue
            shifted = (below if scale == 1.0 else below * scale).clamp(NEGLIGIBLE_LOGIT, 0.0)
            weights = shifted.exp()
            self.partition[scale] += times * weights.sum(dim=1)
            self.energy[scale] += times * vecdot(weights, shifted)

    def softmax_entropy(self, scale: float) -> Tensor:
        """Return `H = log Z − Σ x e^x / Z`, in terms of x − max x; `(B,)`, normalised."""
        partition = self.partition[scale]
        return self._normalized(partition.log() - self.energy[scale] / partition)

    def linear_entropy(self) -> Tensor:
        """Return `H = log Σ|x| − Σ |x| log |x| / Σ|x|`; `(B,)`, normalised."""
        entropy = self.total.log() + self.surprise / self.total
        return self._normalized(entropy.where(self.total != 0, math.log(self.size)))

    def _normalized(self, entropy: Tensor) -> Tensor:
        # Rounding may leave [0, 1] by about 1e-7. NaN passes through. A single value counts as uniform.
        return (entropy / math.log(self.size)).clamp(0.0, 1.0) if self.size > 1 else torch.ones_like(entropy)


class _Moments:
    """The moments of an image's values, from moments of blocks about the blocks' own means: nothing cancels.

    They are combined as in Pébay, Formulas for robust, one-pass parallel computation of covariances and
    arbitrary-order statistical moments, 2008.

    Args:
        highest: largest value of each image, `(B,)`, divided by its largest magnitude as all values are.
    """

    def __init__(self, highest: Tensor) -> None:
        self.highest = highest.double()
        self.rounding = 8 * torch.finfo(highest.dtype).eps
        self.blocks: list[Tensor] = []

    def add(self, block: Tensor) -> None:
        """Add values `(B, n)` in [−1, 1]."""
        mean = block.mean(dim=1, keepdim=True)
        centred = block - mean
        squares = centred.square()
        count = torch.full_like(mean[:, 0], block.shape[1])
        sums = (squares.sum(dim=1), vecdot(squares, centred), vecdot(squares, squares))
        self.blocks.append(torch.stack([count, mean[:, 0], *sums]).double())

    @cached_property
    def central(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The mean, and the means of the second, third and fourth power of the distance from it, `(B,)`."""
        count, means, second, third, fourth = torch.stack(self.blocks, dim=1)  # (blocks, B) each
        size = count.sum(dim=0)
        mean = (count * means).sum(dim=0) / size
        off = means - mean
        return (
            mean,
            (second + count * off**2).sum(dim=0) / size,
            (third + 3 * off * second + count * off**3).sum(dim=0) / size,
            (fourth + 4 * off * third + 6 * off**2 * second + count * off**4).sum(dim=0) / size,
        )

    def max_over_rms(self) -> Tensor:
        """Return what the function `max_over_rms` returns."""
        mean, second, _, _ = self.central
        return _ratio(self.highest, (second + mean**2).sqrt())

    def kurtosis(self) -> Tensor:
        """Return what the function `kurtosis` returns."""
        _, second, _, fourth = self.central
        constant = second <= self.rounding**2
        return _ratio(fourth, second**2).masked_fill(constant, 1.0)

    def participation_ratio(self) -> Tensor:
        """Return what the function `participation_ratio` returns."""
        mean, second, third, fourth = self.central
        about_zero = fourth + 4 * mean * third + 6 * mean**2 * second + mean**4
        return _ratio((second + mean**2) ** 2, about_zero)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole; 1 where the whole is 0, NaN where it is NaN."""
    return (part / whole).where(whole != 0, 1.0)


def _values_sums(values: Tensor, scales: Collection[float]) -> tuple[_Sums, _Moments]:
    rows = values.flatten(1)
    peak = rows.amax(dim=1)
    sums = _Sums(peak, torch.maximum(peak.abs(), rows.amin(dim=1).abs()), scales)
    moments = _Moments((sums.peak / sums.magnitude)[:, 0])
    for block in torch.split(rows, max(1, BLOCK // len(rows)), dim=1):
        moments.add(sums.add(block))
    return sums, moments


def _gram_sums(features: Tensor, scales: Collection[float]) -> tuple[_Sums, Tensor]:
    """Return sums over each image's Gram matrix, from features `(B, D, ...)`, and its effective rank.

    The matrix never exists as a whole. It is symmetric, so the blocks above its diagonal count twice. It is
    positive semi-definite, so its peak is on the diagonal. The peak is read from the blocks, because another
    product of the same rows rounds differently: where G is 1e9, a peak that is 100 too high makes all
    weights of a softmax e^−100.
    """
    matrix = features.flatten(2)
    channels = matrix.shape[1]
    rows = max(1, min(BLOCK // (len(matrix) * channels), channels // 4))
    bands = torch.split(matrix, rows, dim=1)
    squares = [band @ band.mT for band in bands]  # the diagonal blocks, together at most BLOCK values
    diagonal = torch.cat([square.diagonal(dim1=1, dim2=2) for square in squares], dim=1)
    peak = diagonal.amax(dim=1)
    sums = _Sums(peak, peak, scales)
    norm = torch.zeros_like(sums.total)
    for index, square in enumerate(squares):
        scaled = sums.add(square.flatten(1))
        norm += vecdot(scaled, scaled)
        if (start := (index + 1) * rows) < channels:
            scaled = sums.add((bands[index] @ matrix[:, start:].mT).flatten(1), times=2)
            norm += 2 * vecdot(scaled, scaled)
    trace = (diagonal / sums.magnitude).sum(dim=1, dtype=torch.float64)
    return sums, (trace**2 / norm).where(norm != 0, float(channels))


@dataclass(frozen=True)
class Statistic:
    """One number per image of a batch.

    Attributes:
        quantity: `activation` (F), `gram` (G) or `gram_per_dm` (G / DM).
        statistic: `maximum`, `normalized_entropy`, `max_over_rms`, `kurtosis`, `participation_ratio` or
            `effective_rank`.
        definition: `softmax` or `linear` for an entropy; None for others.
        values: `(B,)` float64.
    """

    quantity: str
    statistic: str
    definition: str | None
    values: Tensor


def layer_statistics(features: Tensor) -> Iterator[Statistic]:
    """Yield all statistics of one layer.

    Args:
        features: `(B, D, H, W)`, smoothed or not.

    Yields:
        Maximum and both entropies of F, G and G / DM; max over RMS, kurtosis and participation ratio of F;
        effective rank of G. Each image is measured by itself.
    """
    features = at_least_float32(features)
    scales = {"gram": 1.0, "gram_per_dm": 1.0 / features[0].numel()}
    sums, moments = _values_sums(features, {1.0})
    yield from _at_scales({"activation": 1.0}, sums)
    yield Statistic("activation", "max_over_rms", None, moments.max_over_rms())
    yield Statistic("activation", "kurtosis", None, moments.kurtosis())
    yield Statistic("activation", "participation_ratio", None, moments.participation_ratio())
    sums, rank = _gram_sums(features, set(scales.values()))
    yield from _at_scales(scales, sums)
    yield Statistic("gram", "effective_rank", None, rank)


def _at_scales(scales: Mapping[str, float], sums: _Sums) -> Iterator[Statistic]:
    """Yield the statistics of `scale · values` for each quantity and its scale."""
    for quantity, scale in scales.items():
        yield Statistic(quantity, "maximum", None, sums.peak[:, 0].double() * scale)
        yield Statistic(quantity, "normalized_entropy", "softmax", sums.softmax_entropy(scale))
        yield Statistic(quantity, "normalized_entropy", "linear", sums.linear_entropy())


def activation_statistics(
    network: Callable[[Tensor], Features], images: Tensor, smoothing: Smoothing
) -> Iterator[tuple[str, Statistic]]:
    """Yield all statistics of all taps for one batch of images.

    Args:
        network: images → activations `(B, D, H, W)` of each tap.
        images: `(B, 3, H, W)`, RGB in [0, 1].
        smoothing: applied to the activations before they are measured.

    Yields:
        Tap and statistic.

    Raises:
        NonFiniteError: activations or their Gram matrices hold NaN or infinity.
        SettingError: the smoothing returns another shape.
    """
    inference = torch.inference_mode()  # around each step; around a yield it would leak to the caller
    for tap, features in inference(network)(images).items():
        for statistic in inference(lambda found=features: list(layer_statistics(smooth(smoothing, found))))():
            _check_finite(tap, statistic)
            yield tap, statistic


def _check_finite(tap: str, statistic: Statistic) -> None:
    if not statistic.values.isfinite().all():
        raise NonFiniteError(
            f"{statistic.quantity} at {tap}",
            "should be finite",
            f"{statistic.statistic} {statistic.values.tolist()} (one per image)",
            "Check the weights, or use precision=float32 or float64.",
        )


def common_quantiles(size: int, other: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the steps between the jumps of two quantile functions, of values with equal shares.

    Args:
        size: number of values of the one distribution.
        other: number of values of the other distribution.
        device: the device of the result.

    Returns:
        Widths, float64 with a sum of 1, and each step's index among the sorted values of the one and of the
        other distribution; `(K,)` each, in no order. Widths are computed exactly in units of
        `1 / (size · other)`.
    """
    ends = torch.arange(1, other + 1, device=device) * size
    ends = torch.cat([torch.arange(1, size + 1, device=device) * other, ends[ends % other != 0]])
    at, at_other = (ends - 1) // other, (ends - 1) // size
    widths = ends - torch.maximum(at * other, at_other * size)
    return widths.double() / (size * other), at, at_other


def weighted_quantiles(shares: Tensor, other: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return such steps where the values of one distribution count by their shares.

    Args:
        shares: the shares of values in ascending order, `(..., M)`, with sums of 1.
        other: number of values of the other distribution, which have equal shares.

    Returns:
        Widths, float64, and indices as in `common_quantiles`, `(..., M + other)` each.
    """
    jumps = shares.double().cumsum(dim=-1)
    jumps = jumps / jumps[..., -1:]
    jumps_of_other = torch.arange(1, other + 1, device=shares.device).double() / other
    jumps_of_other = jumps_of_other.expand(*jumps.shape[:-1], other).contiguous()
    ends = torch.cat([jumps, jumps_of_other], dim=-1).sort(dim=-1).values
    widths = ends.diff(dim=-1, prepend=torch.zeros_like(ends[..., :1]))
    return widths, torch.searchsorted(jumps, ends), torch.searchsorted(jumps_of_other, ends)
