"""The command under way, of which files of results say that it made them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_arguments: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())


@contextmanager
def made_by(arguments: Sequence[str]) -> Iterator[None]:
    """Within, files of results say that `python -m analysis` made them with these arguments."""
    token = _arguments.set(tuple(arguments))
    try:
        yield
    finally:
        _arguments.reset(token)


def arguments() -> tuple[str, ...]:
    """Of `python -m analysis`; none where Python calls the functions below it."""
    return _arguments.get()
