"""Named images, and the reading of image files of any common kind as 8-bit sRGB."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Literal, Self

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from swag_repro.errors import ImageError, UserError, remedy_for
from swag_repro.runs.files import digest_of

Role = Literal["content", "style", "mask"]


@dataclass(frozen=True)
class Picture:
    """An image to measure or to stylise with; its pixels are read only when asked for."""

    name: str
    """Its name, unique among the pictures of one role, e.g. "astronaut"."""
    role: Role
    sha256: str
    """Its identity: the hash of the file's bytes."""
    licence: str
    read: Callable[[], Image.Image] = field(repr=False, compare=False)
    """A function that returns the pixels as an upright RGB image in sRGB, or raises an `ImageError`."""

    alpha: Callable[[], Image.Image | None] = field(repr=False, compare=False, default=lambda: None)
    """A function that returns the opacity in mode L (None: all opaque), or raises an `ImageError`."""

    @classmethod
    def of_file(cls, path: Path, *, name: str, role: Role, licence: str) -> Self:
        """Return the picture in a file, whose header is checked now. Transparent parts of a mask are black.

        Raises:
            ImageError: The file is unreadable, no image, too small, or a decompression bomb.
        """
        check_header(path)
        ground = "black" if role == "mask" else "white"
        read, alpha = partial(read_rgb, path, ground=ground), partial(read_alpha, path)
        return cls(name, role, sha256_of(path), licence, read, alpha)

    @property
    def key(self) -> str:
        """Its role and name, e.g. "content/astronaut", unique in a set of pictures."""
        return f"{self.role}/{self.name}"


READ_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are read, whatever a file's ending; those that need other programs are left out."""

MIN_SIDE = 16
"""Shortest side, in pixels, on which anything is measured."""


def is_there(path: Path) -> bool:
    """Return whether a file or folder is there; no path is too long, and no refusal an error."""
    try:
        return path.is_file() or path.is_dir()
    except OSError:
        return False


def existing(path: str) -> Path | None:
    """Return the file at a path, where `~` is the home directory; None if there is none."""
    try:
        file = Path(path).expanduser()
        return file if file.is_file() else None
    except (OSError, RuntimeError):  # too long a name, a folder that may not be read, or no such user
        return None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        ImageError: The file can't be read.
    """
    try:
        return digest_of(path)
    except OSError as error:
        raise ImageError(
            str(path), "should be readable", error.strerror, "Check path and permissions."
        ) from error


def check_header(path: Path) -> None:
    """Raise an `ImageError` if a file's header shows that it is no usable image; decode nothing.

    Raises:
        ImageError: The file is unreadable, no image, smaller than `MIN_SIDE`, or a decompression bomb.
    """
    with open_image(path, str(path)):
        pass


def read_rgb(path: Path, *, ground: str = "white") -> Image.Image:
    """Return an image file as an RGB image, upright and in sRGB.

    Of an animation, the first frame is read. Transparent parts are laid on the colour `ground`. 16-bit grey
    is scaled to 8 bits. An embedded colour profile is applied if it fits the image.

    Raises:
        ImageError: As for `check_header`, or the file is truncated, corrupt, or deeper than 16 bits.
    """
    with open_image(path, str(path)) as file:
        upright = _upright(file)
        image = _eight_bit(upright)
        colours = _to_srgb(_opaque(image), upright.info.get("icc_profile"))
        if not image.has_transparency_data:
            return colours
        behind = Image.new("RGB", image.size, ground)
        return Image.composite(colours, behind, image.convert("RGBA").getchannel("A"))


def read_alpha(path: Path) -> Image.Image | None:
    """Return the opacity of an image file's pixels, upright, in mode L; None if all pixels are opaque.

    Raises:
        ImageError: As for `read_rgb`.
    """
    with open_image(path, str(path)) as file:
        if not file.has_transparency_data:
            return None
        alpha = _upright(file).convert("RGBA").getchannel("A")
        return None if alpha.getextrema() == (255, 255) else alpha


@contextmanager
def open_image(content: Path | IO[bytes], name: str, *, least: int = MIN_SIDE) -> Iterator[Image.Image]:
    """Yield an image whose pixels are not yet decoded; turn errors within the block into an `ImageError`.

    Args:
        content: the file, or its content.
        name: the file's name, for messages.
        least: pixels that its sides should have at least.

    Raises:
        ImageError: the content is no image, or is too small, too large, truncated or corrupt.
    """
    try:
        # Up to twice its limit, Pillow only warns. It compares sizes before it decodes.
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            file = Image.open(content, formats=READ_FORMATS)
        with file:
            _check_size(name, file.size, least)
            yield file
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        rule = f"should have at most {Image.MAX_IMAGE_PIXELS} pixels"
        raise ImageError(name, rule, "more (a decompression bomb?)", "Scale it down first.") from error
    except UnidentifiedImageError as error:
        rule = f"should be an image ({', '.join(READ_FORMATS)})"
        raise ImageError(name, rule, "something else", "Convert or remove it.") from error
    except FileNotFoundError as error:
        raise ImageError(
            name, "should be an image file", "no such file", remedy_for(Path(name), "Check the path.")
        ) from error
    except Exception as error:  # a decoder can raise any error for a corrupt file
        raise ImageError(
            name, "should be a readable image", error, remedy_for(Path(name), "Repair or remove it.")
        ) from error


def _check_size(name: str, size: tuple[int, int], least: int) -> None:
    if min(size) < least:
        rule = f"should have sides of at least {least} pixels"
        raise ImageError(name, rule, f"{size[0]}x{size[1]}", "Use a larger image.")


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what undoes it (JEITA CP-3451, Orientation)."""


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF says. Other tags may be of any type, and are ignored."""
    try:
        with warnings.catch_warnings(action="ignore"):
            turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises any error for damaged tags; viewers show the picture
        turn = None
    return image if turn is None else image.transpose(turn)


def _opaque(image: Image.Image) -> Image.Image:
    """Return the image without its alpha channel, in a mode that colour profiles fit: L, RGB or CMYK."""
    match image.mode:
        case "L" | "RGB" | "CMYK":
            return image
        case "1" | "LA" | "La":
            return image.convert("L")
        case _:
            # Palettes go through RGBA, because Pillow warns where it would lose partial transparency.
            return image.convert("RGBA").convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return the image with 8 bits a channel; a deeper image is always grey, and scaled from 16 bits."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise ValueError("grey values that are no 16-bit integers")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the image as RGB by its colour profile; one that is broken or doesn't fit it is ignored."""
    if profile:
        with suppress(ImageCms.PyCMSError, OSError):
            source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
            if converted := ImageCms.profileToProfile(image, source, target, outputMode="RGB"):
                return converted
    return image.convert("RGB")
