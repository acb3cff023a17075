"""What a worker of a sweep does: it takes the next cell as long as there is one."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from experiments.signals import handled
from experiments.sweeps.ledger import Log, Outcome, logged_worker
from experiments.sweeps.progress import console
from experiments.sweeps.sweep import Place, Sweep

PATIENCE = 300.0
"""Seconds for which a folder that can't be reached is waited for."""

PAUSE = 1.0
"""Seconds between two looks whether it is back."""

T = TypeVar("T")


class Compute(Protocol):
    """Computes a cell."""

    def __call__(self, place: Place, *, wait: bool) -> Outcome:
        """What became of it; `wait` tells whether to wait where another process computes it."""


def work(sweep: Sweep, compute: Compute, tell: Callable[[Place, Outcome], None]) -> Outcome | None:
    """Computes cells of a sweep until none is left; the outcome that ended it before, where a signal did.

    Raises:
        OSError: the sweep's folder could not be reached for minutes.
    """
    came: list[int] = []
    with logged_worker(sweep.directory / "workers") as log, handled(came.append), _quick_collections():
        while not came and (place := _next(sweep, log)) is not None:
            outcome = _computed(place, log, compute)
            log.ended(outcome)
            tell(place, outcome)
            if outcome.signal is not None:
                return outcome
    return Outcome(0, "interrupted", 0.0, signal=came[0]) if came else None


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
