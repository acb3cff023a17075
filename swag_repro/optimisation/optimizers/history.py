"""The inverse Hessian of one image, as L-BFGS estimates it.

Sources: Nocedal & Wright, *Numerical Optimization*, 2nd ed., 2006 (NW06); Byrd, Nocedal & Schnabel,
*Representations of quasi-Newton matrices*, Math. Prog. 63, 1994.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from swag_repro.optimisation.optimizers.descent import Constants

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
