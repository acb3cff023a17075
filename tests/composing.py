"""Hydra, composing nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from omegaconf import DictConfig


@contextmanager
def composed_once() -> Iterator[None]:
    """Within, a command is composed once, and each cell of a sweep.

    Hydra also composes the command to look for a `hydra.mode`, which nothing of ours sets, and each cell to
    see whether it can, throws that away, and does so again. It takes a quarter of a second each time.
    """
    compose = ConfigLoaderImpl.load_sweep_config
    sweep, cells = DictConfig({}), dict[tuple[str, ...], DictConfig]()

    def composed(self: ConfigLoaderImpl, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        nonlocal sweep
        if master_config is not sweep:
            sweep = master_config
            cells.clear()
        key = tuple(sweep_overrides)
        if key in cells:
            return cells.pop(key)
        cells[key] = compose(self, master_config, sweep_overrides)
        return cells[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", lambda *_, **__: None)
        patch.setattr(ConfigLoaderImpl, "load_sweep_config", composed)
        yield
