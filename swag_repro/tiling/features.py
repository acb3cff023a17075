"""Features of a network that is read tile by tile, each tile with the pixels that its taps see around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

from torch import Tensor

from swag_repro.errors import SettingError
from swag_repro.networks.receptive import Field, Reach, common_stride

if TYPE_CHECKING:
    from swag_repro.networks.tapped import TappedNetwork

_CORNER = 256  # every network has positions for an image of this side

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
class Tiling:
    """A division of images of one size into tiles.

    Each position of each tap belongs to one tile, which holds all pixels that the position sees. So the
    position has the value that the whole image gives it, apart from rounding.

    Attributes:
        fields: tap → the pixels that a position sees.
        height: the height of the images, in pixels.
        width: the width of the images, in pixels.
        size: pixels of a tile's side, without the pixels seen around it; rounded to the network's stride.
    """

    fields: Mapping[str, Field]
    height: int
    width: int
    size: int

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """All tiles of an image."""
        return tuple(self._tile(rows, columns) for rows, columns in product(*map(self._spans, (0, 1))))

    @cached_property
    def positions(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of each tap of the whole image."""
        return {
            tap: (rows.positions(self.height), columns.positions(self.width))
            for tap, (rows, columns) in self.fields.items()
        }

    @property
    def most(self) -> int:
        """The pixels of the largest tile, including those seen around it."""
        return max(_length(rows) * _length(columns) for rows, columns in (t.pixels for t in self.tiles))

    def _reaches(self, side: int) -> list[Reach]:
        return [field[side] for field in self.fields.values()]

    def _spans(self, side: int) -> list[slice]:
        """Return the tiles' own pixels along a side; a last tile below half the size joins its neighbour."""
        length, stride = (self.height, self.width)[side], common_stride(self._reaches(side))
        size = max(stride, self.size // stride * stride)
        starts = [start for start in range(0, length, size) if start == 0 or length - start >= size // 2]
        return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], length], strict=True)]

    def _tile(self, rows: slice, columns: slice) -> Tile:
        seen = self._receptive_field(rows, 0), self._receptive_field(columns, 1)
        patches = {}
        for tap, field in self.fields.items():
            outer = self._owned(field[0], rows, self.height), self._owned(field[1], columns, self.width)
            starts = [pixels.start // reach.stride for pixels, reach in zip(seen, field, strict=True)]
            inner = (_shifted(outer[0], starts[0]), _shifted(outer[1], starts[1]))
            patches[tap] = Patch(inner, outer, self.positions[tap])
        return Tile(seen, patches)

    def _owned(self, reach: Reach, own: slice, length: int) -> slice:
        """Return the positions of a tap along a side that a tile owns."""
        most = reach.positions(length)
        stop = most if own.stop == length else min(most, own.stop // reach.stride)
        return slice(min(most, own.start // reach.stride), stop)

    def _receptive_field(self, own: slice, side: int) -> slice:
        """Return the pixels that a tile's positions see along a side, from a multiple of the stride on."""
        length, reaches = (self.height, self.width)[side], self._reaches(side)
        stride = common_stride(reaches)
        first = max(0, own.start + min(0, *(reach.first for reach in reaches)))
        last = own.stop + max(reach.last for reach in reaches) + 1
        stop = length if own.stop == length else min(length, last)
        return slice(first // stride * stride, stop)


def _length(place: slice) -> int:
    length: int = place.stop - place.start
    return length


def _shifted(place: slice, by: int) -> slice:
    return slice(place.start - by, place.stop - by)


@dataclass(frozen=True)
class TiledFeatures(Mapping[str, Tensor]):
    """The features of images, computed tile by tile whenever they are asked for.

    As a mapping it puts the features of a tap together, `(A, D, H', W')`.

    Attributes:
        network: the network that is read; the features have its taps.
        images: `(A, 3, H, W)`.
        size: the size of the tiles, see `Tiling`.
        zeros: whether all features are 0 in place of the network's.

    Raises:
        SettingError: a network whose positions see the whole image.
    """

    network: TappedNetwork
    images: Tensor
    size: int
    zeros: bool = False

    @cached_property
    def tiling(self) -> Tiling:
        """The division of the images into tiles."""
        fields = self.network.fields
        if isinstance(fields, str):
            rule = "should be null for a network of which a layer sees the whole image, or nobody knows what"
            raise SettingError("tile", rule, fields, "execution.checkpoints=true takes less memory too.")
        height, width = self.images.shape[2:]
        return Tiling(fields, height, width, self.size)

    def empty(self) -> TiledFeatures:
        """Return as many features, all 0."""
        return replace(self, zeros=True)

    def parts(self) -> Iterator[tuple[Tile, dict[str, Tensor]]]:
        """Yield each tile with the features that it owns, `(A, D, h, w)`."""
        for tile in self.tiling.tiles:
            yield tile, self.part(tile, self.images[(..., *tile.pixels)])

    def part(self, tile: Tile, pixels: Tensor) -> dict[str, Tensor]:
        """Return the features that a tile owns, `(A, D, h, w)`, from its pixels `(A, 3, h', w')`."""
        if self.zeros:
            return {tap: self._zeros(tap, patch) for tap, patch in tile.patches.items()}
        found = self.network(pixels)
        return {tap: layer[(..., *tile.patches[tap].inner)] for tap, layer in found.items()}

    def _zeros(self, tap: str, patch: Patch) -> Tensor:
        like = self._corner[tap]
        return like.new_zeros(*like.shape[:2], *map(_length, patch.outer))

    @cached_property
    def _corner(self) -> dict[str, Tensor]:
        """The features of a corner, which give the channels and types."""
        found: dict[str, Tensor] = self.network(self.images[..., :_CORNER, :_CORNER])
        return found

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
        return iter(self.tiling.fields)

    def __len__(self) -> int:
        """Return the number of taps."""
        return len(self.tiling.fields)
