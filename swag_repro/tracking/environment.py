"""W&B's environment variables: those that count, those that are ignored, and where W&B may write."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal, get_args

logger = logging.getLogger(__name__)

Mode = Literal["online", "offline", "disabled"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""From the loosest to the strictest. Where one can't be started, the next takes its place."""

SYNONYMS: dict[str, Mode] = {"run": "online", "shared": "online", "dryrun": "offline"}
"""Other values of WANDB_MODE."""

AGENTS = ("WANDB_SWEEP_ID", "WANDB_RUN_ID")
"""Variables that an agent of `wandb sweep` sets for each trial."""

IGNORED = (
    *AGENTS, "WANDB_NAME", "WANDB_RUN_GROUP", "WANDB_JOB_TYPE", "WANDB_RESUME", "WANDB_RESUME_FROM",
    "WANDB_FORK_FROM", "WANDB_LAUNCH",
)  # fmt: skip
"""Variables that say what only the run directory says: they would make one W&B run of two cells."""

PARAMETERS = "WANDB_SWEEP_PARAM_PATH"
"""The variable that names an agent's file of a trial's parameters."""


def strictest(mode: Mode) -> Mode:
    """Return the stricter of a mode and WANDB_MODE; a logged warning says which counts if they differ."""
    said = os.environ.get("WANDB_MODE", "")
    asked = SYNONYMS.get(said, said)
    if asked == mode or asked not in MODES:
        return mode
    chosen = max(mode, asked, key=MODES.index)
    _warn_once(f"W&B is {chosen}: the stricter of WANDB_MODE={said} and tracking={mode} counts")
    return chosen


def tags() -> tuple[str, ...]:
    """Return the tags that WANDB_TAGS adds to those of a run."""
    return tuple(tag for part in os.environ.get("WANDB_TAGS", "").split(",") if (tag := part.strip()))


def agents_sweep() -> str | None:
    """Return the id of the W&B sweep whose agent started this process; None if none did."""
    return os.environ.get(AGENTS[0]) if Path(os.environ.get(PARAMETERS, "")).is_file() else None


def warn_of_ignored() -> None:
    """Name the variables that are set and have no effect, once a process."""
    expected = AGENTS if agents_sweep() else ()
    found = [name for name in IGNORED if os.environ.get(name) and name not in expected]
    if found:
        _warn_once(f"{', '.join(found)} ignored: a W&B run has the id and the name of its run directory")


@cache
def _warn_once(text: str) -> None:
    logger.warning(text)


@contextmanager
def environment(directory: Path) -> Iterator[None]:
    """Let W&B see no variable that is ignored, print nothing, and write all its files below a directory."""
    own = directory.absolute() / "wandb"
    places = {"WANDB_DATA_DIR": f"{own}/data", "WANDB_CACHE_DIR": f"{own}/cache"}
    hidden = (*IGNORED,) if agents_sweep() else (*IGNORED, PARAMETERS)
    changed = {**dict.fromkeys(hidden), **places, "WANDB_SILENT": "true"}
    before = {name: os.environ.get(name) for name in changed}
    _set(changed)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
