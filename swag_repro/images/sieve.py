"""A sieve that tells which files of a folder are images."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePath
from typing import IO

from PIL import Image

from swag_repro.images.files import READ_FORMATS

logger = logging.getLogger(__name__)

SUFFIXES = (
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip
"""Endings, in lower or upper case, by which a file counts as an image without being read."""

SNIFFED = tuple(name for name in READ_FORMATS if name != "TIFF")
"""Formats that files of other endings may have. Cameras' raw files are TIFFs that show a thumbnail only."""


class Sieve:
    """A sieve that tells images from other files by ending or content, and counts the other files."""

    def __init__(self) -> None:
        self._left_out: Counter[str] = Counter()

    def takes(self, file: Path) -> bool:
        """Return whether a path is that of an image file."""
        return file.is_file() and self.takes_content(file.name, lambda: file.open("rb"))

    def takes_content(self, name: str, opening: Callable[[], IO[bytes]]) -> bool:
        """Return whether a file of this name is an image; it is opened only if its ending doesn't tell."""
        suffix = PurePath(name).suffix.lower()
        if suffix in SUFFIXES or _is_image(opening):
            return True
        self._left_out[suffix or "without an ending"] += 1
        return False

    @property
    def left_out(self) -> str:
        """The files that were left out, by ending, such as `2 .heic, 1 .txt`; empty if there are none."""
        return ", ".join(f"{count} {suffix}" for suffix, count in sorted(self._left_out.items()))

    def tell(self, place: object) -> None:
        """Warn of the files of a folder that were left out, once."""
        if self._left_out:
            _warn(
                f"left out of {place}: {self.left_out}. Images are {', '.join(READ_FORMATS)}; convert others."
            )


def _is_image(opening: Callable[[], IO[bytes]]) -> bool:
    try:
        with opening() as file, Image.open(file, formats=SNIFFED):
            return True
    except Exception:  # Pillow raises any error for a damaged header
        return False


@cache
def _warn(message: str) -> None:
    logger.warning(message)
