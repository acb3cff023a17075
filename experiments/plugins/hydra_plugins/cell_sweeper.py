"""The plugin for our sweeps: Hydra looks for plugins only in the namespace package `hydra_plugins`."""

from __future__ import annotations

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class CellSweeper(Sweeper):
    """A sweeper whose workers, started by Hydra's launchers, share the cells of the grid.

    Args:
        params: Sweeps by key, written as on a command line; the command's overrides win.
    """

    def __init__(self, params: dict[str, str] | None) -> None:
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store a function that makes the launcher."""
        self.config, self._task = config, task_function

        def launcher() -> Launcher:
            return Plugins.instance().instantiate_launcher(
                hydra_context=hydra_context, task_function=task_function, config=config
            )

        self._launcher = launcher

    def sweep(self, arguments: list[str]) -> Any:
        """Compute the cells.

        Raises:
            UserError: The sweep is invalid, or can't begin.
        """
        # Here, because Hydra imports all plugins at each start.
        from experiments.sweeps.launching import check_grid, run_sweep

        assert self.config is not None
        grid = check_grid(self.config)
        if self.config.sweep.dry_run:
            HydraConfig.instance().set_config(self.config)
            self._task(self.config)
        else:
            run_sweep(grid, self.config, arguments, self._launcher)
