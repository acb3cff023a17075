"""A loss that matches batch normalisation's statistics (Demystifying Neural Style Transfer, IJCAI 2017)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from swag_repro.errors import check_choice
from swag_repro.losses.base import LayerLoss, squares
from swag_repro.losses.moments import channel_moments
from swag_repro.smoothing import at_least_float32

BN_NORMALIZERS: Mapping[str, Callable[[int, int], float]] = {  # functions of D and M
    "mean": lambda *_: 1.0,
    "sum": lambda channels, _: channels,  # AdaIN, authors' code (StyleINLossModule.lua)
    "demystifying": lambda _, positions: 1e3 * positions / 2,  # 1e3 M · ½, authors' code
}


def moments_distance(mean: Tensor, deviation: Tensor, of_style: tuple[Tensor, Tensor]) -> Tensor:
    """Return `1/D Σ_i (μ_i − μ'_i)² + (s_i − s'_i)²` of each image.

    Args:
        mean: μ, `(A, D)`.
        deviation: s, `(A, D)`.
        of_style: μ' and s', `(A, D)` both.

    Returns:
        `(A,)` float64.
    """
    wanted_mean, wanted_deviation = of_style
    return (squares(mean - wanted_mean) + squares(deviation - wanted_deviation)) / mean.shape[1]


@dataclass(frozen=True, kw_only=True)
class BatchNormLoss(LayerLoss):
    """Squared differences of the channels' means and standard deviations.

    Attributes:
        normalizer: `mean` (the equation), `sum` over channels or `demystifying`, see `BN_NORMALIZERS`.

    Raises:
        SettingError: an unknown normaliser.
    """

    normalizer: str

    def __post_init__(self) -> None:
        check_choice("normalizer of BatchNormLoss", self.normalizer, BN_NORMALIZERS)

    def keep(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and standard deviations of the style image, `(1, D)` both."""
        return channel_moments(at_least_float32(matrix))

    def distance(
        self,
        matrix: Tensor,
        kept: Sequence[tuple[Tensor, Tensor]],
        *,
        shares: Tensor | None,
        draws: Sequence[int],
    ) -> Tensor:
        """Return the loss of each image, `(A,)` float64."""
        del draws
        mean, deviation = channel_moments(at_least_float32(matrix), shares)
        means, deviations = zip(*kept, strict=True)
        distance = moments_distance(mean, deviation, (torch.cat(means), torch.cat(deviations)))
        return distance * BN_NORMALIZERS[self.normalizer](*matrix.shape[1:])
