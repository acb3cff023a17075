"""Switches that run a traced network faster or in less memory, and don't change what it computes."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

from swag_repro.errors import SettingError, check_choice
from swag_repro.networks.checkpoints import checkpointed

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
