"""The plugin for networks by name: a choice of `network=` that has no file is a network of a library."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from experiments.complaints import UNKNOWN
from experiments.settings import CONF
from swag_repro.errors import UserError

GROUP, FILE = "network", "network/by_name"


class NetworkSource(ConfigSource):
    """A source of settings of networks that have no file."""

    @staticmethod
    def scheme() -> str:
        """Return the scheme of the source's place in the search path."""
        return "library"

    def available(self) -> bool:
        """Return True: which libraries are there shows when one is asked for."""
        return True

    def is_group(self, config_path: str) -> bool:  # noqa: ARG002
        """Return False: groups are folders of files."""
        return False

    def is_config(self, config_path: str) -> bool:
        """Return whether a path is that of a library's network; files are asked first.

        Raises:
            SettingError: The library is not installed.
        """
        group, _, name = config_path.partition("/")
        if group != GROUP:
            return False
        from swag_repro.networks.zoo import is_known  # here: it imports torch, which files don't need

        return is_known(name)

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the settings of `conf/network/by_name.yaml` with this network as the model."""
        config = OmegaConf.load(CONF / f"{FILE}.yaml")
        OmegaConf.update(config, "model", config_path.partition("/")[2])
        return ConfigResult(self.provider, self.full_path(), config, header={"package": None})

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:  # noqa: ARG002
        """Return nothing: `swag network NAME` and the libraries list their networks."""
        return []


def _unknown(name: str, files: Sequence[str]) -> UserError | None:
    """Return the error that neither a file nor a library has a network of this name."""
    from swag_repro.networks.zoo import check_name  # here: it imports torch, which files don't need

    try:
        check_name(name, files)
    except UserError as error:
        return error
    return None


UNKNOWN[GROUP] = _unknown


class NetworksByName(SearchPathPlugin):
    """A plugin that puts the source behind all files."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the source to the search path."""
        search_path.append("libraries", f"{NetworkSource.scheme()}://")
