"""Writing of files that appear whole or not at all, and safe reading of them and of pictures."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Literal, TypeVar
from uuid import uuid4

import yaml
from PIL import Image

from swag_repro.errors import StoreError

UNSEALED = ("status.json", "run.log", "tracking.json", "wandb", "checkpoints")
"""Files that a run directory holds beside its result. No digest of them is kept; a checkpoint has its own."""


FREE_BYTES = 2**16
"""Bytes that should be free before anything starts: when Hydra's own files fail, no message says why."""

BEAT = 10.0
"""Seconds between two heartbeats."""


LONGEST_YAML, MOST_VALUES, DEEPEST = 2**22, 200_000, 50
"""Limits of a YAML file: its letters, values and levels. A config has some 5000, 200 and 6."""


MALFORMED = (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError)


T = TypeVar("T")

SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader of libyaml where there is one: it is ten times as fast, and its results are the same."""

SafeDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The dumper of libyaml where there is one: it is ten times as fast, and its results are the same."""


@contextmanager
def whole_file(path: Path, *, below: Path | None = None) -> Iterator[BinaryIO]:
    """Yield a file opened for writing; it appears at `path` only once it is complete and on the disk.

    Args:
        path: The file's final place.
        below: See `make_folder`.

    Raises:
        StoreError: The disk is full, or the folder can't be made or written to.
    """
    beside = path.with_name(f".{path.name}.{uuid4().hex}")
    make_folder(path.parent, below=below)
    with writing(path):
        try:
            with _new_file(beside) as file:
                yield file
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def path_of(text: str) -> Path:
    """Return the path that a user gave; `~` is the home directory."""
    return Path(text).expanduser()


def is_folder(path: Path) -> bool:
    """Return whether a folder is there; no path is too long, and no refusal an error."""
    try:
        return path.is_dir()
    except OSError:
        return False


