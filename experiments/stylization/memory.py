"""The memory that a stylisation needs, predicted from a small version of it, and the pairs that fit in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import torch

from experiments.pictures.batches import PairBatch
from swag_repro.memory import free_memory
from swag_repro.optimisation import TooLargeError
from swag_repro.runs.store import Run

SAMPLE = 256
"""Pixels of the long side of the picture that predicts the memory, which grows with the positions."""

PEAK = {False: 1.5, True: 2.5}
"""The peak memory of an evaluation over the memory kept for its gradient, by `execution.checkpoints`.

torch's allocations at 256 px gave 1.2 to 1.4 and 1.6 to 2.3 (ResNet-50, VGG-19, Inception-v3).
"""

TILE = 1024
"""Pixels of the tiles that the error message suggests for a picture that doesn't fit."""

KEPT_OF_CONTENT = 2
"""Copies of a content image's features that are kept beside tiles, with those being compared."""

SURE = 2**20
"""Pixels of a batch that runs without a prediction."""

BATCH_SIZE = "batch_size.json"
"""The file of a run with `compute.batch_size=auto` that keeps the batch size of its first attempt."""

_GIB = 2**30


@dataclass(frozen=True)
class MemoryNeeded:
    """The memory that the optimisation of a batch needs.

    Attributes:
        pair: Bytes for each pair.
        height: The height of its pictures, in pixels.
        width: The width of its pictures, in pixels.
        remedies: Settings that would need less memory and are not set yet.
    """

    pair: float
    height: int
    width: int
    remedies: tuple[str, ...] = ()

    def most(self, device: torch.device) -> int:
        """Return how many pairs fit in half of the free memory, at least 1.

        Raises:
            TooLargeError: One pair doesn't fit in all of it.
        """
        self.check(1, device)
        return max(1, int(free_memory(device) // 2 // self.pair))

    def check(self, pairs: int, device: torch.device) -> None:
        """Raise if this number of pairs does not fit in memory together.

        Raises:
            TooLargeError: They don't fit in the free memory.
        """
        free = free_memory(device)
        if pairs * self.pair <= free:
            return
        what = f"{pairs} of {self.height}×{self.width} pixels, about {pairs * self.pair / _GIB:.1f} GiB"
        choices = [*["a smaller compute.batch_size"] * (pairs > 1), "a smaller size", *self.remedies]
        raise TooLargeError(
            "images.size",
            f"should leave pictures, gradient and optimiser room in the {free / _GIB:.1f} GiB of free memory",
            what,
            f"Choose {' or '.join(choices)}.",
        )


def small(batch: PairBatch) -> PairBatch:
    """Return the batch with a long side of at most `SAMPLE` pixels."""
    return batch.at(min(1.0, SAMPLE / max(batch.contents.shape[2:])))


def settled_batch_size(run: Run, fitting: Callable[[], int]) -> int:
    """Return the batch size of a run with `compute.batch_size=auto`.

    On another machine, or beside other processes, another number of pairs would fit. It would give other
    pictures and make checkpoints useless, so the run's directory keeps the number for later attempts.

    Args:
        run: The run whose directory keeps the number.
        fitting: A function that returns how many pairs fit in memory now.
    """
    try:
        return int(json.loads((run.path / BATCH_SIZE).read_text(encoding="utf-8"))["batch_size"])
    except (OSError, ValueError, TypeError, KeyError):
        size = fitting()
    with run.write_file(BATCH_SIZE) as file:
        file.write(json.dumps({"batch_size": size}).encode())
    return size
