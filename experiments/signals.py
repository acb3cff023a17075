"""Signals that ask a process to end, such as Ctrl-C and SIGTERM; work in progress is finished and kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The interrupt by a signal of `ENDING`; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def interrupt(number: int) -> None:
    """Raise `Interrupted`: the handler of a process that has nothing to finish first.

    Raises:
        Interrupted: Always.
    """
    raise Interrupted(number)


@contextmanager
def handled(handler: Callable[[int], None]) -> Iterator[None]:
    """Call the handler for signals of `ENDING` within the block, except ignored ones, as under `nohup`."""
    before = handle(handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def handle(handler: Callable[[int], None]) -> dict[int, Callable[[int, FrameType | None], object] | int]:
    """Call the handler for each signal of `ENDING` from now on, and return the former handlers.

    Ignored signals stay ignored. Outside the main thread, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    former = {number: signal.getsignal(number) for number in ENDING}
    handled_before = {n: before for n, before in former.items() if before not in (None, signal.SIG_IGN)}
    for number in handled_before:
        signal.signal(number, lambda got, _frame: handler(got))
    return handled_before  # type: ignore[return-value]  # None was left out above


@contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Defer signals within the block: the yielded function returns the number of the first one, or None.

    Raises:
        Interrupted: A signal came; raised at the end of the block.
    """
    came: list[int] = []
    with handled(came.append):
        yield lambda: came[0] if came else None
    if came:
        interrupt(came[0])
