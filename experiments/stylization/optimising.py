"""The optimisation of a batch's pictures, scale by scale, from the last checkpoint on."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor

from experiments.checkpoints import Checkpoints
from experiments.config import Config
from experiments.frame import Context
from experiments.pictures.batches import PairBatch
from experiments.pictures.saving import FinishedBatch, step_image
from experiments.signals import interrupt
from experiments.stylization.scales import PictureScale
from experiments.stylization.slow_run import SlowRunHint
from experiments.stylization.tracking import BatchTracker, losses_of
from experiments.sweeps.progress import increments
from experiments.sweeps.sweep import interruptible
from swag_repro.images import save_png
from swag_repro.optimisation import Optimisation, PairRecord, PairStatus, Step
from swag_repro.runs.files import digest_of

Begin: TypeAlias = Callable[[PairBatch, Sequence[PictureScale], int, Tensor | None], Optimisation]
"""A function of a batch, its scales, a scale's index and the images of the scale before; it begins there."""


@dataclass
class BatchState:
    """The state that decides how a batch continues; checkpoints store it.

    Attributes:
        scale: The index of the current scale.
        start: The coarser scale's images, `(B, 3, h, w)`; None at the first scale.
        optimisation: The `state_dict` of the current scale's optimisation; None before its first checkpoint.
        kept: The iteration of the last intermediate image of `keep.every`, at this scale.
        steps: The iterations of `measured_steps` that were saved.
        curves: A row for each evaluation, with the terms of each pair.
        files: The SHA-256 of each image that lies beside the checkpoint.
    """

    scale: int = 0
    start: Tensor | None = None
    optimisation: dict[str, Any] | None = None
    kept: int = 0
    steps: list[int] = field(default_factory=list)
    curves: list[dict[str, float]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def next_scale(self, images: Tensor) -> None:
        """Go to the next scale, which starts at these images."""
        self.scale, self.start, self.optimisation, self.kept = self.scale + 1, images, None, 0


class BatchOptimiser:
    """The optimisation of a stylisation's batches, one after the other.

    Args:
        config: The stylisation's config.
        context: The context that takes the results.
        names: The names of all its pairs.
        scales_for: A function that returns the scales of a batch.
        begin: A function that begins the optimisation of a batch at one of its scales.
        hint: The watch on the evaluations; None if no choice would be quicker.
    """

    def __init__(
        self,
        config: Config,
        context: Context,
        *,
        names: Sequence[str],
        scales_for: Callable[[PairBatch], Sequence[PictureScale]],
        begin: Begin,
        hint: SlowRunHint | None,
    ) -> None:
        self.config, self.context = config, context
        self.scales_for, self.begin, self.hint = scales_for, begin, hint
        self.checkpoints = Checkpoints(context.run.path, seconds=config.keep.checkpoint_seconds)
        self.tracking = BatchTracker(context.tracker, names, every=config.tracking.every)
        self.curves: list[dict[str, float]] = []

    def paint(self, batch: PairBatch) -> FinishedBatch:
        """Return the pictures of a batch."""
        saved = self.checkpoints.load(batch.key)
        state = BatchState(**saved) if saved else self._begun(batch)
        self.tracking.begin(batch, state.curves)
        scales = self.scales_for(batch)
        records: tuple[PairRecord, ...] = ()
        while state.scale < len(scales):
            records = self._paint_scale(batch, state, scales)
        assert state.start is not None
        self.curves += state.curves
        images = batch.finished(state.start.to(batch.contents.device), self.config.color)
        return FinishedBatch(batch, images, records, tuple(state.steps), len(scales) - 1)

    def clear(self) -> None:
        """Send the rest of the curves and delete the checkpoints; the run has its results."""
        self.tracking.end()
        self.checkpoints.clear()

    def _begun(self, batch: PairBatch) -> BatchState:
        """Return the first state, after deleting the images of an attempt that left no checkpoint."""
        for pair in batch.pairs:
            shutil.rmtree(self.context.run.path / "images" / "steps" / pair.name, ignore_errors=True)
        return BatchState()

    def _paint_scale(
        self, batch: PairBatch, state: BatchState, scales: Sequence[PictureScale]
    ) -> tuple[PairRecord, ...]:
        scale, is_last = scales[state.scale], state.scale == len(scales) - 1
        optimisation = self.begin(batch, scales, state.scale, state.start)
        if state.optimisation is not None:
            optimisation.load_state_dict(state.optimisation)
        self._advance(optimisation, batch.at(scale.part), state, scale, measured=is_last)
        state.next_scale(optimisation.images.cpu())
        return optimisation.results

    def _advance(
        self,
        optimisation: Optimisation,
        batch: PairBatch,
        state: BatchState,
        scale: PictureScale,
        *,
        measured: bool,
    ) -> None:
        """Run an optimisation to its end; an interrupt leaves a checkpoint of the last whole step."""
        if state.optimisation is None:  # the first evaluation of a first-order optimiser is already a step
            self._keep(optimisation, batch, state, 0, measured=measured)
        with interruptible(self.context.place) as interrupted:
            for step in self._steps(optimisation, batch, scale):
                row = _point(state.scale, batch, step)
                state.curves.append(row)
                self._observe(optimisation, step)
                self.tracking.step(
                    batch, step, row, lambda: batch.finished(optimisation.images, self.config.color)
                )
                self._keep(optimisation, batch, state, step.step, measured=measured)
                number = interrupted()
                if number is not None or self.checkpoints.due():
                    current = {**vars(state), "optimisation": optimisation.state_dict()}
                    self.checkpoints.save(batch.key, current)
                if number is not None:
                    interrupt(number)

    def _observe(self, optimisation: Optimisation, step: Step) -> None:
        if self.hint is not None:
            running = sum(pair.status == PairStatus.RUNNING for pair in step.pairs)
            self.hint.observe(running * math.prod(optimisation.images.shape[2:]), step.seconds)

    def _steps(self, optimisation: Optimisation, batch: PairBatch, scale: PictureScale) -> Iterator[Step]:
        """Yield each step, and show a bar of steps, or of evaluations if these end first.

        A step takes one or more evaluations.
        """
        bounded = scale.evaluations is not None and scale.evaluations <= scale.steps
        size = "×".join(map(str, optimisation.images.shape[2:]))
        return self.context.shown(
            increments((step.evaluations if bounded else step.step, step) for step in optimisation),
            total=scale.most,
            unit="evaluations" if bounded else "steps",
            detail=f", {len(batch.pairs)} pairs at {size} px",
        )

    def _keep(
        self, optimisation: Optimisation, batch: PairBatch, state: BatchState, step: int, *, measured: bool
    ) -> None:
        """Save the intermediate pictures that the config asks for at this step."""
        every = self.config.keep.every
        wanted = measured and step in self.config.measured_steps and step not in state.steps
        due = every and step >= state.kept + every
        if not wanted and not due:
            return
        state.kept = step if due else state.kept
        state.steps += [step] if wanted else []
        finished, folder = batch.finished(optimisation.images, self.config.color).cpu(), self.context.run.path
        for pair, image in zip(batch.pairs, finished, strict=True):
            name = step_image(pair, state.scale, step)
            save_png(image, folder / name, {}, below=folder)
            state.files[name] = digest_of(folder / name)


def _point(scale: int, batch: PairBatch, step: Step) -> dict[str, float]:
    """Return one row of the curves."""
    about = {"scale": scale, "evaluation": step.evaluations, "step": step.step, "seconds": step.seconds}
    return about | losses_of(batch, step)
