"""Batches of a training: one seed decides which images they have, in which order, cut and mirrored how.

`World` is the processes that share them, as torchrun starts them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from multiprocessing import get_start_method
from threading import Thread
from typing import NamedTuple, Protocol, Self, TypeVar

import torch
from PIL import Image
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from swag_repro.errors import DataError, ImageError, TrainingError
from swag_repro.training.data import Labelled

T = TypeVar("T")

SOON = 10.0
"""Seconds after which a process says that it waits for others."""


def _connect(backend: str, waiting: Callable[[], None]) -> None:
    """Meet the other processes in a thread, because no signal ends a wait within torch."""
    problems: list[Exception] = []

    def meet() -> None:
        try:
            distributed.init_process_group(backend)
        except Exception as error:  # torch raises several kinds
            problems.append(error)

    thread = Thread(target=meet, daemon=True)
    thread.start()
    thread.join(SOON)
    if thread.is_alive():
        waiting()
    while thread.is_alive():
        thread.join(1.0)
    if problems:
        rule, found = "should start all of its processes", str(problems[0]).partition("\n")[0]
        raise TrainingError("torchrun", rule, found, "Give the same command to all machines.") from problems[
            0
        ]


@dataclass(frozen=True)
class World:
    """The place of this process among those that train together.

    Attributes:
        rank: the rank of this process; the process of rank 0 writes the results.
        size: number of processes.
        local: its rank on this machine, by which it takes its GPU.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @classmethod
    def current(cls) -> World:
        """Return this process's place under torchrun; without torchrun it is alone, whatever RANK says."""
        if not distributed.is_torchelastic_launched():
            return cls()
        rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        return cls(rank, size, int(os.environ.get("LOCAL_RANK", "0")))

    def device(self, chosen: torch.device) -> torch.device:
        """Return the GPU of this process if the processes train on GPUs; otherwise the chosen device."""
        if self.size == 1 or str(chosen) != "cuda":  # `cuda:1` is a choice
            return chosen
        return torch.device("cuda", self.local)

    @contextmanager
    def joined(self, device: torch.device, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Connect the processes to each other within the block.

        Args:
            device: the device on which they train.
            waiting: called if some of them are not there after `SOON`.

        Raises:
            TrainingError: some of them never came.
        """
        if self.size == 1:
            yield
            return
        _connect("nccl" if device.type == "cuda" else "gloo", waiting)
        try:
            yield
        finally:
            distributed.destroy_process_group()

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return the network with its gradients averaged over the processes."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, [device.index] if device.type == "cuda" else None)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of the values over the processes."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def shared(self, value: T) -> T:
        """Return the first process's value in all processes."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]


UNREADABLE = 0.01
"""Share of unreadable images above which a training is refused."""

Key = tuple[int, int]
"""An epoch, and the index of an image."""

Item = tuple[int, tuple[Tensor, int] | None]
"""The index of an image, and the image with its class, or None if it is unreadable."""


class LabelledBatch(NamedTuple):
    """Images as they are, and their classes.

    Attributes:
        images: `(B, 3, H, W)`, uint8.
        classes: `(B,)`, int64.
        unreadable: indices of images that could not be read, and are left out.
    """

    images: Tensor
    classes: Tensor
    unreadable: tuple[int, ...]


class Reading(Protocol):
    """A way to prepare each image once."""

    def read(self, image: Image.Image) -> Tensor:
        """Return a PIL image as a tensor `(3, H, W)`, uint8."""


class LabelledImages:
    """One part of a dataset, ready for a `DataLoader`.

    The random choices for an image depend only on the seed, the epoch and its index. They don't depend on the
    number of workers, nor on where a training was interrupted.

    Args:
        labelled: images with their classes.
        preparation: how they are read.
        each: transform to `(3, size, size)`, uint8, that is applied in each epoch.
        seed: seed of the random choices of `each`.
        kept: whether the images are read once and kept in memory.
    """

    def __init__(
        self, labelled: Labelled, preparation: Reading, each: v2.Transform, *, seed: int, kept: bool
    ) -> None:
        self.labelled, self.preparation, self.each, self.seed = labelled, preparation, each, seed
        self.kept, self._memory = kept, list[tuple[Tensor, int] | None]()

    def otherwise(self, each: v2.Transform) -> Self:
        """Return the same images with another transform; both share the images kept in memory."""
        other = copy(self)
        other.each = each
        return other

    def hold(self) -> None:
        """Read the images that are kept, once; processes that start afterwards share them."""
        if self.kept and not self._memory:  # filled in place, because the results of `otherwise` share it
            self._memory += [self._read(index) for index in range(len(self.labelled))]

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, key: Key) -> Item:
        """Return an image's index, and the image `(3, size, size)` of an epoch with its class."""
        epoch, index = key
        self.hold()
        read = self._memory[index] if self.kept else self._read(index)
        if read is None:
            return index, None
        image, rank = read
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(number(self.seed, epoch, index))
            return index, (self.each(image), rank)

    def _read(self, index: int) -> tuple[Tensor, int] | None:
        try:
            image, rank = self.labelled[index]
            return self.preparation.read(image), int(rank)
        except (ImageError, OSError, SyntaxError, ValueError, EOFError):  # decoders raise all of these
            return None


