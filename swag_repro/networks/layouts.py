"""The layouts of layers, found by comparing two sizes of pictures, and the adapter that makes maps of all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from swag_repro.errors import SettingError, UserError

PROBES = ((224, 448), (448, 672))
"""The two sizes, height and width: multiples of 14, 16 and 32, wider than high, so that sides differ."""

PICTURES = 2
"""The number of pictures of a probe: a layer whose first dimension is another number mixes them."""

META = torch.device("meta")

Shapes = tuple[Sequence[int], Sequence[int]]
"""A layer's shape for pictures of each of the two sizes."""


@dataclass(frozen=True)
class Layout:
    """Where a layer keeps its channels and positions.

    Attributes:
        kind: `maps` are `(B, D, H, W)`, `channels_last` are `(B, H, W, D)`, `tokens` are `(B, N, D)`.
        strides: pixels from one position to the next, along height and width.
        apart: class and register tokens, which networks put before those of positions; 0 for maps.
    """

    kind: Literal["maps", "channels_last", "tokens"]
    strides: tuple[float, float]
    apart: int = 0

    @classmethod
    def of(cls, shapes: Shapes) -> Layout | None:
        """Return the layout of a layer by its shapes for the pictures of `PROBES`; None if they tell none.

        Channels are the dimension that stays when pictures grow; positions grow as the pictures do.
        """
        small, large = shapes
        if not PICTURES == small[0] == large[0] or len(small) != len(large):
            return None
        grown = tuple(index for index in range(1, len(small)) if small[index] != large[index])
        if len(small) == 4 and grown in ((2, 3), (1, 2)):
            height, width = ((small[index], large[index]) for index in grown)
            return cls._of_maps("maps" if grown == (2, 3) else "channels_last", height, width)
        return cls._of_tokens(small[1], large[1]) if len(small) == 3 and grown == (1,) else None

    @classmethod
    def _of_maps(
        cls, kind: Literal["maps", "channels_last"], height: tuple[int, int], width: tuple[int, int]
    ) -> Layout | None:
        (small, large), (narrow, wide) = zip(*PROBES, strict=True)
        strides = (large - small) / (height[1] - height[0]), (wide - narrow) / (width[1] - width[0])
        if min(strides) <= 0:
            return None
        rows = [abs(height[0] - side / strides[0]) for side in (small, narrow)]
        return cls(kind, strides) if rows[0] <= rows[1] else None  # else height and width are swapped

    @classmethod
    def _of_tokens(cls, few: int, many: int) -> Layout | None:
        small, large = map(math.prod, PROBES)
        area = (large - small) / (many - few)
        if area < 1:
            return None
        stride, apart = math.sqrt(area), few - small / area
        fits = stride.is_integer() and apart.is_integer() and apart >= 0
        return cls("tokens", (stride, stride), int(apart)) if fits else None

    @property
    def scale(self) -> float:
        """The pixels from one row of positions to the next."""
        return self.strides[0]

    def as_maps(self, features: Tensor, tap: str, height: int, width: int) -> Tensor:
        """Return a layer as `(B, D, H', W')`, without its class and register tokens.

        Args:
            features: the layer, in this layout.
            tap: its name, for messages.
            height: of the pictures, in pixels.
            width: of the pictures, in pixels.

        Raises:
            SettingError: the tokens are not those of a grid over such pictures.
        """
        if self.kind == "maps":
            return features
        if self.kind == "channels_last":
            return features.permute(0, 3, 1, 2).contiguous()
        positions = features[:, self.apart :].mT
        for rounded in (math.floor, math.ceil):
            grid = rounded(height / self.strides[0]), rounded(width / self.strides[1])
            if math.prod(grid) == positions.shape[-1]:
                return positions.unflatten(-1, grid).contiguous()  # type: ignore[no-any-return]
        found = f"{height}×{width} pixels and {positions.shape[-1]} tokens at {tap}"
        raise SettingError("images.size", f"should be {_multiples(self.scale)}", found, SQUARES)

    def __str__(self) -> str:
        apart = f" behind {self.apart} others" if self.apart else ""
        return f"{self.kind.replace('_', ' ')}{apart}, {self.scale:g} pixels apart"


SQUARES = "images.resize=squash makes pictures squares of images.size."
"""The remedy for networks that don't take all sizes."""


def _multiples(stride: float) -> str:
    return f"such that both sides of a picture are multiples of {stride:g}"


def check_layouts(shapes: Mapping[str, Shapes]) -> dict[str, Layout]:
    """Return the layout of each tap by its shapes for the two sizes.

    Raises:
        SettingError: a tap's shapes tell no layout.
    """
    layouts = {tap: Layout.of(found) for tap, found in shapes.items()}
    for tap, layout in layouts.items():
        if layout is None:
            small, large = map(tuple, shapes[tap])
            pictures = " and ".join(f"{height}×{width}" for height, width in PROBES)
            raise SettingError(
                f"network.taps.{tap}",
                "should be a layer with positions: (B, D, H, W), (B, H, W, D) or (B, tokens, D)",
                f"{small} and {large} for {PICTURES} pictures of {pictures} pixels",
                "`swag network NAME` lists the layers that have positions.",
            )
    return {tap: layout for tap, layout in layouts.items() if layout is not None}


def outputs(network: nn.Module) -> tuple[Any, Any]:
    """Return what a network makes of pictures of the two sizes: shapes only, unless it needs values.

    Raises:
        SettingError: the network takes no pictures of these sizes.
    """
    tensors = dict(chain(network.named_parameters(), network.named_buffers()))
    shapes = {name: value.to("meta") for name, value in tensors.items()}
    without = partial(functional_call, network, shapes)
    dtype = next((value.dtype for value in tensors.values() if value.is_floating_point()), torch.float32)
    device = next((value.device for value in tensors.values()), torch.device("cpu"))
    # A network that makes tensors of its own needs the second way, which is slow; one that looks at values
    # needs the third.
    ways: list[tuple[Callable[[Tensor], Any], torch.device, AbstractContextManager[object]]]
    ways = [(without, META, nullcontext()), (without, META, META), (network, device, device)]
    problems: list[Exception] = []
    for run, place, within in ways[: 2 if device == META else 3]:
        try:
            with torch.no_grad(), within:
                small, large = (
                    run(torch.zeros(PICTURES, 3, *size, dtype=dtype, device=place)) for size in PROBES
                )
        except Exception as error:  # a network can raise anything
            problems.append(error)
        else:
            return small, large
    raise _fixed(network, problems[-1]) from problems[-1]


def _fixed(network: nn.Module, error: Exception) -> SettingError:
    problem = (str(error).splitlines() or [""])[0][:200]
    return SettingError(
        "network",
        "should take pictures of several sizes, by which its layouts are told",
        f"{type(network).__name__}: {type(error).__name__} {problem}".rstrip(),
        "Choose another network; one of a fixed size can't be read.",
    )


def without_values(builder: Callable[[], nn.Module]) -> nn.Module:
    """Return the network of a builder; its tensors have no values, unless the builder needs some."""
    try:
        with META:
            return builder()
    except UserError:
        raise
    except Exception:  # a builder may need values
        return builder()
