"""The steps of constant value, from 0 to 1, of the quantile functions of two empirical distributions."""

from __future__ import annotations

import torch
from torch import Tensor


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
