"""Random numbers of losses that sample: equal numbers of a draw give equal samples, on any device."""

from __future__ import annotations

import hashlib

import torch


def generator(*numbers: int) -> torch.Generator:
    """Random numbers for these integers (a seed, a draw), negative ones too; for others, independent ones.

    They come from the CPU, so that samples are the same for all devices.
    """
    digest = hashlib.blake2b(repr([int(number) for number in numbers]).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
