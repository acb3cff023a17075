"""A named image with a role, an identity and a licence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Self

from PIL import Image

from swag_repro.images.files import check_header, read_alpha, read_rgb, sha256_of

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
