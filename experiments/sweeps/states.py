"""What became of a cell or a run, read from run directories."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from swag_repro.errors import StoreError
from swag_repro.runs.records import INTERRUPTED, KILLED, Status, read_status
from swag_repro.runs.store import Store

State = Literal["done", "running", "failed", "left", "killed", "interrupted", "stale", "missing"]
"""`left` failed too often and is not tried again, `killed` and `interrupted` are taken up by the same
command, `stale` has other inputs or another version of the experiment by now, and `missing` was never begun.
"""

FAILURES = 3
"""A run that failed so often in the same way is left as it is, unless `sweep.failed` says otherwise."""


def alike(failures: Sequence[str]) -> bool:
    """Return whether the last failures of a run were so many, and the same, that another would be, too."""
    return len(failures) >= FAILURES and len(set(failures[-FAILURES:])) == 1


def without_kills(failures: Sequence[str]) -> list[str]:
    """Return the failures that an attempt reported itself."""
    return [failure for failure in failures if not failure.startswith(KILLED)]


@dataclass(frozen=True)
class Found:
    """What the run directories of a cell say.

    Attributes:
        state: of the first of its runs that is not done; `done` if all are.
        reason: why it is so, where that is known.
        since: seconds since 1970 when it was begun.
        host: that computes it.
        heartbeat: seconds since 1970 when that was last heard of.
        path: of the run's directory.
        sweep: that computed or computes it, by its folder's name.
    """

    state: State
    reason: str | None = None
    since: float | None = None
    host: str | None = None
    heartbeat: float | None = None
    path: str | None = None
    sweep: str | None = None

    @property
    def ended(self) -> bool:
        """Whether no worker of its sweep is to compute it any more."""
        return self.state in ("done", "failed", "left")


def look(directory: Path, sweep: str | None = None) -> Found:
    """Return what became of a run.

    Args:
        directory: of the run.
        sweep: that asks, by its folder's name: it leaves what failed before it began.
    """
    try:
        status = read_status(directory)
    except StoreError:
        return Found("missing")
    since = datetime.fromisoformat(status.started_at).timestamp()
    path = str(directory)
    if status.state == "finished":
        return Found("done", since=since, path=path, sweep=status.sweep)
    store = Store(directory.parents[1])
    if store.is_held(directory.name):
        heartbeat = os.path.getmtime(store.lock(directory.name))  # noqa: PTH204  (quick)
        return Found("running", None, since, status.host, heartbeat, path, status.sweep)
    state, reason = _at_rest(status, sweep)
    return Found(state, reason, since, path=path, sweep=status.sweep)


def _at_rest(status: Status, sweep: str | None) -> tuple[State, str | None]:
    if status.state == "failed":
        if status.reason == INTERRUPTED:
            return "interrupted", None
        before = status.sweep != sweep if sweep is not None else alike(status.all_failures)
        return "left" if before else "failed", status.reason
    reason = "its process ended without a word"
    if alike(status.all_failures):
        return "left", f"{reason}, {FAILURES} times"
    return "killed", reason
