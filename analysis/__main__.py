"""`python -m analysis COMMAND`: from run directories to results."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from analysis.commands import claims, collect, dashboard, explain, figure, plot, runs, sheet, status
from analysis.invocation import made_by
from swag_repro.errors import SettingError
from swag_repro.program import Parser, check_flags, ended
from swag_repro.runs.files import is_folder

ANALYSIS_COMMANDS = (status, collect, figure, plot, sheet, runs, explain, claims, dashboard)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake prints its message, and returns an exit status that is not 0."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's backend is inherited, and may not be installed here
    return ended(partial(_run, sys.argv[1:] if arguments is None else arguments))


def _run(given: Sequence[str]) -> int:
    options, overrides = parser().parse_known_args(given)
    if wrong := [item for item in overrides if item.startswith("-") or not options.overrides]:
        check_flags(wrong, flags_of(options.command), f"swag {options.command}")
    _use_settings_of(options.config_dir)
    folders = _folders(overrides, options.output) if options.sweeps else {}
    overrides = [folders.get(item, item) for item in overrides]
    with made_by([*given[:1], *(folders.get(item, item) for item in given[1:])]):
        for line in options.run(options, overrides):
            print(line)
    return 0


def parser() -> Parser:
    """Return the parser of all commands."""
    made = Parser(prog="swag", description="From runs to results.")
    _registered(made)
    return made


def flags_of(command: str) -> list[str]:
    """Return the flags of a command, as its help names them."""
    return re.findall(r"--[a-z-]+", _registered(Parser(prog="swag"))[command].format_help())


def _registered(made: Parser) -> Mapping[str, argparse.ArgumentParser]:
    commands = made.add_subparsers(dest="command", required=True)
    for command in ANALYSIS_COMMANDS:
        command.register(commands)
    return commands.choices


def _use_settings_of(folder: Path | None) -> None:
    """Add a user's own settings to those of `conf/`."""
    if folder is not None:
        from experiments.asking import UsersSettings

        if not is_folder(folder):
            raise SettingError("--config-dir", "should be a folder of settings", folder, "Check the path.")
        UsersSettings.folder = folder.absolute()


def _folders(arguments: Sequence[str], output: Path) -> dict[str, str]:
    """Return the folders of the sweeps that arguments mean: tomorrow, `last` will be another one."""
    from experiments.sweeps.finding import find, is_handle

    handles = [argument for argument in arguments if is_handle(argument) and argument != "all"]
    return {handle: os.path.relpath(find(handle, output).directory) for handle in handles}


if __name__ == "__main__":
    sys.exit(main())
