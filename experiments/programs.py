"""The entry points by their names in the command `swag`, for commands that are printed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

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


def task_overrides(hydra: DictConfig) -> list[str]:
    """Return the command's own overrides, as typed: each job resolves their interpolations.

    Args:
        hydra: The `hydra` node of a composed config.
    """
    plain: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    return list(plain)


def hydra_overrides(hydra: DictConfig) -> list[str]:
    """Return Hydra's own settings, as typed, that a command gives beside its flags.

    Args:
        hydra: The `hydra` node of a composed config.
    """
    plain: Any = OmegaConf.to_container(hydra.overrides, resolve=False)  # some resolve only within a job
    return [override for override in plain["hydra"] if not override.startswith("hydra.mode=")]


def config_dir(hydra: DictConfig) -> str | None:
    """Return the folder that a command gives by `--config-dir`; see `hydra_overrides`."""
    sources = hydra.runtime.config_sources
    found = next((source.path for source in sources if source.provider == "command-line"), None)
    return None if found is None else str(Path(found).absolute())


def find_modules_beside(folder: Path) -> None:
    """Let Python find the modules beside a folder of the user's settings, behind all other modules."""
    if (place := str(folder.absolute().parent)) not in sys.path:
        sys.path.append(place)


def typed(entry: str, arguments: Sequence[str]) -> str:
    """Return the command that runs an entry point, as typed in a shell."""
    return shlex.join(words(entry, arguments))
