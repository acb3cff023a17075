"""Builders of the science's parts from nodes of a config; each value is checked against its declared type."""

from __future__ import annotations

import inspect
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from hydra.utils import get_object
from torch import nn
from torchvision.models.feature_extraction import get_graph_node_names

from experiments.config import Config, fits, in_words, seen
from experiments.settings import choices
from swag_repro.errors import SettingError, UserError
from swag_repro.images import Picture, Resize
from swag_repro.networks import Architecture
from swag_repro.networks.layouts import without_values
from swag_repro.program import OWN_MODULES, did_you_mean
from swag_repro.weights import Weights

T = TypeVar("T")


def build(node: Config, kind: Any = object) -> Any:
    """Return the object that the node's `_target_` makes from plain values.

    Args:
        node: A node of the config.
        kind: Its class or protocol, or several; any by default.

    Raises:
        SettingError: The target does not exist, does not take an argument, an argument has another type, or
            what it makes is of another kind.
        UserError: The target refuses its arguments.
    """
    key = node.key or "config"
    if "_target_" not in node.plain:
        raise SettingError(f"{key}._target_", "should be given", "nothing", seen(key))
    made = _built(node.plain, key)
    if not isinstance(made, kind):
        rule = f"should make a {kind.__name__ if inspect.isclass(kind) else kind}"
        raise SettingError(f"{key}._target_", rule, f"a {type(made).__name__}", seen(key))
    return made


def build_pictures(node: Config) -> tuple[Picture, ...]:
    """Return the pictures that a source of `conf/images` finds.

    Raises:
        UserError: The same as for `build`.
    """
    made = build(node, tuple | list)
    if not all(isinstance(one, Picture) for one in made):
        raise SettingError(f"{node.key}._target_", "should find pictures", "others", seen(node.key))
    return tuple(made)


def build_resize(node: Config) -> Resize:
    """Return the way of resizing that a file of `conf/images` describes.

    Raises:
        SettingError: The size is no number of pixels, or a choice is unknown.
    """
    return Resize(size=node.size, policy=node.resize, interpolation=node.interpolation)


def make(target: Callable[..., T], node: Config) -> T:
    """Return what a class or function makes from a node that has no `_target_`.

    Raises:
        UserError: The same as for `build`.
    """
    return _call(target, node.plain, node.key)


def _built(value: Any, key: str) -> Any:
    """Return a node or value in which each `_target_` has made its object."""
    match value:
        case {"_target_": target}:
            return _call(_found(target, f"{key}._target_"), value, key)
        case dict():
            return {name: _built(item, f"{key}.{name}") for name, item in value.items()}
        case list():
            return [_built(item, f"{key}.{index}") for index, item in enumerate(value)]
    return value


def _call(target: Callable[..., T], node: Mapping[str, Any], key: str) -> T:
    """Return what a target makes from the arguments of a node, after a check of their names and types."""
    given = {name: value for name, value in node.items() if name not in HYDRAS}
    _check_arguments(declared(target), given, key)
    partially = node.get("_partial_", False)
    if not isinstance(partially, bool):
        raise SettingError(f"{key}._partial_", "should be true or false", repr(partially), seen(key))
    arguments = {name: _built(value, f"{key}.{name}") for name, value in given.items()}
    try:
        made: Any = partial(target, **arguments) if partially else target(**arguments)
    except UserError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        rule = f"should be arguments that {target.__module__}.{target.__qualname__} takes"
        raise SettingError(key, rule, str(error).splitlines()[0], seen(key)) from error
    return made  # type: ignore[no-any-return]


def build_network(
    weights: Weights, architecture: Architecture, taps: Sequence[str] | None = None
) -> nn.Module:
    """Return the network with its weights, and raise if one of these taps does not exist; None is all taps.

    Raises:
        UserError: The weights can't be used, the builder does not take the arguments, or a tap does not
            exist.
    """
    try:
        network = weights.build(architecture)
    except UserError:
        raise
    except Exception as error:  # a user's builder can raise anything
        rule = "should be a function that returns a network, with arguments that it takes"
        raise SettingError(
            "network.builder", rule, str(error).splitlines()[0], seen("network.builder")
        ) from error
    if not isinstance(network, nn.Module):
        raise SettingError(
            "network.builder", "should return a network", type(network).__name__, seen("network.builder")
        )
    _check_taps(network, architecture, architecture.taps if taps is None else taps)
    return network


_CHECKED: set[str] = set()
"""The networks that this process has checked, with the digests of their weights; cells often share one."""


def check_network(weights: Weights, architecture: Architecture, taps: Sequence[str]) -> None:
    """Raise what `build_network` would raise; of fresh weights no values are drawn.

    Raises:
        UserError: The same as for `build_network`, or a tap or a part of the head does not exist.
    """
    digest = weights.digest(architecture)
    if (key := repr((architecture, digest, taps))) in _CHECKED:
        return
    if digest is None:
        network = build_network(_Shapes(), architecture)
        if missing := set(architecture.head) - {name for name, _ in network.named_modules()}:
            rule = f"should name modules of {architecture.name}"
            raise SettingError("network.head", rule, sorted(missing), _listing(architecture))
    else:
        build_network(weights, architecture, taps)
    _CHECKED.add(key)


class _Shapes:
    """Weights without values, where a builder needs none."""

    name = "shapes"

    def build(self, architecture: Architecture) -> nn.Module:
        return without_values(architecture.build)

    def digest(self, architecture: Architecture) -> None: ...


