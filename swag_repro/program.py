"""What all programs share: how they read arguments, print errors, and treat their standard streams."""

from __future__ import annotations

import argparse
import errno
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import Any, NoReturn

from swag_repro.errors import UserError

OWN_MODULES = "A module of your own should lie beside the folder of --config-dir, or on PYTHONPATH."
"""The remedy where a user's module is not found."""


class UsageError(UserError):
    """An error in a command's arguments: what is wrong, and a remedy."""

    def __init__(self, problem: str, remedy: str) -> None:
        Exception.__init__(self, problem, remedy)

    def __str__(self) -> str:
        problem, remedy = self.args
        return f"{problem}. {remedy}"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line of a `UsageError`, without the usage; flags are written in full."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(allow_abbrev=False, **arguments)

    def error(self, message: str) -> NoReturn:
        """Raise the error.

        Raises:
            UsageError: Always.
        """
        raise UsageError(message, f"Type: {self.prog} --help")


def check_flags(flags: Iterable[str], known: Collection[str], prog: str) -> None:
    """Raise if there are arguments that no parser took, and name the nearest ones.

    Args:
        flags: The arguments that no parser took.
        known: The flags that exist.
        prog: The program's name.

    Raises:
        UsageError: There is one.
    """
    for flag in flags:
        setting = flag.lstrip("-")
        remedy = did_you_mean(flag, known, f"Type: {prog} --help")
        if "=" in setting and setting != flag:
            remedy = f"Write {setting}, without hyphens; as an agent of W&B: ${{args_no_hyphens}}."
        raise UsageError(f"unknown argument: {flag}", remedy)


def did_you_mean(name: str, known: Iterable[str], otherwise: str, *, sign: str = "") -> str:
    """Return the remedy for an unknown name: the one or two known names that are most like it.

    Args:
        name: The name that does not exist.
        known: The names that exist.
        otherwise: The remedy if none of them is like it.
        sign: The text that the user types before such a name.
    """
    near = " or ".join(get_close_matches(name, sorted(known), n=2, cutoff=0.7))
    return f"Did you mean {sign}{near}?" if near else otherwise


def ended(program: Callable[[], int]) -> int:
    """Run a program and return its exit status: 1 after a user's error, 2 after one in the usage.

    Args:
        program: A function that returns the exit status.
    """
    with standard_streams():
        try:
            return program()
        except UserError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2 if isinstance(error, UsageError) else 1


GONE = 128 + signal.SIGPIPE
"""The exit status of a program whose output nobody reads any more, as in `swag runs | head -1`."""


@contextmanager
def standard_streams() -> Iterator[None]:
    """Open closed streams to nowhere, and escape signs that an encoding lacks; then as `written`."""
    _open_closed()
    _escape_signs()
    with written():
        yield


@contextmanager
def written() -> Iterator[None]:
    """End the process quietly or with one message if output can't be written.

    Output is flushed at the end of the block: later, Python would only print a traceback.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if not is_lost(error):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(GONE)
        with suppress(OSError):
            sys.stderr.write(f"error: the output can't be written: {error.strerror}\n")
        sys.exit(1)


def is_lost(error: Exception) -> bool:
    """Return whether an error says that output can't be written: its disk is full, or nobody reads it."""
    if not isinstance(error, BrokenPipeError):
        return isinstance(error, OSError) and error.errno == errno.ENOSPC
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
