"""The commands of `python -m analysis`: one module each, which imports what is heavy only when it runs.

Each has two functions: `register` adds its parser, and `run` does it and gives the lines to print.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

Run: TypeAlias = Callable[[argparse.Namespace, Sequence[str]], Iterable[str]]
"""Takes the options and the other arguments, Hydra overrides all; raises UserError."""


def add(
    commands: Commands, name: str, run: Run, *, overrides: bool, about: str, usage: str | None = None
) -> argparse.ArgumentParser:
    """The parser of a command with the folder of runs, which all of them read.

    Args:
        commands: Of the main parser.
        name: Of the command.
        run: What it does.
        overrides: Whether it takes Hydra overrides.
        about: What it does, in words.
        usage: Of its own arguments.
    """
    parser = commands.add_parser(
        name,
        help=about,
        usage=usage and f"%(prog)s [-h] [--runs RUNS] {usage}",
        epilog="All other arguments are Hydra overrides, the same as given to the experiment."
        if overrides
        else None,
    )
    parser.add_argument("--runs", type=Path, default=Path("outputs"), help="output folder of the experiments")
    if overrides:
        parser.add_argument(
            "--config-dir", type=Path, metavar="DIR", help="a folder of settings beside conf/"
        )
    parser.set_defaults(run=run, overrides=overrides, config_dir=None)
    return parser


def add_out(parser: argparse.ArgumentParser) -> None:
    """Where it writes."""
    parser.add_argument(
        "--out", type=Path, default=Path("results"), help="folder for tables and figures (results)"
    )


def add_partial(parser: argparse.ArgumentParser) -> None:
    """What it does where cells are missing."""
    parser.add_argument("--allow-partial", action="store_true", help="draw what is there, with a mark")


def drawn(renderable: object, *, soft_wrap: bool = False) -> Iterator[str]:
    """The lines of what rich draws: as wide as the terminal; elsewhere as it needs, without colours."""
    from rich.console import Console

    on_terminal = sys.stdout.isatty()
    console = Console(width=None if on_terminal else 400, force_terminal=on_terminal)
    with console.capture() as capture:
        console.print(renderable, soft_wrap=soft_wrap)
    yield from (line.rstrip() for line in capture.get().splitlines())


def positive(text: str) -> int:
    """A number of at least 1, for `argparse`."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number
