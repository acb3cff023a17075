"""Random numbers for losses that sample: equal draws give equal samples, on any device."""

from __future__ import annotations

import hashlib

import torch


def generator(*numbers: int) -> torch.Generator:
    """Return a generator seeded by these integers (a seed, a draw), which may be negative.

    Other integers give independent random numbers. The generator is on the CPU, so that samples are the same
    for all devices.
    """
    digest = hashlib.blake2b(repr([int(number) for number in numbers]).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
