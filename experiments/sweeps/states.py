"""The state of a cell or a run, read from run directories."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from swag_repro.errors import StoreError
from swag_repro.runs.records import INTERRUPTED, KILLED, RunStatus, read_status
from swag_repro.runs.store import Store

CellState = Literal["done", "running", "failed", "left", "killed", "interrupted", "stale", "missing"]
"""A `left` run failed too often, so it is not tried again. The same command continues `killed` and
`interrupted` runs. A `stale` run has outdated inputs or an outdated version of the experiment. A `missing`
run was never begun.
"""

FAILURES = 3
"""The number of equal failures in a row after which a run is left, unless `sweep.failed` says otherwise."""


def alike(failures: Sequence[str]) -> bool:
    """Return whether the last `FAILURES` failures of a run are the same; another attempt would fail, too."""
    return len(failures) >= FAILURES and len(set(failures[-FAILURES:])) == 1


def without_kills(failures: Sequence[str]) -> list[str]:
    """Return the failures that an attempt reported, without those of killed attempts."""
    return [failure for failure in failures if not failure.startswith(KILLED)]


@dataclass(frozen=True)
class Found:
    """The state of a cell, read from its run directories.

    Attributes:
        state: The state of the first of its runs that is not done; `done` if all are.
        reason: The reason for the state, if it is known.
        since: The seconds since 1970 at which the run began.
        host: The host that computes it.
        heartbeat: The seconds since 1970 of the last sign of life from that host.
        path: The run's directory.
        sweep: The folder's name of the sweep that computes or has computed it.
    """

    state: CellState
    reason: str | None = None
    since: float | None = None
    host: str | None = None
    heartbeat: float | None = None
    path: str | None = None
    sweep: str | None = None

    @property
    def ended(self) -> bool:
        """True if no worker of its sweep will compute it any more."""
        return self.state in ("done", "failed", "left")


def state_of(directory: Path, sweep: str | None = None) -> Found:
    """Return the state of a run.

    Args:
        directory: The run's directory.
        sweep: The folder's name of the sweep that asks; it leaves runs that failed in other sweeps.
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


def _at_rest(status: RunStatus, sweep: str | None) -> tuple[CellState, str | None]:
    if status.state == "failed":
        if status.reason == INTERRUPTED:
            return "interrupted", None
        before = status.sweep != sweep if sweep is not None else alike(status.all_failures)
        return "left" if before else "failed", status.reason
    reason = "its process ended without a word"
    if alike(status.all_failures):
        return "left", f"{reason}, {FAILURES} times"
    return "killed", reason
