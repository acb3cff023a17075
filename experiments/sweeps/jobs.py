"""Which jobs a Hydra sweep has, for those who count, await or look them up."""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf


def jobs(hydra: DictConfig) -> list[list[str]]:
    """Each job's overrides, as Hydra's sweeper expands them.

    Args:
        hydra: The `hydra` node of a config composed for a multirun: `sweeper.params` of the experiment's file
            and the command line's overrides, which win.
    """
    plain: Any = OmegaConf.to_container(hydra, resolve=False)  # an interpolation is each job's to resolve
    params = [f"{key}={value}" for key, value in (plain["sweeper"]["params"] or {}).items()]
    overrides = OverridesParser.create().parse_overrides([*params, *plain["overrides"]["task"]])
    [batch] = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return batch
