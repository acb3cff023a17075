"""`python -m analysis runs [experiment=…]`: the swept settings, the state and the pictures of each run."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from analysis.commands import Commands, add, render_lines
from swag_repro.runs.files import path_of

RUN_STATES = ("finished", "failed", "running", "damaged", "other version")


def register(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add(
        commands,
        "runs",
        run,
        overrides=True,
        sweeps=True,
        about="a list of runs: what was swept, and what became of each",
        usage="[--state STATE] [--json | --csv] [--results RESULTS] [all | SWEEP | override ...]",
    )
    parser.add_argument("--state", action="append", choices=RUN_STATES, default=[], help="only these")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for machines")
    form.add_argument("--csv", action="store_true", help="for machines")
    parser.add_argument("--results", type=path_of, help="a folder that gets the list as runs.csv, too")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> Iterator[str]:
    """Yield a list of the runs of a sweep or an experiment, or of all in the output folder."""
    from analysis.listing import load_listing
    from analysis.tables import provenance
    from experiments.asking import Wanted
    from swag_repro.runs.files import write_text

    every = list(overrides) in ([], ["all"])
    wanted = None if every else Wanted.of(overrides, options.output)
    listing = load_listing(options.output if wanted is None else wanted.output, wanted, options.state)
    if options.results is not None:
        write_text(path := options.results / "runs.csv", listing.to_csv())
        provenance.write_provenance(options.results / "runs", listing.provenance, [path])
    if options.json:
        yield listing.to_json()
    elif options.csv:
        yield listing.to_csv().rstrip("\n")
    else:
        yield from render_lines(listing.to_table())
