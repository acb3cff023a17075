"""`python -m analysis runs [experiment=…]`: the swept settings, the state and the pictures of each run."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis.commands import Commands, add, drawn

RUN_STATES = ("finished", "failed", "running", "damaged", "other version")


def register(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add(
        commands,
        "runs",
        run,
        overrides=True,
        about="a list of runs: what was swept, and what became of each",
        usage="[--state STATE] [--json | --csv] [--out OUT] [all | override ...]",
    )
    parser.add_argument("--state", action="append", choices=RUN_STATES, default=[], help="only these")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for machines")
    form.add_argument("--csv", action="store_true", help="for machines")
    parser.add_argument("--out", type=Path, help="a folder that gets the list as runs.csv, too")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> Iterator[str]:
    """Yield a list of an experiment's runs, or of all runs in the output folder if none is given."""
    from analysis.listing import load_listing
    from analysis.tables import provenance
    from experiments.command import entry_asked
    from swag_repro.runs.files import write_text

    entry = None if list(overrides) in ([], ["all"]) else entry_asked(overrides)
    listing = load_listing(overrides, options.runs, entry, options.state)
    if options.out is not None:
        write_text(path := options.out / "runs.csv", listing.to_csv())
        provenance.write_provenance(options.out / "runs", listing.provenance, [path])
    if options.json:
        yield listing.to_json()
    elif options.csv:
        yield listing.to_csv().rstrip("\n")
    else:
        yield from drawn(listing.to_table())
