"""Optimisers for a batch of independent images, driven by ask and tell.

An optimiser never calls the network. It proposes the next points of the images still under way, is
told their losses and gradients, and proposes again::

    optimizer = LBFGS(start, line_search="armijo")
    while not optimizer.done:
        points, indices = optimizer.propose()
        optimizer.observe(*closure(points, indices))

Each image has its own history, step, line search and end, and is computed by itself: what it gets does
not depend on the rest of the batch, to the last bit if the closure's values do not. Between any two calls
`state_dict` holds all that decides the future, in the middle of a line search too.

Sources: Nocedal & Wright, *Numerical Optimization*, 2nd ed., 2006 (NW06); Byrd, Nocedal & Schnabel,
*Representations of quasi-Newton matrices*, Math. Prog. 63, 1994; Kingma & Ba, *Adam*, ICLR 2015;
Tieleman & Hinton, *RMSprop*, lecture 6.5 of a course, 2012; `torch.optim.LBFGS`, `Adam` and `RMSprop`, whose
iterates and defaults are followed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from swag_repro.errors import SettingError

LineSearch = Literal["none", "armijo", "strong_wolfe"]
Constants = Literal["relative", "torch"]

_SUFFICIENT_DECREASE = 1e-4  # c1 of NW06 (3.4), and torch's
_CURVATURE = 0.9  # c2 of NW06 (3.5b), and torch's
_EXTRA_TRIALS = 25  # evaluations of one search beyond its first: torch's max_ls
_LEAST_CURVATURE = 1e-10  # torch keeps a pair only where s·y is above it, whatever the unit of the loss
_BLOCK = 10  # pairs allocated at a time


class StopReason(StrEnum):
    """Why an image no longer moves by itself."""

    GRADIENT = "gradient below tolerance"
    CHANGE = "change below tolerance"
    NO_DESCENT = "no direction of descent"
    LINE_SEARCH = "line search failed"
    NON_FINITE = "loss or gradient is not finite"


class Progress(NamedTuple):
    """Where one image stands.

    `loss` is that of the last accepted iterate, `best_loss` the least of all evaluations (both NaN or
    infinite before the first); `stopped` gives the reason, None while the image is under way.
    """

    iterations: int
    evaluations: int
    loss: float
    best_loss: float
    stopped: str | None


# --- Line searches: scalars in, the next step or the accepted point out ---------------------------------


class Point(NamedTuple):
    """An evaluation along a search direction: `loss` φ(t) and `slope` φ'(t) at step t.

    A loss or slope that is not finite is recorded as an infinite loss, which no rule accepts.
    """

    step: float
    loss: float
    slope: float
    gradient: Tensor


def cubic_minimum(near: Point, far: Point, lower: float, upper: float) -> float:
    """Minimiser in [lower, upper] of the cubic through two points' losses and slopes (NW06, eq. 3.59).

    The interval's middle where the cubic has none; a tenth of the way to `far` where that is infinite.
    """
    if not math.isfinite(far.loss):
        return near.step + 0.1 * (far.step - near.step)
    left, right = (near, far) if near.step <= far.step else (far, near)
    width = right.step - left.step
    d1 = left.slope + right.slope - 3 * (right.loss - left.loss) / width
    square = d1 * d1 - left.slope * right.slope
    d2 = math.sqrt(square) if 0 <= square < math.inf else math.nan
    divisor = right.slope - left.slope + 2 * d2
    if math.isnan(divisor) or divisor == 0:
        return (lower + upper) / 2
    minimum = right.step - width * (right.slope + d2 - d1) / divisor
    return min(max(minimum, lower), upper)


@dataclass
class _Search:
    """Looks along one direction from `start`, whose step is 0. `step` is the one to try next.

    Steps that differ by less than `resolution` are taken for equal.
    """

    start: Point
    step: float
    resolution: float
    trials: int = 0

    def observe(self, trial: Point) -> Point | None:
        """The accepted point, `start` itself after a failure, or None while the search goes on."""
        raise NotImplementedError

    def decreases(self, trial: Point, slack: float = 0.0) -> bool:
        """Armijo's rule (NW06, eq. 3.4)."""
        goal = self.start.loss + _SUFFICIENT_DECREASE * trial.step * self.start.slope
        return trial.loss <= goal + slack


