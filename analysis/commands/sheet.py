"""`python -m analysis sheet SWEEP [row=…] [col=…]`: a contact sheet of the pictures of any sweep."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from analysis.commands import Commands, add, add_partial, add_results, positive


def register(commands: Commands) -> None:
    """Add the parser of the command."""
    about = "a contact sheet of any sweep's pictures"
    usage = "[option ...] [row=SETTING,…] [col=SETTING,…] [SWEEP | override ...]"
    parser = add(commands, "sheet", run, overrides=True, sweeps=True, about=about, usage=usage)
    add_results(parser)
    add_partial(parser)
    parser.add_argument("--pairs", type=positive, metavar="N", help="at most so many pairs (all)")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> Iterable[str]:
    """Draw the sheet on as many pages as it needs, and return the files."""
    from analysis.figures import sheet
    from analysis.observations import split
    from experiments.asking import Wanted
    from swag_repro.names import file_stem

    sides, overrides = split(arguments, ("row", "col"))
    data = sheet.load(Wanted.of(overrides, options.output), partial=options.allow_partial)
    name = file_stem(data.arms[0].config["name"])
    return map(
        str, sheet.save(sheet.make(data, pairs=options.pairs, **sides), data, options.results / "sheet", name)
    )
