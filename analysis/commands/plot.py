"""`python -m analysis plot experiment=… x=… y=… [hue=…] [col=…] [row=…]`: any number against any setting."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from analysis.commands import Commands, add, add_partial, add_results

INTERVAL_NAMES = ("se", "sd", "ci", "range")


def register(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add(
        commands,
        "plot",
        run,
        overrides=True,
        sweeps=True,
        about="any number of any sweep against any setting",
        usage="[option ...] [x=SETTING] [y=NUMBER] [hue=SETTING] "
        "[col=SETTING] [row=SETTING] [layer=… quantity=… definition=… iteration=…] [SWEEP | override ...]",
    )
    add_results(parser)
    add_partial(parser)
    parser.add_argument(
        "--interval", choices=INTERVAL_NAMES, default="se",
        help="around means: standard error (se), standard deviation, bootstrap interval, lowest to highest",
    )  # fmt: skip


def run(options: argparse.Namespace, arguments: Sequence[str]) -> Iterable[str]:
    """Draw the figure, and return the files."""
    from analysis.figures import plot
    from analysis.observations import PlotRequest
    from experiments.asking import Wanted
    from swag_repro.names import file_stem

    asked, overrides = PlotRequest.split(arguments)
    data = plot.load(asked, Wanted.of(overrides, options.output), partial=options.allow_partial)
    drawn = plot.make(data, interval=options.interval)
    folder = options.results / "plot" / data.group
    return map(str, plot.save(drawn, data, folder, file_stem(data.asked.name)))
