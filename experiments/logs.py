"""The log of a run in its directory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from rich.logging import RichHandler

from experiments.sweeps.progress import console

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
    except BaseException as error:
        to_file.handle(logger.makeRecord(logger.name, logging.ERROR, "", 0, "failed", (), _exc_info(error)))
        raise
    finally:
        for handler in (to_file, to_terminal):
            root.removeHandler(handler)
            handler.close()


def _exc_info(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    return type(error), error, error.__traceback__
