"""A stylisation in W&B while it goes on: losses, how many pairs are where, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pandas as pd
from PIL.Image import Image
from torch import Tensor

from experiments.stylization.batches import Batch
from swag_repro.images import to_pil
from swag_repro.runs.tracking import Tracker
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
        tracker.axis("step", "loss/*", "status/*", "pair/*", "seconds", "pictures")

    def begin(self, batch: Batch) -> None:
        """Sends the contents and styles of a batch."""
        self.sent = 0
        self.tracker.images("inputs", _inputs(batch))

    def step(self, batch: Batch, step: Step, pictures: Callable[[], Tensor]) -> None:
        """Sends the losses of a step, and pictures `(B, 3, H, W)` where it is time for some."""
        self.tracker.log(
            {"step": step.step, "seconds": step.seconds, **_losses(batch, step), **_states(step)}
        )
        if self.every and step.step >= self.sent + self.every:
            self.sent = step.step
            self.tracker.images("pictures", _captioned(batch, step, pictures))

    def end(self, pairs: pd.DataFrame, pictures: Iterable[tuple[Image, str]]) -> None:
        """Sends what became of all pairs: a table, the final pictures, and means under names of their own."""
        self.tracker.table("pairs", pairs.drop(columns=["styles", "steps"]))
        self.tracker.images("result", pictures)
        counts = {f"status/{status}": int(count) for status, count in pairs["status"].value_counts().items()}
        self.tracker.summary({**counts, **final_losses(pairs)})


def final_losses(pairs: pd.DataFrame) -> dict[str, float]:
    """Means of the losses of finished pairs, in `PAIRS`, by W&B's names of them."""
    means = pairs.filter(like="_loss").mean()
    return {f"final/{name}": value for name, value in means.items()}


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


def _losses(batch: Batch, step: Step) -> Mapping[str, float]:
    """Each pair's, and their means, which all runs have under the same name."""
    losses = {term: [getattr(record.losses, term) for record in step.pairs] for term in TERMS}
    means = {f"loss/{term}": sum(values) / len(values) for term, values in losses.items()}
    own = {f"pair/{pair.name}": loss for pair, loss in zip(batch.pairs, losses["total"], strict=True)}
    return {**means, **own}


def _states(step: Step) -> dict[str, Any]:
    return {
        **{f"status/{status}": sum(record.status == status for record in step.pairs) for status in Status},
        "status/recoveries": sum(record.recoveries for record in step.pairs),
    }
