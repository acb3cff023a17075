"""`python -m analysis collect --source wandb`: runs made elsewhere, from W&B instead of an output folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from swag_repro.errors import SettingError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `collect` that say where runs come from."""
    parser.add_argument(
        "--source", choices=("runs", "wandb"), default="runs", help="wandb: from W&B, not from --output"
    )
    parser.add_argument("--project", help="W&B's project")
    parser.add_argument("--entity", help="W&B's team or user; the default of the account")


def root(options: argparse.Namespace) -> tuple[Path, list[str]]:
    """Return the output folder to collect from, that of `--output` or one fetched from W&B, and notes.

    Raises:
        SettingError: The options don't belong together.
        TrackingError: W&B's server does not answer, or has no such project.
        StoreError: What the server has follows an unknown schema, or was changed.
    """
    if options.source == "runs":
        if options.project or options.entity:
            rule, found = "should be wandb where a project is named", "runs"
            raise SettingError("--source", rule, found, "Add --source wandb.")
        return options.output, []
    if not options.project:
        raise SettingError("--project", "should name W&B's project", "nothing", "Add --project NAME.")
    from swag_repro.tracking.fetch import fetch

    folder = options.results / "wandb" / options.project
    fetched = fetch(options.project, options.entity, folder)
    without = [f"{count} {state} without tables in W&B" for state, count in fetched.without.items()]
    return folder, [f"{fetched.new} runs fetched, {fetched.there} fetched before", *without]
