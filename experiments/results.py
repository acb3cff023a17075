"""The results of a run, for its user: its pictures, copies of them, and the link to the newest run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image

from swag_repro.errors import SettingError, StoreError
from swag_repro.runs.files import check_writable, read_picture, whole_file
from swag_repro.runs.records import RunRecord, read_status

LATEST = "latest"
"""The name of the link in the output folder."""


def pictures_of(run: Path) -> list[Path]:
    """Return the pictures of a finished run; of a run without pictures, its directory.

    Raises:
        StoreError: The run's table of pictures can't be read.
    """
    pairs = RunRecord(run, read_status(run)).pairs().to_pylist()
    return [run / pair["image"] for pair in pairs] or [run]


def check_save(save: str | None, pictures: int, inputs: Iterable[str]) -> None:
    """Raise unless pictures can be copied to where the user wants them.

    Args:
        save: A file for one picture, or a folder, which is there or ends with `/`; None for no copies.
        pictures: The number of pictures.
        inputs: What the user names as contents and styles.

    Raises:
        SettingError: It is one file for several pictures, an input, or no kind of picture.
        StoreError: It can't be written to.
    """
    if save is None:
        return
    path = Path(save)
    try:
        path.exists()
    except OSError as error:
        rule, found = "should be a path that the system takes", f"{save!r} ({error.strerror})"
        raise SettingError("save", rule, found, "Choose another name.") from error
    if not _is_folder(save):
        known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.SAVE}
        if pictures != 1 or path.suffix.lower() not in known or (path.exists() and not path.is_file()):
            rule, remedy = (
                "should be a file such as out.png for one picture, or a folder",
                "End a folder with /.",
            )
            raise SettingError("save", rule, f"{save!r} for {pictures}", remedy)
        if path.resolve() in {Path(one).resolve() for one in inputs}:
            raise SettingError("save", "should be no input", repr(save), "Choose another name.")
    try:
        check_writable(path if _is_folder(save) else path.parent)
    except StoreError as error:
        why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else "refused"
        rule, remedy = "should be a place that can be written to", "Make room there, or choose another."
        raise StoreError("save", rule, f"{save!r} ({why})", remedy) from error


def refuse_save(save: str | None, where: str) -> None:
    """Raise if copies are wanted where none are made, such as of `a sweep`.

    Raises:
        SettingError: They are.
    """
    if save is not None:
        remedy = "Pictures are in the run directories; `swag sheet last` shows those of a sweep."
        raise SettingError("save", f"should be left out of {where}", repr(save), remedy)


def save_copies(save: str, pictures: Sequence[Path]) -> list[Path]:
    """Copy pictures to a file or a folder, see `check_save`; return the copies.

    Raises:
        StoreError: A copy can't be written.
    """
    folder = _is_folder(save)
    return [_copy(picture, Path(save) / picture.name if folder else Path(save)) for picture in pictures]


def _copy(picture: Path, path: Path) -> Path:
    content = picture.read_bytes()
    with whole_file(path) as file:
        if path.suffix.lower() == picture.suffix:
            file.write(content)
        else:
            kind = Image.registered_extensions()[path.suffix.lower()]
            read_picture(picture, content).convert("RGB").save(file, kind, quality=95)
    return path


def _is_folder(save: str) -> bool:
    return save.endswith("/") or Path(save).is_dir()


def link_latest(run: Path) -> None:
    """Make `<output>/latest` a link to this run; do nothing if the file system refuses."""
    output = run.parents[1]
    beside = output / f".{LATEST}.{os.getpid()}"
    with suppress(OSError):
        beside.symlink_to(run.relative_to(output), target_is_directory=True)
        try:
            beside.replace(output / LATEST)
        finally:
            beside.unlink(missing_ok=True)
