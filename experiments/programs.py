"""The entry points by their names in the command `swag`, for commands that are printed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

NAMES = {
    "measure_activations": "measure",
    "measure_units": "units",
    "stylize": "stylize",
    "judge": "judge",
    "train_classifier": "train",
    "train_feedforward": "train-feedforward",
    "transfer": "transfer",
    "search": "search",
}
"""Entry point → its name in `swag`."""

PICTURED = ("stylize", "train_feedforward")
"""Entry points whose sweeps `swag sheet` draws: their runs have pictures, each run of one network."""


def words(entry: str, arguments: Sequence[str]) -> list[str]:
    """Return the words of the command that runs an entry point."""
    return ["swag", NAMES.get(entry, entry), *arguments]


def typed(entry: str, arguments: Sequence[str]) -> str:
    """Return the command that runs an entry point, as typed in a shell."""
    return shlex.join(words(entry, arguments))
