"""Names of pictures, made from paths: they are unique, and fit to be names of files; names of other files."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

LONGEST = 160
"""Largest length of a file's stem, in bytes.

File systems allow 255; endings and the marks of half-written files are added to the stem.
"""


def file_stem(name: str) -> str:
    """Return the stem of a picture's or pair's file; a long name is cut and gets a hash of the whole."""
    stem = name.replace("/", "_")
    if len(stem.encode()) <= LONGEST:
        return stem
    return hashed(stem.encode()[: LONGEST - 9].decode(errors="ignore"), name)


def measures_beside(ratings: Path) -> Path:
    """Return the file of what judges measured on the pictures of a file of people's ratings."""
    return ratings.with_name(f"{ratings.stem}.measures.csv")


def hashed(name: str, content: str) -> str:
    """Return the name with the start of a hash of its content, which tells it from equal names."""
    return f"{name}~{hashlib.sha256(content.encode(errors='surrogateescape')).hexdigest()[:8]}"


def file_key(name: str) -> str:
    """Return a key that is equal for two names whose files a file system may confuse: Macs ignore case."""
    return unicodedata.normalize("NFC", file_stem(name)).casefold()


def of_files(files: Sequence[Path], *, root: Path | None = None, taken: Collection[str] = ()) -> list[str]:
    """Return a name for each file: its stem, or else its file name, or else its path.

    Two names are equal only if they name the same file.

    Args:
        files: Some may be given twice.
        root: The folder below which names begin; None takes as much of the path as makes them unique.
        taken: Names of other pictures.
    """
    places = [Path(os.path.normpath(file.absolute())) for file in files]
    others = {file_key(name) for name in taken}
    for names in _ladder(places, None if root is None else Path(os.path.normpath(root.absolute()))):
        keys = {file_key(name) for name in names}
        if len(keys) == len(set(places)) and not keys & others:
            return names
    return [hashed(printable(place.name), str(place)) for place in places]


def _ladder(places: Sequence[Path], root: Path | None) -> Iterator[list[str]]:
    """Yield lists of names for the files, each list with longer names than the one before."""
    yield [printable(place.stem) for place in places]
    yield [printable(place.name) for place in places]
    if root is not None:
        yield [printable(place.relative_to(root).as_posix()) for place in places]
        return
    for parts in range(2, max(len(place.parts) for place in places)):
        yield [printable("/".join(place.parts[1:][-parts:])) for place in places]


def printable(name: str) -> str:
    """Return the name for terminals and text files; control characters and odd bytes are replaced."""
    letters = name.encode(errors="surrogateescape").decode(errors="replace")
    return "".join(letter if letter.isprintable() else "�" for letter in letters)
