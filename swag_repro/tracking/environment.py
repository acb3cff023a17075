"""W&B's environment variables: which count, which are ignored, and which say where W&B may write."""

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
"""Modes from the loosest to the strictest. If one can't be started, the next takes its place."""

SYNONYMS: dict[str, Mode] = {"run": "online", "shared": "online", "dryrun": "offline"}
"""Other values of WANDB_MODE."""

AGENTS = ("WANDB_SWEEP_ID", "WANDB_RUN_ID")
"""Variables that an agent of `wandb sweep` sets for each trial."""

IGNORED = (
    *AGENTS, "WANDB_NAME", "WANDB_RUN_GROUP", "WANDB_JOB_TYPE", "WANDB_RESUME", "WANDB_RESUME_FROM",
    "WANDB_FORK_FROM", "WANDB_LAUNCH",
)  # fmt: skip
"""Variables that only the run directory may decide: with them, two cells would become one W&B run."""

PARAMETERS = "WANDB_SWEEP_PARAM_PATH"
"""The variable that names the file with a trial's parameters from an agent."""


def strictest(mode: Mode) -> Mode:
    """Return the stricter of a mode and WANDB_MODE; warn, if they differ, which one counts."""
    said = os.environ.get("WANDB_MODE", "")
    asked = SYNONYMS.get(said, said)
    if asked == mode or asked not in MODES:
        return mode
    chosen = max(mode, asked, key=MODES.index)
    _warn_once(f"W&B is {chosen}: the stricter of WANDB_MODE={said} and tracking={mode} counts")
    return chosen


def tags() -> tuple[str, ...]:
    """Return the tags from WANDB_TAGS, which are added to those of a run."""
    return tuple(tag for part in os.environ.get("WANDB_TAGS", "").split(",") if (tag := part.strip()))


def agents_sweep() -> str | None:
    """Return the id of the W&B sweep whose agent started this process; None if no agent did."""
    return os.environ.get(AGENTS[0]) if Path(os.environ.get(PARAMETERS, "")).is_file() else None


def warn_of_ignored() -> None:
    """Warn of variables that are set but have no effect, once in a process."""
    expected = AGENTS if agents_sweep() else ()
    found = [name for name in IGNORED if os.environ.get(name) and name not in expected]
    if found:
        _warn_once(f"{', '.join(found)} ignored: a W&B run has the id and the name of its run directory")


@cache
def _warn_once(text: str) -> None:
    logger.warning(text)


@contextmanager
def environment(directory: Path) -> Iterator[None]:
    """Hide ignored variables from W&B, silence it, and make it write all its files below a directory."""
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
