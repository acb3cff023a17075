"""Stylising by a trained network: pictures of any size, several styles, each in its place and strength."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.weak import WeakIdKeyDictionary

from swag_repro.errors import SettingError, check_number
from swag_repro.feedforward.decoder import Stage, reach, stride
from swag_repro.feedforward.generators import AdaIN, ChannelMoments, Generator, blended
from swag_repro.feedforward.training import fitted
from swag_repro.losses import Style

FLAT = 1e-3
"""Standard deviation of pixels below which a style is one colour: AdaIN would leave nothing of a content."""


Region = tuple[slice, slice]
"""A range of rows and a range of columns."""


def tiles(height: int, width: int, *, size: int, margin: int) -> list[tuple[Region, Region]]:
    """Return tiles that cover an image: the part that is kept, and what is computed for it.

    Args:
        height: height of the image, in pixels.
        width: width of the image, in pixels.
        size: largest side of a part that is kept, in pixels.
        margin: pixels computed around it, as far as the image goes.
    """
    rows, columns = (
        [
            (
                slice(start, min(start + size, length)),
                slice(max(0, start - margin), min(start + size + margin, length)),
            )
            for start in range(0, length, size)
        ]
        for length in (height, width)
    )
    return [((down[0], across[0]), (down[1], across[1])) for down, across in product(rows, columns)]


def within(core: Region, whole: Region) -> Region:
    """Return the place of a tile's core among what is computed."""
    rows, columns = (
        slice(kept.start - all_.start, kept.stop - all_.start) for kept, all_ in zip(core, whole, strict=True)
    )
    return rows, columns


def _shrunk(place: Region, by: int) -> Region:
    rows, columns = (slice(one.start // by, one.stop // by) for one in place)
    return rows, columns


class Stylizer:
    """A trained network in use; a picture depends on no other picture of its batch.

    Args:
        generator: the generator that was trained.
        network: the network with its weights.
        encode: function from images `(B, 3, H, W)` in [0, 1] to features of the decoded layer.
        path: the encoder's stages up to that layer, see `swag_repro.feedforward.stages`.
    """

    def __init__(
        self,
        generator: Generator,
        network: nn.Module,
        encode: Callable[[Tensor], Tensor],
        path: Sequence[Stage],
    ) -> None:
        self.generator, self.network, self.encode = generator, network.eval(), encode
        self._known: MutableMapping[Tensor, ChannelMoments] = WeakIdKeyDictionary()
        self.stride = stride(path)
        self.margin = -(-2 * reach(path) // self.stride) * self.stride

    @torch.inference_mode()
    def __call__(
        self, contents: Tensor, styles: Sequence[Style], *, alpha: float = 1.0, tile: int | None = None
    ) -> Tensor:
        """Return the stylised pictures, in the contents' size.

        Args:
            contents: `(B, 3, H, W)`, RGB in [0, 1].
            styles: styles that all contents take, with weights and masks; a network of one style ignores
                them.
            alpha: strength of the styles, from 0, the content as the network gives it back, to 1.
            tile: side in pixels above which an image is computed in parts; None for never.

        Returns:
            `(B, 3, H, W)` in [0, 1].

        Raises:
            SettingError: alpha is out of range, a style has one colour, all weights are 0, or the network has
                no use for the settings.
        """
        _check(self.generator, styles, alpha)
        height, width = contents.shape[2:]
        padded = self._padded(contents)
        if tile is None or max(height, width) <= tile:
            pictures = self._whole(padded, styles, alpha)
        else:
            pictures = self._tiled(padded, styles, alpha, tile)
        return pictures[..., :height, :width].clamp(0, 1)

    def moments(self, style: Tensor) -> ChannelMoments:
        """Return AdaIN's moments of a style `(3, H, W)`; they are computed once for each tensor."""
        assert isinstance(self.generator, AdaIN)
        if (known := self._known.get(style)) is not None:
            return known
        found = self.generator.moments(self.encode(self._padded(style[None])))
        self._known[style] = found
        return found

    def _padded(self, images: Tensor) -> Tensor:
        """Return images padded by reflection, so that the encoder's strides fit."""
        height, width = images.shape[2:]
        more = (0, -width % self.stride, 0, -height % self.stride)
        if max(more) >= min(height, width):
            rule = f"should leave pictures at least {self.stride} pixels a side"
            raise SettingError("images.size", rule, f"{height}×{width}", "Choose a larger one.")
        return F.pad(images, more, mode="reflect") if any(more) else images

    def _whole(self, contents: Tensor, styles: Sequence[Style], alpha: float) -> Tensor:
        if not isinstance(self.generator, AdaIN):
            return fitted(self.network(contents), contents)
        return fitted(self.network(self._blended(self.encode(contents), styles, alpha)), contents)

    def _blended(self, features: Tensor, styles: Sequence[Style], alpha: float) -> Tensor:
        assert isinstance(self.generator, AdaIN)
        if self.generator.fusion == "concat":
            of_style = self.encode(self._padded(styles[0].image[None]))
            height, width = features.shape[2:]
            resized = F.interpolate(of_style, (height, width), mode="bilinear")
            return torch.cat([features, resized.expand_as(features)], dim=1)
        return blended(
            self.generator.normalization,
            features,
            [self.moments(style.image) for style in styles],
            weights=[style.weight for style in styles],
            alpha=alpha,
            masks=[None if style.mask is None else self._padded(style.mask[None]) for style in styles],
        )

    def _tiled(self, contents: Tensor, styles: Sequence[Style], alpha: float, size: int) -> Tensor:
        """Return pictures that are computed in parts, each with all that the network sees around it.

        AdaIN's moments are those of the whole image, so the features of the whole image are kept. For VGG up
        to relu4_1, they have a 64th of its positions.
        """
        height, width = contents.shape[2:]
        size = max(self.stride, size // self.stride * self.stride)
        parts = tiles(height, width, size=size, margin=self.margin)
        features: Tensor | None = None
        for core, whole in parts:
            own = self.encode(contents[(..., *whole)])[(..., *_shrunk(within(core, whole), self.stride))]
            if features is None:
                shape = (len(own), own.shape[1], height // self.stride, width // self.stride)
                features = own.new_empty(shape)
            features[(..., *_shrunk(core, self.stride))] = own
        assert features is not None
        wanted = self._blended(features, styles, alpha)
        pictures = torch.empty_like(contents)
        for core, whole in parts:
            painted = self.network(wanted[(..., *_shrunk(whole, self.stride))])
            pictures[(..., *core)] = painted[(..., *within(core, whole))]
        return pictures


def _check(generator: Generator, styles: Sequence[Style], alpha: float) -> None:
    check_number("alpha", alpha, least=0, most=1, remedy="1 is the whole style.")
    if not generator.reads_styles:
        return
    if not sum(style.weight for style in styles) > 0:
        weights = [style.weight for style in styles]
        raise SettingError("style_weights", "should have a sum above 0", weights, "Raise one of them.")
    for style in styles:
        if float(style.image.std(dim=(1, 2)).max()) < FLAT:
            rule = "should not be of one colour: its deviations are 0, and nothing of a content would be left"
            raise SettingError("style", rule, "one colour", "Choose another picture.")