def make_folder(folder: Path, *, below: Path | None = None) -> None:
    """Make a folder, and those around it, where they are missing.

    Args:
        folder: The innermost folder.
        below: A folder that was made before and isn't made anew. While a network share is away, a new folder
            in its place would lie on another disk.

    Raises:
        StoreError: The folder can't be made, or `below` is not there any more.
    """
    with writing(folder):
        if below is None:
            folder.mkdir(parents=True, exist_ok=True)
            return
        for part in reversed([folder, *folder.parents]):
            if part.is_relative_to(below) and part != below:
                part.mkdir(exist_ok=True)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file. If the system refuses a write, raise its error, whatever a library made of it."""
    raw = _Raw(path, "xb")
    try:
        with io.BufferedWriter(raw) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except Exception:
        if raw.refused is not None:
            raise raw.refused from None
        raise
    if raw.refused is not None:
        raise raw.refused


class _Raw(io.FileIO):
    """A file that remembers why a write failed: when a disk is full, torch says only `enforce fail`."""

    refused: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.refused = error
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a refusal of the system within the block into a `StoreError` that names this path."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not the system's error: a library could not encode its input
            raise
        found, remedy = f"{path}: {error.strerror}", "Make room there, or choose another folder."
        raise StoreError("output", "should be a folder that can be written to", found, remedy) from error


def check_writable(folder: Path) -> None:
    """Raise unless files can be written to a folder; make the folder where it is missing.

    Raises:
        StoreError: No file can be written.
    """
    with whole_file(folder / ".writable") as file:
        file.write(bytes(FREE_BYTES))
    (folder / ".writable").unlink(missing_ok=True)


def write_text(path: Path, text: str, *, below: Path | None = None) -> None:
    """Write text in UTF-8 as a `whole_file`."""
    with whole_file(path, below=below) as file:
        file.write(text.encode())


def parsed(path: Path, content: bytes, parse: Callable[[str], T]) -> T:
    """Return what `parse` makes of a file's content.

    Raises:
        StoreError: The content is malformed.
    """
    try:
        return parse(content.decode())
    except MALFORMED as error:
        raise unreadable(path, error) from error


def parse_yaml(text: str) -> Any:
    """Return what `yaml.safe_load` makes of a text.

    Raises:
        yaml.YAMLError: The text is malformed.
        ValueError: With its aliases written out, it has more values than `MOST_VALUES`, or is nested deeper
            than `DEEPEST`.
    """
    if len(text) > LONGEST_YAML:
        raise ValueError(f"more than {LONGEST_YAML} letters")
    _check_depth(yaml.parse(text, SafeLoader))
    loader = SafeLoader(text)
    try:
        node = loader.get_single_node()
        _check_extent(node)
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _check_depth(events: Iterable[yaml.Event]) -> None:
    """Raise a `ValueError` if a text would fill the stack of its reader."""
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST}")


def _check_extent(root: yaml.Node | None) -> None:
    """Raise a `ValueError` if the values, with aliases written out, would fill memory or stack."""
    left = [] if root is None else [(root, 0)]
    for _ in range(MOST_VALUES):
        if not left:
            return
        node, depth = left.pop()
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST}")
        if isinstance(node, yaml.SequenceNode):
            left += [(item, depth + 1) for item in node.value]
        elif isinstance(node, yaml.MappingNode):
            left += [(part, depth + 1) for pair in node.value for part in pair]
    raise ValueError(f"more than {MOST_VALUES} values")


def unreadable(path: Path, error: Exception | str) -> StoreError:
    """Return the error for a file that is missing, torn, or not as it was written."""
    found = error if isinstance(error, str) else f"{type(error).__name__}: {' '.join(str(error).split())}"
    remedy = "The command that made it computes anew what is damaged; or delete its folder."
    return StoreError(str(path), "should be a complete file of a run", found, remedy)


class OtherVersionError(StoreError):
    """An error in a file that another version of this package wrote: the file is left alone."""


def refuse_other(name: str, version: int, known: int) -> None:
    """Raise an `OtherVersionError` if another version wrote the file.

    Args:
        name: The file's name.
        version: The version of its schema.
        known: The version that this package reads and writes.
    """
    if version != known:
        remedy = "Another version of swag-repro wrote it: use that one, or move its folder away."
        raise OtherVersionError(name, f"should have schema {known}", version, remedy)


def digest(content: bytes) -> str:
    """Return the SHA-256 of the content, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits; raise an `OSError` if it can't be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a run's result, by its path in the run directory."""
    results = (path for path in directory.iterdir() if path.name not in UNSEALED)
    files = (file for path in results for file in ([path] if path.is_file() else path.rglob("*")))
    return {
        file.relative_to(directory).as_posix(): digest_of(file) for file in sorted(files) if file.is_file()
    }


def beside_of(target: Path, suffix: Literal["new", "old"]) -> Path:
    """Return the path beside a run for the new run that replaces it, or for the old one."""
    return target.with_name(f"{target.name}.{suffix}")


def clear_but(directory: Path, kept: Collection[PurePath]) -> None:
    """Delete all of a directory except these paths; delete half-written files below these paths, too."""
    for path in directory.iterdir() if directory.is_dir() else ():
        below = [PurePath(*parts[1:]) for at in kept if (parts := at.parts)[:1] == (path.name,)]
        if PurePath() in below:
            _clear_torn(path)
        elif below:
            clear_but(path, below)
        else:
            with writing(path):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _clear_torn(path: Path) -> None:
    for torn in path.rglob(".*"):
        with writing(torn):
            torn.unlink()


def clear(directory: Path) -> None:
    """Delete a directory, or a link to one, if it is there."""
    with writing(directory), suppress(FileNotFoundError):
        if directory.is_symlink():
            directory.unlink()
        else:
            shutil.rmtree(directory)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock on a file; False where there is no such file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@contextmanager
def beating(path: Path) -> Iterator[None]:
    """Touch a file every few seconds within the block: its time shows that this process lives."""
    ended = threading.Event()

    def touch() -> None:
        with suppress(OSError):
            os.utime(path)

    def beat() -> None:
        while not ended.wait(BEAT):
            touch()

    touch()
    thread = threading.Thread(target=beat, name=f"heartbeat of {path.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def ignore(*_: object) -> None:
    """Do nothing: the default of optional callbacks."""


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
