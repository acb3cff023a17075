"""A stylisation in W&B while it goes on: losses, how many pairs are where, and pictures on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from PIL.Image import Image
from torch import Tensor

from experiments.pictures.batches import Batch
from swag_repro.images import to_pil
from swag_repro.tracking import Tracker
from swag_repro.tracking.shown import POINTS, loss_axis, loss_point
from swag_repro.transfer import Status, Step

TERMS = ("content", "style", "total")

SHOWN = 8
"""At most so many pairs of a batch are shown on their way."""


class Mirror:
    """Sends what becomes of batches.

    Args:
        tracker: of the run.
        every: steps between pictures; 0 for none.
    """

    def __init__(self, tracker: Tracker, *, every: int) -> None:
        self.tracker, self.every = tracker, every
        self.sent = 0
        loss_axis(tracker)

    def begin(self, batch: Batch) -> None:
        """Sends the contents and styles of a batch."""
        self.sent = 0
        self.tracker.images("inputs", _inputs(batch))

    def step(self, batch: Batch, step: Step, pictures: Callable[[], Tensor]) -> None:
        """Sends the losses of a step, and pictures `(B, 3, H, W)` where it is time for some."""
        about = {POINTS: step.evaluations, "step": step.step, "seconds": step.seconds}
        self.tracker.log({**about, **loss_point(losses_of(batch, step)), **_states(step)})
        if self.every and step.step >= self.sent + self.every:
            self.sent = step.step
            self.tracker.images("pictures", _captioned(batch, step, pictures))


def _captioned(batch: Batch, step: Step, pictures: Callable[[], Tensor]) -> Iterator[tuple[Image, str]]:
    shown = zip(batch.pairs, pictures().cpu(), step.pairs, strict=True)
    for pair, image, record in islice(shown, SHOWN):
        yield to_pil(image), f"{pair.name}, step {step.step}: {record.status}"


def _inputs(batch: Batch) -> Iterable[tuple[Image, str]]:
    seen: dict[str, Tensor] = {}
    for pair, content, styles in zip(batch.pairs, batch.contents, batch.styles, strict=True):
        seen[pair.content.key] = content
        seen |= {picture.key: style.image for picture, style in zip(pair.styles, styles, strict=True)}
    return ((to_pil(image.cpu()), key) for key, image in seen.items())


def losses_of(batch: Batch, step: Step) -> dict[str, float]:
    """`<pair>/<term>` → loss."""
    return {
        f"{pair.name}/{term}": getattr(record.losses, term)
        for pair, record in zip(batch.pairs, step.pairs, strict=True)
        for term in TERMS
    }


def _states(step: Step) -> dict[str, Any]:
    return {
        **{f"status/{status}": sum(record.status == status for record in step.pairs) for status in Status},
        "status/recoveries": sum(record.recoveries for record in step.pairs),
    }
