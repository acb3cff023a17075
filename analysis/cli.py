"""`swag COMMAND ...`: short names of all entry points, from wherever the package is installed.

swag measure -m experiment=fig3
swag status
swag figure fig3
"""

from __future__ import annotations

import sys
from runpy import run_module

from swag_repro.errors import check_choice
from swag_repro.program import UsageError, did_you_mean, ended

COMMANDS = {
    "experiments": ("experiments.listing", "what can be computed: experiments, their cells, what they cost"),
    "network": ("experiments.show_network", "the layers of a network, its taps, and a file to start from"),
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
    "status": ("analysis.commands", "how far a sweep is"),
    "collect": ("analysis.commands", "all runs in three tables"),
    "figure": ("analysis.commands", "a figure of the papers, and the numbers behind it"),
    "plot": ("analysis.commands", "any number of a sweep against any setting"),
    "sheet": ("analysis.commands", "the pictures of a sweep, by what was swept"),
    "report": ("analysis.commands", "a sweep as pages for a browser; --reference: this project"),
    "runs": ("analysis.commands", "runs, by what was swept"),
    "explain": ("analysis.commands", "where a file comes from, and what makes it again"),
    "claims": ("analysis.commands", "which statements of the papers hold, and by how much"),
    "study": (
        "analysis.commands",
        "blind comparisons of pictures by people: a page, its answers, what they say",
    ),
    "calibrate": ("analysis.commands", "how well automatic measures rank pictures as people do"),
    "export": ("analysis.commands", "all results as one bundle: commands, environment, checksums, RO-Crate"),
    "dashboard": ("analysis.commands", "a W&B workspace and a report"),
    "sync": ("swag_repro.tracking", "sends what W&B does not have yet"),
    "rebuild": ("swag_repro.tracking", "makes the W&B run of a run directory anew"),
}
"""Command → the module that runs as a program, and a description."""

OF_MANY = ("analysis.commands", "swag_repro.tracking")
"""Modules with several commands; they take the command's name as their first argument."""


def main() -> None:
    """Run one command, as its module would run as a program."""
    sys.exit(ended(_run))


def _run() -> int:
    name, given = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if name in ("-h", "--help"):
        print(_help())
    elif name == "completion":
        print(_completion(*given))
    elif name not in COMMANDS:
        remedy = did_you_mean(name, COMMANDS, "Type: swag --help")
        raise UsageError(f"`swag` has no command {name!r}", remedy)
    else:
        module, _ = COMMANDS[name]
        sys.argv = [f"swag {name}", *([name] if module in OF_MANY else []), *given]
        run_module(module, run_name="__main__")
    return 0


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {about}" for name, (_, about) in COMMANDS.items()]
    usage = "usage: swag COMMAND ...      swag COMMAND --help"
    tab = """Tab completion, in bash or zsh: eval "$(swag completion bash)\""""
    return "\n".join([usage, "", *lines, "", tab])


def _completion(shell: str = "", line: str | None = None, breaks: str = "") -> str:
    """Return a shell's script; for a line of it, what may stand at its end."""
    from analysis.completion import SCRIPTS, completion  # here: it reads `conf/`

    check_choice("completion", shell, SCRIPTS)
    names = {**COMMANDS, "completion": ("", "")}
    return SCRIPTS[shell] if line is None else "\n".join(completion(shell, line, breaks, names))
