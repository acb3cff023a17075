"""A network, a loss and a smoothing of one's own; the files of `conf/` name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from swag_repro.errors import SettingError, check_number
from swag_repro.losses.base import LayerLoss, squares

SIDES = (3, 5, 7, 11, 15, 23)
"""Sides of the filters in pixels: a choice of ours, from fine strokes to coarse ones."""


class Shallow(nn.Module):
    """One layer of filters of several sizes and its pooled copy.

    With random weights it makes textures (Ustyuzhaninov et al., Texture synthesis using shallow convolutional
    networks with random filters, arXiv 1606.00021, 2016).

    Args:
        channels: The number of filters of each size.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        check_number("network.builder.channels", channels, least=1, whole=True)
        self.filters = nn.ModuleList(
            nn.Conv2d(3, channels, side, padding=side // 2, padding_mode="reflect") for side in SIDES
        )
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(4)

    def forward(self, images: Tensor) -> Tensor:
        """Return `(B, 3, H, W)` → `(B, 6 · channels, H / 4, W / 4)`."""
        found: Tensor = self.pool(self.relu(torch.cat([filters(images) for filters in self.filters], dim=1)))
        return found


@dataclass(frozen=True, kw_only=True)
class QuantileLoss(LayerLoss):
    """The mean squared difference of the quantiles of each channel: histograms are compared, not places.

    Attributes:
        quantiles: The number of quantiles of a channel, from 2 on.

    Raises:
        SettingError: It is no such number, or there are masks.
    """

    quantiles: int

    def __post_init__(self) -> None:
        check_number("quantiles of QuantileLoss", self.quantiles, least=2, whole=True)

    def keep(self, matrix: Tensor) -> Tensor:
        """Return the quantiles of a layer, `(A, D, M)` → `(A, D, quantiles)`."""
        ordered = matrix.sort(dim=2).values
        return F.interpolate(ordered, size=self.quantiles, mode="linear", align_corners=True)

    def distance(
        self, matrix: Tensor, kept: Sequence[Tensor], *, shares: Tensor | None, draws: Sequence[int]
    ) -> Tensor:
        """Return the loss of each image, `(A,)` float64."""
        del draws
        if shares is not None:
            raise SettingError("masks", "should be null for QuantileLoss", "masks", "Leave them out.")
        differences = self.keep(matrix) - torch.cat(list(kept))
        return squares(differences) / differences[0].numel()


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """The smoothing `F / (|F| + c)`, which leaves small activations in proportion and bounds large ones by 1.

    Attributes:
        half: c, the activation that becomes ½; above 0.

    Raises:
        SettingError: It is no such number.
    """

    half: float
    name: str = "saturation"

    def __post_init__(self) -> None:
        check_number("smoothing.half", self.half, above=0)

    def __call__(self, features: Tensor, reference: Tensor | None = None) -> Tensor:
        """Return activations `(B, D, ...)` in the same shape; `reference` has the peaks, which c ignores."""
        del reference
        return features / (features.abs() + self.half)

    def __str__(self) -> str:
        return f"{self.name}(half={self.half:g})"
