"""`python -m analysis COMMAND`: from run directories to results."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.commands import claims, collect, dashboard, explain, figure, plot, runs, sheet, status
from analysis.invocation import made_by
from swag_repro.errors import SettingError, UserError
from swag_repro.runs.files import is_folder
from swag_repro.streams import standard_streams

ANALYSIS_COMMANDS = (status, collect, figure, plot, sheet, runs, explain, claims, dashboard)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake prints its message and returns exit status 1."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's backend is inherited, and may not be installed here
    given = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    options, overrides = parser.parse_known_args(given)
    if wrong := [item for item in overrides if item.startswith("-") or not options.overrides]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    try:
        _use_settings_of(options.config_dir)
        folders = _folders(overrides, options.output) if options.sweeps else {}
        overrides = [folders.get(item, item) for item in overrides]
        with made_by([*given[:1], *(folders.get(item, item) for item in given[1:])]):
            for line in options.run(options, overrides):
                print(line)
    except argparse.ArgumentError as error:
        parser.error(str(error))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis", description="From runs to results.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ANALYSIS_COMMANDS:
        command.register(commands)
    return parser


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
    with standard_streams():
        sys.exit(main())
