"""`python -m analysis explain results/fig3/fig3.png`: where a file comes from, and how to make it again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence

from analysis.commands import Commands, add
from swag_repro.runs.files import path_of


def register(commands: Commands) -> None:
    """Add the parser of the command."""
    about = "where a figure, a table or a picture comes from, and what makes it again"
    parser = add(commands, "explain", run, overrides=False, about=about)
    parser.add_argument("file", type=path_of, help="of results, or of a run; also a run's directory")
    parser.add_argument("--all", action="store_true", help="list all runs behind it")
    parser.add_argument("--json", action="store_true", help="for machines; all runs")
    parser.set_defaults(output=None)


def run(options: argparse.Namespace, _: Sequence[str]) -> Iterator[str]:
    """Yield the explanation of one file."""
    from analysis.explaining import explain

    known = explain(options.file, options.output)
    if options.json:
        yield json.dumps(known.to_plain(), indent=2)
    else:
        yield from known.lines(every_run=options.all)
