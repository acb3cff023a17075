"""`python -m analysis collect`: all runs in three tables."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from analysis.commands import Commands, add, add_results


def register(commands: Commands) -> None:
    """Add the parser of the command."""
    add_results(add(commands, "collect", run, overrides=False, about="all runs in three tables"))


def run(options: argparse.Namespace, _: Sequence[str]) -> Iterator[str]:
    """Write the tables; yield lines that say what they contain and which runs they leave out."""
    from analysis.tables.collect import collect
    from analysis.tables.kept import check_output

    check_output(options.output, with_runs=True)
    done = collect(options.output, options.results)
    yield f"{done.finished} finished runs, {done.rows} rows: {', '.join(map(str, done.files))}"
    for reason, count in done.failed.items():
        yield f"{count} failed: {reason}"
    if done.others:
        yield f"{len(done.others)} of another version of the store, left alone: {', '.join(done.others)}"
    if done.unfinished:
        yield f"{done.unfinished} running or killed"
