"""A decoder that mirrors an encoder: convolutions in reverse, up-sampling for pooling (AdaIN, section 6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.modules.conv import _ConvNd
from torchvision.models.feature_extraction import create_feature_extractor

SIDE = 224
"""Side in pixels of the image that tells layers' sizes; multiples of 32 shrink evenly."""

NORMS: dict[str, Callable[[int], nn.Module] | None] = {
    "none": None,  # the paper
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
}


@dataclass(frozen=True)
class Stage:
    """One convolution of an encoder, or a place where the encoder shrinks.

    Attributes:
        channels: channels that go into the convolution; None for a place where the encoder only shrinks.
        kernel: height and width of the convolution's kernel.
        shrinks: factor by which the sides are divided there.
    """

    channels: int | None
    kernel: tuple[int, int]
    shrinks: int


def stages(network: nn.Module, path: str) -> tuple[list[Stage], int]:
    """Return the stages on the longest path from the image to a module's output, and the output's channels.

    Shortcuts and their projections are no part of it.

    Args:
        network: any module that torch.fx can trace; it may be on torch's `meta` device.
        path: path of the module whose output is decoded.
    """
    extractor = create_feature_extractor(network.eval(), [path], suppress_diff_warning=True)
    with torch.inference_mode():
        image = torch.zeros(1, 3, SIDE, SIDE, device=next(network.parameters()).device)
        ShapeProp(extractor).propagate(image)
    modules = dict(extractor.named_modules())
    found: list[Stage] = []
    nodes = _longest_path(extractor, modules)
    for before, node in pairwise(nodes):
        shrinks = max(1, round(_shape(before)[2] / max(1, _shape(node)[2])))
        found += _stages_of(_convolutions(modules.get(str(node.target))), shrinks)
    return found, _shape(nodes[-1])[1]


def _stages_of(convolutions: Sequence[_ConvNd], shrinks: int) -> list[Stage]:
    if not convolutions:
        return [Stage(None, (1, 1), shrinks)] if shrinks > 1 else []
    first, *rest = [
        (one.in_channels, (int(one.kernel_size[0]), int(one.kernel_size[1]))) for one in convolutions
    ]
    return [Stage(*first, shrinks), *(Stage(*one, 1) for one in rest)]


def _longest_path(extractor: fx.GraphModule, modules: dict[str, nn.Module]) -> list[fx.Node]:
    """Return the path from the image to the output that passes the most convolutions."""
    longest: dict[fx.Node, tuple[int, list[fx.Node]]] = {}
    last = extractor.graph.output_node().all_input_nodes[0]
    for node in extractor.graph.nodes:
        before = [longest[source] for source in node.all_input_nodes]
        depth, path = max(before, key=lambda found: found[0], default=(0, []))
        own = len(_convolutions(modules.get(str(node.target)))) if node.op == "call_module" else 0
        longest[node] = depth + own, [*path, node]
        if node is last:
            break
    return longest[last][1]


def _convolutions(module: nn.Module | None) -> list[_ConvNd]:
    return [] if module is None else [one for one in module.modules() if isinstance(one, _ConvNd)]


def _shape(node: fx.Node) -> torch.Size:
    shape: torch.Size = node.meta["tensor_meta"].shape
    return shape


def mirror_decoder(path: Sequence[Stage], channels: int, *, norm: str) -> nn.Sequential:
    """Return the decoder of an encoder with these stages: features → images, near [0, 1] after training.

    For VGG-19 up to relu4_1 it is the paper's: nine 3×3 convolutions with reflection padding, nearest
    up-sampling in place of each pooling, ReLU behind all but the last, no normalisation.

    Args:
        path: the stages from the image on, as `stages` returns them.
        channels: channels of the features that it decodes.
        norm: the norm in front of each ReLU: one of `NORMS`.
    """
    layers: list[nn.Module] = []
    made = NORMS[norm]
    for stage in reversed(path):
        if stage.shrinks > 1:
            layers.append(nn.Upsample(scale_factor=stage.shrinks, mode="nearest"))
        if stage.channels is None:
            continue
        layers.append(_convolution(channels, stage.channels, stage.kernel))
        layers += [made(stage.channels)] if made is not None else []
        layers.append(nn.ReLU())
        channels = stage.channels
    while not isinstance(layers[-1], nn.Conv2d):
        layers.pop()
    return nn.Sequential(*layers)


def _convolution(channels_in: int, channels_out: int, kernel: tuple[int, int]) -> nn.Conv2d:
    """Return a convolution that keeps the size; an even kernel is made odd for that."""
    odd = (kernel[0] | 1, kernel[1] | 1)
    convolution = nn.Conv2d(
        channels_in, channels_out, odd, padding=(odd[0] // 2, odd[1] // 2), padding_mode="reflect"
    )
    # Without normalisation, torch's own start shrinks signals by three at each layer.
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution


def stride(path: Sequence[Stage]) -> int:
    """Return how many pixels of the image, along a side, one position of the features stands for."""
    return math.prod(stage.shrinks for stage in path)


def reach(path: Sequence[Stage]) -> int:
    """Return how far, in pixels, a position's features see the image around it; the mirror sees as far."""
    pixels, total = 1, 0
    for stage in path:
        total += pixels * max(*(side // 2 for side in stage.kernel), stage.shrinks - 1)
        pixels *= stage.shrinks
    return total


def reflect(network: nn.Module) -> nn.Module:
    """Make all padding that of reflection, in place: borders get fewer artefacts (section 6)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and any(int(side) > 0 for side in module.padding):
            module.padding_mode = "reflect"
    return network
