"""How a residual unit changes peaks: SWAG's "whack-a-mole" (Figure 4 and the text beside it).

The paper argues that a unit can hardly flatten a peak: the shortcut after a ReLU is never negative, so the
residual branch would have to be as negative at the peak's place, and must not raise another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

# Peaks below this part of the largest are rounding: nothing is said of them.
LEAST = 1e-6


@dataclass(frozen=True)
class Peaks:
    """The largest values of each channel, `(B, D)` each.

    Attributes:
        shortcut: of what the shortcut brings.
        branch: of what the residual branch alone gives.
        sum: of both.
        there: the sum where the shortcut has its peak.
    """

    shortcut: Tensor
    branch: Tensor
    sum: Tensor
    there: Tensor

    @classmethod
    def of(cls, shortcut: Tensor, branch: Tensor) -> Peaks:
        """Of both sides of an addition, `(B, D, H, W)` each."""
        brought, given = shortcut.flatten(2), branch.flatten(2)
        peaks, places = brought.max(dim=2)
        whole = brought + given
        there = whole.gather(2, places.unsqueeze(2)).squeeze(2)
        return cls(peaks, given.amax(dim=2), whole.amax(dim=2), there)

    def changes(self) -> Mapping[tuple[str, str], Tensor]:
        """What becomes of the shortcut's peaks, `(B,)` each, by statistic and definition.

        `peaks_shrunk` is the share of channels whose largest value is smaller than the shortcut's: of the
        `branch` alone, after the `sum`, and `there`, where the peak stood. `log2_peak` is the mean over
        channels of log₂ of the largest value after by before, where both are positive; `log2_highest` that
        of the layer's one largest value. Channels without a positive peak count nowhere.
        """
        counted = self.shortcut > LEAST * self.shortcut.amax(dim=1, keepdim=True).clamp_min(0)
        counted &= self.shortcut > 0
        after = {"branch": self.branch, "sum": self.sum, "there": self.there}
        shrunk = {
            ("peaks_shrunk", name): _mean((values < self.shortcut).to(values), counted)
            for name, values in after.items()
        }
        highest = self.shortcut.amax(dim=1)
        ratios = {}
        for name in ("branch", "sum"):
            positive = counted & (after[name] > 0)
            ratios["log2_peak", name] = _mean((after[name] / self.shortcut).log2(), positive)
            ratios["log2_highest", name] = (after[name].amax(dim=1) / highest).log2()
        return {**shrunk, **ratios}


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Over the counted channels, `(B, D)` → `(B,)`; NaN where there are none."""
    return values.masked_fill(~counted, 0).sum(dim=1) / counted.sum(dim=1)
