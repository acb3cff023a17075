"""`python -m analysis collect` and `python -m analysis figure fig3`: from run directories to results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis import dashboard, remote
from analysis.figures import FIGURES, draw, source_of
from swag_repro.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a user's mistake prints its message, and gives exit status 1."""
    parser = _parser()
    options, overrides = parser.parse_known_args(arguments)
    if wrong := [item for item in overrides if item.startswith("-") or options.command == "collect"]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    try:
        if options.command == "figure" and options.pairs is not None and not source_of(options.name).pictures:
            parser.error(f"--pairs is for figures of pictures; {options.name} shows means over all pairs")
        if options.command == "collect":
            runs, notes = remote.root(options)
            print(*notes, sep="\n", end="\n" if notes else "")
            _collect(runs, options.out)
        elif options.command == "dashboard":
            print(*dashboard.run(options, overrides), sep="\n")
        else:
            _figure(options, overrides)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    folders = argparse.ArgumentParser(add_help=False)
    folders.add_argument(
        "--runs", type=Path, default=Path("outputs"), help="output folder of the experiments"
    )
    folders.add_argument("--out", type=Path, default=Path("results"), help="folder for tables and figures")
    parser = argparse.ArgumentParser(prog="python -m analysis", description="From runs to results.")
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect", parents=[folders], help="all runs in three tables")
    remote.add_arguments(collecting)
    dashboard.add_command(commands)
    figure = commands.add_parser(
        "figure",
        parents=[folders],
        help="a figure, and the numbers behind it",
        epilog="All other arguments are Hydra overrides, the same as given to the experiment.",
        usage="%(prog)s [-h] [--runs RUNS] [--out OUT] [--allow-partial] [--pairs N] name [override ...]",
    )
    figure.add_argument("name", help=f"{', '.join(FIGURES)}; or a module with load, make and save")
    figure.add_argument("--config-dir", type=Path, metavar="DIR", help="a folder of settings beside conf/")
    figure.add_argument("--allow-partial", action="store_true", help="draw what is there, with a mark")
    figure.add_argument(
        "--pairs",
        type=_positive,
        metavar="N",
        help="pairs shown in a figure of pictures (4; where rows are losses 1)",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _collect(runs: Path, out: Path) -> None:
    from analysis.tables.collect import collect

    done = collect(runs, out)
    print(f"{done.finished} finished runs, {done.rows} rows: {', '.join(map(str, done.files))}")
    for reason, count in done.failed.items():
        print(f"{count} failed: {reason}")
    if done.unfinished:
        print(f"{done.unfinished} running or killed")


def _figure(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    if options.config_dir is not None:
        from analysis.tables.cells import UsersSettings

        UsersSettings.folder = options.config_dir.absolute()
    pairs = {} if options.pairs is None else {"pairs": options.pairs}
    for path in draw(
        options.name, overrides, options.runs, options.out, partial=options.allow_partial, **pairs
    ):
        print(path)


if __name__ == "__main__":
    sys.exit(main())
