"""Signals that ask a process to end, such as Ctrl-C and SIGTERM: what is under way is finished, and kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """One of `ENDING` came; `number` is its own."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def interrupt(number: int) -> None:
    """What a signal does where nothing has to be finished first.

    Raises:
        Interrupted: always.
    """
    raise Interrupted(number)


@contextmanager
def handled(handler: Callable[[int], None]) -> Iterator[None]:
    """Within, calls this for each of `ENDING`, but for those to be ignored, as by `nohup`."""
    before = handle(handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def handle(handler: Callable[[int], None]) -> dict[int, Callable[[int, FrameType | None], object] | int]:
    """Calls this for each of `ENDING` from now on; the former handlers. In the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    former = {number: signal.getsignal(number) for number in ENDING}
    handled_before = {n: before for n, before in former.items() if before not in (None, signal.SIG_IGN)}
    for number in handled_before:
        signal.signal(number, lambda got, _frame: handler(got))
    return handled_before  # type: ignore[return-value]  # None is sorted out


@contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Within, a signal only makes the yielded function return its number, that of the first.

    Raises:
        Interrupted: at the end, if one came.
    """
    came: list[int] = []
    with handled(came.append):
        yield lambda: came[0] if came else None
    if came:
        interrupt(came[0])
