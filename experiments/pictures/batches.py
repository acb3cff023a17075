"""Batches of pairs: their images as tensors, and their colours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.pictures.pairs import Pair
from swag_repro.images import (
    Resize,
    grey,
    load_image,
    load_mask,
    match_colors,
    match_luminance,
    with_luminance_of,
)
from swag_repro.losses import Style


@dataclass(frozen=True)
class PairBatch:
    """Pairs that are computed together.

    Attributes:
        pairs: The B pairs.
        contents: `(B, 3, H, W)`, RGB in [0, 1].
        styles: The styles of each pair.
    """

    pairs: tuple[Pair, ...]
    contents: Tensor
    styles: tuple[tuple[Style, ...], ...]

    @classmethod
    def load(
        cls,
        pairs: Sequence[Pair],
        resize: Resize,
        *,
        device: torch.device,
        weights: Sequence[float],
        feather: float,
    ) -> PairBatch:
        """Return the batch of pairs whose contents have one size after resizing.

        Args:
            pairs: The B pairs.
            resize: The resizing of contents, styles and masks.
            device: The device of the tensors.
            weights: One weight for each style of a pair.
            feather: The feathering of masks, see `swag_repro.images.load_mask`.
        """
        contents = torch.stack([load_image(pair.content, resize) for pair in pairs]).to(device)

        def styles(pair: Pair) -> Iterator[Style]:
            for index, (style, mask) in enumerate(zip(pair.styles, pair.masks, strict=True)):
                yield Style(
                    load_image(style, resize).to(device),
                    weights[index],
                    None
                    if mask is None
                    else load_mask(mask, pair.content, resize, feather=feather).to(device),
                )

        return cls(tuple(pairs), contents, tuple(tuple(styles(pair)) for pair in pairs))

    @property
    def key(self) -> str:
        """A name that tells this batch from others: a picture's rounding depends on its neighbours."""
        return hashlib.sha256("\n".join(pair.name for pair in self.pairs).encode()).hexdigest()[:16]

    def at(self, scale: float) -> PairBatch:
        """Return the batch with all sides scaled."""
        if scale == 1.0:
            return self

        def scaled(images: Tensor) -> Tensor:
            sides = images.shape[-2:]
            return to_size(images[None], [max(16, round(side * scale)) for side in sides])[0]

        contents = torch.stack([scaled(content) for content in self.contents])
        return replace(self, contents=contents).with_styles(
            lambda style, _: replace(
                style, image=scaled(style.image), mask=None if style.mask is None else scaled(style.mask)
            )
        )

    def with_styles(self, change: Callable[[Style, Tensor], Style]) -> PairBatch:
        """Return the batch with each style changed by a function of the style and its content."""
        return replace(
            self,
            styles=tuple(
                tuple(change(style, content) for style in mixed)
                for mixed, content in zip(self.styles, self.contents, strict=True)
            ),
        )

    def seen(self, color: str) -> PairBatch:
        """Return the batch as the objective sees it, whose `color` is `style`, `luminance` or `matched`."""
        if color == "matched":
            return self.with_styles(lambda s, content: replace(s, image=match_colors(s.image, content)))
        if color == "luminance":
            grey_styles = self.with_styles(
                lambda s, content: replace(s, image=match_luminance(s.image, content))
            )
            return replace(grey_styles, contents=grey(self.contents))
        return self

    def finished(self, images: Tensor, color: str) -> Tensor:
        """Return optimised images `(B, 3, H, W)` in the colours that `color` asks for, laid on the contents.

        Where no style is wanted, the content shows. There, the optimised image has the content's deep
        features, but not its pixels.
        """
        colored = with_luminance_of(self.contents, images) if color == "luminance" else images
        return torch.stack(
            [
                image if covered is None else content.lerp(image, covered)
                for image, content, covered in zip(
                    colored, self.contents, map(_covered_area, self.styles), strict=True
                )
            ]
        )

    def resized(self, images: Tensor) -> Tensor:
        """Return images `(B, 3, h, w)` resized to the contents, on the contents' device."""
        images = images.to(self.contents.device)
        return images if images.shape == self.contents.shape else to_size(images, self.contents.shape[2:])


def _covered_area(styles: Sequence[Style]) -> Tensor | None:
    """Return where at least one style is wanted, `(1, H, W)` in [0, 1]; None for everywhere."""
    masks = [style.mask for style in styles if style.mask is not None]
    return torch.stack(masks).sum(dim=0).clamp(max=1) if len(masks) == len(styles) else None


def to_size(images: Tensor, size: Sequence[int]) -> Tensor:
    """Return images `(B, 3, H, W)` resized to this height and width, in [0, 1]."""
    resized = F.interpolate(images, list(size), mode="bicubic", antialias=True)
    return resized.clamp(0, 1)
