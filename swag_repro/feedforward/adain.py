"""Adaptive instance normalisation (Huang and Belongie, ICCV 2017), with its controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from swag_repro.errors import check_number

NOWHERE = 1e-9
"""Share of a style below which it counts as none."""


@dataclass(frozen=True)
class ChannelMoments:
    """Mean and deviation of each channel over the positions of a layer.

    Attributes:
        mean: `(B, D, 1, 1)`.
        deviation: `(B, D, 1, 1)`.
    """

    mean: Tensor
    deviation: Tensor


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """The way deviations are taken: the paper and its code divide the sum of squares by M, the port by M − 1.

    Attributes:
        correction: 0 divides by M, 1 by M − 1.
        eps: added to the variance of what is normalised.

    Raises:
        SettingError: a number is out of range.
    """

    correction: int
    eps: float

    def __post_init__(self) -> None:
        check_number("generator.normalization.correction", self.correction, least=0, most=1, whole=True)
        check_number("generator.normalization.eps", self.eps, least=0)

    def moments(self, features: Tensor, where: Tensor | None = None) -> ChannelMoments:
        """Return the moments of features `(B, D, H, W)`, or of some positions only.

        No `eps` is added to a deviation: that of a constant channel is 0.

        Args:
            features: `(B, D, H, W)`.
            where: weights of positions, `(B, 1, H, W)` in [0, 1]; None for all positions.
        """
        if where is None:
            variance, mean = torch.var_mean(features, (2, 3), correction=self.correction, keepdim=True)
            return ChannelMoments(mean, variance.sqrt())
        shares = where / where.sum((2, 3), keepdim=True)
        mean = (shares * features).sum((2, 3), keepdim=True)
        squared = (shares * (features - mean).square()).sum((2, 3), keepdim=True)
        positions = where.sum((2, 3), keepdim=True)
        return ChannelMoments(mean, (squared * positions / (positions - self.correction).clamp_min(1)).sqrt())

    def __call__(self, content: Tensor, style: ChannelMoments, where: Tensor | None = None) -> Tensor:
        """Return `σ(y) (x − μ(x)) / √(σ²(x) + ε) + μ(y)` (eq. 8).

        Args:
            content: x, `(B, D, H, W)`.
            style: the moments of y.
            where: weights of positions for μ(x) and σ(x), `(B, 1, H, W)`; None for all positions.

        Returns:
            `(B, D, H, W)`.
        """
        own = self.moments(content, where)
        scale = style.deviation * (own.deviation.square() + self.eps).rsqrt()
        return (content - own.mean) * scale + style.mean


def blended(
    normalize: Normalization,
    content: Tensor,
    styles: Sequence[ChannelMoments],
    *,
    weights: Sequence[float],
    alpha: float,
    masks: Sequence[Tensor | None],
) -> Tensor:
    """Return a content mixed with several styles, each with its weight and place (section 7.2).

    The mix is `(1 − αm) x + αm Σ_s w_s m_s AdaIN(x, y_s) / Σ_s w_s m_s`. Here m_s is the mask of a style, and
    m that of all styles together: x stays where no style is wanted. The content's own moments are taken by
    the style's mask, too.

    Args:
        normalize: how deviations are taken.
        content: x, `(B, D, H, W)`.
        styles: moments of each style.
        weights: weight of each style, 0 or more, not all 0.
        alpha: strength of the styles, from 0, the content, to 1.
        masks: mask of each style, `(B, 1, H', W')` in [0, 1]; None for everywhere.

    Returns:
        `(B, D, H, W)`.
    """
    places = [None if mask is None else _pooled(mask, content) for mask in masks]
    whole = content.new_ones(len(content), 1, *content.shape[2:])
    shares = [w * (whole if place is None else place) for w, place in zip(weights, places, strict=True)]
    total = torch.stack(shares).sum(dim=0)
    mixed = torch.zeros_like(content)
    for style, share, place in zip(styles, shares, places, strict=True):
        mixed = mixed + share / total.clamp_min(NOWHERE) * normalize(content, style, place)
    masked = [place for place in places if place is not None]
    covered = torch.stack(masked).sum(dim=0).clamp(max=1) if len(masked) == len(places) else whole
    return content.lerp(mixed, alpha * covered)


def _pooled(mask: Tensor, like: Tensor) -> Tensor:
    height, width = like.shape[2:]
    return F.adaptive_avg_pool2d(mask, (height, width))
