"""Contents and styles to train on: there may be any number of images, and each is read when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from skimage.exposure import equalize_hist
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor

from swag_repro import images
from swag_repro.errors import DataError, check_choice, check_number
from swag_repro.images import Resize, luminance
from swag_repro.images.files import is_there, read_rgb
from swag_repro.images.sets import Sieve
from swag_repro.training.data import Labelled, digest_of_entries

_REMEDY = "Name a folder with image files, at any depth."


class Unlabelled:
    """Images as a dataset of one class for a `DataLoader`.

    Args:
        reads: function for each image that returns it, upright and in sRGB, or raises an `ImageError`.
    """

    def __init__(self, reads: Iterable[Callable[[], Image.Image]]) -> None:
        self.reads = list(reads)

    def __len__(self) -> int:
        return len(self.reads)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return an image and its class.

        Raises:
            ImageError: the image can't be read.
        """
        return self.reads[index](), 0


@dataclass(frozen=True)
class Corpus:
    """The images on which a network that stylises is trained.

    Attributes:
        contents: photographs.
        styles: paintings.
        digest: what tells these images from others.
    """

    contents: Labelled
    styles: Labelled
    digest: str


def bundled_corpus(*, style: str | None = None) -> Corpus:
    """Return the photographs and paintings that ship: they are enough to see that a training works.

    Args:
        style: the one painting to take; None for all.

    Raises:
        SettingError: no painting has this name.
    """
    pictures = images.bundled()
    contents, styles = (
        [picture for picture in pictures if picture.role == role] for role in ("content", "style")
    )
    if style is not None:
        check_choice("corpus.style", style, [picture.name for picture in styles])
        styles = [picture for picture in styles if picture.name == style]
    digest = digest_of_entries((picture.key, picture.sha256) for picture in (*contents, *styles))
    contents_read, styles_read = (Unlabelled(p.read for p in part) for part in (contents, styles))
    return Corpus(contents_read, styles_read, digest)


def folders(*, content: str, style: str) -> Corpus:
    """Return all image files of two folders, at any depth; their digest is that of names and sizes.

    Args:
        content: a folder of photographs, such as COCO's.
        style: a folder of paintings, such as WikiArt's; or one file.

    Raises:
        DataError: a folder isn't there, or has no image file.
    """
    found = {name: _files(f"corpus.{name}", path) for name, path in (("content", content), ("style", style))}
    digest = digest_of_entries(
        (role, str(file.relative_to(root)), file.stat().st_size)
        for role, (root, files) in found.items()
        for file in files
    )
    contents, styles = (Unlabelled(partial(read_rgb, file) for file in files) for _, files in found.values())
    return Corpus(contents, styles, digest)


def _files(setting: str, path: str) -> tuple[Path, list[Path]]:
    place = Path(path).expanduser()
    if not is_there(place):
        raise DataError(setting, "should be a folder", f"no {path}", _REMEDY)
    if place.is_file():
        return place.parent, [place]
    sieve = Sieve()
    files = sorted(file for file in place.rglob("*") if sieve.takes(file))
    if not files:
        raise DataError(setting, "should hold image files", f"none in {path}", _REMEDY)
    sieve.tell(path)
    return place, files


@dataclass(frozen=True, kw_only=True)
class Cropping:
    """The way from an image file to what the network sees (AdaIN, section 6).

    Attributes:
        short: length in pixels of the short side after resizing, which keeps the ratio.
        size: side in pixels of the square that is cropped at random.
        stylize: function that is applied once to each resized content, `(3, H, W)` in [0, 1] → the same; None
            for no change.

    Raises:
        SettingError: the square is larger than the resized image may be.
    """

    short: int
    size: int
    stylize: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        _ = self._resize
        remedy = "It should be at most crop.short."
        check_number("crop.size", self.size, least=16, most=self.short, whole=True, remedy=remedy)

    @property
    def _resize(self) -> Resize:
        return Resize(size=self.short, policy="short", interpolation="bilinear")

    def read(self, image: Image.Image) -> Tensor:
        """Return a PIL image as a tensor `(3, H, W)`, uint8, resized and stylised."""
        pixels: Tensor = pil_to_tensor(self._resize(image))
        if self.stylize is None:
            return pixels
        return (self.stylize(pixels.float() / 255) * 255).round().to(torch.uint8)

    @property
    def each(self) -> v2.Transform:
        """The random crop for each use of an image: → `(3, size, size)`."""
        return v2.RandomCrop(self.size)

    def middle(self, image: Image.Image) -> Tensor:
        """Return the middle square, `(3, size, size)`, of an image whose short side is resized to `size`."""
        pixels = pil_to_tensor(Resize(size=self.size, policy="short", interpolation="bilinear")(image))
        square: Tensor = center_crop(pixels, [self.size])
        return square


def equalized(image: Tensor) -> Tensor:
    """Return an image `(3, H, W)` in [0, 1] whose luminance has a flat histogram (AdaIN, section 3.2).

    Differences between its channels stay, except where a channel leaves [0, 1].
    """
    before = luminance(image)
    after = equalize_hist(before.numpy())  # type: ignore[no-untyped-call]
    return (image + torch.from_numpy(after).to(image) - before).clamp(0, 1)
