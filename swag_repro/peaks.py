"""The change of peaks in a residual unit: SWAG's "whack-a-mole" (Figure 4 and the text beside it).

The paper argues that a unit can hardly flatten a peak. The shortcut after a ReLU is never negative, so the
residual branch would have to be as negative at the place of the peak, and must not raise another peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

# Peaks below this part of the largest are rounding and are left out.
LEAST = 1e-6


@dataclass(frozen=True)
class Peaks:
    """The largest values of each channel, `(B, D)` each.

    Attributes:
        shortcut: the largest values of the shortcut.
        branch: the largest values of the residual branch alone.
        sum: the largest values of their sum.
        there: the sum at the place of the shortcut's peak.
    """

    shortcut: Tensor
    branch: Tensor
    sum: Tensor
    there: Tensor

    @classmethod
    def of(cls, shortcut: Tensor, branch: Tensor) -> Peaks:
        """Return the peaks of the two sides of an addition, `(B, D, H, W)` each."""
        brought, given = shortcut.flatten(2), branch.flatten(2)
        peaks, places = brought.max(dim=2)
        whole = brought + given
        there = whole.gather(2, places.unsqueeze(2)).squeeze(2)
        return cls(peaks, given.amax(dim=2), whole.amax(dim=2), there)

    def changes(self) -> Mapping[tuple[str, str], Tensor]:
        """Return the changes of the shortcut's peaks, (statistic, definition) → `(B,)`.

        `peaks_shrunk` is the part of channels in which a value is smaller than the shortcut's peak: the peak
        of the `branch`, the peak of the `sum`, or the sum `there`, at the place of the shortcut's peak.
        `log2_peak` is the mean over channels of log₂ of the new peak over the shortcut's, where both are
        positive. `log2_highest` is the same for the largest value of the layer. Channels without a positive
        peak don't count.
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
    """Return the mean over the counted channels, `(B, D)` → `(B,)`; NaN where there are none."""
    return values.masked_fill(~counted, 0).sum(dim=1) / counted.sum(dim=1)
