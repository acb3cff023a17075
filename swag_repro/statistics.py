"""What SWAG's Figure 3 measures: maximum and normalised entropy of activations and of Gram matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vecdot

from swag_repro.errors import NonFiniteError
from swag_repro.smoothing import Smoothing, at_least_float32

# Values that are in work at a time: few enough for the cache, enough to outweigh the calls.
BLOCK = 1 << 18
# e^−87 adds nothing to the peak's e^0, not even four million times; below, exp underflows, ten times slower.
NEGLIGIBLE = -87.0


def gram(features: Tensor) -> Tensor:
    """`G_ij = Σ_k F_ik F_jk` (SWAG, eq. 1) of each image.

    Args:
        features: `(B, D, ...)`; the trailing dimensions are the M positions.

    Returns:
        `(B, D, D)`, not divided by anything.
    """
    matrix = features.flatten(2)
    return matrix @ matrix.mT


def maximum(values: Tensor) -> Tensor:
    """Largest value of each image: `(B, ...)` → `(B,)`."""
    return values.flatten(1).amax(dim=1)


def softmax_entropy(values: Tensor, scale: float = 1.0) -> Tensor:
    """`−Σ p log p / log N` with `p = softmax(scale · x)` over an image's N values: the paper's entropy.

    Args:
        values: `(B, ...)`.
        scale: multiplies the values first (`1 / DM` for a Gram matrix), without a copy of them.

    Returns:
        `(B,)` float64 in [0, 1]; 1 for a uniform image, 0 where one value outweighs all others.
    """
    return _sums(at_least_float32(values), (scale,)).softmax_entropy(scale)


def linear_entropy(values: Tensor) -> Tensor:
    """`−Σ p log p / log N` with `p = |x| / Σ |x|` over an image's N values.

    It doesn't change when an image is multiplied by a number. An image of zeros counts as uniform.

    Args:
        values: `(B, ...)`.

    Returns:
        `(B,)` float64 in [0, 1].
    """
    return _sums(at_least_float32(values), ()).linear_entropy()


class _Sums:
    """What entropies follow from, summed over blocks of an image's values: no second copy of them is made.

    Args:
        peak: largest value of each image, `(B,)`: one of those in the blocks, to the last bit.
        scales: of the softmax entropies to come.
    """

    def __init__(self, peak: Tensor, scales: Collection[float]) -> None:
        self.peak = peak[:, None]
        self.magnitude = self.peak.abs().clamp_min(torch.finfo(peak.dtype).tiny)
        self.total, self.surprise = torch.zeros(2, len(peak), dtype=torch.float64, device=peak.device)
        self.partition = {scale: torch.zeros_like(self.total) for scale in scales}
        self.energy = {scale: torch.zeros_like(self.total) for scale in scales}
        self.size = 0

    def add(self, block: Tensor, times: int = 1) -> None:
        """Values `(B, n)` that each stand for `times` equal ones."""
        self.size += times * block.shape[1]
        below = block - self.peak  # before it is scaled: of two large products, rounding alone would remain
        for scale in self.partition:
            shifted = (below if scale == 1.0 else below * scale).clamp(NEGLIGIBLE, 0.0)
            weights = shifted.exp()
            self.partition[scale] += times * weights.sum(dim=1)
            self.energy[scale] += times * vecdot(weights, shifted)
        magnitudes = block.abs().div_(self.magnitude)  # near 1, where p log p is exact
        self.total += times * magnitudes.sum(dim=1)
        smallest = torch.finfo(block.dtype).tiny
        self.surprise -= times * vecdot(magnitudes, magnitudes.clamp_min(smallest).log_())

    def softmax_entropy(self, scale: float) -> Tensor:
        """`H = log Z − Σ x e^x / Z`, in terms of x − max x; `(B,)`, normalised."""
        partition = self.partition[scale]
        return self._normalized(partition.log() - self.energy[scale] / partition)

    def linear_entropy(self) -> Tensor:
        """`H = log Σ|x| − Σ |x| log |x| / Σ|x|`; `(B,)`, normalised."""
        entropy = self.total.log() + self.surprise / self.total
        return self._normalized(entropy.where(self.total != 0, math.log(self.size)))

    def _normalized(self, entropy: Tensor) -> Tensor:
        # Rounding may leave [0, 1] by some 1e-7; NaN passes through. A single value counts as uniform.
        return (entropy / math.log(self.size)).clamp(0.0, 1.0) if self.size > 1 else torch.ones_like(entropy)


def _sums(values: Tensor, scales: Collection[float]) -> _Sums:
    rows = values.flatten(1)
    sums = _Sums(rows.amax(dim=1), scales)
    for block in torch.split(rows, max(1, BLOCK // len(rows)), dim=1):
        sums.add(block)
    return sums


def _gram_sums(features: Tensor, scales: Collection[float]) -> _Sums:
    """Sums over the Gram matrix of each image `(B, D, ...)`, which never exists as a whole.

    It is symmetric, so the blocks above its diagonal count twice; it is positive semi-definite, so its peak
    is on the diagonal. It is read from the blocks: another product of the same rows rounds another way, and
    where G is 1e9, a peak that is 100 too high makes all weights of a softmax e^−100.
    """
    matrix = features.flatten(2)
    channels = matrix.shape[1]
    rows = max(1, min(BLOCK // (len(matrix) * channels), channels // 4))
    bands = torch.split(matrix, rows, dim=1)
    diagonal = [(band @ band.mT).flatten(1) for band in bands]  # together no more values than a block has
    sums = _Sums(torch.stack([block.amax(dim=1) for block in diagonal]).amax(dim=0), scales)
    for index, block in enumerate(diagonal):
        sums.add(block)
        if (start := (index + 1) * rows) < channels:
            sums.add((bands[index] @ matrix[:, start:].mT).flatten(1), times=2)
    return sums


@dataclass(frozen=True)
class Statistic:
    """One number per image of a batch.

    Attributes:
        quantity: `activation` (F), `gram` (G) or `gram_per_dm` (G / DM).
        statistic: `maximum` or `normalized_entropy`.
        definition: of the entropy, `softmax` or `linear`; None for a maximum.
        values: `(B,)` float64.
    """

    quantity: str
    statistic: str
    definition: str | None
    values: Tensor


def layer_statistics(features: Tensor) -> Iterator[Statistic]:
    """All statistics of one layer.

    Args:
        features: `(B, D, H, W)`, smoothed or not.

    Yields:
        Maximum and both entropies of F, G and G / DM, each image by itself.
    """
    features = at_least_float32(features)
    scales = {"gram": 1.0, "gram_per_dm": 1.0 / features[0].numel()}
    yield from _at_scales({"activation": 1.0}, _sums(features, {1.0}))
    yield from _at_scales(scales, _gram_sums(features, set(scales.values())))


def _at_scales(scales: Mapping[str, float], sums: _Sums) -> Iterator[Statistic]:
    """Statistics of `scale · values` for each quantity and its scale."""
    for quantity, scale in scales.items():
        yield Statistic(quantity, "maximum", None, sums.peak[:, 0].double() * scale)
        yield Statistic(quantity, "normalized_entropy", "softmax", sums.softmax_entropy(scale))
        yield Statistic(quantity, "normalized_entropy", "linear", sums.linear_entropy())


def activation_statistics(
    network: Callable[[Tensor], Mapping[str, Tensor]], images: Tensor, smoothing: Smoothing
) -> Iterator[tuple[str, Statistic]]:
    """All statistics of all taps for one batch of images.

    Args:
        network: images → activations `(B, D, H, W)` of each tap.
        images: `(B, 3, H, W)`, RGB in [0, 1].
        smoothing: applied to the activations before they are measured.

    Yields:
        Tap and statistic.

    Raises:
        NonFiniteError: activations or their Gram matrices hold NaN or infinity.
    """
    inference = torch.inference_mode()  # around each step, not around a yield: it would leak to the caller
    for tap, features in inference(network)(images).items():
        for statistic in inference(lambda found=features: list(layer_statistics(smoothing(found))))():
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