def _listing(architecture: Architecture) -> str:
    """Return the sentence that says what lists the modules of a network."""
    own = "" if architecture.name in choices("network") else ", one of your own with --config-dir"
    return f"`swag network {architecture.name}` lists them{own}."


def _check_taps(network: nn.Module, architecture: Architecture, taps: Iterable[str]) -> None:
    """Raise if a tap is neither a module nor a node of the traced graph.

    Most taps are modules. Tracing takes a while, so the graph is traced only for the other taps.
    """
    modules = {name for name, _ in network.named_modules()} - {""}
    others = {
        tap: path for tap, path in ((tap, architecture.taps[tap]) for tap in taps) if path not in modules
    }
    nodes = set(get_graph_node_names(network.eval())[1]) if others else set()
    for tap, path in others.items():
        if path not in nodes:
            rule = f"should be the path of a module of {architecture.name}"
            remedy = did_you_mean(path, {*modules, *nodes}, _listing(architecture))
            if path in dict(without_values(architecture.build).named_modules()):
                remedy = "These weights end before it: VGG-16's that ship reach as far as relu5_1."
            raise SettingError(f"network.taps.{tap}", rule, repr(path), remedy)


# --- Types ------------------------------------------------------------------------------------------------

logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # our errors say what it would log

IMPORTING = re.compile(r"^<frozen |/importlib/|/hydra/_internal/")
"""Matches the files that import others."""

HYDRAS = ("_target_", "_partial_")
"""The keys that say what to do with the others of a node; Hydra's `instantiate` reads them, too."""


class Declared(NamedTuple):
    """The parameters of a class or function.

    Attributes:
        names: Their names.
        types: Their annotated types.
        needed: The keywords without a default; the first arguments of a partial target come later.
        takes_any: Whether it takes any other argument.
    """

    names: Sequence[str]
    types: Mapping[str, Any]
    needed: Sequence[str]
    takes_any: bool


@cache
def declared(target: Callable[..., Any]) -> Declared:
    """Return the parameters of a class or function."""
    try:
        parameters = inspect.signature(target).parameters
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, ValueError):  # its annotations are for type checkers only
        return Declared((), {}, (), takes_any=True)
    needed = [
        one.name for one in parameters.values() if one.kind is one.KEYWORD_ONLY and one.default is one.empty
    ]
    kinds = [parameter.kind for parameter in parameters.values()]
    return Declared(tuple(parameters), hints, needed, inspect.Parameter.VAR_KEYWORD in kinds)


def declared_type(target: str, argument: str) -> Any:
    """Return the annotated type of an argument of the class or function at a path; `Any` if it has none."""
    return declared(_found(target, "config")).types.get(argument, Any)


def _place_of(error: BaseException) -> str | None:
    """Return the file and the line where a module raises while it is imported; None if none does."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if not IMPORTING.search(one.filename)]
    return f"{ours[-1].filename}, line {ours[-1].lineno}" if ours else None


def _found(target: Any, key: str) -> Callable[..., Any]:
    """Return the class or function at a path."""
    rule = "should be the path of a class or function"
    try:
        found: Callable[..., Any] = get_object(str(target))
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        cause = error.__cause__ or error
        why = f"{target!r} ({type(cause).__name__}: {str(cause).partition(chr(10))[0]})"
        module, _, name = str(target).rpartition(".")
        if (place := _place_of(cause)) is not None:
            raise SettingError(key, rule, why, f"Mend {place}.") from error
        if module in sys.modules:
            names = [one for one in vars(sys.modules[module]) if not one.startswith("_")]
            remedy = did_you_mean(name, names, f"{module} has {', '.join(names)}.")
            raise SettingError(key, rule, f"no {name} in {module}", remedy) from error
        raise SettingError(key, rule, why, OWN_MODULES) from error
    if not callable(found):
        raise SettingError(key, rule, repr(target), seen(key))
    return found


def _check_arguments(of: Declared, given: Mapping[str, Any], key: str) -> None:
    """Raise unless the target takes these arguments, each with its type, and needs no others."""
    for name, value in given.items():
        if name not in of.names and not of.takes_any:
            known = ", ".join(of.names)
            remedy = did_you_mean(name, of.names, "Leave it out.")
            raise SettingError(f"{key}.{name}", f"should be one of {known}", "an unknown key", remedy)
        hint = of.types.get(name, Any)
        if not (_is_built(value) and not _is_plain(hint)) and not fits(value, hint):
            words = in_words(hint) if _is_plain(hint) else str(getattr(hint, "__name__", hint))
            raise SettingError(f"{key}.{name}", f"should be {words}", repr(value), seen(f"{key}.{name}"))
    for name in of.needed:
        if name not in given:
            raise SettingError(f"{key}.{name}", "should be given", "nothing", seen(f"{key}.{name}"))


def _is_built(value: Any) -> bool:
    """Return whether an object is made of this value, or of each item in it."""
    if not isinstance(value, dict | list) or not value:
        return False
    items = value.values() if isinstance(value, dict) else value
    return "_target_" in value or all(map(_is_built, items))


def _is_plain(hint: Any) -> bool:
    """Return whether the type allows only values of YAML, or collections of them."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal or hint in (bool, int, float, str, None, type(None)):
        return True
    return origin is not Callable and bool(inner) and all(_is_plain(one) for one in inner if one is not ...)
