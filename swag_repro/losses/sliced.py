"""The sliced Wasserstein loss (Bonneel et al., JMIV 2015), as a style loss by Heitz et al., CVPR 2021."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from swag_repro.errors import check_number, check_seed
from swag_repro.losses.base import LayerLoss, generator
from swag_repro.smoothing import at_least_float32
from swag_repro.statistics import common_quantiles, weighted_quantiles


def squared_wasserstein(values: Tensor, style_values: Tensor, shares: Tensor | None = None) -> Tensor:
    """Return `W₂² = ∫ (Q(t) − Q_s(t))² dt` between the quantile functions Q and Q_s on each of P lines.

    It is exact for any two numbers of values.

    Args:
        values: `(P, M)`, in any order.
        style_values: `(P, M_s)`, in ascending order.
        shares: how much each of the M values counts, `(M,)` with a sum of 1; None for all alike.

    Returns:
        `(P,)`.
    """
    (_, size), other = values.shape, style_values.shape[1]
    ascending, order = values.sort(dim=1)
    if shares is not None:
        widths, at, at_style = weighted_quantiles(shares[order], other)
        gaps = ascending.gather(1, at) - style_values.gather(1, at_style)
    elif size == other:
        return (ascending - style_values).square().mean(dim=1)
    else:
        widths, at, at_style = common_quantiles(size, other, values.device)
        gaps = ascending[:, at] - style_values[:, at_style]
    return (gaps.square() * widths.to(gaps.dtype)).sum(dim=1)


def directions(channels: int, count: int, random: torch.Generator) -> Tensor:
    """Return random unit vectors, uniform on the sphere, `(count, channels)`."""
    return normalize(torch.randn(count, channels, generator=random), dim=1)


def projected(rows: Tensor, onto: Tensor) -> Tensor:
    """Return the projections `(P, M)` of rows `(M, D)` onto directions `(P, D)`."""
    return (rows @ onto.mT).mT.contiguous()


@dataclass(frozen=True, kw_only=True)
class SlicedWasserstein(LayerLoss):
    """The mean of W₂² between the columns' projections onto random directions.

    Attributes:
        projections: the number of directions; time grows with it, because sorting takes most of the time.
        resample: whether each draw has other directions.
        seed: chooses the directions, together with the number of the draw if they are resampled.

    Raises:
        SettingError: no projection.
    """

    projections: int
    resample: bool
    seed: int

    def __post_init__(self) -> None:
        name, remedy = "projections of SlicedWasserstein", "More projections, less noise."
        check_number(name, self.projections, least=1, whole=True, remedy=remedy)
        check_seed("seed of SlicedWasserstein", self.seed)

    @property
    def stochastic(self) -> bool:
        """True if directions are resampled."""
        return self.resample

    def keep(self, matrix: Tensor) -> Tensor:
        """Return the style image's rows `(M_s, D)`, or sorted projections `(P, M_s)` if directions stay."""
        rows = at_least_float32(matrix)[0].mT
        return rows if self.resample else self._sorted(rows, self._directions(rows, draw=0))

    def distance(
        self, matrix: Tensor, kept: Sequence[Tensor], *, shares: Tensor | None, draws: Sequence[int]
    ) -> Tensor:
        """Return the loss of each image, `(A,)` float64; positions count by their shares."""
        own = [None] * len(kept) if shares is None else shares.unbind()
        images = zip(at_least_float32(matrix).mT.unbind(), kept, own, draws, strict=True)
        return torch.stack([self._of_one(*image) for image in images])

    def _of_one(self, rows: Tensor, kept: Tensor, shares: Tensor | None, draw: int) -> Tensor:
        if shares is not None:  # positions of share 0 need not be sorted
            counted = shares.nonzero().squeeze(1)
            rows, shares = rows.index_select(0, counted), shares[counted]
        onto = self._directions(rows, draw if self.resample else 0)
        wanted = self._sorted(kept, onto) if self.resample else kept
        return squared_wasserstein(projected(rows, onto), wanted, shares).double().mean()

    def _directions(self, rows: Tensor, draw: int) -> Tensor:
        return directions(rows.shape[1], self.projections, generator(self.seed, draw)).to(rows)

    @staticmethod
    def _sorted(rows: Tensor, onto: Tensor) -> Tensor:
        return projected(rows, onto).sort(dim=1).values
