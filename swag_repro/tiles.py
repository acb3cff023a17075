"""Features of a network that is read tile by tile, each tile with the pixels that its taps see around it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from swag_repro.errors import SettingError
from swag_repro.networks.receptive import Reach

if TYPE_CHECKING:
    from swag_repro.networks.tapped import TappedNetwork

Region = tuple[slice, slice]
"""A range of rows and a range of columns."""


@dataclass(frozen=True)
class Patch:
    """The positions of a layer that a tile owns.

    Attributes:
        inner: their place among the positions that are computed from the tile.
        outer: their place among the positions of the whole layer.
        size: rows and columns of the whole layer.
    """

    inner: Region
    outer: Region
    size: tuple[int, int]

    @property
    def positions(self) -> int:
        """The number of positions of the whole layer, M."""
        return self.size[0] * self.size[1]

    def of(self, whole: Tensor) -> Tensor:
        """Return the patch's positions of a whole layer: `(..., M)` → `(..., m)`."""
        cut: Tensor = whole.unflatten(-1, self.size)[(..., *self.outer)]
        return cut.flatten(-2)


@dataclass(frozen=True)
class Tile:
    """A part of an image that is read by itself.

    Attributes:
        pixels: the place that is read.
        patches: tap → the positions that the tile owns.
    """

    pixels: Region
    patches: Mapping[str, Patch]


@dataclass(frozen=True)
class Span:
    """A tile along one side of the image.

    Attributes:
        pixels: the pixels that are read.
        inner: tap → the place of its own positions among those that are computed.
        outer: tap → their place among all positions.
    """

    pixels: slice
    inner: Mapping[str, slice]
    outer: Mapping[str, slice]


def spans(reaches: Mapping[str, Reach], length: int, size: int) -> Iterator[Span]:
    """Yield the tiles along a side; a last tile below half the size joins its neighbour.

    Args:
        reaches: tap → the pixels that its positions see.
        length: pixels of the side.
        size: pixels of a tile without those seen around it, rounded to the network's stride.
    """
    # This is the least shift of an image that moves every layer by whole positions.
    stride = math.lcm(*(reach.stride for reach in reaches.values()))
    size = max(stride, size // stride * stride)
    starts = [start for start in range(0, length, size) if start == 0 or length - start >= size // 2]
    for start, stop in zip(starts, [*starts[1:], length], strict=True):
        first = max(0, start + min(0, *(reach.first for reach in reaches.values()))) // stride * stride
        last = stop + max(reach.last for reach in reaches.values()) + 1
        outer = {tap: _owned(reach, start, stop, length) for tap, reach in reaches.items()}
        inner = {tap: _shifted(own, first // reaches[tap].stride) for tap, own in outer.items()}
        yield Span(slice(first, length if stop == length else min(length, last)), inner, outer)


def _owned(reach: Reach, start: int, stop: int, length: int) -> slice:
    """Return the positions that the pixels from `start` to `stop` of a side own."""
    most = reach.positions(length)
    return slice(
        min(most, start // reach.stride), most if stop == length else min(most, stop // reach.stride)
    )


def _shifted(place: slice, by: int) -> slice:
    return slice(place.start - by, place.stop - by)


@dataclass(frozen=True)
class TiledFeatures(Mapping[str, Tensor]):
    """The features of images, computed tile by tile whenever they are asked for.

    Each position of each tap belongs to one tile, which holds all pixels that the position sees. So the
    position has the value that the whole image gives it, apart from rounding. As a mapping it puts the
    features of a tap together, `(A, D, H', W')`.

    Attributes:
        network: the network that is read; the features have its taps.
        images: `(A, 3, H, W)`.
        size: pixels of a tile's side, without the pixels seen around it; rounded to the network's stride.
        zeros: whether all features are 0 in place of the network's.

    Raises:
        SettingError: a network whose positions see the whole image.
    """

    network: TappedNetwork
    images: Tensor
    size: int
    zeros: bool = False

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """All tiles of an image."""
        fields = self.network.fields
        if isinstance(fields, str):
            rule = "should be null for a network of which a layer sees the whole image, or nobody knows what"
            raise SettingError("tile", rule, fields, "execution.checkpoints=true takes less memory too.")
        height, width = self.images.shape[2:]
        rows, columns = ({tap: field[side] for tap, field in fields.items()} for side in (0, 1))
        sizes = {tap: (rows[tap].positions(height), columns[tap].positions(width)) for tap in fields}
        return tuple(
            Tile(
                (down.pixels, across.pixels),
                {
                    tap: Patch(
                        (down.inner[tap], across.inner[tap]), (down.outer[tap], across.outer[tap]), size
                    )
                    for tap, size in sizes.items()
                },
            )
            for down in spans(rows, height, self.size)
            for across in spans(columns, width, self.size)
        )

    @property
    def most(self) -> int:
        """The pixels of the largest tile, including those seen around it."""
        most: int = max(math.prod(part.stop - part.start for part in tile.pixels) for tile in self.tiles)
        return most

    def empty(self) -> TiledFeatures:
        """Return as many features, all 0."""
        return replace(self, zeros=True)

    def parts(self) -> Iterator[tuple[Tile, dict[str, Tensor]]]:
        """Yield each tile with the features that it owns, `(A, D, h, w)`."""
        for tile in self.tiles:
            yield tile, self.part(tile, self.images[(..., *tile.pixels)])

    def part(self, tile: Tile, pixels: Tensor) -> dict[str, Tensor]:
        """Return the features that a tile owns, `(A, D, h, w)`, from its pixels `(A, 3, h', w')`."""
        found = {tap: layer[(..., *tile.patches[tap].inner)] for tap, layer in self.network(pixels).items()}
        return {tap: torch.zeros_like(layer) for tap, layer in found.items()} if self.zeros else found

    def together(self, taps: Iterable[str]) -> dict[str, Tensor]:
        """Return the whole features of these taps, `(A, D, H', W')`; the network is read once for all."""
        wanted, whole = list(taps), dict[str, Tensor]()
        for tile, features in self.parts():
            for tap in wanted:
                patch, part = tile.patches[tap], features[tap]
                if tap not in whole:
                    whole[tap] = part.new_empty(*part.shape[:2], *patch.size)
                whole[tap][(..., *patch.outer)] = part
        return whole

    def __getitem__(self, tap: str) -> Tensor:
        """Return the whole features of a tap."""
        return self.together([tap])[tap]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the taps."""
        return iter(self.tiles[0].patches)

    def __len__(self) -> int:
        """Return the number of taps."""
        return len(self.tiles[0].patches)
