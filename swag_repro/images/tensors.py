"""Conversion of pictures to tensors, and of tensors to image files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from swag_repro.errors import NonFiniteError, check_number
from swag_repro.images.files import Picture
from swag_repro.images.resize import Resize
from swag_repro.runs.files import whole_file

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
