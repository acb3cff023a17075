"""`python -m analysis dashboard [experiment=…]`: the W&B workspace and report of a project, as code."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from analysis.commands import Commands, add, add_results


def register(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add(
        commands,
        "dashboard",
        run,
        overrides=True,
        about="W&B's workspace and report, as code",
        usage="[--results RESULTS] [--save] [--entity NAME] [--project NAME] [experiment=NAME]",
    )
    add_results(parser)
    parser.add_argument("--save", action="store_true", help="put both into the W&B project, too")
    parser.add_argument("--entity", default="", help="W&B's team or user; needed to save")
    parser.add_argument("--project", default="swag-repro", help="W&B's project")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> Iterable[str]:
    """Write the workspace and the report, and return where they are."""
    from analysis import dashboard

    return dashboard.write_dashboard(options, overrides)
