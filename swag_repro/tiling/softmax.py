"""The softmax of a layer that comes in parts, and the list of smoothings that need no such care."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from swag_repro.smoothing import Log1p, NoSmoothing, Power, Scale, Smoothing, Softmax, at_least_float32

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
