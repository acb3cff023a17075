"""Sets of pictures: bundled pictures, which need no download, or those of a folder."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

from swag_repro import names
from swag_repro.errors import ImageError, check_number
from swag_repro.images.files import READ_FORMATS
from swag_repro.images.picture import Picture, Role
from swag_repro.images.sieve import Sieve

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
        ImageError: No image is found, or an image is unreadable, too small, or a decompression bomb.
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
    found = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207
    return root, sorted(file for file in found if sieve.takes(file))


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