def number(*parts: int) -> int:
    """Return a seed that differs if one of the parts does; it has 32 bits, the most that torch takes."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=4).digest(), "big")


def _collated(items: Sequence[Item]) -> LabelledBatch:
    read = [image for _, image in items if image is not None]
    lost = tuple(index for index, image in items if image is None)
    if not read:
        raise DataError("data", "should be readable", f"no image of a batch, such as number {lost[0]}", MEND)
    return LabelledBatch(
        torch.stack([image for image, _ in read]), torch.tensor([rank for _, rank in read]), lost
    )


MEND = "Replace the damaged files."


@dataclass(frozen=True)
class Order:
    """Batches of keys, from some step on: each epoch goes through all images in an order of its own.

    Attributes:
        images: number of images.
        batch_size: images of a batch, for all processes together.
        epochs: number of epochs in all.
        seed: seed of the orders.
        first: number of steps that are done.
        world: the processes; each takes its part of each batch.
    """

    images: int
    batch_size: int
    epochs: int
    seed: int
    first: int
    world: World

    @property
    def steps_an_epoch(self) -> int:
        """The number of batches in an epoch; only whole batches count."""
        return self.images // self.batch_size

    def check(self, setting: str) -> None:
        """Raise unless there is a whole batch.

        Raises:
            DataError: there are fewer images than a batch needs.
        """
        if not self.steps_an_epoch:
            rule = f"should be at most the number of images, {self.images}"
            raise DataError(setting, rule, self.batch_size, "Choose a smaller one.")

    def __len__(self) -> int:
        return self.epochs * self.steps_an_epoch - self.first

    def __iter__(self) -> Iterator[list[Key]]:
        for epoch in range(self.first // self.steps_an_epoch, self.epochs):
            shuffled = torch.Generator().manual_seed(number(self.seed, epoch))
            batches = torch.randperm(self.images, generator=shuffled).split(self.batch_size)
            done = max(0, self.first - epoch * self.steps_an_epoch)
            for batch in batches[done : self.steps_an_epoch]:
                yield [(epoch, index) for index in batch.tolist()[self.world.rank :: self.world.size]]


def in_order(count: int, batch_size: int, world: World) -> list[list[Key]]:
    """Return batches of keys that have each image once, for testing."""
    own = [(0, index) for index in range(world.rank, count, world.size)]
    return [own[first : first + batch_size] for first in range(0, len(own), batch_size)]


def loader(
    images: LabelledImages, order: Order | list[list[Key]], workers: int, device: torch.device
) -> DataLoader[LabelledBatch]:
    """Return the batches of an order; `workers` processes read them, or this process if there are none."""
    images.hold()
    return DataLoader(
        images,  # type: ignore[arg-type]  # its keys are pairs
        batch_sampler=order,
        collate_fn=_collated,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        multiprocessing_context=_start_method() if workers else None,
    )


def _start_method() -> str | None:
    """Return how reading processes start; None for the default, by which joblib's workers can't start any."""
    return "fork" if get_start_method() == "loky" else None
