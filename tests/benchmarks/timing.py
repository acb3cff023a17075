"""Helpers of all benchmarks: configs, timing of functions in turn, and the peak speed of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from experiments.settings import CONF


def composed(entry: str, *overrides: str) -> DictConfig:
    """The config of an entry point, resolved and unchecked."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(entry, list(overrides))
    OmegaConf.resolve(config)
    return config


def interleaved(functions: Sequence[Callable[[], object]], *, repeats: int) -> list[list[float]]:
    """Seconds of each function in each round: in turn, so that drift is shared, after a round to warm up."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats + 1):
        for function, measured in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            measured.append(time.perf_counter() - start)
    return [measured[1:] for measured in seconds]


def matmul_peak(device: torch.device, *, trials: int = 5) -> float:
    """Most float32 operations a second that a large matrix product reaches here."""
    size = 8192 if device.type == "cuda" else 2048
    matrix, seconds = torch.rand(size, size, device=device), []
    for _ in range(trials + 1):
        start = time.perf_counter()
        float((matrix @ matrix)[0, 0])
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[1:])
