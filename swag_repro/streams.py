"""Standard streams that are closed, that nobody reads, that are full, or whose encoding lacks signs."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

GONE = 128 + signal.SIGPIPE
"""The exit status of a program whose output nobody reads any more, as in `swag runs | head -1`."""


@contextmanager
def standard_streams() -> Iterator[None]:
    """Open closed streams to nowhere; if output can't be written, end quietly or with one message.

    Signs that an encoding lacks are escaped.

    Output is flushed at the end of the block: later, Python would only print a traceback.
    """
    _open_closed()
    _escape_signs()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        unread = isinstance(error, BrokenPipeError) and is_unread()
        if not unread and error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if unread:
            sys.exit(GONE)
        with suppress(OSError):
            sys.stderr.write(f"error: the output can't be written: {error.strerror}\n")
        sys.exit(1)


def is_unread() -> bool:
    """Return whether nobody reads standard output any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(state & select.POLLERR for _, state in poll.poll(0))


def _escape_signs() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_closed() -> None:
    """Open streams that were closed before the process started; files would get their numbers otherwise."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            file = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            if file != number:
                os.dup2(file, number)
                os.close(file)
            os.set_inheritable(number, True)  # noqa: FBT003
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
