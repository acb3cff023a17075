"""`python -m analysis status [SWEEP | experiment=…]`: the progress of a sweep, cell by cell."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.commands import Commands, add, drawn

if TYPE_CHECKING:
    from analysis.progress import GridProgress

EVERY = 2.0
"""Seconds between two updates of `--watch`."""


def register(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add(
        commands,
        "status",
        run,
        overrides=True,
        sweeps=True,
        about="how far a sweep is, by default the newest; or the cells of a command",
        usage="[--watch] [--json] [SWEEP | override ...]",
    )
    parser.add_argument("--watch", action="store_true", help="until all is done")
    parser.add_argument("--json", action="store_true", help="for machines")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> Iterator[str]:
    """Yield lines that show the progress, or watch it."""
    read = _reader(options.output, overrides)
    if options.json:
        yield json.dumps(read().to_plain(), indent=1)
    elif options.watch and sys.stdout.isatty():
        _watch(read)
    else:
        yield from drawn(read().shown(), soft_wrap=True)


def _reader(output: Path, overrides: Sequence[str]) -> Callable[[], GridProgress]:
    """Return a function that reads the progress of a sweep, or of a command's cells."""
    from analysis.progress import of_command, of_sweep
    from experiments.asking import sweep_of

    sweep = sweep_of(overrides or ["last"], output)
    return partial(of_command, overrides, output) if sweep is None else partial(of_sweep, sweep)


def _watch(read: Callable[[], GridProgress]) -> None:
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        while not (progress := read()).complete:
            live.update(progress.shown(), refresh=True)
            time.sleep(EVERY)
        live.update(progress.shown(), refresh=True)
