"""Networks by name: any classifier of torchvision, and any model of timm, as `timm/NAME`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import ModuleType
from typing import Any

import torchvision
from torch import nn
from torchvision.models import VisionTransformer, get_model, get_model_weights, list_models

from swag_repro.errors import SettingError, UserError, check_choice
from swag_repro.networks.architecture import IMAGENET_MEAN, IMAGENET_STD, TIMM, Architecture
from swag_repro.networks.layouts import without_values
from swag_repro.networks.rule import Layer, heads_of, layers_of, taps_by_rule
from swag_repro.networks.variants import AnySizeViT
from swag_repro.program import did_you_mean

PINNED = "IMAGENET1K_V1"
"""The weights of torchvision that `weights=imagenet` takes, where a network has them; else its first ones."""

CLASSES = 997
"""A number of classes that is no other size of a network: the modules with such a size are classifiers."""

ANY_SIZE: Sequence[Mapping[str, Any]] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
    {},
)
"""Settings by which models of timm take pictures of several sizes; each takes the first that works."""

RULE_OF_NAMES = "should be one of conf/network, a classifier of torchvision, or timm/ and a model of timm"


def check_name(name: str, files: Iterable[str]) -> None:
    """Raise unless a library has a network of this name.

    Args:
        name: such as `convnext_tiny` or `timm/repvgg_a2`.
        files: names of networks that have a file, for the message.

    Raises:
        SettingError: there is none, or timm is not installed.
    """
    if not is_known(name):
        nearest = {*files, *_names(name)}
        remedy = did_you_mean(name, nearest, "--help network explains those that have a file.")
        raise SettingError("network", RULE_OF_NAMES, repr(name), remedy)


def is_known(name: str) -> bool:
    """Return whether a library has a network of this name.

    Raises:
        SettingError: timm is not installed, or its network has no weights of the name's tag.
    """
    plain, _, tag = name.partition(".") if name.startswith(TIMM) else (name, "", "")
    known = plain in _names(name)
    if known and tag:
        _check_tag(plain.removeprefix(TIMM), tag, "network", name)
    return known


def _names(like: str) -> list[str]:
    """Return the names of all networks of the library that a name is of."""
    timms = [f"{TIMM}{one}" for one in _timm(like).list_models()] if like.startswith(TIMM) else []
    return timms or _classifiers()


def _check_tag(model: str, tag: str, setting: str, found: str) -> None:
    tags = [one.partition(".")[2] for one in _timm(model).list_models(f"{model}.*", pretrained=True)]
    if tag and tag not in tags:
        rule = f"should have a tag of timm's weights of {model}: {', '.join(tags) or 'there are none'}"
        raise SettingError(setting, rule, repr(found), "Leave it out for timm's own choice.")


def _classifiers() -> list[str]:
    names: list[str] = list_models(module=torchvision.models)
    return names


def _timm(name: str) -> ModuleType:
    try:
        import timm  # here, because it is an extra
    except ImportError as error:
        raise SettingError(
            "network", "needs timm", f"none installed for {name!r}", "Type: pip install 'swag-repro[zoo]'"
        ) from error
    return timm


def torchvision_model(*, model: str, **settings: Any) -> nn.Module:
    """Return a classifier of torchvision; a vision transformer takes pictures of any size.

    Args:
        model: torchvision's name.
        settings: other keywords of torchvision's builder, such as `weights`.
    """
    network: nn.Module = get_model(model, **settings)
    return AnySizeViT(network) if isinstance(network, VisionTransformer) else network


def timm_model(*, model: str, weights: str | None = None, **settings: Any) -> nn.Module:
    """Return a model of timm.

    Args:
        model: timm's name.
        weights: the name with a tag, such as `timm/repvgg_a2.rvgg_in1k`; None for fresh weights.
        settings: other keywords of `timm.create_model`.
    """
    chosen = model if weights is None else weights.removeprefix(TIMM)
    network: nn.Module = _timm(model).create_model(chosen, pretrained=weights is not None, **settings)
    return network


@dataclass(frozen=True)
class Described:
    """What a library's network tells of itself.

    Attributes:
        builder: returns it with fresh weights.
        layers: its modules.
        head: its classifiers.
        taps: tap → module path, by the rule.
        imagenet: the pinned weights; None if there are none.
        mean: of its training images, RGB in [0, 1].
        std: of its training images.
    """

    builder: Callable[..., nn.Module]
    layers: Sequence[Layer]
    head: Sequence[str]
    taps: Mapping[str, str]
    imagenet: str | None
    mean: Sequence[float]
    std: Sequence[float]


@cache
def describe(model: str) -> Described:
    """Return what a network tells of itself; none of its weights have values.

    Args:
        model: such as `convnext_tiny` or `timm/repvgg_a2`.

    Raises:
        SettingError: there is none, it takes pictures of one size only, or it has no layers with positions.
    """
    check_name(model, ())
    return _of_timm(model) if model.startswith(TIMM) else _of_torchvision(model)


def _of_torchvision(model: str) -> Described:
    builder = partial(torchvision_model, model=model)
    members = list(get_model_weights(model))
    pinned = next((one for one in members if one.name == PINNED), members[0])
    seen = pinned.transforms()
    layers, head, taps = _read(model, without_values(partial(builder, num_classes=CLASSES)))
    return Described(builder, layers, head, taps, str(pinned), tuple(seen.mean), tuple(seen.std))


def _of_timm(model: str) -> Described:
    problems: list[Exception] = []
    for builder in _timm_builders(model):
        try:
            network = without_values(partial(builder, num_classes=CLASSES))
            layers, head, taps = _read(model, network)
        except (TypeError, UserError) as error:  # it takes no such setting, or one size only
            problems.append(error)
            continue
        cfg: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
        tagged = f"{TIMM}{cfg['architecture']}.{cfg.get('tag') or ''}".rstrip(".")
        there = _timm(model).is_model_pretrained(tagged.removeprefix(TIMM))
        seen = cfg.get("mean", IMAGENET_MEAN), cfg.get("std", IMAGENET_STD)
        return Described(builder, layers, head, taps, tagged if there else None, *map(tuple, seen))
    raise problems[-1]


def _timm_builders(model: str) -> Iterator[Callable[..., nn.Module]]:
    name = model.removeprefix(TIMM)
    yield from (partial(timm_model, model=name, **settings) for settings in ANY_SIZE)


def _read(model: str, network: nn.Module) -> tuple[list[Layer], list[str], dict[str, str]]:
    layers, head = layers_of(network.eval()), heads_of(network, CLASSES)
    if taps := taps_by_rule(layers, head):
        return layers, head, taps
    remedy = "Name its taps in a file of conf/network, or choose another network."
    raise SettingError("network", "should have layers with positions", f"none in {model}", remedy)


def by_name(
    *,
    model: str,
    name: str,
    label: str,
    taps: Mapping[str, str] | None,
    style_taps: Sequence[str] | None,
    content_tap: str | None,
    statistic_taps: Sequence[str] | None,
    hypercolumn_taps: Sequence[str] | None,
    shortcut: float | None,
    head: Sequence[str] | None,
    imagenet: str | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Architecture:
    """Return a library's network; what is None is what the network tells, and taps are by the `RULE`.

    Args:
        model: such as `convnext_tiny` or `timm/repvgg_a2`.
        imagenet: other weights than the pinned: of torchvision's enum, such as `IMAGENET1K_V2`, or a tag of
            timm's.
        name: see `Architecture`, also for the other arguments.
        label: see there.
        taps: see there.
        style_taps: all taps, if None.
        content_tap: the last but one, if None.
        statistic_taps: the style taps, if None.
        hypercolumn_taps: see there.
        shortcut: see there.
        head: see there.
        mean: see there.
        std: see there.

    Raises:
        SettingError: as for `describe`, or the library has no such weights.
    """
    described = describe(model)
    paths = taps or described.taps
    style = style_taps or list(paths)
    return Architecture(
        name=name,
        label=label,
        builder=described.builder,
        taps=paths,
        style_taps=style,
        content_tap=content_tap or list(paths)[-2:][0],
        statistic_taps=statistic_taps or style,
        hypercolumn_taps=hypercolumn_taps,
        shortcut=shortcut,
        head=described.head if head is None else head,
        imagenet=described.imagenet if imagenet is None else _weights(model, imagenet),
        mean=mean or described.mean,
        std=std or described.std,
    )


def _weights(model: str, name: str) -> str:
    """Return the name of weights, as `Architecture.imagenet` has it."""
    if model.startswith(TIMM):
        plain = model.removeprefix(TIMM).partition(".")[0]
        _check_tag(plain, name, "network.imagenet", name)
        return f"{TIMM}{plain}.{name}"
    members = get_model_weights(model).__members__
    check_choice("network.imagenet", name, members)
    return str(members[name])