@dataclass
class _FixedStep(_Search):
    """No search at all: the first step is taken, whatever it leads to."""

    def observe(self, trial: Point) -> Point | None:
        return trial


@dataclass
class _Armijo(_Search):
    """Backtracking (NW06, algorithm 3.1): the step shrinks to the cubic's minimum until Armijo's rule holds.

    Losses may rise by one unit of rounding, else the search would fail on noise close to a minimum.
    """

    def observe(self, trial: Point) -> Point | None:
        noise = torch.finfo(trial.gradient.dtype).eps * abs(self.start.loss)
        if self.decreases(trial, slack=noise):
            return trial
        step = cubic_minimum(self.start, trial, 0.1 * trial.step, 0.5 * trial.step)
        if self.trials == _EXTRA_TRIALS or step < self.resolution:
            return self.start
        self.trials += 1
        self.step = step
        return None


@dataclass
class _StrongWolfe(_Search):
    """Bracketing, then zooming (NW06, algorithms 3.5 and 3.6), in the order and with the bounds of torch.

    `low` is the best point so far (while bracketing: the last), `high` the bracket's other end.
    """

    low: Point | None = None
    high: Point | None = None
    stalled: bool = False

    def observe(self, trial: Point) -> Point | None:
        low = self.low or self.start
        return self._bracket(low, trial) if self.high is None else self._zoom(low, self.high, trial)

    def _bracket(self, last: Point, trial: Point) -> Point | None:
        if self.trials == _EXTRA_TRIALS:
            return trial if trial.loss < self.start.loss else self.start
        if not self.decreases(trial) or (self.trials > 1 and trial.loss >= last.loss):
            return self._divide(*_by_loss(last, trial))
        if self._is_flat(trial):
            return trial
        if trial.slope >= 0:
            return self._divide(*_by_loss(last, trial))
        least = trial.step + 0.01 * (trial.step - last.step)
        self._try(cubic_minimum(last, trial, least, 10 * trial.step))
        self.low = trial
        return None

    def _zoom(self, low: Point, high: Point, trial: Point) -> Point | None:
        if not self.decreases(trial) or trial.loss >= low.loss:
            return self._divide(*_by_loss(low, trial))
        if self._is_flat(trial):
            return trial
        turned = trial.slope * (high.step - low.step) >= 0
        return self._divide(trial, low if turned else high)

    def _divide(self, low: Point, high: Point) -> Point | None:
        """Try a step inside the bracket, or accept `low` where there is no room or no trial left."""
        self.low, self.high = low, high
        left, right = sorted((low.step, high.step))
        if self.trials == _EXTRA_TRIALS or right - left <= self.resolution:
            return low
        self._try(self._inside(cubic_minimum(low, high, left, right), left, right))
        return None

    def _inside(self, step: float, left: float, right: float) -> float:
        """Keep a tenth of the bracket away from its ends, the second time it comes so close."""
        margin = 0.1 * (right - left)
        close = min(right - step, step - left) < margin
        push = close and (self.stalled or not left < step < right)
        self.stalled = close and not push
        if not push:
            return step
        return right - margin if right - step < step - left else left + margin

    def _is_flat(self, trial: Point) -> bool:
        """The strong curvature condition (NW06, eq. 3.7b)."""
        return abs(trial.slope) <= -_CURVATURE * self.start.slope

    def _try(self, step: float) -> None:
        self.step = step
        self.trials += 1


def _by_loss(first: Point, second: Point) -> tuple[Point, Point]:
    return (first, second) if first.loss <= second.loss else (second, first)


