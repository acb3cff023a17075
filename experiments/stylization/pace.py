"""How long a stylisation is going to take, and what would be quicker, told once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.stylization.scales import Scale
from experiments.sweeps.progress import duration

LONG = 600.0
"""Seconds: a run that takes longer is told of what takes less."""

FEWEST, SHORTEST = 3, 5.0
"""Evaluations, and seconds, from which a rate is taken; the very first evaluation is left out."""

QUICKER = "preset=fast"


@dataclass
class Pace:
    """Watches the first evaluations of a run.

    Attributes:
        work: of the whole run: pixels times evaluations, of all pairs.
        tell: is given the one line.
    """

    work: float
    tell: Callable[[str], None]
    first: float | None = None
    done: float = 0.0
    evaluations: int = 0
    over: bool = False

    def observe(self, work: float, seconds: float) -> None:
        """One evaluation more was made, of so much work, and so many seconds have passed since the start."""
        if self.over:
            return
        if self.first is None:
            self.first = seconds
            return
        self.done += work
        self.evaluations += 1
        passed = seconds - self.first
        if self.evaluations < FEWEST or passed < SHORTEST:
            return
        self.over = True
        if (left := passed * self.work / self.done) > LONG:
            what = f"{QUICKER} takes less (coarse to fine; look at what it makes of the content)"
            self.tell(f"This takes about {duration(left)} at this pace; {what}.")


def is_slow(scales: Sequence[Scale], *, stochastic: bool) -> bool:
    """Whether `preset=fast` would be quicker: not where a run is coarse to fine already.

    Losses that draw samples need their own number of steps.
    """
    return len(scales) == 1 and not stochastic
