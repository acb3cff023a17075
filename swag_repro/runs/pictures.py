"""Reading of pictures that runs keep. It is careful, because a run directory can come from anybody."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from swag_repro.runs.files import unreadable

WRITTEN_FORMATS = ("PNG", "WEBP")
"""Formats that runs write. For other formats Pillow might start programs."""


def read_picture(path: Path, content: bytes) -> Image.Image:
    """Return the RGB values of a run's picture.

    Args:
        path: The file's path, for messages.
        content: The file's content.

    Raises:
        StoreError: The picture is damaged, no PNG or WebP, or has so many pixels that Pillow refuses it.
    """
    try:
        with Image.open(BytesIO(content), formats=WRITTEN_FORMATS) as image:
            return image.convert("RGB")
    except Exception as error:  # a decoder can raise any error for a damaged file
        raise unreadable(path, error) from error
