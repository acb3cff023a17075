"""Images and masks as tensors: their sizes, the conversion from and to 8 bits, and batches of one size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from swag_repro.errors import ImageError, NonFiniteError, check_choice, check_number
from swag_repro.images.files import MIN_SIDE, Picture
from swag_repro.runs.files import whole_file

Policy = Literal["short", "long", "squash", "none"]
Interpolation = Literal["lanczos", "bilinear"]

MAX_PIXELS = 2**26
"""Most pixels of a resized image. An image of extreme ratio could fill the memory."""


@dataclass(frozen=True, kw_only=True)
class Resize:
    """A way to resize images, by antialiased interpolation.

    The policies `short` and `long` set that side to `size` pixels and keep the ratio. `squash` makes any
    image `size` x `size`, as the authors' release does. `none` leaves images as they are. The interpolation
    `bilinear` is that of torchvision's transforms.

    Raises:
        SettingError: `size` is below 16 or no integer, or the policy or the interpolation is unknown.
    """

    size: int
    policy: Policy
    interpolation: Interpolation

    def __post_init__(self) -> None:
        most, remedy = MAX_PIXELS // MIN_SIDE, "These are pixels."
        check_number("images.size", self.size, least=MIN_SIDE, most=most, whole=True, remedy=remedy)
        check_choice("images.resize", self.policy, get_args(Policy))
        check_choice("images.interpolation", self.interpolation, get_args(Interpolation))

    def target(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height, in pixels, of an image of `width` x `height` after resizing."""
        if self.policy == "squash":
            return self.size, self.size
        if self.policy == "none":
            return width, height
        side = min(width, height) if self.policy == "short" else max(width, height)
        return round(width * self.size / side), round(height * self.size / side)

    def __call__(self, image: Image.Image, name: str = "image") -> Image.Image:
        """Return the resized image.

        Raises:
            ImageError: The ratio is so extreme that the result would have a side below 16, or over
                `MAX_PIXELS`.
        """
        width, height = self.target(*image.size)
        if min(width, height) < MIN_SIDE or width * height > MAX_PIXELS:
            rule = f"should have sides of at least {MIN_SIDE} and at most {MAX_PIXELS} pixels when resized"
            remedy = "Crop it, or choose another images.size or images.resize."
            raise ImageError(name, rule, f"{width}x{height}", remedy)
        return image.resize((width, height), Image.Resampling[self.interpolation.upper()])


ImageBatch = tuple[tuple[Picture, ...], Tensor]


def load_image(picture: Picture, resize: Resize) -> Tensor:
    """Return the resized picture `(3, H, W)`, float32 in `[0, 1]`.

    Raises:
        ImageError: The picture can't be read, or its ratio is too extreme to be resized so.
    """
    pixels = np.array(resize(picture.read(), picture.key))
    return torch.from_numpy(pixels).permute(2, 0, 1).to(torch.float32).div_(255).contiguous()


def batches(pictures: Iterable[Picture], resize: Resize, batch_size: int) -> Iterator[ImageBatch]:
    """Yield pictures, in order, with their tensors `(B, 3, H, W)`, `1 <= B <= batch_size`.

    Only neighbours of equal size share a batch. Each picture is read when its turn comes, so memory does not
    grow with their number.

    Raises:
        check_number: `batch_size` is below 1.
        ImageError: As for `load_image`, when the picture's turn comes.
    """
    check_number("compute.batch_size", batch_size, least=1, whole=True)
    held: list[tuple[Picture, Tensor]] = []
    for picture in pictures:
        image = load_image(picture, resize)
        if held and held[0][1].shape != image.shape:
            yield _drain(held)
        held.append((picture, image))
        del image
        if len(held) == batch_size:
            yield _drain(held)
    if held:
        yield _drain(held)


def _drain(held: list[tuple[Picture, Tensor]]) -> ImageBatch:
    """Return the held pictures and images as a batch and clear the list, so memory holds each image once."""
    pictures, images = zip(*held, strict=True)
    held.clear()
    return pictures, torch.stack(images)


