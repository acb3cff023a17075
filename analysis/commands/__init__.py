"""The commands of `python -m analysis`: one module each, which imports heavy packages only when it runs.

Each module has two functions: `register` adds its parser, and `run` runs it and returns the lines to print.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from swag_repro.runs.files import path_of

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

CommandFunction: TypeAlias = Callable[[argparse.Namespace, Sequence[str]], Iterable[str]]
"""A function of the options and the other arguments, which may be Hydra overrides; raises UserError."""

OVERRIDES = "All other arguments are Hydra overrides, the same as given to the experiment."
SWEEPS = "SWEEP is `last` for the newest, a sweep's folder, or the name of its runs. "
"""The sentences of help texts about arguments."""


def add(
    commands: Commands,
    name: str,
    run: CommandFunction,
    *,
    overrides: bool,
    about: str,
    usage: str | None = None,
    sweeps: bool = False,
) -> argparse.ArgumentParser:
    """Add and return the parser of a command, with the option for the folder of runs that all commands read.

    Args:
        commands: Subparsers of the main parser.
        name: Name of the command.
        run: The function that runs it.
        overrides: Whether it takes Hydra overrides.
        about: What it does, in words.
        usage: Usage of its own arguments.
        sweeps: Whether it takes the handle of a sweep instead of overrides.
    """
    parser = commands.add_parser(
        name,
        help=about,
        usage=usage and f"%(prog)s [-h] [--output OUTPUT] {usage}",
        epilog=(SWEEPS * sweeps + OVERRIDES) * overrides,
    )
    parser.add_argument(
        "--output", type=path_of, default=Path("outputs"), help="output folder of the experiments"
    )
    if overrides:
        parser.add_argument(
            "--config-dir", type=path_of, metavar="DIR", help="a folder of settings beside conf/"
        )
    parser.set_defaults(run=run, overrides=overrides, sweeps=sweeps, config_dir=None)
    return parser


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add the option for the folder of results."""
    parser.add_argument(
        "--results", type=path_of, default=Path("results"), help="folder for tables and figures (results)"
    )


def add_partial(parser: argparse.ArgumentParser) -> None:
    """Add the option that allows missing cells."""
    parser.add_argument("--allow-partial", action="store_true", help="draw what is there, with a mark")


def render_lines(renderable: object, *, soft_wrap: bool = False) -> Iterator[str]:
    """Yield the lines that rich draws: as wide as the terminal; elsewhere as wide as needed, uncoloured."""
    from rich.console import Console

    on_terminal = sys.stdout.isatty()
    console = Console(width=None if on_terminal else 400, force_terminal=on_terminal)
    with console.capture() as capture:
        console.print(renderable, soft_wrap=soft_wrap)
    yield from (line.rstrip() for line in capture.get().splitlines())


def positive(text: str) -> int:
    """Return a number of at least 1, for `argparse`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"should be a whole number from 1; found {text!r}")
    return int(text)
