"""Checkpoints: an interrupted run goes on, bit for bit, where it stood."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from io import BufferedReader
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch

from swag_repro.runs.files import digest_of, whole_file

logger = logging.getLogger(__name__)

MOST_TIME = 0.01
"""Part of the time that checkpoints may take; they become rarer where they are slow."""

DIGEST = hashlib.sha256().digest_size


class Checkpoints:
    """Files of one run's batches, the last of each: the SHA-256 of what `torch.save` writes, and that.

    Args:
        run: the run's directory.
        seconds: between two of them, at least.
    """

    def __init__(self, run: Path, *, seconds: float) -> None:
        self.run = run
        self.seconds = seconds
        self.cost = 0.0
        self.last = time.monotonic()

    def load(self, key: str) -> dict[str, Any] | None:
        """The last state of a batch; None without one, or if it or one of its files is damaged.

        Its `files` are SHA-256 by path in the run's directory, of what was written beside the checkpoint.
        """
        path = self._path(key)
        if not path.exists():
            return None
        try:
            with path.open("rb") as file:
                state = _loaded(file)
            damaged = [name for name, written in state["files"].items() if not _is(self.run / name, written)]
        except (OSError, ValueError, UnpicklingError):
            damaged = [path.name]
        if damaged:
            logger.warning(
                "no longer as written, so that what they belong to starts over: %s", ", ".join(damaged)
            )
            return None
        return state

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self.last > max(self.seconds, self.cost / MOST_TIME)

    def save(self, key: str, state: dict[str, Any]) -> None:
        """Replaces the state of a batch: plain containers, numbers and tensors.

        Raises:
            StoreError: the disk is full, or can't be written to.
        """
        began = time.monotonic()
        with whole_file(self._path(key), below=self.run) as file:
            file.write(bytes(DIGEST))
            torch.save(state, hashed := _Hashed(file))  # type: ignore[arg-type]  # it needs no more
            file.seek(0)
            file.write(hashed.sha256.digest())
        self.last = time.monotonic()
        self.cost = self.last - began

    def clear(self) -> None:
        """Deletes all: the run has its results."""
        shutil.rmtree(self.run / "checkpoints", ignore_errors=True)

    def _path(self, key: str) -> Path:
        return self.run / "checkpoints" / f"{key}.pt"


class _Hashed:
    """A file that hashes what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256, self.flush = file, hashlib.sha256(), file.flush

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self.file.write(data)


def _loaded(file: BufferedReader) -> dict[str, Any]:
    """What was saved.

    Raises:
        ValueError: it was changed since.
    """
    written = file.read(DIGEST)
    if written != hashlib.file_digest(file, "sha256").digest():
        raise ValueError("its checksum is of another content")
    file.seek(DIGEST)
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state


def _is(path: Path, expected: str) -> bool:
    try:
        return digest_of(path) == expected
    except OSError:
        return False
