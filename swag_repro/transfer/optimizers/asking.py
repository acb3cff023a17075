"""Numbers of a device that steps depend on, read for all images of a batch at once.

To read a number, the host waits until a GPU has done all that it was told. So a step that depends on numbers
is a generator: it yields the tensors that it has to know, and is sent what they hold. `answer` runs those of
all images side by side, and reads once what each of them asks next: the waiting doesn't grow with the batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

T = TypeVar("T")

Numbers = NDArray[np.float64]

Asking = Generator[Sequence[Tensor], Sequence[Numbers], T]
"""Yields tensors of a device, is sent what they hold, each in its shape, and returns a `T`."""


def answer(askers: Sequence[Asking[Any]]) -> None:
    """Runs generators to their ends, each by itself; what they ask at a time is read together."""
    asked = [(asker, next(asker, None)) for asker in askers]
    while waiting := [(asker, tensors) for asker, tensors in asked if tensors is not None]:
        answers = _read([tensors for _, tensors in waiting])
        asked = [(asker, _sent(asker, found)) for (asker, _), found in zip(waiting, answers, strict=True)]


def _sent(asker: Asking[Any], found: Sequence[Numbers]) -> Sequence[Tensor] | None:
    """What it asks next; None at its end."""
    try:
        return asker.send(found)
    except StopIteration:
        return None


def _read(asked: Sequence[Sequence[Tensor]]) -> list[list[Numbers]]:
    """What all of them hold; float64 is as exact as they are."""
    joined = [tensor.double().flatten() for tensors in asked for tensor in tensors]
    numbers = torch.cat(joined).numpy(force=True)
    parts = iter(np.split(numbers, np.cumsum([len(one) for one in joined])))
    return [[next(parts).reshape(tensor.shape) for tensor in tensors] for tensors in asked]
