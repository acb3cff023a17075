"""The running command; files of results record it as the command that made them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_arguments: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())


@contextmanager
def made_by(arguments: Sequence[str]) -> Iterator[None]:
    """Record these arguments of `python -m analysis`, within the context, in files of results."""
    token = _arguments.set(tuple(arguments))
    try:
        yield
    finally:
        _arguments.reset(token)


def arguments() -> tuple[str, ...]:
    """Return the recorded arguments of `python -m analysis`; none in calls from Python."""
    return _arguments.get()
