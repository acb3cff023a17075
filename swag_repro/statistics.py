"""What SWAG's Figure 3 measures: maximum and normalised entropy of activations and of Gram matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vecdot

from swag_repro.errors import NonFiniteError
from swag_repro.smoothing import Smoothing, at_least_float32

# Elements that are in work at a time: small enough for the cache, long enough for the threads.
CHUNK = 1 << 17
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
    rows = at_least_float32(values).flatten(1)
    peak = rows.amax(dim=1, keepdim=True)
    partition = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    energy = torch.zeros_like(partition)
    for chunk in _chunks(rows):
        shifted = (chunk - peak).mul_(scale).clamp_min_(NEGLIGIBLE)
        weights = shifted.exp()
        partition += weights.sum(dim=1)
        energy += vecdot(weights, shifted)
    # H = log Z − Σ x e^x / Z, in terms of x − max x.
    return _normalized(partition.log() - energy / partition, rows.shape[1])


def linear_entropy(values: Tensor) -> Tensor:
    """`−Σ p log p / log N` with `p = |x| / Σ |x|` over an image's N values.

    It doesn't change when an image is multiplied by a number. An image of zeros counts as uniform.

    Args:
        values: `(B, ...)`.

    Returns:
        `(B,)` float64 in [0, 1].
    """
    rows = at_least_float32(values).flatten(1)
    total = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    surprise = torch.zeros_like(total)
    smallest = torch.finfo(rows.dtype).tiny
    peak = (
        rows.abs().amax(dim=1, keepdim=True).clamp_min(smallest)
    )  # brings p log p near 1, where it is exact
    for chunk in _chunks(rows):
        magnitudes = chunk.abs().div_(peak)
        total += magnitudes.sum(dim=1)
        surprise -= vecdot(magnitudes, magnitudes.clamp_min(smallest).log())  # entr is ten times slower
    uniform = torch.full_like(total, math.log(rows.shape[1]))
    return _normalized(torch.where(total == 0, uniform, total.log() + surprise / total), rows.shape[1])


def _chunks(rows: Tensor) -> tuple[Tensor, ...]:
    return torch.split(rows, max(1, CHUNK // len(rows)), dim=1)


def _normalized(entropy: Tensor, size: int) -> Tensor:
    # Rounding may leave [0, 1] by some 1e-7; NaN passes through. A single value counts as uniform.
    return (entropy / math.log(size)).clamp(0.0, 1.0) if size > 1 else torch.ones_like(entropy)


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
    yield from _at_scales({"activation": 1.0}, features)
    yield from _at_scales({"gram": 1.0, "gram_per_dm": 1.0 / features[0].numel()}, gram(features))


def _at_scales(scales: Mapping[str, float], values: Tensor) -> Iterator[Statistic]:
    """Statistics of `scale · values` for each quantity and its scale."""
    largest, linear = maximum(values).double(), linear_entropy(values)
    for quantity, scale in scales.items():
        yield Statistic(quantity, "maximum", None, largest * scale)
        yield Statistic(quantity, "normalized_entropy", "softmax", softmax_entropy(values, scale))
        yield Statistic(quantity, "normalized_entropy", "linear", linear)


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
    with torch.inference_mode():
        for tap, features in network(images).items():
            for statistic in layer_statistics(smoothing(features)):
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
