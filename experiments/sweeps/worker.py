"""A worker of a sweep: it goes over the cells, and computes those that no other process computes."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from rich.markup import escape

from experiments.signals import handled
from experiments.sweeps.progress import console
from experiments.sweeps.sweep import CellPlace, Sweep

FOLDER_PATIENCE = 300.0
"""Seconds for which a worker waits for a folder that can't be reached."""

WORKER_PAUSE = 1.0
"""Seconds between two checks of the folder, or of a cell that another process computes."""

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """The outcome of one cell in this process.

    Attributes:
        state: `computed`; `judged` if the pictures existed; `skipped` if all results existed; `interrupted`;
            `busy` if another process computes it; `left` if it failed too often; or `failed`.
        seconds: The time it took.
        reason: The reason why it failed, or was left.
        path: Its run directory; None if it has none.
        signal: The signal that interrupted it.
    """

    state: Literal["computed", "judged", "skipped", "interrupted", "busy", "left", "failed"]
    seconds: float
    reason: str | None = None
    path: str | None = None
    signal: int | None = None


@dataclass(frozen=True)
class Worker:
    """A process that computes cells of a sweep.

    Attributes:
        sweep: The sweep of the cells.
        compute: A function that computes a cell.
        tell: A function that takes the outcome of a cell that has ended.
    """

    sweep: Sweep
    compute: Callable[[CellPlace], Outcome]
    tell: Callable[[Outcome, CellPlace], None]
    _came: list[int] = field(default_factory=list)

    def work(self, *, first: int = 0, stays: bool = True) -> int | None:
        """Compute cells until all have ended; return the signal that ended this earlier, if one did.

        Cells that other processes compute are checked again at the end, because those processes may be
        killed.

        Args:
            first: The cell to begin with, another one for each worker.
            stays: Whether to wait for cells that other processes compute.

        Raises:
            OSError: The sweep's folder could not be reached for minutes.
        """
        left = deque(range(len(self.sweep.grid)))
        left.rotate(-first)
        with _quick_collections(), handled(self._came.append):
            while left and not self._ends:
                before, left = len(left), deque(number for number in left if not self._is_settled(number))
                if len(left) == before:
                    if not stays:
                        break
                    time.sleep(WORKER_PAUSE)
        return self._came[0] if self._came else None

    @property
    def _ends(self) -> bool:
        return bool(self._came) or patiently(lambda: self.sweep.stopped, self.sweep)

    def _is_settled(self, number: int) -> bool:
        """Compute a cell that nobody else computes; return whether it needs nothing more from this worker."""
        if self._ends:
            return True
        found = patiently(lambda: self.sweep.state_of(number), self.sweep)
        if found.ended or found.state == "running":
            return found.ended
        outcome = self.compute(place := CellPlace(self.sweep, number))
        if outcome.signal is not None:
            self._came.append(outcome.signal)
        if outcome.state == "busy" or (outcome.state == "failed" and not _is_there(self.sweep)):
            return False
        self.tell(outcome, place)
        return True


@contextmanager
def _quick_collections() -> Iterator[None]:
    """Keep imported objects out of garbage collections within the block: these would take half a second."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _is_there(sweep: Sweep) -> bool:
    return (sweep.directory / "plan.json").exists()


def patiently(read: Callable[[], T], sweep: Sweep) -> T:
    """Return what a sweep's folder holds, by `read`; retry for a while, because shared folders come back.

    Raises:
        OSError: The folder did not come back.
    """
    began = time.monotonic()
    while True:
        try:
            if _is_there(sweep):
                return read()
            raise FileNotFoundError(f"{sweep.directory} is not there")
        except OSError as error:
            if time.monotonic() - began > FOLDER_PATIENCE:
                raise
            if time.monotonic() - began < WORKER_PAUSE:
                console.print(f"[yellow]waiting for the sweep's folder[/] ({escape(str(error))})")
            time.sleep(WORKER_PAUSE)
