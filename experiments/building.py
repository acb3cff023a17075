"""Builders of the science's parts from nodes of a config; each value is checked against its declared type."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from torchvision.models.feature_extraction import get_graph_node_names

from swag_repro.errors import SettingError, UserError
from swag_repro.networks import Architecture
from swag_repro.weights import Weights

SEEN = "conf/ shows the keys and their values."


def build(node: DictConfig) -> Any:
    """Return the object that the node's `_target_` makes from plain values.

    Raises:
        UserError: The target refuses its arguments, or does not take them.
    """
    key = str(node._get_full_key(None)) or "config"
    if "_target_" not in node:
        raise SettingError(f"{key}._target_", "should be given", "nothing", SEEN)
    _check_arguments(OmegaConf.to_container(node), key)
    try:
        return instantiate(node, _convert_="all")
    except (InstantiationException, OmegaConfBaseException, TypeError, ValueError, AttributeError) as error:
        if own := next((one for one in (error, error.__cause__) if isinstance(one, UserError)), None):
            raise own from None
        rule = f"should be arguments that {node.get('_target_')} takes"
        raise SettingError(key, rule, str(error).splitlines()[0], SEEN) from error


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
        raise SettingError("network.builder", rule, str(error).splitlines()[0], SEEN) from error
    if not isinstance(network, nn.Module):
        raise SettingError("network.builder", "should return a network", type(network).__name__, SEEN)
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
            raise SettingError("network.head", rule, sorted(missing), "print(network) shows them.")
    else:
        build_network(weights, architecture, taps)
    _CHECKED.add(key)


class _Shapes:
    """Weights without values, where a builder needs none."""

    name = "shapes"

    def build(self, architecture: Architecture) -> nn.Module:
        try:
            with torch.device("meta"):
                return architecture.build()
        except UserError:
            raise
        except Exception:  # a user's builder may need values
            return architecture.build()

    def digest(self, architecture: Architecture) -> None: ...


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
            remedy = "print(network) shows the paths. VGG-16's weights that ship reach as far as relu5_1."
            raise SettingError(f"network.taps.{tap}", rule, repr(path), remedy)


# --- Types ------------------------------------------------------------------------------------------------


def _check_arguments(node: Any, key: str) -> None:
    """Raise unless each `_target_` declares every argument of its node, and each value has its type.

    Raises:
        SettingError: An argument is unknown, or its value has another type.
    """
    for name, value in _children(node):
        if isinstance(value, Mapping | list):
            _check_arguments(value, f"{key}.{name}")
    if not isinstance(node, Mapping) or "_target_" not in node:
        return
    parameters, hints, takes_any = declared(str(node["_target_"]), key)
    for name, value in node.items():
        if name in HYDRAS or (name not in parameters and takes_any):
            continue
        if name not in parameters:
            known = ", ".join(one for one in parameters if one != "self")
            raise SettingError(
                f"{key}.{name}", f"should be one of {known}", "an unknown key", "Leave it out."
            )
        hint = hints.get(name, Any)
        if not (_is_built(value) and not _is_plain(hint)) and not fits(value, hint):
            raise SettingError(f"{key}.{name}", f"should be {_in_words(hint)}", repr(value), SEEN)


HYDRAS = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")
"""The keys that Hydra itself reads."""


def _in_words(hint: Any) -> str:
    """Return a type as annotations write it: `float | None`."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    return hint.__name__ if inspect.isclass(hint) else str(hint).replace("collections.abc.", "")


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        yield from ((str(name), value) for name, value in node.items())
    elif isinstance(node, list):
        yield from ((str(index), value) for index, value in enumerate(node))


def _is_built(value: Any) -> bool:
    """Return whether Hydra makes an object of this value, or of each item in it."""
    if not isinstance(value, Mapping | list) or not value:
        return False
    return "_target_" in value or all(_is_built(item) for _, item in _children(value))


def declared(target: str, key: str = "config") -> tuple[set[str], dict[str, Any], bool]:
    """Return a target's parameter names, their annotated types, and whether it takes any other argument."""
    try:
        found = get_object(target)
        signature = inspect.signature(found)
        hints = get_type_hints(found.__init__ if inspect.isclass(found) else found)
    except (ImportError, AttributeError, NameError, TypeError, ValueError) as error:
        if isinstance(error, NameError | TypeError):  # its annotations are for type checkers only
            return set(), {}, True
        rule = "should be the path of a class or function"
        raise SettingError(f"{key}._target_", rule, repr(target), SEEN) from error
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    return set(signature.parameters), hints, inspect.Parameter.VAR_KEYWORD in kinds


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


def _is_plain(hint: Any) -> bool:
    """Return whether the type allows only values of YAML, or collections of them."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal or hint in (bool, int, float, str, None, type(None)):
        return True
    return origin is not Callable and bool(inner) and all(_is_plain(one) for one in inner if one is not ...)


def _fits_collection(value: Any, origin: Any, inner: tuple[Any, ...]) -> bool:
    if origin is Callable:
        return False
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(fits(item, inner[1]) for item in value.values())
    if issubclass(origin, Sequence):
        return isinstance(value, list) and all(fits(item, inner[0]) for item in value)
    return True
