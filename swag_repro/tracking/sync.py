"""Sending of an output folder's runs to W&B: each run is sent once, however often `sync` is called.

A log that was written to its end is sent as it is if the server does not know its run. Other logs were cut
off by a lost network, or sent in part by an interrupted `sync`. For them a new log is made from the run
directory, without the points that the server has, because W&B itself would append them again.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from swag_repro.errors import TrackingError, UserError
from swag_repro.runs.files import clear
from swag_repro.runs.records import RunRecord
from swag_repro.runs.store import Store
from swag_repro.tracking.about import About
from swag_repro.tracking.shown import replay, show
from swag_repro.tracking.tracker import COMPLETE, Tracker, environment, line_of, log_in, open_run, synced

if TYPE_CHECKING:
    import wandb

RUNS_PER_CALL = 16
"""Number of runs for one call of `wandb sync`, which sends several side by side."""

OFFLINE_TIMEOUT = 15.0
"""Seconds in which W&B has to start offline, and to end."""

WAIT = 5.0
"""Seconds between two of W&B's attempts to reach a server that is away."""

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


class Server:
    """The server of the user's W&B settings.

    Args:
        timeout: Seconds after which a server that does not answer counts as gone.

    Raises:
        TrackingError: There is no key, or the server refuses it, or does not answer.
    """

    def __init__(self, *, timeout: float) -> None:
        self.timeout = timeout
        try:
            import wandb

            log_in()
            self._api: Any = wandb.Api(timeout=max(1, int(timeout)))
            self._entity = self._api.default_entity
        except Exception as error:  # W&B passes on errors of any kind from its parts
            remedy = "Check the network, WANDB_BASE_URL and the key (`wandb login` stores one)."
            raise TrackingError("W&B's server", "should answer", line_of(error), remedy) from error

    def points(self, about: About) -> list[dict[str, Any]] | None:
        """Return the whole history that the server has of a run; None if it does not know the run.

        Raises:
            TrackingError: The server does not answer.
        """
        run = self._run(about)
        return None if run is None else list(run.scan_history(use_cache=False))

    def has_ended(self, about: About) -> bool:
        """Return whether a run has arrived at the server with its end.

        Raises:
            TrackingError: The server does not answer.
        """
        run = self._run(about)
        return run is not None and run.state in ("finished", "failed")

    def _run(self, about: About) -> Any:
        path = f"{about.entity or self._entity}/{about.project}/{about.run_id}"
        try:
            self._api.flush()  # without this, W&B's client answers from memory
            return self._api.run(path)
        except Exception as error:  # W&B passes on errors of any kind from its parts
            if "Could not find run" in str(error):
                return None
            raise TrackingError(path, "should be read", line_of(error), "Try again later.") from error

    def send(self, logs: Sequence[Path]) -> None:
        """Upload logs by `wandb sync`, which marks them, and prints what becomes of them."""
        if not logs:
            return
        # The command gets a service of its own; by WANDB_SERVICE it would use this process's.
        own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        command = [sys.executable, "-m", "wandb", "sync", "--include-online", *map(str, logs)]
        subprocess.run(command, env={**own, **self._patience(), "WANDB_SILENT": "false"}, check=False)

    def _patience(self) -> dict[str, str]:
        """Return settings that make W&B give up a server that is away; by default it tries for seven days."""
        limits = {"MAX": math.ceil(self.timeout / WAIT), "WAIT_MIN_SECONDS": 1, "WAIT_MAX_SECONDS": WAIT}
        kinds = ("FILE_STREAM", "FILE_TRANSFER", "GRAPHQL")
        return {
            f"WANDB_X_{kind}_RETRY_{name}": str(limit) for kind in kinds for name, limit in limits.items()
        }


class Remainder(Tracker):
    """A tracker that leaves out points that a server already has of a run.

    Args:
        run: The W&B run.
        known: Points that the server has.
    """

    def __init__(self, run: wandb.Run | None, known: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(run)
        self._step = 1 + max((point["_step"] for point in known), default=-1)
        self._known: dict[tuple[str, Any], list[dict[str, Any]]] = defaultdict(list)
        for point in map(_numbers, known):
            for item in point.items():
                self._known[item].append(point)

    def _log(self, run: wandb.Run, values: Mapping[str, Any]) -> None:
        point = _numbers(values)
        there = self._known[next(iter(point.items()))]
        if not any(point.items() <= other.items() for other in there):
            run.log(dict(values), step=self._step)
            self._step += 1


def _numbers(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point without tables and images, which can't be compared: they have only their names."""
    return {name: value if isinstance(value, int | float) else None for name, value in point.items()}


def rebuild(record: RunRecord, known: Sequence[Mapping[str, Any]] = ()) -> None:
    """Replace what W&B has written below a run directory.

    Args:
        record: A run that is finished, or has failed; it should be at rest.
        known: Points that the server has of the run, which are left out.

    Raises:
        StoreError: A file of the run is damaged, or can't be written.
        TrackingError: W&B did not take the run.
    """
    about, config = About.of(record), record.config
    clear(record.path / "wandb")
    with open_run(
        about, mode="offline", directory=record.path, config=config, timeout=OFFLINE_TIMEOUT
    ) as run:
        tracker = Remainder(run, known)
        if record.status.state == "finished":
            replay(tracker, record)
            show(tracker, record)
        tracker.end(record.status.reason)
    if not tracker.sends:
        rule = "should be mirrored offline"
        raise TrackingError(f"run {record.path.name}", rule, "a failure of W&B", "The warning says which.")
