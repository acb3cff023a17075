"""`python -m analysis quality FOLDER`: draws what `experiments/benchmark.py quality` has measured."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from analysis.commands import Commands, add


def register(commands: Commands) -> None:
    """Adds its parser."""
    about = "time to a good picture, as the benchmark measured it"
    parser = add(commands, "quality", run, overrides=False, about=about)
    parser.add_argument("folder", type=Path, help="of the benchmark (results/quality)")


def run(options: argparse.Namespace, _: Sequence[str]) -> Iterable[str]:
    """Draws it beside its tables; gives the files."""
    from analysis.figures import quality

    return map(str, quality.save(quality.load(options.folder), options.folder))
