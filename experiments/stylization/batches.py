"""Pairs optimised side by side: their images as tensors, their colours, and where they start."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.stylization.pairs import Pair
from swag_repro.images import (
    Picture,
    Resize,
    grey,
    load,
    load_mask,
    match_colors,
    match_luminance,
    with_luminance_of,
)
from swag_repro.losses import Style
from swag_repro.networks.architecture import IMAGENET_MEAN
from swag_repro.transfer.canvas import finest_level

STARTS = ("content", "noise", "grey", "style", "laplacian", "recoloured")
GREY_NOISE = 0.1 / 256  # Demystifying, authors' code
COLORS = ("style", "luminance", "matched")


@dataclass(frozen=True)
class Batch:
    """Pairs optimised side by side.

    Attributes:
        pairs: B of them.
        contents: `(B, 3, H, W)`, RGB in [0, 1].
        styles: of each pair.
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
    ) -> Batch:
        """The images of pairs whose contents come to one size.

        Args:
            pairs: B of them.
            resize: for contents, styles and masks.
            device: of the tensors.
            weights: one for each style of a pair.
            feather: of masks, see `swag_repro.images.load_mask`.
        """
        contents = torch.stack([load(pair.content, resize) for pair in pairs]).to(device)

        def styles(pair: Pair) -> Iterator[Style]:
            for index, (style, mask) in enumerate(zip(pair.styles, pair.masks, strict=True)):
                yield Style(
                    load(style, resize).to(device),
                    weights[index],
                    None
                    if mask is None
                    else load_mask(mask, pair.content, resize, feather=feather).to(device),
                )

        return cls(tuple(pairs), contents, tuple(tuple(styles(pair)) for pair in pairs))

    @property
    def key(self) -> str:
        """Tells it from other batches: with other neighbours a picture's rounding differs."""
        return hashlib.sha256("\n".join(pair.name for pair in self.pairs).encode()).hexdigest()[:16]

    def at(self, scale: float) -> Batch:
        """The batch with all sides scaled."""
        if scale == 1.0:
            return self

        def scaled(images: Tensor) -> Tensor:
            sides = images.shape[-2:]
            return _to_size(images[None], [max(16, round(side * scale)) for side in sides])[0]

        contents = torch.stack([scaled(content) for content in self.contents])
        return replace(self, contents=contents).with_styles(
            lambda style, _: replace(
                style, image=scaled(style.image), mask=None if style.mask is None else scaled(style.mask)
            )
        )

    def with_styles(self, change: Callable[[Style, Tensor], Style]) -> Batch:
        """The batch with each style changed, in view of its content."""
        return replace(
            self,
            styles=tuple(
                tuple(change(style, content) for style in mixed)
                for mixed, content in zip(self.styles, self.contents, strict=True)
            ),
        )

    def seen(self, color: str) -> Batch:
        """The batch as the objective is to see it, for `color` one of `COLORS`."""
        if color == "matched":
            return self.with_styles(lambda s, content: replace(s, image=match_colors(s.image, content)))
        if color == "luminance":
            grey_styles = self.with_styles(
                lambda s, content: replace(s, image=match_luminance(s.image, content))
            )
            return replace(grey_styles, contents=grey(self.contents))
        return self

    def finished(self, images: Tensor, color: str) -> Tensor:
        """Optimised images `(B, 3, H, W)` with the colours that `color` asks for, laid on the contents.

        Where no style is wanted the content shows: there deep layers hold an image, not its pixels.
        """
        colored = with_luminance_of(self.contents, images) if color == "luminance" else images
        return torch.stack(
            [
                image if covered is None else content.lerp(image, covered)
                for image, content, covered in zip(
                    colored, self.contents, map(_covered, self.styles), strict=True
                )
            ]
        )

    def resized(self, images: Tensor) -> Tensor:
        """Images `(B, 3, h, w)` in the contents' size, on their device."""
        images = images.to(self.contents.device)
        return images if images.shape == self.contents.shape else _to_size(images, self.contents.shape[2:])


def _covered(styles: Sequence[Style]) -> Tensor | None:
    """Where any of the styles is wanted, `(1, H, W)` in [0, 1]; None for everywhere."""
    masks = [style.mask for style in styles if style.mask is not None]
    return torch.stack(masks).sum(dim=0).clamp(max=1) if len(masks) == len(styles) else None


def _to_size(images: Tensor, size: Sequence[int]) -> Tensor:
    resized = F.interpolate(images, list(size), mode="bicubic", antialias=True)
    return resized.clamp(0, 1)


def start_of(batch: Batch, start: str, *, noise: float, seed: int, picture: Picture | None) -> Tensor:
    """Where the optimisation of a batch starts: `(B, 3, H, W)`.

    Args:
        batch: as the objective sees it.
        start: one of `STARTS`, else a file.
        noise: standard deviation of normal noise that is added.
        seed: of all noise.
        picture: that file.
    """
    size = batch.contents.shape[2:]
    if picture is not None:
        image = load(picture, Resize(size=max(size), policy="squash", interpolation="lanczos"))[None]
        images = _to_size(image, size).expand(len(batch.pairs), -1, -1, -1)
        return _disturbed(batch, images, noise, seed)
    starts: Mapping[str, Callable[[], Tensor]] = {
        "content": lambda: batch.contents,
        "noise": lambda: torch.stack([_noise(pair, seed, size) for pair in batch.pairs]),
        "grey": lambda: torch.stack([_grey(pair, seed, size) for pair in batch.pairs]),
        "style": lambda: torch.cat([_to_size(mixed[0].image[None], size) for mixed in batch.styles]),
        "laplacian": lambda: _mean_colors(batch) + finest_level(batch.contents),
        "recoloured": lambda: torch.stack(
            [
                match_colors(content, mixed[0].image)
                for content, mixed in zip(batch.contents, batch.styles, strict=True)
            ]
        ),
    }
    return _disturbed(batch, starts[start](), noise, seed)


def _disturbed(batch: Batch, images: Tensor, noise: float, seed: int) -> Tensor:
    images = images.to(batch.contents.device)
    if not noise:
        return images
    shape = images.shape[1:]
    normal = [torch.randn(shape, generator=_generator(pair, seed)) for pair in batch.pairs]
    return images + noise * torch.stack(normal).to(images)


def restart_of(batch: Batch, start: str, before: Tensor, *, last: bool) -> Tensor:
    """Where a finer scale starts: at the coarser one's images, `(B, 3, h, w)`, enlarged.

    STROTSS adds the content's finest details, but at the last scale.
    """
    enlarged = batch.resized(before)
    return enlarged + finest_level(batch.contents) if start == "laplacian" and not last else enlarged


def _mean_colors(batch: Batch) -> Tensor:
    """`(B, 3, 1, 1)`; of a mix, the first style's."""
    return torch.stack([mixed[0].image.mean(dim=(1, 2), keepdim=True) for mixed in batch.styles])


def _grey(pair: Pair, seed: int, size: Sequence[int]) -> Tensor:
    """ImageNet's mean colour with faint noise."""
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    return mean + GREY_NOISE * (2 * _noise(pair, seed, size) - 1)


def _noise(pair: Pair, seed: int, size: Sequence[int]) -> Tensor:
    return torch.rand(3, *size, generator=_generator(pair, seed))


def _generator(pair: Pair, seed: int) -> torch.Generator:
    # By the pair's name, so that its noise doesn't depend on its neighbours.
    of_pair = int(hashlib.sha256(f"{seed} {pair.name}".encode()).hexdigest()[:15], 16)
    return torch.Generator().manual_seed(of_pair)
