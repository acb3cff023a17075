"""A memory of what Hydra reads and composes: each composition would take a quarter of a second."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigSource

from experiments.settings import CONF

FILES = "file://"


@contextmanager
def composed_once() -> Iterator[None]:
    """Within, Hydra does once what it does for several commands: parse an override, read and merge files.

    It also composes each command a second time, to look for a `hydra.mode`, which nothing of ours sets.
    """
    with pytest.MonkeyPatch.context() as patch:
        # Each composition copies all schemas; whoever takes one from the store gets a copy anyway.
        patch.setattr(ConfigStore, "__deepcopy__", lambda store, _: store, raising=False)
        patch.setattr(Hydra, "get_mode", lambda *_, **__: None)
        patch.setattr(OverridesParser, "parse_rule", _parsed_once(OverridesParser.parse_rule))
        patch.setattr(ConfigRepository, "load_config", _loaded_once(ConfigRepository.load_config))
        listed = _listed_once(defaults_list.create_defaults_list)
        patch.setattr(config_loader_impl, "create_defaults_list", listed)
        merged = _merged_once(ConfigLoaderImpl._compose_config_from_defaults_list)
        patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", merged)
        yield


class Known:
    """What functions returned, by what it depends on; each caller gets a copy of its own."""

    def __init__(self) -> None:
        self._pickled: dict[Any, bytes] = {}

    def __call__(self, make: Callable[[], Any], *key: Any) -> Any:
        if key not in self._pickled:
            self._pickled[key] = pickle.dumps(make())
        return pickle.loads(self._pickled[key])


def _parsed_once(parse: Callable[..., Any]) -> Callable[..., Any]:
    @lru_cache(4096)
    def parsed(text: str, rule: str) -> Any:
        return parse(OverridesParser.create(), text, rule)

    return lambda _parser, text, rule: copy.copy(parsed(text, rule))


def _loaded_once(load: Callable[..., Any]) -> Callable[..., Any]:
    known = Known()

    def loaded(repository: ConfigRepository, config_path: str) -> Any:
        return known(lambda: load(repository, config_path), config_path, _state(repository.sources))

    return loaded


def _listed_once(make: Callable[..., Any]) -> Callable[..., Any]:
    known = Known()

    def listed(repo: CachingConfigRepository, overrides_list: Sequence[Override], **more: Any) -> Any:
        values = defaults_list.Overrides(repo, list(overrides_list)).config_overrides
        chosen = [one for one in overrides_list if one not in values]
        key = [one.input_line for one in chosen], sorted(more.items()), _state(repo.get_sources())
        found = known(lambda: make(repo=repo, overrides_list=chosen, **more), repr(key))
        found.config_overrides = values
        return found

    return listed


def _merged_once(merge: Callable[..., Any]) -> Callable[..., Any]:
    known = Known()

    def merged(loader: ConfigLoaderImpl, defaults: Sequence[Any], repo: CachingConfigRepository) -> Any:
        return known(lambda: merge(loader, defaults, repo), repr(defaults), _state(repo.get_sources()))

    return merged


def _state(sources: Sequence[ConfigSource]) -> tuple[Any, ...]:
    """Return where sources lie, and when the files were written that a test may change."""
    folders = (Path(one.path.removeprefix(FILES)) for one in sources if one.path.startswith(FILES))
    files = (file for folder in folders if folder != CONF for file in sorted(folder.rglob("*.yaml")))
    return *(one.path for one in sources), *((str(file), file.stat().st_mtime_ns) for file in files)
