"""The pixels that each position of a tap sees: the arithmetic of convolutions and pooling in a network.

Source: Araujo, Norris and Sim, *Computing Receptive Fields of Convolutional Neural Networks*, Distill 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

Field = tuple["Reach", "Reach"]
"""The reach of a position's row and that of its column."""


@dataclass(frozen=True)
class Window:
    """A convolution or pooling along one side of an image.

    Attributes:
        size: positions of its kernel.
        stride: distance from one output to the next.
        padding: positions in front of the first and behind the last.
        dilation: distance from one position of the kernel to the next.
        ceil: whether a last window that lies partly outside counts.
    """

    size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    ceil: bool = False

    def positions(self, before: int) -> int:
        """Return the number of outputs for this number of inputs."""
        span = before + 2 * self.padding - self.dilation * (self.size - 1) - 1
        if not self.ceil:
            return span // self.stride + 1
        found = -(-span // self.stride) + 1
        # As in torch, a window begins within the inputs or their padding in front.
        return found - ((found - 1) * self.stride >= before + self.padding)


@dataclass(frozen=True)
class Reach:
    """The pixels that position p of a layer sees: `stride · p + first` to `stride · p + last`, both included.

    Attributes:
        stride: pixels from one position to the next.
        first: the first pixel that position 0 sees; padding in front makes it negative.
        last: the last pixel that position 0 sees.
        windows: the windows between the image and the layer.
    """

    stride: int = 1
    first: int = 0
    last: int = 0
    windows: tuple[Window, ...] = ()

    def behind(self, window: Window) -> Reach:
        """Return the reach of the outputs of a window over these positions."""
        first = self.first - self.stride * window.padding
        reached = window.dilation * (window.size - 1) - window.padding
        last = self.last + self.stride * reached
        return Reach(self.stride * window.stride, first, last, (*self.windows, window))

    def positions(self, pixels: int) -> int:
        """Return the number of positions along this number of pixels."""
        for window in self.windows:
            pixels = window.positions(pixels)
        return pixels


class UnboundedError(Exception):
    """The error that an operation is unknown or sees the whole image; its text names the operation."""


def fields(extractor: fx.GraphModule) -> dict[str, Field]:
    """Return what a position of each tap sees.

    Args:
        extractor: a traced network, images → a dictionary of features.

    Raises:
        UnboundedError: an operation other than convolution, pooling and those on each position by itself.
    """
    modules = dict(extractor.named_modules())
    found: dict[fx.Node, Field] = {}
    for node in extractor.graph.nodes:
        if node.op == "output":
            return {tap: found[source] for tap, source in node.args[0].items()}
        found[node] = _field(node, modules, found)
    raise RuntimeError("a traced graph has an output")


def _field(node: fx.Node, modules: Mapping[str, nn.Module], found: Mapping[fx.Node, Field]) -> Field:
    if node.op == "placeholder":
        return Reach(), Reach()
    sources = [found[source] for source in node.all_input_nodes]
    if not sources:  # a constant
        raise UnboundedError(str(node.target))
    field = _joint(sources, node)
    if node.op == "call_module":
        return _through(modules[str(node.target)], field)
    if node.target in _POOLING_CALLS:
        kernel = node.args[1] if len(node.args) > 1 else node.kwargs["kernel_size"]
        names = ("stride", "padding", *_POOLING_CALLS[node.target])
        settings = dict(zip(names, node.args[2:], strict=False)) | node.kwargs
        return _behind(field, _windows({"kernel_size": kernel, **settings}))
    name = node.target if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
    if name == "cat" and _dimension(node) not in (1, -3):
        raise UnboundedError("cat of positions")
    if name in _EACH_POSITION:
        return field
    raise UnboundedError(str(name))


_POOLING_CALLS: Mapping[Any, Sequence[str]] = {
    F.max_pool2d: ("dilation", "ceil_mode"),
    torch.max_pool2d: ("dilation", "ceil_mode"),
    F.avg_pool2d: ("ceil_mode",),
}
"""Function → its positional arguments behind kernel, stride and padding."""

_EACH_POSITION = {
    *("add", "iadd", "sub", "mul", "truediv", "cat"),
    *("relu", "relu6", "leaky_relu", "silu", "gelu", "hardswish", "sigmoid", "tanh", "dropout", "contiguous"),
}
"""Names of functions and methods that take each position by itself."""

_LAYERS_OF_POSITIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid,
    nn.Tanh, nn.Softplus, nn.Identity, nn.Dropout, nn.Dropout2d,
)  # fmt: skip


def _dimension(node: fx.Node) -> Any:
    return node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)


def _through(module: nn.Module, field: Field) -> Field:
    if isinstance(module, nn.Sequential):
        for part in module:
            field = _through(part, field)
        return field
    # This arithmetic excludes padding from the opposite side, and padding whose size torch chooses.
    settled = getattr(module, "padding_mode", "zeros") != "circular" and not isinstance(
        getattr(module, "padding", 0), str
    )
    if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) and settled:
        return _behind(field, _windows(vars(module)))
    if isinstance(module, _LAYERS_OF_POSITIONS) or (isinstance(module, _BatchNorm) and not module.training):
        return field
    raise UnboundedError(type(module).__name__)


def _windows(settings: Mapping[str, Any]) -> tuple[Window, Window]:
    """Return the windows along rows and columns, from settings with torch's names."""
    kernel = settings["kernel_size"]
    stride = settings.get("stride") or kernel
    padding, dilation = settings.get("padding", 0), settings.get("dilation", 1)
    rows, columns = (
        Window(
            _side(kernel, side),
            stride=_side(stride, side),
            padding=_side(padding, side),
            dilation=_side(dilation, side),
            ceil=bool(settings.get("ceil_mode", False)),
        )
        for side in (0, 1)
    )
    return rows, columns


def _side(value: int | Sequence[int], side: int) -> int:
    return value if isinstance(value, int) else value[side]


def _behind(field: Field, windows: tuple[Window, Window]) -> Field:
    rows, columns = (reach.behind(window) for reach, window in zip(field, windows, strict=True))
    return rows, columns


def _joint(sources: Sequence[Field], node: fx.Node) -> Field:
    """Return the field of an operation that reads the same position of several layers."""
    if len({tuple(reach.stride for reach in field) for field in sources}) > 1:
        raise UnboundedError(f"{node} of layers with different strides")
    rows, columns = (_widest(reaches) for reaches in zip(*sources, strict=True))
    return rows, columns


def _widest(reaches: Sequence[Reach]) -> Reach:
    first, last = min(reach.first for reach in reaches), max(reach.last for reach in reaches)
    return replace(reaches[0], first=first, last=last)
