"""The content loss of Gatys et al. and of SWAG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from swag_repro.errors import check_choice
from swag_repro.losses.base import LayerLoss, squares


def content_distance(features: Tensor, target: Tensor) -> Tensor:
    """Return `½ ‖F − F_c‖²` of each image (Gatys et al. 2016, eq. 1; SWAG).

    Args:
        features: `(B, D, ...)`.
        target: the same shape.

    Returns:
        `(B,)` float64.
    """
    return squares(features - target) / 2


CONTENT_NORMALIZERS: Mapping[str, Callable[[int], float]] = {
    "half_sum": lambda _: 1.0,  # ½ ‖F − F_c‖² (Gatys et al. 2016, eq. 1; SWAG)
    "mean": lambda size: 2 / size,  # mean squared difference (SWAG, authors' release)
}


@dataclass(frozen=True, kw_only=True)
class ContentLoss(LayerLoss):
    """Squared difference of features, position by position.

    Attributes:
        normalizer: `half_sum` (the papers) or `mean` (the authors' release).

    Raises:
        SettingError: an unknown normaliser.
    """

    normalizer: str

    def __post_init__(self) -> None:
        check_choice("normalizer of ContentLoss", self.normalizer, CONTENT_NORMALIZERS)

    def keep(self, matrix: Tensor) -> Tensor:
        """Return the content image's features."""
        return matrix

    def distance(
        self, matrix: Tensor, kept: Sequence[Tensor], *, shares: Tensor | None, draws: Sequence[int]
    ) -> Tensor:
        """Return the loss of each image, `(A,)` float64; the content term ignores `shares`."""
        del shares, draws
        normalizer = CONTENT_NORMALIZERS[self.normalizer](matrix[0].numel())
        return content_distance(matrix, _concatenate(kept)) * normalizer


def _concatenate(kept: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(kept)) if len(kept) > 1 else kept[0]
