"""Checkpoints: an interrupted run resumes, bit for bit, where it stopped."""

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
"""The share of the run's time that checkpoints may take; slow checkpoints become rarer."""

DIGEST = hashlib.sha256().digest_size


class Checkpoints:
    """The last checkpoint of each batch of a run: a file with the SHA-256 of the state, then the state.

    `torch.save` writes the state.

    Args:
        run: The run's directory.
        seconds: The least time between two checkpoints.
    """

    def __init__(self, run: Path, *, seconds: float) -> None:
        self.run = run
        self.seconds = seconds
        self.cost = 0.0
        self.last = time.monotonic()

    def load(self, key: str) -> dict[str, Any] | None:
        """Return the last state of a batch; None if there is none, or if it or one of its files is damaged.

        Its `files` maps paths in the run's directory to the SHA-256 of what was written beside the
        checkpoint.
        """
        path = self._path(key)
        if not path.exists():
            return None
        try:
            with path.open("rb") as file:
                state = _load(file)
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
        """Return whether it is time for the next checkpoint."""
        return time.monotonic() - self.last > max(self.seconds, self.cost / MOST_TIME)

    def save(self, key: str, state: dict[str, Any]) -> None:
        """Replace the state of a batch, which consists of plain containers, numbers and tensors.

        Raises:
            StoreError: The disk is full, or can't be written to.
        """
        began = time.monotonic()
        with whole_file(self._path(key), below=self.run) as file:
            file.write(bytes(DIGEST))
            torch.save(state, hashed := _Hashed(file))  # type: ignore[arg-type]  # all that it needs
            file.seek(0)
            file.write(hashed.sha256.digest())
        self.last = time.monotonic()
        self.cost = self.last - began

    def clear(self) -> None:
        """Delete all checkpoints; the run has its results."""
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


def _load(file: BufferedReader) -> dict[str, Any]:
    """Return the saved state.

    Raises:
        ValueError: The file has changed since it was saved.
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
