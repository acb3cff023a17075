"""The time that a stylisation will take, and a quicker choice, reported once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.stylization.scales import PictureScale
from experiments.sweeps.progress import duration

SLOW_SECONDS = 600.0
"""Seconds of a run above which a quicker choice is reported."""

LEAST_EVALUATIONS, LEAST_SECONDS = 3, 5.0
"""The fewest evaluations, and seconds, that give a rate; the first evaluation is left out."""

QUICKER = "preset=fast"


@dataclass
class SlowRunHint:
    """A watch on the first evaluations of a run.

    Attributes:
        work: The work of the whole run: pixels times evaluations, over all pairs.
        tell: A function that takes the one line of the report.
    """

    work: float
    tell: Callable[[str], None]
    first: float | None = None
    done: float = 0.0
    evaluations: int = 0
    over: bool = False

    def observe(self, work: float, seconds: float) -> None:
        """Count an evaluation of this work, and report a slow run once the rate is known.

        Args:
            work: Pixels of the evaluation, over all pairs.
            seconds: The time since the start.
        """
        if self.over:
            return
        if self.first is None:
            self.first = seconds
            return
        self.done += work
        self.evaluations += 1
        passed = seconds - self.first
        if self.evaluations < LEAST_EVALUATIONS or passed < LEAST_SECONDS:
            return
        self.over = True
        if (left := passed * self.work / self.done) > SLOW_SECONDS:
            what = f"{QUICKER} takes less (coarse to fine; look at what it makes of the content)"
            self.tell(f"This takes about {duration(left)} at this pace; {what}.")


def is_slow(scales: Sequence[PictureScale], *, stochastic: bool) -> bool:
    """Return whether `preset=fast` would be quicker: the run is not coarse to fine yet, and draws no samples.

    Losses that draw samples need their own number of steps.
    """
    return len(scales) == 1 and not stochastic
