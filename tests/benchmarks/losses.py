"""Each objective against the bare pass of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch
from rich.table import Table
from torch import Tensor

from experiments.config import checked
from experiments.stylization.stylization import Stylization
from swag_repro.losses import Style
from swag_repro.memory import kept_for_gradient
from tests.benchmarks.engine import Setup
from tests.benchmarks.timing import composed, interleaved

OBJECTIVES = (
    "gram", "mmd_linear", "mmd_poly", "bn", "mmd_gaussian", "sliced_wasserstein", "bn_poly",
    "linear_gaussian", "strotss",
)  # fmt: skip


def losses(network: str, objectives: Sequence[str], *, size: int, repeats: int) -> Table:
    """One evaluation and gradient by each objective against the bare pass of the network and back."""
    table = Table(
        title=f"{network}, a pair at {size}×{size} px, {torch.get_num_threads()} threads, median of {repeats}"
    )
    for name in ("objective", "network (ms)", "with loss (ms)", "on top", "kept by the loss (MiB)"):
        table.add_column(name, justify="left" if name == "objective" else "right")
    for objective in objectives:
        cell = _stylization(f"network={network}", f"objective={objective}")
        plain, ours, kept = _evaluations(cell, size)
        bare, whole = interleaved([plain, ours], repeats=repeats)
        top = median(w / b - 1 for w, b in zip(whole, bare, strict=True))
        milliseconds = [f"{1e3 * median(seconds):.0f}" for seconds in (bare, whole)]
        table.add_row(objective, *milliseconds, f"{top:+.0%}", f"{kept / 2**20:.0f}")
    return table


def _stylization(*overrides: str) -> Stylization:
    return Stylization.build(
        checked(composed("stylize", *overrides, "weights=random", "measures=none"), "stylize")
    )


def _evaluations(cell: Stylization, size: int) -> tuple[Callable[[], object], Callable[[], object], int]:
    """The network's pass, that with the objective, and the bytes that the objective keeps."""
    network, objective = cell.network(), cell.objective
    setup = Setup(architecture=cell.architecture, size=size, batch=1, closures=1, device=cell.device)
    contents, styles = setup.pairs
    targets = objective.targets(network, contents, [[Style(style)] for style in styles])
    with torch.no_grad():
        slopes = [torch.randn_like(layer) for layer in network(contents).values()]

    def plain() -> object:
        image = contents.clone().requires_grad_()
        torch.autograd.backward(list(network(image).values()), slopes, inputs=[image])
        return image.grad

    def ours() -> object:
        image = contents.clone().requires_grad_()
        objective(network, image, targets, [0]).total.sum().backward(inputs=[image])
        return image.grad

    return plain, ours, _kept(lambda read: objective(read, contents, targets, [0]), network(contents))


def _kept(
    loss: Callable[[Callable[[Tensor], Mapping[str, Tensor]]], object], features: dict[str, Tensor]
) -> int:
    """Bytes that a loss keeps for its backward pass, beside the features themselves."""
    leaves = {tap: layer.detach().requires_grad_() for tap, layer in features.items()}
    with kept_for_gradient(besides=leaves.values()) as kept:
        held = loss(lambda _: leaves)
    del held
    return sum(kept.values())