_SEARCHES: dict[LineSearch, type[_Search]] = {
    "none": _FixedStep,
    "armijo": _Armijo,
    "strong_wolfe": _StrongWolfe,
}


# --- The inverse Hessian of one image -------------------------------------------------------------------


class _History:
    """The last `limit` pairs s = Δx, y = Δ∇f of one image, and the inverse Hessian H they stand for.

    H is applied in its compact form (NW06, section 7.2; Byrd et al. 1994, eq. 3.1): the vectors are read
    twice, in matrix products, and the rest is done on matrices of `limit` rows in float64. That is as exact
    as the two-loop recursion and quicker, with a handful of kernels in place of four for each pair.
    """

    def __init__(self, limit: int, constants: Constants) -> None:
        self.limit = limit
        self.constants = constants
        self.clear()

    def clear(self) -> None:
        self.kept = 0  # pairs ever kept; pair k lies in slot k % limit
        self.blocks: list[Tensor] = []  # (pairs, 2, N) each: s, then y
        self.sy = torch.zeros(self.limit, self.limit, dtype=torch.float64)  # s_i·y_j by slots
        self.yy = torch.zeros(self.limit, self.limit, dtype=torch.float64)

    def __len__(self) -> int:
        return min(self.kept, self.limit)

    def push(self, s: Tensor, y: Tensor) -> None:
        """Keep a pair of vectors (N,), unless its curvature s·y is rounding, or below torch's constant."""
        least = _LEAST_CURVATURE
        if self.constants == "relative":
            least = torch.finfo(s.dtype).eps * float(s.norm()) * float(y.norm())
        if not least < float(s.dot(y)) < math.inf:
            return
        block, row = divmod(self.kept % self.limit, _BLOCK)
        if block == len(self.blocks):
            pairs = min(_BLOCK, self.limit - self.kept)
            self.blocks.append(s.new_empty(pairs, 2, len(s)))
        self.blocks[block][row, 0], self.blocks[block][row, 1] = s, y
        self.kept += 1

    def direction(self, gradient: Tensor) -> Tensor:
        """−H·gradient, shape (N,)."""
        if not self.kept:
            return gradient.neg()
        sg, yg = self._read(gradient)
        scale, for_s, for_y = self._coefficients(sg, yg)
        weights = torch.stack((for_s, for_y), dim=1).flatten().to(gradient)
        result = gradient * -scale
        for rows, part in zip(self._rows(), torch.split(weights, 2 * _BLOCK), strict=True):
            result.addmv_(rows.T, part, alpha=-1)
        return result

    def _read(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Sᵀg and Yᵀg by slots. The same reading gives the products with the newest y, which are kept."""
        block, row = divmod((self.kept - 1) % self.limit, _BLOCK)
        vectors = torch.stack((gradient, self.blocks[block][row, 1]))
        products = torch.cat([_products(vectors, rows) for rows in self._rows()], dim=1).double().cpu()
        newest, size = block * _BLOCK + row, len(self)
        self.sy[:size, newest] = products[1, ::2]
        self.yy[:size, newest] = self.yy[newest, :size] = products[1, 1::2]
        return products[0, ::2], products[0, 1::2]

    def _coefficients(self, sg: Tensor, yg: Tensor) -> tuple[float, Tensor, Tensor]:
        """H·g = γg + S·for_s + Y·for_y, by two triangular systems in R, the upper triangle of SᵀY."""
        order = torch.arange(self.kept - len(self), self.kept) % self.limit
        sy, yy = self.sy[order][:, order], self.yy[order][:, order]
        scale = float(sy[-1, -1] / yy[-1, -1])
        u = _solve(sy, sg[order], upper=True)
        v = _solve(sy.T, sy.diagonal() * u + scale * (yy @ u - yg[order]), upper=False)
        for_s, for_y = torch.empty_like(sg), torch.empty_like(yg)
        for_s[order], for_y[order] = v, -scale * u
        return scale, for_s, for_y

    def _rows(self) -> Iterator[Tensor]:
        """The pairs kept, in the order of their slots, as matrices of at most 2·_BLOCK rows."""
        for first, block in zip(range(0, len(self), _BLOCK), self.blocks, strict=True):
            yield block[: len(self) - first].flatten(0, 1)

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.kept, "blocks": self.blocks, "sy": self.sy, "yy": self.yy}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.kept, self.blocks = state["kept"], state["blocks"]
        self.sy, self.yy = state["sy"].cpu(), state["yy"].cpu()


def _products(vectors: Tensor, rows: Tensor) -> Tensor:
    """Vectors times rowsᵀ. On a GPU one vector at a time: a matrix product may fall to TF32 there."""
    if vectors.is_cuda:
        return torch.stack([rows @ vector for vector in vectors])
    return vectors @ rows.T


def _solve(triangle: Tensor, right: Tensor, *, upper: bool) -> Tensor:
    solution: Tensor = torch.linalg.solve_triangular(triangle, right.unsqueeze(1), upper=upper)
    return solution.squeeze(1)


# --- One image ------------------------------------------------------------------------------------------


class _Descent(ABC):
    """One image, flat (N,), on its way downhill. Its vectors are replaced, never written into."""

    settings: ClassVar[tuple[str, ...]] = ("constants",)  # attributes that are no part of the state

    def __init__(self, start: Tensor, lr: float, constants: Constants) -> None:
        self.iterate = start
        self.best = start
        self.lr = lr
        self.constants = constants
        self.unit: float | None = None
        self.loss = math.nan
        self.best_loss = math.inf
        self.iterations = 0
        self.evaluations = 0
        self.stopped: str | None = None

    @property
    def point(self) -> Tensor:
        """Where to evaluate next, (N,)."""
        return self.iterate

    @property
    def position(self) -> Tensor:
        """The newest accepted iterate, (N,), evaluated or not."""
        return self.iterate

    def observe(self, loss: float, gradient: Tensor) -> None:
        """Go on from the evaluation at `point`; `gradient` (N,) is the image's to keep."""
        if self.unit is None and self.constants == "relative":
            self.unit = _unit(gradient)
        self.go_on(*((loss, gradient) if self.unit is None else (loss / self.unit, gradient / self.unit)))

    @abstractmethod
    def go_on(self, loss: float, gradient: Tensor) -> None:
        """The same, in the image's own unit."""

    @abstractmethod
    def forget(self) -> None:
        """Lose all memory of earlier gradients, and evaluate the iterate anew."""

    def stop(self, reason: str) -> None:
        self.stopped = str(reason)

    def count(self, loss: float) -> None:
        """Record an evaluation at `point`; infinite if its loss or gradient was not finite."""
        self.evaluations += 1
        if loss < self.best_loss:
            self.best, self.best_loss = self.point, loss

    @property
    def progress(self) -> Progress:
        """Where the image stands, in the unit of the losses that it was told."""
        loss, best = (value * (self.unit or 1.0) for value in (self.loss, self.best_loss))
        return Progress(self.iterations, self.evaluations, loss, best, self.stopped)

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in self.settings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)


