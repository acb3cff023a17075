"""Checks of the configs in run directories: whoever wrote them, they may build only what `conf/` names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from experiments.settings import CONF
from swag_repro.errors import UserError, WeightsError, remedy_for
from swag_repro.runs.files import MALFORMED, parse_yaml

OF_LAUNCHING = "hydra"
"""The folder of `conf/`, and the config's key, of the launchers: no experiment is built from it."""

MOST = 200
"""The most characters of an error that a message quotes."""

_REMEDY = (
    "A config can run any code: this one is refused. If it is yours, give the folder with the file that "
    "names it: --config-dir=my/conf."
)

_TRAIN_ANEW = (
    "This version does not have it: if an older version of this project trained the network, train it anew."
)


def check_stored(config: Any, source: Path, *own: Path) -> None:
    """Raise unless each `_target_` of a stored config stands in a file of `conf/` or of `--config-dir`.

    Args:
        config: The plain config as it was read.
        source: Its file or folder, for the message.
        own: The user's own folders, beside those that Hydra knows.

    Raises:
        WeightsError: The config has another target, or an interpolation, which could become one.
    """
    if not isinstance(config, dict):
        raise WeightsError("run", "should have its config", f"a {type(config).__name__}: {source}", _REMEDY)
    known = _allowed((CONF, *own, *_folders()))
    for key, value in _values(config):
        is_target = key.rpartition(".")[2] == "_target_"
        if is_target and not (isinstance(value, str) and value in known):
            rule = "should build only what conf/ names"
            remedy = _TRAIN_ANEW if str(value).startswith("swag_repro.") else _REMEDY
            raise WeightsError("run", rule, f"{key}={value!r} in {source}", remedy)
        if isinstance(value, str) and "${" in value:
            rule = "should have a config without interpolations"
            raise WeightsError("run", rule, f"{key}={value!r} in {source}", _REMEDY)


@contextmanager
def stored(source: Path) -> Iterator[None]:
    """Blame the run for any error within the block: its files may hold anything.

    Raises:
        WeightsError: An error other than `UserError` was raised.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        found = f"{type(error).__name__} on reading {source} ({' '.join(str(error).split())[:MOST]})"
        remedy = remedy_for(source, "Copy it again from where it was made, or train it anew.")
        raise WeightsError("run", "should have its files as they were written", found, remedy) from error


def _values(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all nodes and values below a node with their dotted keys."""
    if not isinstance(node, dict | list):
        return
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        at = f"{key}.{name}" if key else str(name)
        yield at, value
        yield from _values(value, at)


def _folders() -> tuple[Path, ...]:
    """Return the folders that the user's command names to Hydra."""
    if not HydraConfig.initialized():
        return ()
    sources = HydraConfig.get().runtime.config_sources
    return tuple(Path(source.path) for source in sources if source.schema == "file")


@cache
def _allowed(folders: tuple[Path, ...]) -> frozenset[str]:
    """Return the targets that the groups' files in these folders name."""
    groups = {path.parent.relative_to(CONF) for path in CONF.glob("*/**/*.yaml")}
    files = [
        path
        for group in groups
        if group.parts[0] != OF_LAUNCHING
        for folder in folders
        for path in (folder / group).glob("*.yaml")
    ]
    return frozenset(target for path in files for target in _targets(path))


def _targets(path: Path) -> Iterator[str]:
    content: Any = None
    with suppress(*MALFORMED):  # a user's file may be malformed; Hydra reports those that it reads
        content = parse_yaml(path.read_text(encoding="utf-8"))
    for key, value in _values(content):
        parts = key.split(".")
        if parts[-1] == "_target_" and parts[0] != OF_LAUNCHING and isinstance(value, str):
            yield value
