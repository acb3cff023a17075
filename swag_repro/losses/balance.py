"""The numbers that divide the parts of a side, so that weights mean the same in every network and unit.

A part p of a side is mostly a layer. Its weight is w_p, and W = Σ w_p. Its distance between a pair's content
and style image is d_p. Between these two images every balance but `none` makes the side W: arms differ only
in the parts' shares of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from swag_repro.errors import NonFiniteError

BALANCES = ("none", "sides", "layers")
MATCHES = ("loss", "gradient")
"""What two arms may have in common: the parts' shares of the loss, or of the norm of its gradient."""

# A squared distance below this part of the target's own is rounding. The rounding of float32 is near 1e-14.
_ROUNDING = 1e-11

Parts = Mapping[str, Tensor]
"""Part → one number, `()` float64."""


def side_units(weights: Mapping[str, float], distances: Parts, sizes: Parts) -> dict[str, Tensor]:
    """Return one number for the whole side, `Σ w_p d_p / W`: the parts keep the shares of the equation.

    Each of several fused losses counts as a side with a number of its own, because their units differ.

    Args:
        weights: part → w_p.
        distances: part → d_p.
        sizes: part → its value for features of zeros, which replaces the distance of a side that is only
            rounding.
    """
    units: dict[str, Tensor] = {}
    for group in {_loss_of(part) for part in weights}:
        parts = {part: weight for part, weight in weights.items() if _loss_of(part) == group}
        distance, size = (_sum(parts, values) / sum(parts.values()) for values in (distances, sizes))
        units |= dict.fromkeys(parts, unit_of(distance, size))
    return units


def layer_units(weights: Mapping[str, float], distances: Parts, sizes: Parts) -> dict[str, Tensor]:
    """Return each part's own distance, which gives it the share `w_p / W`: this re-weights the layers."""
    return {part: unit_of(distances[part], sizes[part]) for part in weights}


def matched_units(
    weights: Mapping[str, float], distances: Parts, sizes: Parts, wanted: Parts
) -> dict[str, Tensor]:
    """Return `w_p d_p / (s_p W)`, which gives part p the wanted share s_p of the side.

    Raises:
        NonFiniteError: a weight that no float64 holds.
    """
    own = {part: weight * unit_of(distances[part], sizes[part]) for part, weight in weights.items()}
    total = sum(weights.values())
    return _check_units({part: own[part] / (wanted[part] * total) for part in weights})


def gradient_matched_units(
    weights: Mapping[str, float], distances: Parts, sizes: Parts, norms: Parts, wanted: Parts
) -> dict[str, Tensor]:
    """Return units that give part p the wanted share of the sum of the gradients' norms.

    Args:
        weights: part → w_p.
        distances: part → d_p.
        sizes: as in `side_units`.
        norms: part → ‖∇ d_p‖; a part without a gradient gets no weight.
        wanted: part → its share.

    Raises:
        NonFiniteError: a weight that no float64 holds.
    """
    raw = {p: torch.where(norms[p] > 0, wanted[p] / (w * norms[p]), 0.0) for p, w in weights.items()}
    start = {p: w * raw[p] * unit_of(distances[p], sizes[p]) for p, w in weights.items()}
    scale = sum(weights.values()) / torch.stack(list(start.values())).sum()
    return _check_units({part: 1 / (scale * raw[part]) for part in weights})


def shares(values: Parts) -> dict[str, Tensor]:
    """Return each value's share of their sum; equal shares where all values are 0."""
    total = torch.stack(list(values.values())).sum(dim=0)
    even = 1 / len(values)
    return {part: torch.where(total > 0, value / total, even) for part, value in values.items()}


def gradient_norms(terms: Parts, images: Tensor) -> dict[str, Tensor]:
    """Return the Euclidean norm of each term's gradient at each image.

    Args:
        terms: part → `(A,)`; each number depends on its own image only.
        images: `(A, 3, H, W)`, a leaf of their graph.

    Returns:
        Part → `(A,)` float64.
    """
    norms = {}
    for part, term in terms.items():
        (gradient,) = torch.autograd.grad(term.sum(), images, retain_graph=True)
        norms[part] = torch.linalg.vector_norm(gradient.flatten(1).double(), dim=1)
    return norms


def unit_of(distance: Tensor, size: Tensor) -> Tensor:
    """Return the number to divide by: the distance, or the size where the distance is rounding; never 0."""
    unit = torch.where(distance > _ROUNDING * size.nan_to_num(), distance, size)
    return torch.where(unit > 0, unit, 1.0)


def _loss_of(part: str) -> str:
    """Return the name of the fused loss that a part belongs to; empty for a loss that stands alone."""
    return part.rpartition("/")[0]


def _sum(weights: Mapping[str, float], values: Parts) -> Tensor:
    return torch.stack([weight * values[part] for part, weight in weights.items()]).sum(dim=0)


def _check_units(units: dict[str, Tensor]) -> dict[str, Tensor]:
    for part, unit in units.items():
        if not (1 / unit).isfinite():
            rule, remedy = "should be a finite number", "Leave this layer out, or match another smoothing."
            raise NonFiniteError(f"matched weight of {part}", rule, float(1 / unit), remedy)
    return units
