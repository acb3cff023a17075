"""Sets of pictures: bundled pictures, which need no download, or those of a folder."""

from __future__ import annotations

import glob
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import distribution
from itertools import islice
from pathlib import Path, PurePath
from typing import IO

from PIL import Image

from swag_repro import names
from swag_repro.errors import ImageError, check_number
from swag_repro.images.files import READ_FORMATS, Picture, Role

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


PHOTOGRAPHS = {
    "astronaut.png": "public domain (NASA)",
    "chelsea.png": "CC0 (Stefan van der Walt)",
    "coffee.png": "CC0 (Rachel Michetti)",
    "rocket.jpg": "public domain (SpaceX)",
    "hubble_deep_field.jpg": "public domain (NASA)",
    "camera.png": "CC0 (Lav Varshney)",
    "brick.png": "CC0 (CC0Textures)",
}
"""Files inside scikit-image's wheel, with their licences, which docstrings of `skimage.data` state."""

PAINTINGS = {
    "starry_night.jpg": "Vincent van Gogh, The Starry Night, 1889",
    "the_scream.jpg": "Edvard Munch, The Scream, 1893",
    "great_wave.jpg": "Katsushika Hokusai, The Great Wave off Kanagawa (detail), about 1831",
    "woman_with_hat.jpg": "Henri Matisse, Woman with a Hat, 1905",
    "composition_vii.jpg": "Piet Mondrian, Composition No. VII, 1913",
    "shipwreck.jpg": "J. M. W. Turner, The Wreck of a Transport Ship, about 1810",
    "edith.jpg": "Egon Schiele, Portrait of Edith Schiele, Seated, 1915",
}
"""Files beside this module, which are in the public domain; the README beside them has their table."""

PAINTINGS_FOLDER = Path(__file__).parent / "paintings"

MOST_FILES = 100_000
"""Most files and folders that are looked at for images; more are a whole disk rather than a set of images."""

ROLES: dict[str, Role] = {"content": "content", "style": "style"}


def bundled(*, limit: int | None = None) -> tuple[Picture, ...]:
    """Return seven photographs (content), then seven paintings (style); all ship.

    Args:
        limit: How many of each role to keep, from the first on; None keeps all.

    Raises:
        SettingError: `limit` is below 1.
        ImageError: A file is missing from this package or from scikit-image.
    """
    _check_limit(limit)
    # This way scikit-image, which is slow to import, isn't imported.
    data = Path(str(distribution("scikit-image").locate_file("skimage/data")))
    photographs = [
        Picture.of_file(data / file, name=Path(file).stem, role="content", licence=licence)
        for file, licence in list(PHOTOGRAPHS.items())[:limit]
    ]
    paintings = [
        Picture.of_file(
            PAINTINGS_FOLDER / file, name=Path(file).stem, role="style", licence=f"public domain ({work})"
        )
        for file, work in list(PAINTINGS.items())[:limit]
    ]
    return (*photographs, *paintings)


def folder(path: str | Path, *, limit: int | None = None) -> tuple[Picture, ...]:
    """Return the images below a directory, or those that match a glob: content first, then style.

    A file of an unknown ending counts as an image if its content is one; a warning counts the other files.
    Hidden files are left out. An image's role is the name of the nearest folder called `content` or `style`,
    as far up as `path` itself (for a glob, its part without wildcards); an image without such a folder is
    content. A picture's name is its file's stem. If two stems of a role are equal, the pictures of that role
    are named by their file names, or else by their paths.

    Args:
        path: A directory, a glob (`**` for any depth), or one file; `~` is the home directory.
        limit: How many of each role to keep, in order of their paths; None keeps all.

    Raises:
        SettingError: `limit` is below 1.
        ImageError: No image is found, there are more than `MOST_FILES` files, or an image is unreadable, too
            small, or a decompression bomb.
    """
    _check_limit(limit)
    if not isinstance(path, str | Path):
        raise ImageError("images.path", "should be a directory or a glob", repr(path), "Add images.path=...")
    sieve = Sieve()
    try:
        root, found = _find(Path(path).expanduser(), sieve)
    except (OSError, RuntimeError) as error:  # too long a name, or no such user
        rule = "should be a directory or a glob"
        raise ImageError("images.path", rule, f"{path} ({error})", "Check the path.") from error
    if not found:
        rule = f"should hold at least one image ({', '.join(READ_FORMATS)})"
        others = f", but {sieve.left_out}" if sieve.left_out else ""
        finding = f"none in {path}{others}" if root.exists() else f"no such place: {path}"
        raise ImageError("images.path", rule, finding, "Name a directory, or a glob in quotes.")
    sieve.tell(path)
    return (*_of_role("content", root, found, limit), *_of_role("style", root, found, limit))


def _check_limit(limit: int | None) -> None:
    if limit is not None:
        check_number("images.source.limit", limit, least=1, whole=True, remedy="null takes all images.")


def _find(place: Path, sieve: Sieve) -> tuple[Path, list[Path]]:
    """Return the folder at which roles and relative paths begin, and the image files, sorted."""
    if place.is_dir():
        root, pattern = place, f"{glob.escape(str(place))}/**/*"
    elif place.is_file():
        root, pattern = place.parent, glob.escape(str(place))
    else:
        plain = (part for part in (place, *place.parents) if not set("*?[") & set(str(part)))
        root, pattern = next(plain), str(place)
    # Unlike Path.glob, this follows links to folders and leaves out hidden files.
    found = list(islice(glob.iglob(pattern, recursive=True), MOST_FILES + 1))  # noqa: PTH207
    if len(found) > MOST_FILES:
        rule, found_more = f"should match at most {MOST_FILES} files and folders", f"more in {place}"
        raise ImageError("images.path", rule, found_more, "Name a smaller folder, or a glob in quotes.")
    return root, sorted(file for file in map(Path, found) if sieve.takes(file))


def _of_role(role: Role, root: Path, found: Sequence[Path], limit: int | None) -> list[Picture]:
    files = [file for file in found if _role(file.relative_to(root), root) == role]
    named = zip(names.of_files(files, root=root), files, strict=True)
    return [
        Picture.of_file(file, name=name, role=role, licence="not stated")
        for name, file in list(named)[:limit]
    ]


def _role(relative: Path, root: Path) -> Role:
    for folder_name in reversed((root.absolute().name, *relative.parts[:-1])):
        if folder_name in ROLES:
            return ROLES[folder_name]
    return "content"
