"""The training loop, with its reading and random draws, against the bare step on one resident batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from statistics import median

import numpy as np
import torch
from PIL import Image
from rich.table import Table

from experiments.building import build
from experiments.config import checked
from swag_repro.networks import Architecture
from swag_repro.training import ClassifierLoop, ClassifierRecipe, Dataset, Machine, Preparation, World
from swag_repro.training.batches import loader
from tests.benchmarks.timing import composed, interleaved

IMAGES = 4096
"""Random ones of 32 px."""


class Noise:
    """Labelled images of random pixels."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self.pixels = draw.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.pixels[index % 64]), index % 10


def training(
    networks: Sequence[str], *, steps: int, workers: int, repeats: int, device: torch.device
) -> Table:
    """Images a second of the loop, of the bare forward and backward pass, and of the loader alone.

    Args:
        networks: names in `conf/network`.
        steps: of a round.
        workers: processes that read images.
        repeats: rounds of which the median is taken.
        device: where it is trained.
    """
    table = Table(title=f"Training on images of 32 px, {steps} steps, median of {repeats}")
    for column in ("network", "bare step: images/s", "loop: images/s", "loop / bare", "loader: images/s"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name in networks:
        config = checked(composed("train_classifier", f"network={name}"), "train_classifier")
        trained = _training(build(config.network), build(config.recipe), workers=workers, device=device)
        images = steps * trained.recipe.batch_size
        turns = [_bare(trained, steps), _loop(trained, steps), _loader(trained, steps)]
        rounds = interleaved(turns, repeats=repeats)
        bare, loop, read = (images / median(seconds) for seconds in rounds)
        table.add_row(name, f"{bare:.0f}", f"{loop:.0f}", f"{loop / bare:.0%}", f"{read:.0f}")
    return table


def _training(
    architecture: Architecture, recipe: ClassifierRecipe, *, workers: int, device: torch.device
) -> ClassifierLoop:
    noise = Noise()
    return ClassifierLoop(
        architecture.build(),
        architecture,
        Dataset("noise", noise, noise, tuple("abcdefghij"), ""),
        Preparation(size=32, crop="pad", flip=True),
        recipe,
        seed=0,
        machine=Machine(device=device, precision="float32", compiled=False, workers=workers, world=World()),
        kept=True,
    )


def _bare(trained: ClassifierLoop, steps: int) -> Callable[[], object]:
    """Forward and backward pass of one batch that is there."""
    images = torch.rand(trained.recipe.batch_size, 3, 32, 32, device=trained.machine.device)
    images = images.contiguous(memory_format=trained.memory_format)
    classes = torch.randint(10, (len(images),), device=images.device)

    def run() -> object:
        for _ in range(steps):
            trained.network.train()
            trained.optimizer.zero_grad()
            loss = trained.loss(trained.network(images), classes)
            loss.backward()
        return float(loss.detach())

    return run


def _loop(trained: ClassifierLoop, steps: int) -> Callable[[], object]:
    """The first steps of a training, its workers' start included."""

    def run() -> object:
        trained.done = 0
        for _ in islice(trained, steps):
            pass
        return float(trained.sums[0])

    return run


def _loader(trained: ClassifierLoop, steps: int) -> Callable[[], object]:
    """The batches of as many steps, used for nothing."""

    def run() -> object:
        batches = loader(trained.images, trained.order, trained.machine.workers, trained.machine.device)
        return sum(len(batch.classes) for batch in islice(batches, steps))

    return run
