"""The processes that train one network together, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """Where this process stands.

    Attributes:
        rank: of this process; the first writes what there is to write.
        size: number of processes.
        local: rank on this machine, by which it takes its GPU.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @classmethod
    def current(cls) -> World:
        """Return what torchrun tells this process; alone without it, whatever RANK and the like still say."""
        if not distributed.is_torchelastic_launched():
            return cls()
        rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        return cls(rank, size, int(os.environ.get("LOCAL_RANK", "0")))

    def device(self, chosen: torch.device) -> torch.device:
        """The GPU of this process, where GPUs are what trains."""
        if self.size == 1 or str(chosen) != "cuda":  # `cuda:1` is a choice
            return chosen
        return torch.device("cuda", self.local)

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Within, the processes can reach each other."""
        if self.size == 1:
            yield
            return
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield
        finally:
            distributed.destroy_process_group()

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network, its gradients averaged over the processes."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, [device.index] if device.type == "cuda" else None)

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def shared(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]