def to_pil(image: Tensor) -> Image.Image:
    """Return a tensor `(3, H, W)` as an image: clamped to `[0, 1]` and rounded to 8 bits.

    Raises:
        NonFiniteError: A value is NaN or infinite.
    """
    if not image.isfinite().all():
        raise NonFiniteError("image", "should be finite", "NaN or infinity", "Lower the step size.")
    pixels = image.detach().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def save_png(
    image: Tensor,
    path: Path,
    metadata: Mapping[str, str],
    *,
    below: Path | None = None,
    alpha: Image.Image | None = None,
) -> None:
    """Write an image `(3, H, W)` in `[0, 1]` as a `whole_file` of PNG, with `metadata` as text chunks.

    Args:
        image: the image.
        path: the place of the file.
        metadata: texts by their keys.
        below: see `whole_file`.
        alpha: its opacity, of any size, in mode L; None for an opaque image.

    Raises:
        NonFiniteError: A value is NaN or infinite.
        StoreError: The file can't be written.
    """
    picture, text = to_pil(image), PngInfo()
    if alpha is not None:
        picture.putalpha(alpha.resize(picture.size, Image.Resampling.BILINEAR))
    for key, value in metadata.items():
        text.add_text(key, value)
    with whole_file(path, below=below) as file:
        picture.save(file, format="PNG", pnginfo=text)


# A mask without a level as bright as this looks black; so does one of 0 and 1, as segmentations are.
WHITE = 128
# Standard deviations at which the blur ends; 99.7 % of a Gaussian lie within.
REACH = 3.0


def load_mask(mask: Picture, picture: Picture, resize: Resize, *, feather: float) -> Tensor:
    """Return how much the style is wanted at each position: 1 where the mask is white, 0 where it is black.

    Args:
        mask: a picture of any kind; its luminance counts.
        picture: the picture that the mask belongs to.
        resize: how that picture is resized.
        feather: see `feathered`.

    Returns:
        `(1, H, W)`, float32 in [0, 1].

    Raises:
        SettingError: `feather` is no number from 0 to 1.
        ImageError: The mask can't be read, has another size than the picture, or is white nowhere; or too
            little of it is white to be left when it is resized.
    """
    levels, size = mask.read().convert("L"), picture.read().size
    if levels.size != size:
        rule = f"should have the size of {picture.name}, {_sides(size)}"
        raise ImageError(mask.key, rule, _sides(levels.size), "Paint it on a copy of that picture.")
    if (brightest := np.asarray(levels).max()) < WHITE:
        found = f"no level above {brightest} of 255"
        raise ImageError(mask.key, "should be white where the style is wanted", found, "Paint that white.")
    resized = np.array(resize(levels, mask.key), dtype=np.float32)
    if not resized.any():
        rule, found = f"should leave something at {_sides(resized.shape[::-1])}", "nothing"
        raise ImageError(mask.key, rule, found, "Paint a larger region, or choose a larger images.size.")
    return feathered(torch.from_numpy(resized).div_(255).unsqueeze(0), feather)


def feathered(mask: Tensor, feather: float) -> Tensor:
    """Return a mask with soft edges, made by a Gaussian blur that mirrors the mask at its borders.

    Args:
        mask: `(1, H, W)`.
        feather: standard deviation as a part of the short side, 0 to 1. The blur ends at 3 standard
            deviations, and at the short side's length.

    Returns:
        `(1, H, W)`.

    Raises:
        SettingError: `feather` is no number from 0 to 1.
    """
    check_number("feather", feather, least=0, most=1, remedy="0 leaves edges as they are.")
    short = min(mask.shape[1:])
    deviation = feather * short
    width = 2 * min(math.ceil(REACH * deviation), short - 1) + 1
    if width == 1:
        return mask
    # A Gaussian is separable: blurring one direction after the other makes the cost grow with its width only.
    blurred: Tensor = gaussian_blur(gaussian_blur(mask, [width, 1], deviation), [1, width], deviation)
    return blurred.clamp(0, 1)


def _sides(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"
