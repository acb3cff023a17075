"""`python -m analysis plot experiment=… x=… y=… [hue=…] [col=…] [row=…]`: any number against any setting."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from analysis.commands import Commands, add, add_out, add_partial

INTERVAL_NAMES = ("se", "sd", "ci", "range")


def register(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add(
        commands,
        "plot",
        run,
        overrides=True,
        about="any number of any sweep against any setting",
        usage="[--out OUT] [--allow-partial] [--interval {se,sd,ci,range}] x=SETTING y=NUMBER [hue=SETTING] "
        "[col=SETTING] [row=SETTING] [layer=… quantity=… definition=… iteration=…] [override ...]",
    )
    add_out(parser)
    add_partial(parser)
    parser.add_argument(
        "--interval", choices=INTERVAL_NAMES, default="se",
        help="around means: standard error (se), standard deviation, bootstrap interval, lowest to highest",
    )  # fmt: skip


def run(options: argparse.Namespace, arguments: Sequence[str]) -> Iterable[str]:
    """Draw the figure, and return the files."""
    from analysis.figures import plot
    from analysis.observations import PlotRequest
    from experiments.command import entry_asked
    from swag_repro.names import file_stem

    asked, overrides = PlotRequest.split(arguments)
    entry = entry_asked(overrides)
    data = plot.load(asked, overrides, options.runs, entry, partial=options.allow_partial)
    drawn = plot.make(data, interval=options.interval)
    folder = options.out / "plot" / data.group
    return map(str, plot.save(drawn, data, folder, file_stem(asked.name)))
