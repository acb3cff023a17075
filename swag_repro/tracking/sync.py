"""Sends what W&B has not got of an output folder's runs, each once, however often it is called.

A log that was written to its end goes as it is, if the server does not know its run. Of all others, those
cut off by a lost network or sent in part by an interrupted `sync`, a new log is made from the run directory,
without the points that the server has: W&B itself would append them again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swag_repro.errors import UserError
from swag_repro.runs.records import RunRecord
from swag_repro.runs.store import Store
from swag_repro.tracking.about import About
from swag_repro.tracking.rebuild import rebuild
from swag_repro.tracking.server import Server
from swag_repro.tracking.tracker import COMPLETE, quiet_below, synced

AT_ONCE = 16
"""Runs of which one call of `wandb sync` sends several side by side."""


@dataclass(frozen=True)
class Sent:
    """What became of one run.

    Attributes:
        run_id: Of the run.
        state: `there` had been sent before; `busy` is being computed, or was killed; `unmirrored` was
            computed without W&B: `rebuild` makes what can be sent of it.
        reason: Why it failed.
    """

    run_id: str
    state: Literal["sent", "there", "busy", "unmirrored", "failed"]
    reason: str = ""


def logs_of(record: RunRecord) -> list[Path]:
    """W&B's logs below a run directory, the oldest first."""
    return sorted(record.path.glob("wandb/*run-*/run-*.wandb"), key=lambda log: log.parent.name[-32:])


def sync(records: Iterable[RunRecord], root: Path, *, timeout: float) -> Iterator[Sent]:
    """Sends what is missing; yields each run as soon as it is clear what became of it.

    Args:
        records: Runs.
        root: Their output folder.
        timeout: Seconds after which a server that does nothing counts as gone.

    Raises:
        TrackingError: No server answers, or there is no key; only if there is something to send.
    """
    waiting = []
    for record in records:
        if (state := _state(record)) == "waiting":
            waiting.append(record)
        else:
            yield Sent(record.path.name, state)
    if not waiting:
        return
    with tempfile.TemporaryDirectory() as folder, quiet_below(Path(folder)):
        server, store = Server(timeout=timeout), Store(root)
        for first in range(0, len(waiting), AT_ONCE):
            yield from _send(waiting[first : first + AT_ONCE], store, server)


def _state(record: RunRecord) -> Literal["there", "busy", "unmirrored", "waiting"]:
    logs = logs_of(record)
    if record.status.state == "running":
        return "busy"
    if not logs:
        return "unmirrored"
    return "there" if synced(logs[-1]).exists() else "waiting"


def _send(records: Sequence[RunRecord], store: Store, server: Server) -> Iterator[Sent]:
    logs: dict[Path, str] = {}
    with ExitStack() as held:
        for record in records:
            run_id = record.path.name
            if not held.enter_context(store.at_rest(run_id)):
                yield Sent(run_id, "busy")
                continue
            try:
                logs[_prepared(record, server)] = run_id
            except UserError as error:
                yield Sent(run_id, "failed", str(error))
        failed = server.send(list(logs)) if logs else {}
    for log, run_id in logs.items():
        yield Sent(run_id, "failed", failed[log]) if log in failed else Sent(run_id, "sent")


def _prepared(record: RunRecord, server: Server) -> Path:
    """The log that is to be sent of a run."""
    known, log = server.points(About.of(record)), logs_of(record)[-1]
    if known is None and log.with_name(COMPLETE).exists():
        return log
    rebuild(record, known or ())
    return logs_of(record)[-1]
