"""`swag COMMAND ...`: short names of all entry points, from wherever the package is installed.

swag measure -m experiment=fig3
swag status
swag figure fig3
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import NoReturn

EXPERIMENTS = {
    "measure": "measure_activations",
    "units": "measure_units",
    "stylize": "stylize",
    "judge": "judge",
    "train": "train_classifier",
    "train-feedforward": "train_feedforward",
    "transfer": "transfer",
    "search": "search",
}
"""Command → entry point."""

ANALYSIS = (
    "status",
    "collect",
    "figure",
    "plot",
    "sheet",
    "runs",
    "explain",
    "claims",
    "dashboard",
)
MIRROR = ("sync", "rebuild")

ABOUT = {
    "experiments": "what can be computed: experiments, their cells, what they cost",
    "measure": "statistics of activations and Gram matrices, layer by layer",
    "units": "what residual units do to peaks",
    "stylize": "pictures, and their judgement",
    "judge": "judgement of finished pictures by another judge",
    "train": "a classifier, whose weights all others take",
    "train-feedforward": "a network that stylises in one pass",
    "transfer": "pictures by a network that was trained to stylise, in one pass",
    "search": "the settings of a stylisation that its judge likes best",
    "status": "how far a sweep is",
    "collect": "all runs in three tables",
    "figure": "a figure of the papers, and the numbers behind it",
    "plot": "any number of a sweep against any setting",
    "sheet": "the pictures of a sweep, by what was swept",
    "runs": "runs, by what was swept",
    "explain": "where a file comes from, and what makes it again",
    "claims": "which statements of the papers hold, and by how much",
    "dashboard": "a W&B workspace and a report",
    "sync": "sends what W&B does not have yet",
    "rebuild": "makes the W&B run of a run directory anew",
}


def main() -> None:
    """Runs one command, as its own entry point would be."""
    name, given = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if name in ("-h", "--help"):
        print(_help())
        return
    if name not in ABOUT:
        _refuse(name)
    sys.argv = [f"swag {name}", *given]
    _command(name)()


def _command(name: str) -> Callable[[], object]:
    if name in EXPERIMENTS:
        from experiments.launching import launch

        entry = importlib.import_module(f"experiments.{EXPERIMENTS[name]}")
        return lambda: launch(entry.main)
    if name in ANALYSIS:
        from analysis.__main__ import main as analyse

        return lambda: sys.exit(analyse([name, *sys.argv[1:]]))
    if name in MIRROR:
        from swag_repro.tracking.__main__ import main as mirror

        return lambda: sys.exit(mirror([name, *sys.argv[1:]]))
    from experiments.listing import main as list_experiments

    return list_experiments


def _help() -> str:
    width = max(map(len, ABOUT))
    lines = [f"  {name:{width}}  {about}" for name, about in ABOUT.items()]
    return "\n".join(["usage: swag COMMAND ...      swag COMMAND --help", "", *lines])


def _refuse(name: str) -> NoReturn:
    print(f"error: `swag` has no command {name!r}\n\n{_help()}", file=sys.stderr)
    sys.exit(2)
