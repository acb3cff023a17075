"""The config of a cell: its values, and the check of their types.

`conf/` is the schema. A setting takes values of the type of its default there; `TYPES` names those that take
others. A node with a `_target_`, or of `OWNED`, holds the arguments of a class or function: when
`experiments.building` makes it, its signature says their types.

This module imports no torch, so `analysis` can check configs as the experiments do.
"""

from __future__ import annotations

import inspect
import os
import types
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.complaints import LISTS, complaint
from experiments.programs import typed
from experiments.settings import (
    CONF,
    GLOBAL,
    GLOBAL_GROUPS,
    Setting,
    choices,
    entries,
    find,
    known_keys,
    settings_of,
)
from swag_repro.errors import SettingError, check_choice
from swag_repro.program import did_you_mean
from swag_repro.runs.files import MALFORMED, SafeLoader

TYPES: dict[str, Any] = {
    "arm": dict | None,
    "batchnorm": Literal["eval", "batch"],
    "color": Literal["style", "luminance", "matched"],
    "compute.device": str,
    "compute.tf32": bool | None,  # older trainings lack it
    "compute.threads": int | None,
    "compute.workers": int | None,
    "content": str | list[str] | None,
    "corpus.content": str | None,
    "corpus.style": str | None,
    "crop.look": Literal["photograph", "contrast", "stylized"],
    "crop.style": str | None,
    "data.path": str | None,
    "demystifying_units": Literal["mean", "demystifying"],
    "evaluations": int | list[int] | None,
    "images.path": str | None,
    "masks": str | list[Any] | None,
    "measured_steps": list[int],
    "objective.content_layer": int | None,
    "objective.content_taps": Literal["content", "hypercolumn"],
    "objective.layers": int | None,
    "objective.like": dict | None,
    "objective.match": Literal["loss", "gradient"],
    "objective.smoothed_deepest": int | None,
    "objective.smoothed_taps": str | None,
    "objective.tap_weights": float | list[float],
    "objective.taps": int | Literal["style", "hypercolumn", "all"],
    "padding": Literal["reflect", "zeros"],
    "pairing": Literal["zip", "product", "mix"],
    "precision": Literal["float64", "float32", "bfloat16", "float16"],
    "result": Literal["best", "last"],
    "save": str | None,
    "search.objectives": dict,
    "search.space": dict,
    "seed": int,
    "shares": Literal["loss", "gradient", "entries"],
    "snapshots": list[float],
    "steps": int | list[int],
    "style": str | list[str] | None,
    "style_weights": float | list[Any] | None,
    "sweep.failed": Literal["retry", "always", "never"],
    "sweep.workers": int | None,
    "tile": int | None,
    "tracking.entity": str | None,
    "tracking.project": str,
    "tracking.tags": list[str],
    "transformations": dict | None,
}
"""The types of settings whose default does not tell theirs."""

OWNED = {
    "execution": "swag_repro.networks.Execution",
    "guards": "swag_repro.optimisation.Guards",
    "stop": "swag_repro.optimisation.Plateau",
}
"""The nodes without a `_target_` that are the arguments of a class."""

