"""The world: the processes that train one network together, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from swag_repro.errors import TrainingError

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