def _unit(gradient: Tensor) -> float | None:
    """The power of 2 below the mean magnitude of a first gradient (N,): dividing by it rounds nothing.

    In this unit an objective and any multiple of it take the same path. None if it is 0 or not finite.
    """
    magnitude = float(gradient.double().abs().mean())
    return 2.0 ** math.floor(math.log2(magnitude)) if 0 < magnitude < math.inf else None


@dataclass(frozen=True)
class _Tolerances:
    gradient: float
    change: float


class _QuasiNewton(_Descent):
    """L-BFGS (NW06, algorithm 7.5) for one image."""

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
        self.history = _History(history, constants)
        self.direction = start
        self.search: _Search | None = None
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
        short = float(change.abs().max()) <= self.tolerances.change
        if short or abs(accepted.loss - start.loss) < self.tolerances.change:
            self.loss = accepted.loss
            self.stop(StopReason.CHANGE)
        else:
            self._depart(accepted)

    def _depart(self, origin: Point) -> None:
        """Choose the direction from the iterate, and begin to search along it."""
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
        """The first step is of length lr in the 1-norm (in torch at most), the others are lr."""
        longest = 1.0 if self.constants == "torch" else math.inf
        step = min(longest, 1.0 / float(start.gradient.abs().sum())) * self.lr if self.fresh else self.lr
        self.fresh = False
        width = float(self.direction.abs().max())
        self.search = _SEARCHES[self.line_search](start, step, self.tolerances.change / width)

    def _turn_back(self, origin: Point, reason: StopReason) -> None:
        """Try the gradient itself where a search along a quasi-Newton direction came to nothing."""
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
            self.search = _SEARCHES[self.line_search](**parts)


