"""`python -m analysis figure fig3`: a figure of the papers, and the numbers behind it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from analysis.commands import Commands, add, add_partial, add_results, positive
from analysis.figures import FIGURES, draw_figure, source_of
from swag_repro.program import UsageError


def register(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add(
        commands,
        "figure",
        run,
        overrides=True,
        about="a figure, and the numbers behind it",
        usage="[--results RESULTS] [--allow-partial] [--pairs N] name [override ...]",
    )
    parser.add_argument("name", help=f"{', '.join(FIGURES)}; or a module with load, make and save")
    add_results(parser)
    add_partial(parser)
    parser.add_argument(
        "--pairs",
        type=positive,
        metavar="N",
        help="pairs shown in a figure of pictures (4; where rows are losses 1)",
    )


def run(options: argparse.Namespace, overrides: Sequence[str]) -> Iterable[str]:
    """Draw the figure, and return the files.

    Raises:
        UsageError: `--pairs` is given for a figure without pictures.
    """
    if options.pairs is not None and not source_of(options.name).pictures:
        problem = f"--pairs is for figures of pictures; {options.name} shows means over all pairs"
        raise UsageError(problem, "Leave it out.")
    pairs = {} if options.pairs is None else {"pairs": options.pairs}
    paths = draw_figure(
        options.name, overrides, options.output, options.results, partial=options.allow_partial, **pairs
    )
    return map(str, paths)
