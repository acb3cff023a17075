"""What a worker of a sweep does: it takes the next cell as long as there is one."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from experiments.signals import handled
from experiments.sweeps.ledger import Log, Outcome, logged_worker
from experiments.sweeps.progress import console
from experiments.sweeps.sweep import Place, Sweep
from swag_repro.runs.files import ignore

PATIENCE = 300.0
"""Seconds for which a folder that can't be reached is waited for."""

PAUSE = 1.0
"""Seconds between two looks whether it is back."""

T = TypeVar("T")


class Compute(Protocol):
    """Computes a cell."""

    def __call__(self, place: Place, *, wait: bool) -> Outcome:
        """What became of it; `wait` tells whether to wait where another process computes it."""


def one_by_one(
    folder: Path,
    take: Callable[[Log], T | None],
    compute: Callable[[T, Log], Outcome],
    tell: Callable[[T, Outcome], None] = ignore,
) -> int | None:
    """Computes what there is to take until that is None; the signal that ended it before, if one did.

    Args:
        folder: of the workers' logs.
        take: the next, which it writes to the log.
        compute: what became of it.
        tell: called once that is logged.
    """
    came: list[int] = []
    with logged_worker(folder) as log, handled(came.append):
        while not came and (taken := take(log)) is not None:
            outcome = compute(taken, log)
            log.ended(outcome)
            tell(taken, outcome)
            if outcome.signal is not None:
                came.append(outcome.signal)
    return came[0] if came else None


def work(sweep: Sweep, compute: Compute, tell: Callable[[Place, Outcome], None]) -> int | None:
    """Computes cells of a sweep until none is left; the signal that ended it before, if one did.

    Raises:
        OSError: the sweep's folder could not be reached for minutes.
    """

    def computed(place: Place, log: Log) -> Outcome:
        return _computed(place, log, compute)

    with _quick_collections():
        return one_by_one(sweep.directory / "workers", partial(_next, sweep), computed, tell)


@contextmanager
def _quick_collections() -> Iterator[None]:
    """Within, garbage is not looked for in all that was imported before: that takes half a second."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _next(sweep: Sweep, log: Log) -> Place | None:
    number = patiently(lambda: None if sweep.stopped else sweep.take(log), sweep)
    return None if number is None else Place(sweep, number)


def _computed(place: Place, log: Log, compute: Compute) -> Outcome:
    """What became of it; where its failure was that the folder was away, of another go at it."""
    outcome = compute(place, wait=log.again)
    if outcome.state == "failed" and not _there(place.sweep):
        patiently(place.sweep.untaken, place.sweep)
        outcome = compute(place, wait=log.again)
    return outcome


def _there(sweep: Sweep) -> bool:
    return (sweep.directory / "plan.json").exists()


def patiently(look: Callable[[], T], sweep: Sweep) -> T:
    """What a look at a sweep's folder gives; tried again for a while: shared folders go away, and come back.

    Raises:
        OSError: it did not come back.
    """
    began = time.monotonic()
    while True:
        try:
            if _there(sweep):
                return look()
            raise FileNotFoundError(f"{sweep.directory} is not there")
        except OSError as error:
            if time.monotonic() - began > PATIENCE:
                raise
            if time.monotonic() - began < PAUSE:
                console.print(f"[yellow]waiting for the sweep's folder[/] ({error})")
            time.sleep(PAUSE)
