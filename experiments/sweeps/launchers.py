"""What Hydra's launchers bring: whether they can be had, and how many workers they run at once."""

from __future__ import annotations

import os

from omegaconf import DictConfig


def check(launcher: DictConfig) -> None:
    """Whether it can be used."""


def workers(launcher: DictConfig) -> int | None:
    """How many processes it runs at once; None where it doesn't say."""
    name = launcher._target_.rpartition(".")[2]
    if name == "JoblibLauncher":
        return int(launcher.n_jobs) if launcher.n_jobs and launcher.n_jobs > 0 else os.cpu_count()
    if "array_parallelism" in launcher:
        return int(launcher.array_parallelism)
    return 1
