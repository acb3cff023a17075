"""What the workers of a sweep did, in a file each, to which they only add lines.

<sweep>/workers/<name>.jsonl   {"event": "took", "at": 1764000000.0, "cell": 7} ...

A worker holds a lock on its file as long as it lives, so that one that was killed is told at once, and
touches it every few seconds.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self
from uuid import uuid4

from swag_repro.runs.files import beating, is_locked

State = Literal["computed", "judged", "skipped", "interrupted", "busy", "left", "failed"]
UNENDED: tuple[State, ...] = ("interrupted", "busy")
"""What is to be taken up again."""

DEATHS = 3
"""A cell during which so many workers of a sweep died is left to the next sweep."""


FAILURES = 3
"""A run that failed so often in the same way is left as it is, unless `sweep.failed` says otherwise."""


def alike(failures: Sequence[str]) -> bool:
    """Whether the last failures of a run were so many, and the same, that another would be, too."""
    return len(failures) >= FAILURES and len(set(failures[-FAILURES:])) == 1


@dataclass(frozen=True)
class Outcome:
    """What became of one cell.

    Attributes:
        number: of the cell in its sweep, from 0; 0 outside one.
        state: `computed`; `judged`, where the pictures were there; `skipped`, as all was there;
            `interrupted`; `busy`, where another sweep computes it; `left`, as it failed too often;
            or `failed`.
        seconds: it took.
        reason: why it failed, or was left.
        path: of its run directory, where it got one.
        signal: that interrupted it.
    """

    number: int
    state: State
    seconds: float
    reason: str | None = None
    path: str | None = None
    signal: int | None = None


@dataclass(frozen=True)
class Worker:
    """One process of a sweep.

    Attributes:
        name: of its file.
        host: it runs on.
        pid: its number there.
        since: seconds since 1970.
    """

    name: str
    host: str
    pid: int
    since: float


@dataclass
class Attempt:
    """One worker's go at a cell.

    Attributes:
        number: of the goes at this cell, from 0.
        worker: its name.
        since: seconds since 1970.
        outcome: None as long as it has none, or if its worker was killed.
    """

    number: int
    worker: str
    since: float
    outcome: Outcome | None = None


@dataclass
class Ledger:
    """All that was written so far; `read` adds what is new.

    Files of several workers are read in any order, and clocks of several hosts differ: the number of an
    attempt tells which is the latest.

    Attributes:
        folder: of the workers' files.
        latest: attempt at each cell that was ever taken.
        counts: of cells whose latest attempt has ended, by its state.
        workers: by name.
    """

    folder: Path
    latest: dict[int, Attempt] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    workers: dict[str, Worker] = field(default_factory=dict)
    _unended: dict[int, set[int]] = field(default_factory=dict)
    _read: dict[str, int] = field(default_factory=dict)

    def read(self) -> Self:
        """Reads what was added since; a line that is not whole yet waits for the next time."""
        for path in sorted(self.folder.glob("*.jsonl")):
            start = self._read.get(path.stem, 0)
            if path.stat().st_size > start:
                with path.open("rb") as file:
                    file.seek(start)
                    whole = file.read().rpartition(b"\n")[0]
                self._read[path.stem] = start + len(whole) + bool(whole)
                for line in whole.splitlines():
                    self._add(path.stem, json.loads(line))
        return self

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """Of all cells whose latest attempt has ended, by number."""
        ended = ((cell, attempt.outcome) for cell, attempt in sorted(self.latest.items()))
        return {cell: outcome for cell, outcome in ended if outcome is not None}

    def alive(self, worker: str) -> bool:
        """Whether it still runs: it holds the lock on its file."""
        return is_locked(self._file(worker))

    def heartbeat(self, worker: str) -> float:
        """When it was last heard of, in seconds since 1970 by the disk's clock."""
        return self._file(worker).stat().st_mtime

    def running(self) -> dict[int, Attempt]:
        """Cells under way."""
        return {cell: attempt for cell, attempt in self._open() if self.alive(attempt.worker)}

    def killed(self) -> dict[int, Attempt]:
        """Cells whose worker died with them."""
        return {cell: attempt for cell, attempt in self._open() if not self.alive(attempt.worker)}

    def deaths(self, cell: int) -> int:
        """How many attempts at a cell have no outcome; the one under way is among them."""
        return len(self._unended.get(cell, ()))

    def remaining(self) -> Iterator[int]:
        """Cells to be taken again, in order: interrupted, put back, or left by the dead."""
        again = {cell for cell, outcome in self.outcomes.items() if outcome.state in UNENDED}
        again |= {cell for cell in self.killed() if self.deaths(cell) < DEATHS}
        yield from sorted(again)

    def _open(self) -> Iterator[tuple[int, Attempt]]:
        return ((cell, at) for cell, at in sorted(self.latest.items()) if at.outcome is None)

    def _file(self, worker: str) -> Path:
        return self.folder / f"{worker}.jsonl"

    def _add(self, name: str, line: dict[str, Any]) -> None:
        event, at = line.pop("event"), line.pop("at")
        if event == "began":
            self.workers[name] = Worker(name, line["host"], line["pid"], at)
        elif event == "took":
            self._taken(line["cell"], Attempt(line["attempt"], name, at))
        elif event == "ended":
            self._ended(line.pop("attempt"), Outcome(**line))

    def _taken(self, cell: int, attempt: Attempt) -> None:
        self._unended.setdefault(cell, set()).add(attempt.number)
        before = self.latest.get(cell)
        if before is None or before.number < attempt.number:
            self.latest[cell] = attempt
            if before is not None and before.outcome is not None:
                self.counts[before.outcome.state] -= 1

    def _ended(self, attempt: int, outcome: Outcome) -> None:
        self._unended[outcome.number].discard(attempt)
        latest = self.latest[outcome.number]
        if latest.number == attempt:
            latest.outcome = outcome
            self.counts[outcome.state] += 1


class Log:
    """A worker's own file."""

    _attempt = 0

    def __init__(self, folder: Path) -> None:
        host, pid = socket.gethostname(), os.getpid()
        folder.mkdir(exist_ok=True)
        self.path = folder / f"{host}-{pid}-{uuid4().hex[:6]}.jsonl"
        self._unwritten: list[dict[str, Any]] = []
        self._file = self.path.open("ab", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.add("began", host=host, pid=pid)

    def add(self, event: str, **details: Any) -> None:
        """Adds a line; where there is no room, together with the next one."""
        self._unwritten.append({"event": event, "at": round(time.time(), 3), **details})
        lines = "".join(f"{json.dumps(line)}\n" for line in self._unwritten).encode()
        end = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(lines) == len(lines):
                self._unwritten.clear()
                return
        except OSError:
            pass
        os.ftruncate(self._file.fileno(), end)  # of a full disk: the beginning of a line

    def took(self, cell: int, attempt: int) -> None:
        """The cell that this worker computes from now on, and how many went at it before."""
        self._attempt = attempt
        self.add("took", cell=cell, attempt=attempt)

    @property
    def again(self) -> bool:
        """Whether another worker, or this one, had that cell before."""
        return self._attempt > 0

    def ended(self, outcome: Outcome) -> None:
        """What became of it."""
        known = {name: value for name, value in asdict(outcome).items() if value is not None}
        self.add("ended", attempt=self._attempt, **known)

    def close(self) -> None:
        """Ends this worker."""
        self.add("left")
        self._file.close()


@contextmanager
def logged_worker(folder: Path) -> Iterator[Log]:
    """The file of this process, for as long as it works."""
    log = Log(folder)
    try:
        with beating(log.path):
            yield log
    finally:
        log.close()