class _FirstOrder(_Descent):
    """One image whose every finite gradient makes a step."""

    def go_on(self, loss: float, gradient: Tensor) -> None:
        if not math.isfinite(loss) or not math.isfinite(float(gradient.abs().max())):
            self.count(math.inf)
            self.stop(StopReason.NON_FINITE)
            return
        self.count(loss)
        self.loss = loss
        self.iterations += 1
        self.move(gradient)

    @abstractmethod
    def move(self, gradient: Tensor) -> None:
        """Replace the iterate."""


class _Moments(_FirstOrder):
    """Adam (Kingma & Ba 2015, algorithm 1) for one image."""

    settings = ("constants", "betas", "eps")

    def __init__(
        self, start: Tensor, lr: float, betas: tuple[float, float], eps: float, constants: Constants
    ) -> None:
        super().__init__(start, lr, constants)
        self.betas, self.eps = betas, eps
        self.forget()

    def forget(self) -> None:
        self.age = 0
        self.mean, self.square = torch.zeros_like(self.iterate), torch.zeros_like(self.iterate)

    def move(self, gradient: Tensor) -> None:
        self.age += 1
        first, second = self.betas
        self.mean = self.mean.lerp(gradient, 1 - first)
        self.square = (self.square * second).addcmul_(gradient, gradient, value=1 - second)
        scale = (self.square / (1 - second**self.age)).sqrt_().add_(self.eps)
        step = self.lr / (1 - first**self.age)
        self.iterate = self.iterate.addcdiv(self.mean, scale, value=-step)


class _MeanSquare(_FirstOrder):
    """RMSprop (Tieleman & Hinton 2012) for one image."""

    settings = ("constants", "alpha", "eps")

    def __init__(self, start: Tensor, lr: float, alpha: float, eps: float, constants: Constants) -> None:
        super().__init__(start, lr, constants)
        self.alpha, self.eps = alpha, eps
        self.forget()

    def forget(self) -> None:
        self.square = torch.zeros_like(self.iterate)

    def move(self, gradient: Tensor) -> None:
        self.square = (self.square * self.alpha).addcmul_(gradient, gradient, value=1 - self.alpha)
        self.iterate = self.iterate.addcdiv(gradient, self.square.sqrt().add_(self.eps), value=-self.lr)


@dataclass(frozen=True)
class _Schedule:
    """What `SGD` is set to, but for its learning rate."""

    momentum: float
    weight_decay: float
    clip: float
    decay: float
    decay_every: int


