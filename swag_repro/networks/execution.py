"""Switches that run a traced network faster or in less memory, and don't change what it computes.

Source of activation checkpoints: Chen et al., *Training Deep Nets with Sublinear Memory Cost*, arXiv
1604.06174, 2016.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.split_module import split_module
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.checkpoint import checkpoint

from swag_repro.errors import SettingError, check_choice
from swag_repro.memory import kept_for_gradient

AUTOCAST_DTYPES = ("bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Switches for speed and memory; each changes values only by rounding, and all are off by default.

    Attributes:
        fold_batchnorm: batch norm with running statistics becomes part of the convolution before it.
        in_place: ReLUs and shortcut additions overwrite their input, unless a tap, another operation or the
            backward pass reads it.
        channels_last: channels lie side by side in memory, as convolutions prefer on most machines.
        autocast: `bfloat16` or `float16` for convolutions; None for none. Only this switch has visible
            rounding: gradients differ by some percent.
        checkpoints: only the inputs of a few parts of the network are kept, and the backward pass computes
            the rest again.

    Raises:
        SettingError: an unknown autocast dtype.
    """

    fold_batchnorm: bool = False
    in_place: bool = False
    channels_last: bool = False
    autocast: str | None = None
    checkpoints: bool = False

    def __post_init__(self) -> None:
        if self.autocast is not None:
            check_choice("execution.autocast", self.autocast, AUTOCAST_DTYPES)

    def apply(self, extractor: fx.GraphModule) -> nn.Module:
        """Return the traced network with these switches; the parameters of `extractor` don't change.

        Raises:
            SettingError: batch norm with batch statistics, which can't be folded.
        """
        if self.fold_batchnorm:
            _fold_batchnorm(extractor)
        if self.checkpoints:
            extractor = checkpointed(extractor)
        if self.in_place:
            # Each part is treated by itself, because it must not overwrite what a checkpoint keeps.
            for part in [module for module in extractor.modules() if isinstance(module, fx.GraphModule)]:
                _overwrite(part)
        if self.channels_last:
            extractor = extractor.to(memory_format=torch.channels_last)
        return extractor

    def arrange(self, images: Tensor) -> Tensor:
        """Return images `(B, 3, H, W)` in the memory format of the network."""
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def precision(self, device: torch.device) -> AbstractContextManager[object]:
        """Return the context in which to run the network."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(device.type, getattr(torch, self.autocast))


def _fold_batchnorm(extractor: fx.GraphModule) -> None:
    modules = dict(extractor.named_modules())
    calls = Counter(node.target for node in extractor.graph.nodes if node.op == "call_module")
    for node in extractor.graph.nodes:
        norm = _module(node, modules)
        if not isinstance(norm, _BatchNorm):
            continue
        source = node.all_input_nodes[0]
        convolution = _module(source, modules)
        if norm.running_mean is None or norm.training:
            raise SettingError(
                "execution.fold_batchnorm",
                "needs batchnorm=eval",
                "batch statistics",
                "Turn one of them off.",
            )
        once = len(source.users) == calls[source.target] == calls[node.target] == 1
        if once and isinstance(convolution, _ConvNd):
            extractor.add_submodule(source.target, fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(source)
            extractor.graph.erase_node(node)
    _clean(extractor)


def _overwrite(extractor: fx.GraphModule) -> None:
    modules = dict(extractor.named_modules())
    for node in extractor.graph.nodes:
        if not (node.args and _may_be_overwritten(node.args[0], modules)):
            continue
        if isinstance(_module(node, modules), nn.ReLU):
            # The ReLU becomes a call of its own, because blocks use one module in several places.
            node.op, node.target, node.kwargs = "call_function", F.relu, {"inplace": True}
        elif node.target is operator.add and isinstance(node.args[1], fx.Node):
            node.target = operator.iadd
    _clean(extractor)


def _may_be_overwritten(node: object, modules: Mapping[str, nn.Module]) -> bool:
    """Return whether a node's only reader may overwrite its value.

    Convolutions, batch norm and sums never read their outputs again.
    """
    if not isinstance(node, fx.Node) or len(node.users) != 1:
        return False
    return isinstance(_module(node, modules), _ConvNd | _BatchNorm) or node.target in (
        operator.add,
        operator.iadd,
    )


def _module(node: object, modules: Mapping[str, nn.Module]) -> nn.Module | None:
    return modules[str(node.target)] if isinstance(node, fx.Node) and node.op == "call_module" else None


def _clean(extractor: fx.GraphModule) -> None:
    extractor.delete_all_unused_submodules()
    extractor.recompile()


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
    run = {node.target for node in split.graph.nodes if node.op == "call_module"}
    for name, child in list(split.named_children()):
        if name in run:  # others hold tensors that parts read
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
