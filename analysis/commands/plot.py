"""`python -m analysis plot experiment=… x=… y=… [hue=…] [col=…] [row=…]`: any number against any setting."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace

from analysis.commands import Commands, add, add_partial, add_results
from swag_repro.runs.files import path_of

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
    parser.add_argument(
        "--style", type=path_of, metavar="FILE", help="settings of matplotlib, as in matplotlibrc"
    )
    parser.add_argument("--width", type=_inches, default=7.16, metavar="INCHES", help="of the figure (7.16)")
    parser.add_argument(
        "--format", action="append", choices=("png", "pdf", "svg"), help="may be given again (png and pdf)"
    )
    parser.add_argument("--no-caption", action="store_true", help="leave the words at the foot out")


def _inches(text: str) -> float:
    if not 1 <= (number := float(text)) <= 100:
        raise ValueError
    return number


def run(options: argparse.Namespace, arguments: Sequence[str]) -> Iterable[str]:
    """Draw the figure, and return the files."""
    from analysis.drawing.style import Layout
    from analysis.figures import plot
    from analysis.observations import PlotRequest
    from experiments.asking import Wanted
    from swag_repro.names import file_stem

    formats = tuple(options.format or ("png", "pdf"))
    layout = Layout.styled(
        options.style, width=options.width, formats=formats, caption=not options.no_caption
    )
    asked, overrides = PlotRequest.split(arguments)
    data = plot.load(asked, Wanted.of(overrides, options.output), partial=options.allow_partial)
    drawn = plot.make(data, interval=options.interval, layout=layout)
    folder = options.results / "plot" / data.group
    return map(
        str,
        plot.save(
            drawn, data, folder, file_stem(replace(asked, x=data.asked.x, y=data.asked.y).name), layout
        ),
    )
