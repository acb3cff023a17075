"""What all programs share: how they read arguments, and how they print errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

from swag_repro.errors import UserError
from swag_repro.streams import standard_streams


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
