"""How much memory a stylisation needs, predicted by a small version of it, and how many pairs fit in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import torch

from experiments.pictures.batches import Batch
from swag_repro.memory import free_memory
from swag_repro.runs.store import Run
from swag_repro.transfer import TooLargeError

SAMPLE = 256
"""Pixels of the long side of the picture by which it is predicted; what is kept grows with the positions."""

PEAK = {False: 1.5, True: 2.5}
"""Most memory of an evaluation, in parts of what is kept for its gradient, by `levers.checkpoints`.

Measured by what torch allocates at 256 px: 1.2 to 1.4 and 1.6 to 2.3 (ResNet-50, VGG-19, Inception-v3).
"""

TILE = 1024
"""Pixels of the tiles that are advised where a picture doesn't fit."""

KEPT_OF_CONTENT = 2
"""Features of a content image that are kept beside tiles, with those being compared."""

SURE = 2**20
"""Pixels of a batch that is tried without a prediction."""

BATCH_SIZE = "batch_size.json"
"""Of a run with `compute.batch_size=auto`: how many pairs its first attempt found to fit."""

_GIB = 2**30


@dataclass(frozen=True)
class Needed:
    """What optimising a batch takes.

    Attributes:
        pair: bytes for each pair.
        height: of its pictures, in pixels.
        width: likewise.
        remedies: settings that take less, which are not set yet.
    """

    pair: float
    height: int
    width: int
    remedies: tuple[str, ...] = ()

    def most(self, device: torch.device) -> int:
        """How many pairs fit in half of the free memory, at least 1.

        Raises:
            TooLargeError: one doesn't fit in all of it.
        """
        self.check(1, device)
        return max(1, int(free_memory(device) // 2 // self.pair))

    def check(self, pairs: int, device: torch.device) -> None:
        """Objects to so many pairs side by side.

        Raises:
            TooLargeError: they don't fit in the free memory.
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


def small(batch: Batch) -> Batch:
    """The batch with a long side of at most `SAMPLE` pixels."""
    return batch.at(min(1.0, SAMPLE / max(batch.contents.shape[2:])))


def settled_batch_size(run: Run, fitting: Callable[[], int]) -> int:
    """Return how many pairs of a run with `compute.batch_size=auto` are optimised side by side.

    On another machine, or beside other processes, another number would fit. Then the pictures would be
    others, and checkpoints of no use: so the run's directory keeps the number for later attempts.

    Args:
        run: whose directory keeps it.
        fitting: how many fit in memory now.
    """
    try:
        return int(json.loads((run.path / BATCH_SIZE).read_text())["batch_size"])
    except (OSError, ValueError, TypeError, KeyError):
        size = fitting()
    with run.write_file(BATCH_SIZE) as file:
        file.write(json.dumps({"batch_size": size}).encode())
    return size
