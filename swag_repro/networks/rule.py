"""The rule by which taps are chosen in a network that nobody has described."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from swag_repro.networks.layouts import Layout, outputs

RULE = """\
Taps by rule: the last of the outermost modules at each scale (pixels from position to position) if there are
three scales or more, else four of the like blocks, evenly spaced. Content: the last tap but one."""
"""The rule in words. A module within which the scale changes twice or more is opened, others are not."""

LEAST_SCALES, BLOCKS = 3, 4

Shape = tuple[int, ...]
"""The shape of a tensor; empty for anything else."""


@dataclass(frozen=True)
class Layer:
    """A module that ran.

    Attributes:
        path: its path in the network.
        kind: its class.
        layout: of its output; None if it has no positions.
        before: of its input; None if that has no positions.
        shape: of its output for pictures of the first of the two sizes; empty if that is no tensor.
    """

    path: str
    kind: type[nn.Module]
    layout: Layout | None
    before: Layout | None
    shape: Shape

    def is_below(self, path: str) -> bool:
        """Return whether the module lies in the one of this path."""
        return self.path != path and f"{self.path}.".startswith(f"{path}." if path else "")


def layers_of(network: nn.Module) -> list[Layer]:
    """Return the modules of a network that run, in the order in which they end.

    Raises:
        SettingError: it takes no pictures of the sizes that tell layouts.
    """
    runs: list[dict[nn.Module, tuple[Shape, Shape]]] = []

    def note(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        runs[-1].pop(module, None)  # of several calls the last one counts, as in torch.fx
        runs[-1][module] = _shape(given[0] if given else None), _shape(made)

    with ExitStack() as stack:
        stack.callback(network.register_forward_pre_hook(lambda *_: runs.append({})).remove)
        for module in network.modules():
            stack.callback(module.register_forward_hook(note).remove)
        outputs(network)
    small, large = runs[-2:]
    names = {module: name for name, module in network.named_modules()}
    return [_layer(names[one], type(one), small[one], large[one]) for one in small if one in large]


def _shape(value: Any) -> Shape:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _layer(path: str, kind: type[nn.Module], small: tuple[Shape, Shape], large: tuple[Shape, Shape]) -> Layer:
    before, layout = (Layout.of(shapes) if all(shapes) else None for shapes in zip(small, large, strict=True))
    return Layer(path, kind, layout, before, small[1])


def heads_of(network: nn.Module, classes: int) -> list[str]:
    """Return the outermost modules that hold a tensor with a side of so many classes: the classifiers."""
    parameters = network.named_parameters()
    return sorted({name.partition(".")[0] for name, value in parameters if classes in value.shape})


def taps_by_rule(layers: Sequence[Layer], heads: Collection[str]) -> dict[str, str]:
    """Return taps by the `RULE`: at `scale4` positions are 4 pixels apart, `block3` is the third block.

    Args:
        layers: the modules of a network.
        heads: the classifiers, in which no tap lies.

    Returns:
        tap → module path, from shallow to deep; empty if no module has positions.
    """
    body = [layer for layer in layers if layer.path.partition(".")[0] not in heads]
    by_scale = {layer.layout.scale: layer.path for layer in _outermost(body, "") if layer.layout}
    blocks = _like_blocks(body)
    if len(by_scale) >= LEAST_SCALES or len(blocks) < BLOCKS:
        return {f"scale{scale:g}": path for scale, path in sorted(by_scale.items())}
    chosen = [math.ceil(part * len(blocks) / BLOCKS) for part in range(1, BLOCKS + 1)]
    return {f"block{number}": blocks[number - 1] for number in chosen}


def _outermost(layers: Sequence[Layer], within: str) -> Iterator[Layer]:
    """Yield the modules of which the outermost is not opened; one that returns no tensor is left out."""
    below = [layer for layer in layers if layer.is_below(within)]
    paths = {layer.path for layer in below}
    for layer in below:
        if not layer.shape or any(parent in paths for parent in _parents(layer.path)):
            continue
        inside = [layer, *(other for other in below if other.is_below(layer.path))]
        scales = {layout.scale for one in inside for layout in (one.before, one.layout) if layout}
        if layer.layout is None or len(scales) > 2:
            yield from _outermost(inside, layer.path)
        else:
            yield layer


def _parents(path: str) -> Iterator[str]:
    parts = path.split(".")
    return (".".join(parts[:depth]) for depth in range(1, len(parts)))


def _like_blocks(layers: Sequence[Layer]) -> list[str]:
    """Return the paths of the largest group of numbered modules of one class within one module."""
    groups: dict[tuple[str, type[nn.Module]], list[str]] = {}
    for layer in layers:
        parent, _, name = layer.path.rpartition(".")
        if layer.layout is not None and name[-1:].isdigit():
            groups.setdefault((parent, layer.kind), []).append(layer.path)
    return max(groups.values(), key=len, default=[])
