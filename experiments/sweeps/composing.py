"""Cells of a sweep, and their configs: Hydra composes each choice of groups once, values are set in copies.

Hydra composes every cell from its files; that takes 0.2 to 0.3 s, twice for each cell of a sweep.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from experiments.sweeps.grid import Grid
from swag_repro.errors import SettingError


def grid_of(hydra: DictConfig) -> Grid:
    """The cells of a multirun, within an initialised Hydra.

    Args:
        hydra: The `hydra` node of a config composed for it: `sweeper.params` of the experiment's file and the
            command line's overrides, which win.

    Raises:
        HydraException: a key is swept over what Hydra's own sweeper can't list.
        SettingError: a key is swept over nothing.
    """
    plain: Any = OmegaConf.to_container(hydra, resolve=False)  # interpolations are each cell's to resolve
    params = [f"{key}={value}" for key, value in (plain["sweeper"]["params"] or {}).items()]
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())  # which lists files of a `glob`
    return grid_along(parser.parse_overrides([*params, *plain["overrides"]["task"]]))


def grid_along(overrides: Sequence[Override]) -> Grid:
    """The product of what each key is swept over, last.

    Raises:
        As `grid_of`.
    """
    last = {override.get_key_element(): override for override in overrides}  # at the place of the first
    # One key at a time: the product of all may be larger than memory.
    alone = {key: BasicSweeper.split_arguments([override], None)[0] for key, override in last.items()}
    for key in (key for key, axis in alone.items() if not axis):
        raise SettingError(key, "should have at least one value in a sweep", "none", "Give some.")
    return Grid(tuple(tuple(override for [override] in axis) for axis in alone.values()))


MOST_BASES = 64
"""Choices of groups that are kept."""


class Composer:
    """Composes the cells of one entry point, within an initialised Hydra.

    Args:
        entry: the config's name.
        always: overrides of Hydra's own settings that every cell has, such as where to look for files.
    """

    def __init__(self, entry: str, always: Sequence[str] = ()) -> None:
        loader = GlobalHydra.instance().config_loader()
        if not isinstance(loader, ConfigLoaderImpl):
            raise TypeError(f"Hydra's own loader should be in use; found {type(loader).__name__}")
        self._entry, self._loader, self._always = entry, loader, list(always)
        self._base = lru_cache(MOST_BASES)(self._composed)
        _, repository = loader._parse_overrides_and_create_caching_repo(entry, list(always))
        self._is_group = lru_cache(None)(repository.group_exists)

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a job, as `hydra.compose` gives it.

        Raises:
            HydraException, OmegaConfBaseException: it does not compose.
        """
        choices = [override for override in overrides if self.is_choice(override)]
        config = copy.deepcopy(self._base(tuple(choices)))
        values = [_parsed(override) for override in overrides if override not in choices]
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        return config

    def is_choice(self, override: str) -> bool:
        """Whether an override decides which files are read."""
        parsed = _parsed(override)
        if parsed.key_or_group.startswith("hydra"):
            return True
        # Hydra takes a mapping for a value, also of a group.
        return not isinstance(parsed.value(), dict) and self._is_group(parsed.key_or_group)

    def _composed(self, choices: tuple[str, ...]) -> DictConfig:
        overrides = [*self._always, *choices]
        config = self._loader.load_configuration(self._entry, overrides, RunMode.RUN, from_shell=False)
        with open_dict(config):
            del config["hydra"]
        return config


@lru_cache(4096)
def _parsed(override: str) -> Override:
    return OverridesParser.create().parse_override(override)
