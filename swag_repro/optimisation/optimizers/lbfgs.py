"""Limited-memory BFGS, and the inverse Hessian as it estimates it.

Sources: Nocedal & Wright, *Numerical Optimization*, 2nd ed., 2006 (NW06), algorithm 7.5; Byrd, Nocedal &
Schnabel, *Representations of quasi-Newton matrices*, Math. Prog. 63, 1994.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from swag_repro.errors import check_choice, check_number
from swag_repro.optimisation.optimizers.batch import Constants, Descent, Optimizer, StopReason, flat_images
from swag_repro.optimisation.optimizers.line_search import SEARCHES, LineSearch, Point, Search

_LEAST_CURVATURE = 1e-10  # torch keeps a pair only if s·y is above it, whatever the unit of the loss


_BLOCK = 10  # pairs allocated at a time


class History:
    """The last `limit` pairs s = Δx, y = Δ∇f of one image, and the inverse Hessian H they stand for.

    H is applied in its compact form (NW06, section 7.2; Byrd et al. 1994, eq. 3.1). Matrix products read the
    vectors twice, and the rest works on matrices of `limit` rows in float64. This is as exact as the two-loop
    recursion and quicker, because it takes a few kernels in place of four for each pair.

    Args:
        limit: the number of pairs kept.
        constants: see `Optimizer`.
    """

    def __init__(self, limit: int, constants: Constants) -> None:
        self.limit = limit
        self.constants = constants
        self.clear()

    def clear(self) -> None:
        """Forget all pairs."""
        self.kept = 0  # pairs ever kept; pair k lies in slot k % limit
        self.blocks: list[Tensor] = []  # (pairs, 2, N) each: s, then y
        self.sy = torch.zeros(self.limit, self.limit, dtype=torch.float64)  # s_i·y_j by slots
        self.yy = torch.zeros(self.limit, self.limit, dtype=torch.float64)

    def __len__(self) -> int:
        return min(self.kept, self.limit)

    def push(self, s: Tensor, y: Tensor) -> None:
        """Keep a pair of vectors (N,), unless its curvature s·y is rounding or below torch's constant."""
        relative = self.constants == "relative"
        least = torch.finfo(s.dtype).eps * float(s.norm()) * float(y.norm()) if relative else _LEAST_CURVATURE
        if not least < float(s.dot(y)) < math.inf:
            return
        block, row = divmod(self.kept % self.limit, _BLOCK)
        if block == len(self.blocks):
            pairs = min(_BLOCK, self.limit - self.kept)
            self.blocks.append(s.new_empty(pairs, 2, len(s)))
        self.blocks[block][row, 0], self.blocks[block][row, 1] = s, y
        self.kept += 1

    def direction(self, gradient: Tensor) -> Tensor:
        """Return −H·gradient, (N,)."""
        if not self.kept:
            return gradient.neg()
        sg, yg = self._products(gradient)
        scale, for_s, for_y = self._coefficients(sg, yg)
        weights = torch.stack((for_s, for_y), dim=1).flatten().to(gradient)
        result = gradient * -scale
        for rows, part in zip(self._rows(), torch.split(weights, 2 * _BLOCK), strict=True):
            result.addmv_(rows.T, part, alpha=-1)
        return result

    def _products(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return Sᵀg and Yᵀg by slots; keep the products with the newest y, which the same reading gives."""
        block, row = divmod((self.kept - 1) % self.limit, _BLOCK)
        vectors = torch.stack((gradient, self.blocks[block][row, 1]))
        products = torch.cat([_products(vectors, rows) for rows in self._rows()], dim=1).double().cpu()
        newest, size = block * _BLOCK + row, len(self)
        self.sy[:size, newest] = products[1, ::2]
        self.yy[:size, newest] = self.yy[newest, :size] = products[1, 1::2]
        return products[0, ::2], products[0, 1::2]

    def _coefficients(self, sg: Tensor, yg: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return γ, for_s and for_y of `H·g = γg + S·for_s + Y·for_y`.

        They solve two triangular systems in R, the upper triangle of SᵀY.
        """
        order = torch.arange(self.kept - len(self), self.kept) % self.limit
        sy, yy = self.sy[order][:, order], self.yy[order][:, order]
        scale = sy[-1, -1] / yy[-1, -1]
        u = _solve(sy, sg[order], upper=True)
        v = _solve(sy.T, sy.diagonal() * u + scale * (yy @ u - yg[order]), upper=False)
        for_s, for_y = torch.empty_like(sg), torch.empty_like(yg)
        for_s[order], for_y[order] = v, -scale * u
        return scale, for_s, for_y

    def _rows(self) -> Iterator[Tensor]:
        """Yield the pairs kept, in the order of their slots, as matrices of at most 2·_BLOCK rows."""
        for first, block in zip(range(0, len(self), _BLOCK), self.blocks, strict=True):
            yield block[: len(self) - first].flatten(0, 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the pairs and their products."""
        return {"kept": self.kept, "blocks": self.blocks, "sy": self.sy, "yy": self.yy}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the pairs of another history."""
        self.kept, self.blocks = state["kept"], state["blocks"]
        self.sy, self.yy = state["sy"].cpu(), state["yy"].cpu()


def _products(vectors: Tensor, rows: Tensor) -> Tensor:
    """Return vectors times rowsᵀ, on a GPU one vector at a time: a matrix product may use TF32 there."""
    return torch.stack([rows @ vector for vector in vectors]) if vectors.is_cuda else vectors @ rows.T


def _solve(triangle: Tensor, right: Tensor, *, upper: bool) -> Tensor:
    solution: Tensor = torch.linalg.solve_triangular(triangle, right.unsqueeze(1), upper=upper)
    return solution.squeeze(1)


class _Tolerances(NamedTuple):
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

    def search_safely(self, index: int) -> None:
        """Let an image take only steps that satisfy the strong Wolfe conditions, from its next search on."""
        self._descents[index].line_search = "strong_wolfe"
