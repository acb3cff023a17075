"""Hydra's end of our sweeps: it finds plugins in the namespace package `hydra_plugins`, and there only."""

from __future__ import annotations

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class CellSweeper(Sweeper):
    """Starts workers by Hydra's launchers, each of which goes over the cells of the grid.

    Args:
        params: key → what it is swept over, as on a command line, whose own overrides win.
    """

    def __init__(self, params: dict[str, str] | None) -> None:
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remembers what a launcher is made from."""
        self.config = config

        def launcher() -> Launcher:
            return Plugins.instance().instantiate_launcher(
                hydra_context=hydra_context, task_function=task_function, config=config
            )

        self._launcher = launcher

    def sweep(self, arguments: list[str]) -> Any:
        """Computes the cells.

        Raises:
            UserError: the sweep can't be meant, or can't be begun.
        """
        from experiments.sweeps.launching import Launch  # Hydra imports all plugins at each start

        assert self.config is not None
        launch = Launch.of(self.config, arguments)
        if launch.dry_run:
            launch.list_cells()
        else:
            launch.run(self._launcher)
