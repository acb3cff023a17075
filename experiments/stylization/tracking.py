"""A stylisation's progress in W&B: losses, the number of pairs in each state, and intermediate pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice

from PIL.Image import Image
from torch import Tensor

from experiments.pictures.batches import PairBatch
from swag_repro.images import to_pil
from swag_repro.optimisation import PairRecord, PairStatus, Step
from swag_repro.tracking import Tracker
from swag_repro.tracking.shown import LossCurves, loss_axis

LOSS_TERMS = ("content", "style", "total")

PAIRS_SENT = 8
"""The most pairs of a batch whose intermediate pictures are sent."""


class BatchTracker:
    """A sender of a run's batches to W&B, one after the other.

    Args:
        tracker: The run's tracker.
        pairs: The names of all pairs of the run.
        every: Steps between pictures; 0 for none.
    """

    def __init__(self, tracker: Tracker, pairs: Iterable[str], *, every: int) -> None:
        self.tracker, self.every = tracker, every
        self.curves = LossCurves(pairs)
        self.records: dict[str, PairRecord] = {}
        self.sent = 0
        loss_axis(tracker)

    def begin(self, batch: PairBatch, rows: Iterable[Mapping[str, float]]) -> None:
        """Send the contents and styles of a batch, and the rows of its curves from before an interruption."""
        self.sent = 0
        self.tracker.images("inputs", _inputs(batch))
        for row in rows:
            point = self.curves.point(row)
            if not self.tracker.resumed:
                self.tracker.log(point)

    def step(
        self, batch: PairBatch, step: Step, row: Mapping[str, float], pictures: Callable[[], Tensor]
    ) -> None:
        """Send a step's row of the curves, and pictures `(B, 3, H, W)` every `every` steps."""
        self.records |= {pair.name: record for pair, record in zip(batch.pairs, step.pairs, strict=True)}
        self.tracker.log({**self.curves.point(row), **_states(self.records.values())})
        if self.every and step.step >= self.sent + self.every:
            self.sent = step.step
            self.tracker.images("pictures", _captioned(batch, step, pictures))

    def end(self) -> None:
        """Send the means over pairs that the last batch left out."""
        for point in self.curves.rest():
            self.tracker.log(point)


def _captioned(batch: PairBatch, step: Step, pictures: Callable[[], Tensor]) -> Iterator[tuple[Image, str]]:
    shown = zip(batch.pairs, pictures().cpu(), step.pairs, strict=True)
    for pair, image, record in islice(shown, PAIRS_SENT):
        yield to_pil(image), f"{pair.name}, step {step.step}: {record.status}"


def _inputs(batch: PairBatch) -> Iterable[tuple[Image, str]]:
    seen: dict[str, Tensor] = {}
    for pair, content, styles in zip(batch.pairs, batch.contents, batch.styles, strict=True):
        seen[pair.content.key] = content
        seen |= {picture.key: style.image for picture, style in zip(pair.styles, styles, strict=True)}
    return ((to_pil(image.cpu()), key) for key, image in seen.items())


def losses_of(batch: PairBatch, step: Step) -> dict[str, float]:
    """Return the losses of a step by `<pair>/<term>`."""
    return {
        f"{pair.name}/{term}": getattr(record.losses, term)
        for pair, record in zip(batch.pairs, step.pairs, strict=True)
        for term in LOSS_TERMS
    }


def _states(records: Collection[PairRecord]) -> dict[str, int]:
    """Return the number of pairs in each state, among those that have begun."""
    return {
        **{f"status/{status}": sum(record.status == status for record in records) for status in PairStatus},
        "status/recoveries": sum(record.recoveries for record in records),
    }
