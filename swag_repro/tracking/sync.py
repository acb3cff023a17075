"""Sending of an output folder's runs to W&B: each run is sent once, however often `sync` is called.

A log that was written to its end is sent as it is if the server does not know its run. Other logs were cut
off by a lost network, or sent in part by an interrupted `sync`. For them a new log is made from the run
directory, without the points that the server has, because W&B itself would append them again.
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
from swag_repro.tracking.environment import environment
from swag_repro.tracking.rebuild import rebuild
from swag_repro.tracking.server import Server
from swag_repro.tracking.tracker import COMPLETE, synced

RUNS_PER_CALL = 16
"""Number of runs for one call of `wandb sync`, which sends several side by side."""


SyncState = Literal["sent", "there", "busy", "unmirrored", "failed"]


@dataclass(frozen=True)
class Sent:
    """The outcome of sending one run.

    Attributes:
        run_id: The id of the run.
        state: `there` means sent before; `busy` means that it is being computed, or was killed; `unmirrored`
            means computed without W&B: `rebuild` makes what can be sent of it.
        reason: Why it failed.
    """

    run_id: str
    state: SyncState
    reason: str = ""


def sync(records: Iterable[RunRecord], root: Path, *, timeout: float) -> Iterator[Sent]:
    """Send the missing runs; yield each run as soon as its outcome is clear.

    Args:
        records: The runs.
        root: The runs' output folder.
        timeout: Seconds after which a server that does nothing counts as gone.

    Raises:
        TrackingError: There is something to send, but no server answers, or there is no key.
    """
    waiting = []
    for record in records:
        state = _state(record)
        if state is None:
            waiting.append(record)
        else:
            yield Sent(record.path.name, state)
    if not waiting:
        return
    with tempfile.TemporaryDirectory() as folder, environment(Path(folder)):
        server, store = Server(timeout=timeout), Store(root)
        for first in range(0, len(waiting), RUNS_PER_CALL):
            yield from _send(waiting[first : first + RUNS_PER_CALL], store, server)


def _log(record: RunRecord) -> Path | None:
    """Return W&B's log below a run directory; None if it has none."""
    return next(record.path.glob("wandb/*run-*/run-*.wandb"), None)


def _state(record: RunRecord) -> SyncState | None:
    """Return why a run is not sent; None if it is to be sent."""
    if record.status.state == "running":
        return "busy"
    log = _log(record)
    if log is None:
        return "unmirrored"
    return "there" if synced(log).exists() else None


def _send(records: Sequence[RunRecord], store: Store, server: Server) -> Iterator[Sent]:
    logs: dict[Path, RunRecord] = {}
    with ExitStack() as held:
        for record in records:
            if not held.enter_context(store.at_rest(record.path.name)):
                yield Sent(record.path.name, "busy")
                continue
            try:
                logs[_prepared(record, server)] = record
            except UserError as error:
                yield Sent(record.path.name, "failed", str(error))
        server.send(list(logs))
        for log, record in logs.items():
            yield _arrived(record, log, server)


def _prepared(record: RunRecord, server: Server) -> Path:
    """Return the log of a run to send, made anew unless it is whole and the server doesn't know the run."""
    known, log = server.points(About.of(record)), _log(record)
    if known is not None or log is None or not log.with_name(COMPLETE).exists():
        rebuild(record, known or ())
        log = _log(record)
    assert log is not None
    return log


def _arrived(record: RunRecord, log: Path, server: Server) -> Sent:
    """Return the outcome of a run. `wandb sync` marks every log as sent that it has read to its end."""
    try:
        if server.has_ended(About.of(record)):
            return Sent(record.path.name, "sent")
        reason = "it did not arrive, W&B says why above"
    except UserError as error:
        reason = str(error)
    synced(log).unlink(missing_ok=True)
    return Sent(record.path.name, "failed", reason)