LEFT_OUT: dict[str, Any] = {
    "hypercolumn_taps": None,
    "shortcut": None,
    "imagenet": None,
    "head": [],
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
"""The settings that a file of `conf/network` may leave out, and the values that run ids cover then."""

FIRST_LINE = "Write this as the first line of the file."


def seen(key: str) -> str:
    """Return the remedy for a value that does not fit: the command that explains its key, or its group."""
    asked = key
    while asked and asked not in known_keys():
        asked = asked.rpartition(".")[0]
    known = (entry for entry in ("stylize", *entries()) if find(entry, asked))
    return f"`{typed(next(known, 'stylize'), ['--help', *filter(None, [asked])])}` explains it."


@dataclass(frozen=True)
class Config:
    """A node of a checked config; its settings are its attributes, too.

    Attributes:
        plain: Its values, in plain containers.
        key: Its dotted key; empty for the whole config.
    """

    plain: dict[str, Any]
    key: str = ""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.plain:
            raise AttributeError(name)
        value = self.plain[name]
        return Config(value, _below(self.key, name)) if isinstance(value, dict) else value

    def __bool__(self) -> bool:
        return bool(self.plain)

    def select(self, key: str) -> Any:
        """Return the value of a dotted key; None if there is none."""
        found: Any = self
        for name in key.split("."):
            found = getattr(found, name, None)
        return found


def checked(composed: DictConfig | Mapping[str, Any], name: str) -> Config:
    """Return a config of `conf/` whose values have their types, with interpolations resolved.

    Args:
        composed: The config that Hydra composed, or a plain one without interpolations.
        name: The config's name, which is the name of its entry point.

    Raises:
        SettingError: A key is unknown, a value has the wrong type, or a mandatory value is missing.
    """
    plain = _resolved(composed)
    if isinstance(network := plain.get("network"), dict):
        plain["network"] = {**LEFT_OUT, **network}
    config = _typed(plain, types_of(name), "")
    if config["entry"] != name:
        check_choice("entry", config["entry"], entries())
        rule = f"should be an experiment of {name}.py"
        raise SettingError("experiment", rule, f"one of {config['entry']}.py", f"Use {config['entry']}.py.")
    return Config(config)


def checked_search(node: DictConfig) -> Config:
    """Return `search` of `conf/search.yaml`: what is searched, by which sampler, and how long.

    Raises:
        SettingError: The same as for `checked`.
    """
    return Config(_typed(_resolved(node, "search"), types_of("search")["search"], "search"), "search")


def _resolved(composed: DictConfig | Mapping[str, Any], key: str = "") -> dict[str, Any]:
    """Return a node in plain containers, without interpolations and with a value for each mandatory key."""
    plain: Any = composed
    if OmegaConf.is_config(composed):
        try:
            _check_given(OmegaConf.to_container(composed, resolve=False), key)
            plain = OmegaConf.to_container(composed, resolve=True)
        except OmegaConfBaseException as error:
            raise complaint(error) from error
    plain = at_home(plain)
    _check_text(plain, key)
    return plain  # type: ignore[no-any-return]


def at_home(value: Any) -> Any:
    """Return a config in which each text that begins with `~` is a path below the home directory."""
    match value:
        case dict():
            return {key: at_home(item) for key, item in value.items()}
        case list():
            return [at_home(item) for item in value]
        case str() if value.startswith("~"):
            return os.path.expanduser(value)  # noqa: PTH111  (leaves an unknown user's name as it is)
    return value


def _below(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _values(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield all values below a node with their dotted keys, also those in lists."""
    if not isinstance(node, dict | list):
        yield key, node
        return
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _values(value, _below(key, name))


def _check_given(config: Any, key: str) -> None:
    """Raise if a mandatory value is missing, and name it; an interpolation may refer to it."""
    for at, value in _values(config, key):
        if value == "???":
            raise _missing(at)


def _missing(key: str) -> SettingError:
    return SettingError(key, "should be given", "nothing", f"Add {key}=... to the command.")


def _check_text(config: Any, key: str) -> None:
    """Raise if a text can't be stored in a file, or a name holds signs that a terminal should not print.

    The names of files may hold bytes that are not text.
    """
    for at, value in _values(config, key):
        if at.rpartition(".")[2] == "name" and any(unicodedata.category(c) == "Cc" for c in str(value)):
            raise SettingError(at, "should have no control characters", ascii(value), "Leave them out.")
        if at.rpartition(".")[2] == "name" and value == "":
            raise SettingError(at, "should have a letter", "''", "Leave it out for the default.")
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise SettingError(at, "should be text in UTF-8", ascii(value), "Rename the file.")


# --- Types ------------------------------------------------------------------------------------------------


def _typed(value: Any, kind: Any, key: str) -> Any:
    """Return a value in its type, or a node whose values have theirs; quotes make no difference."""
    if isinstance(kind, Mapping):
        return _typed_node(value, kind, key)
    for read in (value, *_read_otherwise(value)):
        if fits(read, kind):
            return read
    if dict in (kind, *get_args(kind)):
        raise _no_choice(key, value)
    raise SettingError(key, f"should be {in_words(kind)}", repr(value), seen(key))


def _typed_node(node: Any, kinds: Mapping[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise _no_choice(key, node)
    for name in node.keys() - kinds.keys():
        if not key and name in GLOBAL_GROUPS:
            raise SettingError(name, f"should be a file that begins with `{GLOBAL}`", "none", FIRST_LINE)
        remedy = did_you_mean(_below(key, name), known_keys(), seen(key))
        raise SettingError(_below(key, name), "should be a known key", "none of that name", remedy)
    for name in kinds.keys() - node.keys():
        if isinstance(kinds[name], Mapping) or not fits(None, kinds[name]):
            raise _missing(_below(key, name))
    return {name: _typed(node.get(name), kind, _below(key, name)) for name, kind in kinds.items()}


def _no_choice(key: str, found: Any) -> SettingError:
    shown = "null" if found is None else repr(found)
    return SettingError(key, "should be a choice of its group", shown, f"--help {key} shows them.")


def _read_otherwise(value: Any) -> Iterator[Any]:
    """Yield the text of a number, its truth if it is 0 or 1, and what a text says without quotes.

    Variables of the environment are always text.
    """
    if isinstance(value, str):
        with suppress(*MALFORMED):
            yield yaml.load(value, SafeLoader)
    elif isinstance(value, int | float):
        yield from (str(value), *[bool(value)] * (value in (0, 1)))


@cache
def types_of(file: str) -> dict[str, Any]:
    """Return the types of an entry point's settings, as nested as its config; nodes of a class are `dict`.

    Args:
        file: A file of `conf/` without its suffix, such as `stylize`.
    """
    found: dict[str, Any] = {}
    for key, kind in _types(file):
        *path, name = key.split(".")
        node = found
        for part in path:
            node = node.setdefault(part, {}) if isinstance(node, dict) else node
        if isinstance(node, dict):  # else the class that takes the node says its types
            node[name] = kind
    return found


def _types(file: str, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of a file's settings with their types, nodes before what lies in them."""
    for one in settings_of(file):
        key = _below(above, one.package or one.group if one.group else one.key)
        if key in TYPES or key in OWNED:
            yield key, TYPES.get(key, dict)
        elif one.target and "." in one.key:
            yield key.rpartition(".")[0], dict
        elif one.group:
            yield from _types_of_group(one, key) if one.package and one.group != "hydra" else ()
        elif one.default:
            yield key, _type_of_default(one.default)


def _types_of_group(choice: Setting, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the types of the file that is chosen by default; of a class, only the node."""
    default = f"{choice.group}/{choice.default}"
    files = (default, *(f"{choice.group}/{name}" for name in choices(choice.group)))
    shown = next(file for file in files if (CONF / f"{file}.yaml").is_file() and settings_of(file))
    if any(one.target and "." not in one.key for one in settings_of(shown)):
        yield key, dict
        return
    yield from ((name, kind) for name, kind in TYPES.items() if name.startswith(f"{key}."))
    yield from _types(shown, key)


def _type_of_default(text: str) -> Any:
    value = yaml.load(text, SafeLoader)
    if value == "auto":  # in place of a number that the program chooses
        return int | Literal["auto"]
    if isinstance(value, list) and value:
        return list[Union[*map(type, value)]]  # type: ignore[misc]
    return Any if value is None or "${" in text else type(value)


WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    type(None): "null",
    Any: "",
}


def in_words(hint: Any) -> str:
    """Return a type in words, such as `a number or null`; empty if it may be anything."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in WORDS:
        return WORDS[hint]
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}" if len(inner) > 1 else str(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(filter(None, map(in_words, inner)))
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        several = in_words(inner[0]).replace("a whole number", "whole numbers").replace("a number", "numbers")
        count = f"{len(inner)} " if _is_fixed(origin, inner) else ""
        return f"a list of {count}{several}" if several else "a list"
    return WORDS[dict] if origin is dict else ""


def _is_fixed(origin: Any, inner: tuple[Any, ...]) -> bool:
    """Return whether a type is a tuple of so many values, such as `tuple[float, float]`."""
    return origin is tuple and Ellipsis not in inner


def fits(value: Any, hint: Any) -> bool:
    """Return whether a plain value of YAML has the annotated type; an integer counts as a float."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin is not None:
        return _fits_collection(value, origin, inner)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    if hint in (None, type(None)):
        return value is None
    if hint in (bool, str, list, dict):
        return isinstance(value, hint)
    return hint in (Any, object) or not inspect.isclass(hint)  # a plain value is no instance of our classes


def _fits_collection(value: Any, origin: Any, inner: tuple[Any, ...]) -> bool:
    if origin is Callable:
        return False
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(fits(item, inner[1]) for item in value.values())
    if _is_fixed(origin, inner):
        return isinstance(value, list) and len(value) == len(inner) and all(map(fits, value, inner))
    if issubclass(origin, Sequence):
        return isinstance(value, list) and all(fits(item, inner[0]) for item in value)
    return True


LISTS.update(key for key, kind in TYPES.items() if fits([], kind))
