"""Limited-memory BFGS.

Source: Nocedal & Wright, *Numerical Optimization*, 2nd ed., 2006 (NW06), algorithm 7.5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from torch import Tensor

from swag_repro.errors import check_choice, check_number
from swag_repro.optimisation.optimizers.batch import Optimizer, flat_images
from swag_repro.optimisation.optimizers.descent import Constants, Descent, StopReason
from swag_repro.optimisation.optimizers.history import History
from swag_repro.optimisation.optimizers.line_search import SEARCHES, LineSearch, Point, Search


@dataclass(frozen=True)
class _Tolerances:
    gradient: float
    change: float


class _QuasiNewton(Descent):
    """A descent by L-BFGS (NW06, algorithm 7.5) for one image."""

    settings = ("constants", "tolerances")

    def __init__(
        self,
        start: Tensor,
        lr: float,
        history: int,
        line_search: LineSearch,
        tolerances: _Tolerances,
        constants: Constants,
    ) -> None:
        super().__init__(start, lr, constants)
        self.line_search = line_search
        self.tolerances = tolerances
        self.history = History(history, constants)
        self.direction = start
        self.search: Search | None = None
        self.fresh = True

    @property
    def point(self) -> Tensor:
        if self.search is None:
            return self.iterate
        return self.iterate.add(self.direction, alpha=self.search.step)

    @property
    def position(self) -> Tensor:
        return self.point if self.line_search == "none" else self.iterate

    def go_on(self, loss: float, gradient: Tensor) -> None:
        search = self.search
        slope = float(gradient.dot(self.direction if search else gradient))
        finite = math.isfinite(loss) and math.isfinite(slope)
        trial = Point(search.step if search else 0.0, loss if finite else math.inf, slope, gradient)
        self.count(trial.loss)
        accepted = search.observe(trial) if search else trial
        if accepted is not None:
            self._accept(accepted)

    def forget(self) -> None:
        self.history.clear()
        self.search = None
        self.fresh = True

    def _accept(self, accepted: Point) -> None:
        search, self.search = self.search, None
        if not math.isfinite(accepted.loss):
            self.stop(StopReason.NON_FINITE)
        elif search is None:
            self._depart(accepted)
        elif accepted.step == 0:
            self._turn_back(accepted, StopReason.LINE_SEARCH)
        else:
            self._move(search.start, accepted)

    def _move(self, start: Point, accepted: Point) -> None:
        change = self.direction * accepted.step
        self.iterate = self.iterate.add(self.direction, alpha=accepted.step)
        self.iterations += 1
        self.history.push(change, accepted.gradient - start.gradient)
        longest = float(change.abs().max())
        if longest <= self.tolerances.change or abs(accepted.loss - start.loss) < self.tolerances.change:
            self.loss = accepted.loss
            self.stop(StopReason.CHANGE)
        else:
            self._depart(accepted)

    def _depart(self, origin: Point) -> None:
        """Choose a direction from the iterate, and begin to search along it."""
        self.loss = origin.loss
        if float(origin.gradient.abs().max()) <= self.tolerances.gradient:
            self.stop(StopReason.GRADIENT)
            return
        self.direction = self.history.direction(origin.gradient)
        slope = float(origin.gradient.dot(self.direction))
        if slope < 0 and slope <= -self.tolerances.change:
            self._begin(origin._replace(step=0.0, slope=slope))
        else:
            self._turn_back(origin, StopReason.NO_DESCENT)

    def _begin(self, start: Point) -> None:
        """Begin a search with the step lr; after a start, with a step whose 1-norm is lr (torch: at most)."""
        step = self.lr
        if self.fresh:
            longest = 1.0 if self.constants == "torch" else math.inf
            step *= min(longest, 1.0 / float(start.gradient.abs().sum()))
            self.fresh = False
        least = self.tolerances.change / float(self.direction.abs().max())
        self.search = SEARCHES[self.line_search](start, step, least)

    def _turn_back(self, origin: Point, reason: StopReason) -> None:
        """Try the gradient itself after a search along a quasi-Newton direction has failed."""
        if self.line_search == "none" or not self.history:
            self.loss = origin.loss
            self.stop(reason)
        else:
            self.forget()
            self._depart(origin)

    def state_dict(self) -> dict[str, Any]:
        search = None
        if self.search is not None:
            search = {k: tuple(v) if isinstance(v, Point) else v for k, v in vars(self.search).items()}
        return super().state_dict() | {"history": self.history.state_dict(), "search": search}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        history, search = state["history"], state["search"]
        super().load_state_dict({k: v for k, v in state.items() if k not in ("history", "search")})
        self.history.load_state_dict(history)
        self.search = None
        if search is not None:
            parts: dict[str, Any] = {k: Point(*v) if isinstance(v, tuple) else v for k, v in search.items()}
            self.search = SEARCHES[self.line_search](**parts)


class LBFGS(Optimizer):
    """Limited-memory BFGS with separate states for the images of a batch.

    With `constants` "torch", the first step, the tolerances and the skipped pairs equal those of
    `torch.optim.LBFGS`. With `line_search` "none" or "strong_wolfe" the iterates equal torch's too. Torch's
    `step` ends after `max_iter = 20` iterations, or at a tolerance, and the next `step` goes on with the same
    history. A loop of such steps, as in the authors' release, equals one uninterrupted descent with one
    evaluation an iteration. So the release's "more than 1000 closures" are 51 · 20 = 1020 here. At a
    tolerance torch would evaluate one point for ever; here an image stops and says why.

    "armijo" takes the first step that lowers the loss enough. This is mostly the first step tried, so it
    costs as much as "none" and doesn't diverge. Both searches shrink a step that leads to a loss that is not
    finite, and fall back on the gradient once when a quasi-Newton direction fails. "none" stops there.

    The memory is that of 2 · `history` + 8 images for each image, allocated as the history grows.

    Args:
        start: images (B, ...), float32 or float64; not changed.
        lr: the step to try first, above 0.
        history: the number of pairs kept, at least 1.
        line_search: "none" (a fixed step), "armijo" or "strong_wolfe".
        tolerance_grad: an image stops when its largest derivative is not above it.
        tolerance_change: an image stops when its loss or each of its pixels changes by no more than this.
        constants: see `Optimizer`; with torch's, a loss of small scale gets no second direction.

    Raises:
        SettingError: a setting is outside its range.
    """

    kind = "lbfgs"

    def __init__(
        self,
        start: Tensor,
        *,
        lr: float,
        history: int,
        line_search: LineSearch,
        tolerance_grad: float,
        tolerance_change: float,
        constants: Constants,
    ) -> None:
        check_number("optimizer.lr", lr, above=0)
        check_number("optimizer.history", history, least=1, whole=True)
        check_choice("optimizer.line_search", line_search, get_args(LineSearch))
        check_choice("optimizer.constants", constants, get_args(Constants))
        for name, value in (("tolerance_grad", tolerance_grad), ("tolerance_change", tolerance_change)):
            check_number(f"optimizer.{name}", value, least=0, remedy="0 turns it off.")
        tolerances = _Tolerances(tolerance_grad, tolerance_change)
        self._descents = [
            _QuasiNewton(image, lr, history, line_search, tolerances, constants)
            for image in flat_images(start)
        ]
        super().__init__(start, self._descents)

    def restart(
        self,
        index: int,
        *,
        from_best: bool = True,
        step_scale: float = 1.0,
        line_search: LineSearch | None = None,
    ) -> None:
        """Restart an image as `Optimizer.restart` does, with another `line_search` if one is given."""
        super().restart(index, from_best=from_best, step_scale=step_scale)
        if line_search is not None:
            check_choice("optimizer.line_search", line_search, get_args(LineSearch))
            self._descents[index].line_search = line_search
