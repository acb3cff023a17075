"""`swag COMMAND ...`: short names of all entry points, from wherever the package is installed.

swag measure -m experiment=fig3
swag status
swag figure fig3
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from runpy import run_module

from swag_repro.errors import check_choice
from swag_repro.program import UsageError, ended, nearest

COMMANDS = {
    "experiments": ("experiments.listing", "what can be computed: experiments, their cells, what they cost"),
    "measure": (
        "experiments.measure_activations",
        "statistics of activations and Gram matrices, layer by layer",
    ),
    "units": ("experiments.measure_units", "what residual units do to peaks"),
    "stylize": ("experiments.stylize", "pictures, and their judgement"),
    "judge": ("experiments.judge", "judgement of finished pictures by another judge"),
    "train": ("experiments.train_classifier", "a classifier, whose weights all others take"),
    "train-feedforward": ("experiments.train_feedforward", "a network that stylises in one pass"),
    "transfer": (
        "experiments.transfer",
        "pictures by a network that was trained to stylise, in one pass",
    ),
    "search": ("experiments.search", "the settings of a stylisation that its judge likes best"),
    "status": ("analysis", "how far a sweep is"),
    "collect": ("analysis", "all runs in three tables"),
    "figure": ("analysis", "a figure of the papers, and the numbers behind it"),
    "plot": ("analysis", "any number of a sweep against any setting"),
    "sheet": ("analysis", "the pictures of a sweep, by what was swept"),
    "runs": ("analysis", "runs, by what was swept"),
    "explain": ("analysis", "where a file comes from, and what makes it again"),
    "claims": ("analysis", "which statements of the papers hold, and by how much"),
    "dashboard": ("analysis", "a W&B workspace and a report"),
    "sync": ("swag_repro.tracking", "sends what W&B does not have yet"),
    "rebuild": ("swag_repro.tracking", "makes the W&B run of a run directory anew"),
}
"""Command → the module that runs as a program, and a description."""

OF_MANY = ("analysis", "swag_repro.tracking")
"""Modules with several commands; they take the command's name as their first argument."""


def main() -> None:
    """Run one command, as its module would run as a program."""
    name, given = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if name in ("-h", "--help"):
        print(_help())
        return
    if name == "completion":
        sys.exit(ended(partial(_complete, given)))
    if status := ended(partial(_known, name)):
        sys.exit(status)
    module, _ = COMMANDS[name]
    sys.argv = [f"swag {name}", *([name] if module in OF_MANY else []), *given]
    run_module(module, run_name="__main__")


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {about}" for name, (_, about) in COMMANDS.items()]
    usage = "usage: swag COMMAND ...      swag COMMAND --help"
    tab = """Tab completion, in bash or zsh: eval "$(swag completion bash)\""""
    return "\n".join([usage, "", *lines, "", tab])


def _complete(given: Sequence[str]) -> int:
    """Print a shell's script, or, for a line of it, what may stand there."""
    from analysis.completion import SCRIPTS, completion  # here: it reads `conf/`

    shell, line, breaks = (*given, "", "", "")[:3]
    check_choice("completion", shell, SCRIPTS)
    names = {**COMMANDS, "completion": ("", "")}
    print("\n".join(completion(shell, line, breaks, names)) if len(given) > 1 else SCRIPTS[shell])
    return 0


def _known(name: str) -> int:
    """Return 0 if there is such a command.

    Raises:
        UsageError: There is none.
    """
    if name not in COMMANDS:
        remedy = f"Did you mean {near}?" if (near := nearest(name, COMMANDS)) else "Type: swag --help"
        raise UsageError(f"`swag` has no command {name!r}", remedy)
    return 0