class _Momentum(_FirstOrder):
    """Stochastic gradient descent with momentum for one image."""

    settings = ("constants", "schedule")

    def __init__(self, start: Tensor, lr: float, schedule: _Schedule) -> None:
        super().__init__(start, lr, "torch")  # its steps have the objective's unit
        self.schedule = schedule
        self.forget()

    def forget(self) -> None:
        self.velocity = torch.zeros_like(self.iterate)

    def move(self, gradient: Tensor) -> None:
        schedule, norm = self.schedule, float(gradient.norm())
        limit = schedule.clip * gradient.numel()
        clipped = gradient * (limit / norm) if norm > limit else gradient
        lr = self.lr * schedule.decay ** ((self.iterations - 1) // schedule.decay_every)
        slope = clipped.add(self.iterate, alpha=schedule.weight_decay)
        self.velocity = (self.velocity * schedule.momentum).add_(slope, alpha=-lr)
        self.iterate = self.iterate + self.velocity


# --- A batch --------------------------------------------------------------------------------------------


class Optimizer:
    """A batch of images (B, ...), each with an optimiser of its own. Base of those below.

    Their `constants` are `relative`: tolerances, least curvatures and an eps are in units of the image's
    first gradient, so that an objective and any multiple of it take the same path. Or they are `torch`:
    absolute numbers, as authors' codes have them.
    """

    kind: ClassVar[str]

    def __init__(self, start: Tensor, images: Sequence[_Descent]) -> None:
        self._shape = start.shape[1:]
        self._device = start.device
        self._images = images

    @property
    def active(self) -> list[int]:
        """Indices of the images still under way."""
        return [i for i, image in enumerate(self._images) if image.stopped is None]

    @property
    def done(self) -> bool:
        """Whether every image has stopped."""
        return not self.active

    @property
    def progress(self) -> list[Progress]:
        """Where each of the B images stands."""
        return [image.progress for image in self._images]

    def iterate(self, index: int) -> Tensor:
        """The newest accepted iterate of one image, to which the `loss` in `progress` belongs.

        With a fixed step, Adam and RMSprop, a step is accepted when it is chosen: this is then the point
        after it, still to be evaluated, which `torch.optim` would have left in its parameters by now.
        """
        return self._images[index].position.view(self._shape).clone()

    def best(self, index: int) -> Tensor:
        """The point of least loss ever evaluated for one image, its start if no loss was finite."""
        return self._images[index].best.view(self._shape).clone()

    @torch.no_grad()
    def propose(self) -> tuple[Tensor, Tensor]:
        """Points (A, ...) to evaluate next and the indices (A,) of their images, the active ones.

        Changes nothing: asked twice, it answers the same.
        """
        active = self.active
        points = [self._images[i].point.view(self._shape) for i in active]
        indices = torch.tensor(active, dtype=torch.long, device=self._device)
        if not points:
            return torch.empty(0, *self._shape, device=self._device), indices
        return torch.stack(points), indices

    @torch.no_grad()
    def observe(self, losses: Tensor, gradients: Tensor) -> None:
        """Go on from the losses (A,) and gradients (A, ...) at the points last proposed.

        Raises:
            ValueError: their shapes are not those of the points.
        """
        active = self.active
        expected = torch.Size([len(active), *self._shape])
        if losses.shape != expected[:1] or gradients.shape != expected:
            found = f"{tuple(losses.shape)} and {tuple(gradients.shape)}"
            raise ValueError(f"losses and gradients should fit points {tuple(expected)}; found {found}")
        for i, loss, gradient in zip(active, losses.tolist(), gradients, strict=True):
            own = gradient.detach().clone(memory_format=torch.contiguous_format)
            self._images[i].observe(loss, own.view(-1))

    def stop(self, index: int, reason: str) -> None:
        """Freeze one image where it is: it is proposed no more."""
        self._images[index].stop(reason)

    def restart(self, index: int, *, from_best: bool = True, step_scale: float = 1.0) -> None:
        """Let one image, stopped or not, go on without its memory of earlier gradients.

        Args:
            index: the image.
            from_best: go back to its best point, else go on from its iterate.
            step_scale: factor on its learning rate, from now on; above 0.
        """
        _require_positive("step_scale", step_scale)
        image = self._images[index]
        image.iterate = image.best if from_best else image.position
        image.lr *= step_scale
        image.stopped = None
        image.forget()

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what comes next, in plain containers and tensors.

        The tensors are the live ones, as in `torch.optim`: save the dictionary, or copy it, at once.
        """
        return {"kind": self.kind, "images": [image.state_dict() for image in self._images]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue, bit for bit, where another optimiser with the same settings stood. Copies the tensors.

        Raises:
            ValueError: the state is of another optimiser or number of images.
        """
        if (state["kind"], len(state["images"])) != (self.kind, len(self._images)):
            found = f"{state['kind']} of {len(state['images'])} images"
            raise ValueError(f"state should be {self.kind} of {len(self._images)} images; found {found}")
        for image, saved in zip(self._images, state["images"], strict=True):
            image.load_state_dict(_copied(saved, self._device))


class LBFGS(Optimizer):
    """Limited-memory BFGS with separate states for the images of a batch.

    With `constants` "torch", first step, tolerances and skipped pairs are those of `torch.optim.LBFGS`, and
    with `line_search` "none" or "strong_wolfe" the iterates are too. Torch's `step` ends after
    `max_iter = 20` iterations, or at a tolerance, and the next one goes on with the same history; its loop of
    steps, as in the authors' release, equals one uninterrupted descent with one evaluation an iteration. So
    the release's "more than 1000 closures" are 51 · 20 = 1020 here. Where torch would stay at a tolerance,
    evaluating one point for ever, an image stops and says why.

    With "armijo" the first step that lowers the loss enough is taken, mostly the first tried: the price of
    "none" without its divergence. Both searches shrink a step that leads to a loss that is not finite, and
    fall back on the gradient once when a quasi-Newton direction fails. "none" stops there.

    Memory: 2 · `history` + 8 images an image, allocated as the history grows.

    Args:
        start: images (B, ...), float32 or float64; not changed.
        lr: step to try first, above 0.
        history: pairs kept, at least 1.
        line_search: "none" (a fixed step), "armijo" or "strong_wolfe".
        tolerance_grad: an image stops when its largest derivative is not above it.
        tolerance_change: likewise for the change of its loss or its largest change of a pixel.
        constants: see `Optimizer`; torch's leave a loss of small scale without a second direction.

    Raises:
        SettingError: a setting is outside its range.
    """

    kind = "lbfgs"

    def __init__(
        self,
        start: Tensor,
        *,
        lr: float = 1.0,
        history: int = 100,
        line_search: LineSearch = "armijo",
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        constants: Constants = "relative",
    ) -> None:
        _require_positive("lr", lr)
        _require_positive("history", history)
        _require_choice("line_search", line_search, LineSearch)
        _require_choice("constants", constants, Constants)
        for name, value in (("tolerance_grad", tolerance_grad), ("tolerance_change", tolerance_change)):
            if not value >= 0:
                raise SettingError(name, "should be 0 or more", value, "0 turns it off.")
        tolerances = _Tolerances(tolerance_grad, tolerance_change)
        self._descents = [
            _QuasiNewton(image, lr, history, line_search, tolerances, constants)
            for image in _flat_images(start)
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
        """As `Optimizer.restart`; `line_search` replaces the image's own, for a safer one."""
        super().restart(index, from_best=from_best, step_scale=step_scale)
        if line_search is not None:
            _require_choice("line_search", line_search, LineSearch)
            self._descents[index].line_search = line_search


class Adam(Optimizer):
    """Adam with separate states for the images of a batch; the iterates are those of `torch.optim.Adam`.

    Args:
        start: images (B, ...), float32 or float64; not changed.
        lr: about how far a pixel moves in a step, in its own units, above 0.
        betas: decay of the gradient's mean and mean square, in [0, 1).
        eps: added to the root of the mean square, above 0.
        constants: see `Optimizer`; they decide the unit of eps.

    Raises:
        SettingError: a setting is outside its range.
    """

    kind = "adam"

    def __init__(
        self,
        start: Tensor,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        constants: Constants = "relative",
    ) -> None:
        _require_positive("lr", lr)
        _require_positive("eps", eps)
        _require_choice("constants", constants, Constants)
        if not all(0 <= beta < 1 for beta in betas):
            raise SettingError("betas", "should be in [0, 1)", betas, "0.9 and 0.999 are usual.")
        super().__init__(start, [_Moments(x, lr, betas, eps, constants) for x in _flat_images(start)])


class RMSprop(Optimizer):
    """RMSprop with separate states for the images of a batch, without momentum and not centred.

    The iterates are those of `torch.optim.RMSprop`.

    Args:
        start: images (B, ...), float32 or float64; not changed.
        lr: about how far a pixel moves in a step, in its own units, above 0; `1 / √(1 − alpha)` times as far
            in the first, for the mean square starts at 0.
        alpha: decay of the gradient's mean square, in [0, 1).
        eps: added to the root of the mean square, above 0.
        constants: see `Optimizer`; they decide the unit of eps.

    Raises:
        SettingError: a setting is outside its range.
    """

    kind = "rmsprop"

    def __init__(
        self,
        start: Tensor,
        *,
        lr: float,
        alpha: float = 0.99,
        eps: float = 1e-8,
        constants: Constants = "relative",
    ) -> None:
        _require_positive("lr", lr)
        _require_positive("eps", eps)
        _require_choice("constants", constants, Constants)
        if not 0 <= alpha < 1:
            raise SettingError("alpha", "should be in [0, 1)", alpha, "0.99 is usual.")
        super().__init__(start, [_MeanSquare(x, lr, alpha, eps, constants) for x in _flat_images(start)])


class SGD(Optimizer):
    """Gradient descent with momentum, as in Demystifying's code; separate states for the images of a batch.

    `v ← momentum · v − lr · (g + weight_decay · x)`, `x ← x + v`. A gradient is scaled down to a norm of
    `clip` times its number of values N; not to `√N`, so the longest step grows with the image.

    Args:
        start: images (B, ...), float32 or float64; not changed.
        lr: above 0.
        momentum: in [0, 1).
        weight_decay: 0 or more; it draws the image towards what the canvas writes as 0.
        clip: above 0.
        decay: factor on the learning rate after each `decay_every` iterations, above 0.
        decay_every: at least 1.

    Raises:
        SettingError: a setting is outside its range.
    """

    kind = "sgd"

    def __init__(
        self,
        start: Tensor,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        clip: float = 1.0,
        decay: float = 1.0,
        decay_every: int = 1,
    ) -> None:
        for name, value in (("lr", lr), ("clip", clip), ("decay", decay), ("decay_every", decay_every)):
            _require_positive(name, value)
        if not 0 <= momentum < 1:
            raise SettingError("momentum", "should be in [0, 1)", momentum, "0.9 is usual.")
        if not 0 <= weight_decay < math.inf:
            raise SettingError("weight_decay", "should be 0 or more", weight_decay, "0 turns it off.")
        schedule = _Schedule(momentum, weight_decay, clip, decay, decay_every)
        super().__init__(start, [_Momentum(x, lr, schedule) for x in _flat_images(start)])


def _flat_images(start: Tensor) -> Iterator[Tensor]:
    for image in start.detach():
        yield image.clone(memory_format=torch.contiguous_format).view(-1)


def _require_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise SettingError(name, "should be a positive number", value, "Choose one above 0.")


def _require_choice(name: str, value: str, literal: Any) -> None:
    if value not in get_args(literal):
        choices = ", ".join(get_args(literal))
        raise SettingError(name, "should be a known choice", value, f"Choose one of {choices}.")


def _copied(state: Any, device: torch.device) -> Any:
    if isinstance(state, Tensor):
        return state.to(device, copy=True)
    if isinstance(state, Mapping):
        return {key: _copied(value, device) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_copied(value, device) for value in state)
    return state
