"""The progress and warnings that a user sees while cells are computed, and the logs of their runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text


class _StandardError:
    """A standard error that drops what can't be written: a closed terminal or a full disk stops no cell."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()

    @property
    def _file(self) -> TextIO:
        """`sys.stderr`, or the stream behind it while a progress bar replaces it."""
        file: TextIO = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        return file

    def __getattr__(self, name: str) -> Any:
        if name == "rich_proxied_file":
            raise AttributeError(name)
        return getattr(self._file, name)


console = Console(file=cast(TextIO, _StandardError()), highlight=False, soft_wrap=True)

T = TypeVar("T")

WIDE = 110
"""Columns of a terminal that has room for all parts of the bar."""


def track(
    items: Iterable[tuple[int, T]], *, total: int, what: str, left: str, enabled: bool, unit: str = "images"
) -> Iterator[T]:
    """Yield the items, each of some units of work, and show how many units of `total` are done.

    Args:
        items: `(number of units, item)`.
        total: The number of units in all.
        what: The cell, at the start of the line.
        left: The time left for the whole sweep, at the end of the line; may be empty.
        enabled: Whether anything is shown.
        unit: The name of the units, in the plural.
    """
    shown = enabled and console.is_terminal
    with Progress(*_columns(unit), console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task(what, total=total, left=left)
        for count, item in items:
            yield item
            progress.advance(task, count)


class _Shortened(TextColumn):
    """A column of words that a narrow terminal cuts, so that it shows all numbers."""

    def render(self, task: Task) -> Text:
        """Return the words on one line."""
        words = super().render(task)
        words.no_wrap, words.overflow = True, "ellipsis"
        return words


def _columns(unit: str) -> Iterator[ProgressColumn]:
    """Yield the parts of the bar; on a narrow terminal it is shorter, without the time that has passed."""
    wide = console.width >= WIDE
    yield _Shortened("{task.description}", table_column=Column())
    yield BarColumn(bar_width=24 if wide else 8)
    yield MofNCompleteColumn()
    yield TextColumn(unit)
    if wide:
        yield TimeElapsedColumn()
        yield TextColumn("passed,")
    yield TimeRemainingColumn()
    yield TextColumn("left")
    yield TextColumn("{task.fields[left]}", style="dim", markup=False)


def increments(counted: Iterable[tuple[int, T]]) -> Iterator[tuple[int, T]]:
    """Yield items with the units that each adds, from items with the units done after each."""
    before = 0
    for done, item in counted:
        yield done - before, item
        before = done


def duration(seconds: float) -> str:
    """Return seconds as `0:42`, `12:05` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


logger = logging.getLogger(__name__)


class _LogFile(logging.FileHandler):
    """A log file that drops what the disk refuses; results don't depend on it."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Write the log, with tracebacks, to this file within the block; warnings also go to the terminal."""
    to_file = _LogFile(path, delay=True)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_terminal = RichHandler(logging.WARNING, console=console, show_path=False)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in (to_file, to_terminal):
        root.addHandler(handler)
    try:
        yield
    except BaseException:
        root.removeHandler(to_terminal)  # who catches the error tells it there
        logger.exception("failed")
        raise
    finally:
        for handler in (to_file, to_terminal):
            root.removeHandler(handler)
            handler.close()
