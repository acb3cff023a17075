"""How much memory a stylisation is going to need, by a small version of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from experiments.pictures.batches import Batch
from swag_repro.memory import free_memory
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
