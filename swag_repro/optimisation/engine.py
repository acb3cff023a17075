"""The engine that optimises a batch of pairs, each with a state and guards of its own.

The engine yields typed records and returns images. It doesn't know which losses it minimises. It doesn't
print, log or save.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from swag_repro.errors import SettingError, check_choice, check_number
from swag_repro.losses import BALANCING_DRAWS, Network, Objective, Style, Terms
from swag_repro.memory import out_of_memory
from swag_repro.optimisation.canvas import Canvas, Pixels
from swag_repro.optimisation.optimizers import LBFGS, Optimizer, StopReason
from swag_repro.optimisation.records import (
    UNKNOWN_LOSSES,
    Guards,
    Losses,
    PairRecord,
    PairStatus,
    Plateau,
    Step,
    TooLargeError,
    Trend,
    plain_record,
    restored,
)

# An image is unmoved if its pixels move by less than half a grey level of 255 on average.
UNMOVED = 0.5 / 255


# A loss is unchanged if it falls by less than this part of its start.
UNCHANGED = 1e-3


# Losses below this part of the first one are rounding; their jumps don't count as explosions.
NEGLIGIBLE_LOSS = 1e-6


RESULTS = ("best", "last")


def check_optimizer(objective: Objective, optimizer: Optimizer) -> None:
    """Raise a `SettingError` if the objective draws samples, and the optimiser needs the same loss twice."""
    if objective.stochastic and isinstance(optimizer, LBFGS):
        rule = "should be adam or rmsprop for a loss that draws samples anew at each step"
        raise SettingError("optimizer", rule, "lbfgs", "Add optimizer=adam.")


class Optimisation:
    """A minimisation of an objective over a batch of images.

    Iterating over it runs it; each `Step` is one evaluation of all pairs under way. A pair that has ended
    costs nothing more.

    Args:
        network: images `(A, 3, H, W)` → features of each tap.
        objective: the objective to minimise. If it draws samples, each iteration of a pair has its own.
        contents: `(B, 3, H, W)`, RGB in [0, 1].
        styles: the styles of each of the B pairs.
        start: the images `(B, 3, H, W)` to start from.
        optimizer: makes an optimiser from the start as the canvas writes it.
        steps: iterations after which a pair ends; 0 leaves the start, for controls without a network.
        guards: what to do against divergence.
        result: the image of a pair: `best` has the least loss, `last` is the newest iterate. An objective
            that draws samples always takes the newest, because its least loss is mostly luck.
        evaluations: evaluations of its loss after which a pair ends, whatever its iterations; None for no
            bound.
        canvas: what is optimised in place of pixels; None for pixels.
        plateau: ends pairs early; None for never.

    Raises:
        SettingError: a number that is too small, or an unknown result.
        TooLargeError: out of memory, here and while iterating.
        ValueError: shapes that do not fit.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        contents: Tensor,
        styles: Sequence[Sequence[Style]],
        *,
        start: Tensor,
        optimizer: Callable[[Tensor], Optimizer],
        steps: int,
        guards: Guards,
        result: str,
        evaluations: int | None = None,
        canvas: Canvas | None = None,
        plateau: Plateau | None = None,
    ) -> None:
        check_choice("result", result, RESULTS)
        check_number("steps", steps, least=0, whole=True)
        if evaluations is not None:
            check_number("evaluations", evaluations, least=1, whole=True)
        if start.shape != contents.shape:
            raise ValueError(f"start should be {tuple(contents.shape)}; found {tuple(start.shape)}")
        self._network, self._objective = network, objective
        self._steps, self._evaluations = steps, evaluations or math.inf
        self._guards, self._plateau = guards, plateau
        self._start, self._canvas = start.detach(), canvas or Pixels()
        with _memory_problems(contents):
            self._targets = objective.targets(network, contents, styles)
        self._optimizer = optimizer(self._canvas.encode(self._start))
        check_optimizer(objective, self._optimizer)
        self._newest = objective.stochastic or result == "last"
        self._pairs = [PairRecord(UNKNOWN_LOSSES, UNKNOWN_LOSSES, UNKNOWN_LOSSES) for _ in contents]
        self._trends = [Trend() for _ in contents]
        self._seconds = 0.0

    def __iter__(self) -> Iterator[Step]:
        """Yield a step at a time until every pair has ended."""
        while not self.done:
            yield self.advance()

    @property
    def done(self) -> bool:
        """True if every pair has ended."""
        return self._optimizer.done

    @property
    def results(self) -> tuple[PairRecord, ...]:
        """The record of each of the B pairs."""
        return tuple(self._pairs)

    @property
    def images(self) -> Tensor:
        """Each pair's image, clamped: `(B, 3, H, W)` in [0, 1].

        It is the image of least loss so far or the newest, as `result` asks. A pair that diverged has the
        image of least loss.
        """
        return torch.stack([self._image(pair) for pair in range(len(self._pairs))])

    def advance(self) -> Step:
        """Evaluate every pair under way once, and let its optimiser and its guards act on the losses."""
        began = time.perf_counter()
        active = self._optimizer.active
        terms, gradients = self._evaluate()
        values = torch.stack(terms, dim=1).tolist()
        self._optimizer.observe(terms.total, gradients)
        for pair, losses in zip(active, values, strict=True):
            self._record(pair, Losses(*losses))
            self._guard(pair)
            self._end(pair)
        self._seconds += time.perf_counter() - began
        return self._step()

    def _evaluate(self) -> tuple[Terms, Tensor]:
        """Return terms `(A,)` and gradients of the total, `(A, ...)`, at the proposed points."""
        points, active = self._optimizer.propose().requires_grad_(), self._optimizer.active
        draws = [self._pairs[pair].iterations for pair in active]
        with _memory_problems(self._start), torch.enable_grad():
            images = self._canvas.decode(points, self._start.shape[2:])
            terms = self._objective(self._network, images, self._targets.of(active), draws)
            terms.total.sum().backward(inputs=[points])
        if points.grad is None:
            raise ValueError("the objective does not depend on the images")
        return Terms(*(term.detach() for term in terms)), points.grad

    def _record(self, pair: int, losses: Losses) -> None:
        before, progress = self._pairs[pair], self._optimizer.progress[pair]
        self._pairs[pair] = replace(
            before,
            losses=losses,
            best=losses if losses.total == progress.best_loss < before.best.total else before.best,
            first=before.first if before.evaluations else losses,
            iterations=progress.iterations,
            evaluations=progress.evaluations,
            overshoots=before.overshoots + 1 if self._exploding(pair) else 0,
        )

    def _exploding(self, pair: int) -> bool:
        """Return whether the iterate's loss explodes; a line search may try larger losses that it drops."""
        progress, first = self._optimizer.progress[pair], self._pairs[pair].first.total
        # Estimated losses scatter; they may come close to 0, and below.
        part = 1.0 if self._objective.stochastic else NEGLIGIBLE_LOSS
        floor = part * abs(first) if math.isfinite(first) else 0.0
        return progress.loss > self._guards.explosion * max(progress.best_loss, floor)

    def _guard(self, pair: int) -> None:
        record, stopped = self._pairs[pair], self._optimizer.progress[pair].stopped
        if stopped == StopReason.NON_FINITE:
            fault = str(stopped)
        elif record.overshoots >= self._guards.patience:
            fault = f"loss stayed {self._guards.explosion:g} times above its best"
        else:
            return
        if not math.isfinite(record.best.total):
            self._close(pair, PairStatus.DIVERGED, f"{fault} at the start")
        elif record.recoveries == self._guards.recoveries:
            self._close(pair, PairStatus.DIVERGED, f"{fault}, after {record.recoveries} recoveries")
        else:
            self._recover(pair)

    def _recover(self, pair: int) -> None:
        record = self._pairs[pair]
        self._pairs[pair] = replace(record, recoveries=record.recoveries + 1, overshoots=0)
        scale = self._guards.step_scale
        if isinstance(self._optimizer, LBFGS):
            scale = scale if record.recoveries else 1.0
            self._optimizer.search_safely(pair)
        self._optimizer.restart(pair, step_scale=scale)

    def _end(self, pair: int) -> None:
        """Close a pair that has stopped by itself or taken its last step."""
        record, stopped = self._pairs[pair], self._optimizer.progress[pair].stopped
        if record.status != PairStatus.RUNNING:
            return
        plateau = self._plateau
        if plateau is not None and self._is_on_plateau(pair, plateau):
            change, every = plateau.change, plateau.every
            stopped = stopped or f"{plateau.of} changed by less than {change:.2%} in {every} steps"
        if record.iterations >= self._steps:
            stopped = stopped or f"all {self._steps} steps taken"
        elif record.evaluations >= self._evaluations:
            stopped = stopped or f"all {self._evaluations} evaluations made"
        if stopped is not None:
            unchanged = self._steps > 0 and self._is_unchanged(pair)
            self._close(pair, PairStatus.UNCHANGED if unchanged else PairStatus.FINISHED, stopped)

    def _is_on_plateau(self, pair: int, plateau: Plateau) -> bool:
        trend, iterations = self._trends[pair], self._pairs[pair].iterations
        if plateau.of == "image":
            return trend.settled(plateau, iterations, self._optimizer.iterate(pair), mean=False)
        loss = self._optimizer.progress[pair].loss
        return trend.settled(plateau, iterations, loss, mean=self._objective.stochastic)

    def _close(self, pair: int, status: PairStatus, reason: str) -> None:
        record = replace(self._pairs[pair], status=status, reason=reason)
        if self._newest and status != PairStatus.DIVERGED:
            record = replace(record, best=self._mean_losses(pair))
        self._pairs[pair] = record
        self._optimizer.stop(pair, reason)

    @torch.no_grad()
    def _mean_losses(self, pair: int) -> Losses:
        """Return the losses of one pair's image, means over the draws that balanced it."""
        image, targets = self._image(pair).unsqueeze(0), self._targets.of([pair])
        if not self._objective.stochastic:
            return Losses(*(float(term) for term in self._objective(self._network, image, targets)))
        features = self._network(image)
        found = [self._objective(lambda _: features, image, targets, [draw]) for draw in BALANCING_DRAWS]
        return Losses(*(float(torch.stack(term).mean()) for term in zip(*found, strict=True)))

    def _is_unchanged(self, pair: int) -> bool:
        record = self._pairs[pair]
        fell = record.first.total - record.best.total
        moved = self._image(pair) - self._start[pair].clamp(0, 1)
        return fell < UNCHANGED * abs(record.first.total) or float(moved.abs().mean()) < UNMOVED

    def _image(self, pair: int) -> Tensor:
        newest = self._newest and self._pairs[pair].status != PairStatus.DIVERGED
        values = self._optimizer.iterate(pair) if newest else self._optimizer.best(pair)
        return self._canvas.decode(values.unsqueeze(0), self._start.shape[2:])[0].clamp(0, 1)

    def _step(self) -> Step:
        return Step(
            step=max(pair.iterations for pair in self._pairs),
            evaluations=max(pair.evaluations for pair in self._pairs),
            pairs=tuple(self._pairs),
            seconds=self._seconds,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides what comes next, in plain containers and tensors.

        The tensors are not copies, as in `torch.optim`: save or copy the dictionary at once.
        """
        return {
            "optimizer": self._optimizer.state_dict(),
            "pairs": [plain_record(pair) for pair in self._pairs],
            "trends": [vars(trend).copy() for trend in self._trends],
            "seconds": self._seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue, bit for bit, where another optimisation with the same arguments stood.

        Raises:
            ValueError: the state belongs to another optimiser or number of pairs.
        """
        self._optimizer.load_state_dict(state["optimizer"])
        self._pairs = [restored(**pair) for pair in state["pairs"]]
        self._trends = [Trend(**trend) for trend in state["trends"]]
        self._seconds = state["seconds"]


def _memory_problems(images: Tensor) -> AbstractContextManager[None]:
    count, _, height, width = images.shape
    return out_of_memory(
        lambda words: TooLargeError(
            "compute.batch_size",
            "should leave images and network room in memory",
            f"{count} of {height}×{width} pixels ({words})",
            "Choose a smaller compute.batch_size, a smaller images.size, or execution.checkpoints=true.",
        )
    )
