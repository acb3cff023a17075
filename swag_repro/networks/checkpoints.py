"""Activation checkpoints: where to cut a network so that its backward pass needs the least memory.

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

# Pixels of the image by which layers are weighed; their shares are those of any image.
_WEIGHED = 160

# Largest parts that are tried: the whole over 2, 3, ... of this.
_FINEST = 32


def checkpointed(extractor: fx.GraphModule) -> fx.GraphModule:
    """Cuts a traced network into parts of which only the inputs are kept for the backward pass.

    What a part keeps besides is computed again when the gradient comes by: at any time there are the inputs
    of all parts and the insides of one. Cuts are where the inputs and the largest part are least in sum.

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
    """Keeps its inputs only, and computes what lies between again when the gradient comes by."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return checkpoint(self.part, *inputs, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]


class _Weighed(fx.Interpreter):
    """Runs a network, and notes the bytes of each node's value, and those that it keeps for its gradient."""

    def __init__(self, extractor: fx.GraphModule) -> None:
        super().__init__(extractor, garbage_collect_values=False)  # an address given back would count once
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
    """Bytes that a cut behind each node would keep; the network's outputs are kept by whoever reads them."""
    order = {node: number for number, node in enumerate(nodes)}
    outputs = set(extractor.graph.output_node().all_input_nodes)
    last = {node: max((order.get(user, -1) for user in node.users), default=-1) for node in nodes}
    for number, _ in enumerate(nodes):
        alive = (node for node in nodes[: number + 1] if last[node] > number and node not in outputs)
        yield sum(sizes[node] for node in alive)


def _parts(inside: Sequence[int], crossing: Sequence[int]) -> list[int]:
    """The number of each node's part.

    Args:
        inside: bytes that each node keeps.
        crossing: bytes that a cut behind each node keeps.
    """
    whole = sum(inside)
    found = [_cuts(inside, crossing, whole // finer) for finer in range(1, _FINEST)]
    _, cuts = min(found)
    return [sum(cut < number for cut in cuts) for number in range(len(inside))]


def _cuts(inside: Sequence[int], crossing: Sequence[int], most: int) -> tuple[int, list[int]]:
    """The cheapest cuts into parts of at most so many bytes, or of one node; and their cost before them."""
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
