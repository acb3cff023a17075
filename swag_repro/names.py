"""Names of pictures, made from paths: unique, and fit to be names of files."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

LONGEST = 160
"""Bytes of a file's stem. File systems take 255, and endings and marks of half-written files come on top."""


def file_stem(name: str) -> str:
    """The name of a picture or pair as the stem of its file; of a long one the start, and a hash of all."""
    stem = name.replace("/", "_")
    if len(stem.encode()) <= LONGEST:
        return stem
    return hashed(stem.encode()[: LONGEST - 9].decode(errors="ignore"), name)


def hashed(name: str, content: str) -> str:
    """The name with the start of a hash of what tells it from others."""
    return f"{name}~{hashlib.sha256(content.encode(errors='surrogateescape')).hexdigest()[:8]}"


def key(name: str) -> str:
    """What two names have in common whose files some file system takes for one: Macs ignore case."""
    return unicodedata.normalize("NFC", file_stem(name)).casefold()


def of_files(files: Sequence[Path], *, root: Path | None = None, taken: Collection[str] = ()) -> list[str]:
    """A name for each file, the same only for the same file: stems, or else file names, or else paths.

    Args:
        files: Some may be given twice.
        root: Names begin below it; None for as much of the path as makes them unique.
        taken: Names of other pictures.
    """
    places = [Path(os.path.normpath(file.absolute())) for file in files]
    others = {key(name) for name in taken}
    for names in _ladder(places, None if root is None else Path(os.path.normpath(root.absolute()))):
        keys = {key(name) for name in names}
        if len(keys) == len(set(places)) and not keys & others:
            return names
    return [hashed(printable(place.name), str(place)) for place in places]


def _ladder(places: Sequence[Path], root: Path | None) -> Iterator[list[str]]:
    """Names, ever longer."""
    yield [printable(place.stem) for place in places]
    yield [printable(place.name) for place in places]
    if root is not None:
        yield [printable(place.relative_to(root).as_posix()) for place in places]
        return
    for parts in range(2, max(len(place.parts) for place in places)):
        yield [printable("/".join(place.parts[1:][-parts:])) for place in places]


def printable(name: str) -> str:
    """Return a name as terminals and files of text can hold it: without control characters and odd bytes."""
    letters = name.encode(errors="surrogateescape").decode(errors="replace")
    return "".join(letter if letter.isprintable() else "�" for letter in letters)
