"""Activation checkpoints, which cut a network so that its backward pass needs the least memory.

Source: Chen et al., *Training Deep Nets with Sublinear Memory Cost*, arXiv 1604.06174, 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.split_module import split_module
from torch.utils.checkpoint import checkpoint

from swag_repro.memory import kept_for_gradient

# The side in pixels of the image that weighs the layers; their relative sizes are the same for any image.
_WEIGHED = 160

# The largest parts that are tried hold the whole over 1, 2, 3, ..., below this number.
_FINEST = 32


def checkpointed(extractor: fx.GraphModule) -> fx.GraphModule:
    """Cut a traced network into parts of which only the inputs are kept for the backward pass.

    The backward pass computes the other values of a part again. At any time memory holds the inputs of all
    parts and the inside of one part. The cuts minimise the sum of the inputs and the largest part.

    Args:
        extractor: images `(B, 3, H, W)` → a dictionary of features.
    """
    nodes = [node for node in extractor.graph.nodes if node.op not in ("placeholder", "output")]
    weighed = _Weighed(extractor)
    weighed.run(_example(extractor))
    inside = [weighed.kept.get(node, 0) for node in nodes]
    part = _parts(inside, list(_crossing(extractor, nodes, weighed.sizes)))
    numbers = dict(zip(nodes, part, strict=True))
    split = split_module(extractor, extractor, lambda node: numbers[node])
    for name, child in list(split.named_children()):
        split.add_module(name, _Checkpoint(child))
    return split


class _Checkpoint(nn.Module):
    """A part that keeps only its inputs, and computes its inside again in the backward pass."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return checkpoint(self.part, *inputs, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]


class _Weighed(fx.Interpreter):
    """A run of a network that notes the bytes of each node's value, and those kept for its gradient."""

    def __init__(self, extractor: fx.GraphModule) -> None:
        super().__init__(extractor, garbage_collect_values=False)  # a reused address would count only once
        self.sizes: dict[fx.Node, int] = {}
        self.kept: dict[fx.Node, int] = {}
        self._seen: set[int] = {
            parameter.untyped_storage().data_ptr() for parameter in extractor.parameters()
        }

    def run_node(self, n: fx.Node) -> Any:
        with kept_for_gradient() as kept:
            value = super().run_node(n)
        self.kept[n] = sum(size for address, size in kept.items() if address not in self._seen)
        self._seen |= kept.keys()
        self.sizes[n] = value.nbytes if isinstance(value, Tensor) else 0
        return value


def _example(extractor: fx.GraphModule) -> Tensor:
    parameter = next(extractor.parameters())
    return torch.zeros(
        1, 3, _WEIGHED, _WEIGHED, dtype=parameter.dtype, device=parameter.device, requires_grad=True
    )


def _crossing(
    extractor: fx.GraphModule, nodes: Sequence[fx.Node], sizes: dict[fx.Node, int]
) -> Iterator[int]:
    """Yield the bytes that a cut behind each node would keep, without the network's outputs.

    The outputs are kept by their readers.
    """
    order = {node: number for number, node in enumerate(nodes)}
    outputs = set(extractor.graph.output_node().all_input_nodes)
    last = {node: max((order.get(user, -1) for user in node.users), default=-1) for node in nodes}
    for number, _ in enumerate(nodes):
        alive = (node for node in nodes[: number + 1] if last[node] > number and node not in outputs)
        yield sum(sizes[node] for node in alive)


def _parts(inside: Sequence[int], crossing: Sequence[int]) -> list[int]:
    """Return the number of each node's part.

    Args:
        inside: bytes that each node keeps.
        crossing: bytes that a cut behind each node keeps.
    """
    whole = sum(inside)
    found = [_cuts(inside, crossing, whole // finer) for finer in range(1, _FINEST)]
    _, cuts = min(found)
    return [sum(cut < number for cut in cuts) for number in range(len(inside))]


def _cuts(inside: Sequence[int], crossing: Sequence[int], most: int) -> tuple[int, list[int]]:
    """Return the cost and the cheapest cuts into parts of at most `most` bytes, or of one node."""
    before = [0, *accumulate(inside)]
    cost, previous = [0], [0]
    for end in range(1, len(inside) + 1):
        fitting = (start for start in range(end) if before[end] - before[start] <= most)
        best = min(fitting, key=lambda start: cost[start], default=end - 1)
        cost.append(cost[best] + (crossing[end - 1] if end < len(inside) else 0))
        previous.append(best)
    cuts, at = list[int](), previous[-1]
    while at:
        cuts.append(at - 1)
        at = previous[at]
    bounds = [0, *(cut + 1 for cut in reversed(cuts)), len(inside)]
    largest = max(before[b] - before[a] for a, b in pairwise(bounds))
    return cost[-1] + largest, cuts
