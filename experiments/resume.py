"""Checkpoints of a stylisation: an interrupted run goes on, bit for bit, where it stood."""

from __future__ import annotations

import pickle
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from swag_repro.store import whole_file

MOST_TIME = 0.01
"""Part of the time that checkpoints may take; they become rarer where they are slow."""


class Checkpoints:
    """Files of one run's batches, the last of each.

    Args:
        directory: where they lie.
        seconds: between two of them, at least.
    """

    def __init__(self, directory: Path, *, seconds: float) -> None:
        self.directory = directory
        self.seconds = seconds
        self.cost = 0.0
        self.last = time.monotonic()

    def load(self, key: str) -> dict[str, Any] | None:
        """The last state of a batch; None without one that can be read."""
        try:
            state: dict[str, Any] = torch.load(self._path(key), weights_only=False)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return None
        return state

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self.last > max(self.seconds, self.cost / MOST_TIME)

    def save(self, key: str, state: dict[str, Any]) -> None:
        """Replaces the state of a batch.

        Raises:
            StoreError: the disk is full, or can't be written to.
        """
        began = time.monotonic()
        with whole_file(self._path(key)) as file:
            torch.save(state, file)
        self.last = time.monotonic()
        self.cost = self.last - began

    def clear(self) -> None:
        """Deletes all: the run has its results."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.pt"


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within, Ctrl-C only makes the yielded function return True: what is under way is finished first."""
    asked = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
