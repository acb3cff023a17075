"""Memory: how much of it is free, how much of it a gradient keeps, and what happens when it runs out."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor

from swag_repro.errors import UserError

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h


@contextmanager
def out_of_memory(problem: Callable[[str], UserError]) -> Iterator[None]:
    """Turn an out-of-memory error within the block into the error that `problem` makes of its message."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # torch raises RuntimeError on a CPU, and its subclass OutOfMemoryError on accelerators.
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and "allocate memory" not in str(error):
            raise
        raise problem((str(error) or type(error).__name__).splitlines()[0]) from error


@contextmanager
def kept_for_gradient(*, besides: Iterable[Tensor] = ()) -> Iterator[dict[int, int]]:
    """Yield a mapping, address → bytes, of each storage that operations within keep for their backward pass.

    Args:
        besides: tensors whose storage doesn't count.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in besides}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def free_memory(device: torch.device) -> int:
    """Return the bytes that a process can still have; 4 GiB where the system doesn't tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        [available] = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return 1024 * int(available)
    except (OSError, ValueError):
        return 2**32


def give_back_freed() -> None:
    """Make this process return freed pieces of 1 MiB or more to the system; do nothing without glibc.

    By default, glibc comes to keep freed pieces of up to 32 MiB, and the process stays at its largest size.
    A ResNet-50 at 1024 px with checkpoints takes 1992 MiB by default, and 1673 MiB after this call.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 2**20)
