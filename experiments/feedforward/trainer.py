"""The training of a network that stylises; its run directory has curves, pictures and weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.utils import make_grid

from experiments.frame import Context, Experiment
from experiments.pictures.batches import PairBatch
from experiments.pictures.saving import FinishedBatch, save_pictures, step_image
from experiments.training.trainer import LIVE, Trainer
from swag_repro.feedforward import FeedforwardTraining, MeanTerms, Stylizer
from swag_repro.images import save_png, to_pil
from swag_repro.optimisation import PairRecord
from swag_repro.optimisation.records import Losses, PairStatus

GRIDS = "images/grids"
"""The folder of grids of intermediate pictures: contents, styles and pictures side by side."""

CURVE_POINTS, MOST_LIVE = 20, 10
"""The points of a short training's kept curves, and the most live points averaged to one of them."""

CELL = 128
"""The height of a picture in a grid, in pixels."""


class FeedforwardTrainer(Trainer[FeedforwardTraining]):
    """A trainer of a network that stylises; it logs the objective's terms and pictures of some pairs.

    Args:
        experiment: The experiment to train.
        training: The training at its start.
        context: The context that takes the results; None in every process but the first.
        batches: A function that yields the pairs to show, one by one.
        stylizer: A function that makes a network ready to stylise.
    """

    axis = ("step", "train/*", "pairs/*", "lr")

    def __init__(
        self,
        experiment: Experiment,
        training: FeedforwardTraining,
        context: Context | None,
        *,
        batches: Callable[[], Iterator[PairBatch]],
        stylizer: Callable[[nn.Module], Stylizer],
    ) -> None:
        super().__init__(experiment, training, context)
        self.batches, self.stylizer = batches, stylizer

    def after(self, done: int) -> None:
        """Log the live curves, and show the pairs where the config asks for it."""
        if done % LIVE == 0 or done == self.training.steps:
            self._log("train", self.training.running())
            if done % self.kept_every == 0 or done == self.training.steps:
                self._note("train", self.training.running())
                self.training.forget_sums()
        self._show(done)

    @property
    def kept_every(self) -> int:
        """Steps between two points of the kept curves; each point is the mean since the point before."""
        return LIVE * min(MOST_LIVE, max(1, self.training.steps // (CURVE_POINTS * LIVE)))

    def begin(self) -> None:
        """Show the pairs at the start."""
        if self.training.done == 0:
            self._show(0)

    def end(self) -> None:
        """Write the pairs as the final network makes them, their table, and all rows."""
        if self.context is None:
            return
        run, pairs = self.context.run, []
        for batch, picture in self._stylized():
            first, last = self._losses(batch, batch.contents), self._losses(batch, picture)
            status = PairStatus.FINISHED if math.isfinite(last.total) else PairStatus.DIVERGED
            record = PairRecord(last, last, first, self.training.done, status=status, reason="trained")
            save_png(batch.contents[0], run.path / step_image(batch.pairs[0], 0, 0), {}, below=run.path)
            finished = FinishedBatch(batch, picture, (record,), steps=(0,), last_scale=0)
            pairs += list(save_pictures(run, finished, label=self.context.label, animation=False))
        run.write_pairs(pairs)
        rows = [{"quantity": "feedforward", **row} for row in self.state.rows]
        run.write_rows([{**self.experiment.origin, **row} for row in (*rows, *_pair_rows(pairs))])

    def _show(self, done: int) -> None:
        """Stylise the pairs and save a grid of them, at the shares of the training that `shown` names."""
        steps = {round(share * self.training.steps) for share in self.experiment.config.shown}
        if self.context is None or done not in steps:
            return
        cells: list[Tensor] = []
        scores: list[Losses] = []
        for batch, picture in self._stylized():
            cells += [batch.contents[0], batch.styles[0][0].image, picture[0]]
            scores.append(self._losses(batch, picture))
        grid, folder = _grid(cells), self.context.run.path
        save_png(grid, folder / GRIDS / f"{done:07}.png", {"step": str(done)}, below=folder)
        self.tracker.images("pairs", [(to_pil(grid), f"step {done}: content, style, picture")])
        mean = MeanTerms(
            *(sum(getattr(one, term) for one in scores) / len(scores) for term in MeanTerms.__annotations__)
        )
        self._note("pairs", mean)
        self._log("pairs", mean)

    def _stylized(self) -> Iterator[tuple[PairBatch, Tensor]]:
        """Yield each pair and its picture `(1, 3, H, W)`.

        Raises:
            TrainingError: A picture is NaN or infinite.
        """
        stylizer = self.stylizer(self.training.network)
        for batch in self.batches():
            picture = stylizer(batch.contents, batch.styles[0])
            if not picture.isfinite().all():
                raise self.training.diverged()
            yield batch, picture

    @torch.no_grad()
    def _losses(self, batch: PairBatch, picture: Tensor) -> Losses:
        """Return a picture's losses by the training's objective; the content's features are the target."""
        objective, encoder = self.training.objective, self.training.encoder
        targets = objective.targets(encoder, batch.contents, batch.styles)
        terms = objective(encoder, picture, targets)
        return Losses(*(float(term) for term in terms))

    def _log(self, part: str, score: MeanTerms) -> None:
        values = {f"{part}/{term}_loss": getattr(score, term) for term in MeanTerms.__annotations__}
        self.tracker.log({"step": self.training.done, "lr": self.training.lr, **values})

    def _note(self, part: str, score: MeanTerms) -> None:
        for term in MeanTerms.__annotations__:
            self.note(f"{term}_loss", part, getattr(score, term))
        self.note("seconds", part, self.seconds)


def _grid(cells: list[Tensor]) -> Tensor:
    """Return a grid of contents, styles and pictures `(3, H, W)`, three a row, each resized to a square."""
    squares = [F.interpolate(cell[None], (CELL, CELL), mode="bilinear", antialias=True)[0] for cell in cells]
    grid: Tensor = make_grid([square.cpu() for square in squares], nrow=3, padding=2, pad_value=1.0)
    return grid


def _pair_rows(pairs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of each pair's final losses."""
    for pair in pairs:
        for statistic in ("content_loss", "style_loss", "total_loss"):
            about = {"content": pair["content"], "style": pair["style"], "statistic": statistic}
            yield {**about, "value": float(pair[statistic])}
