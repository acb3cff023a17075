"""The objective of a config: its losses and the taps at which they read the network."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from experiments.building import build
from experiments.config import Config
from swag_repro.errors import SettingError, check_number
from swag_repro.losses import BorrowedShares, Loss, Objective, Side
from swag_repro.networks import Architecture
from swag_repro.smoothing import Smoothing


def objective_of(settings: Config, architecture: Architecture, smoothing: Smoothing) -> Objective:
    """Return the objective that the config's `objective` describes.

    Raises:
        SettingError: It names no taps of the network, or the objective refuses a setting.
    """
    taps = _style_taps(architecture, settings)
    if settings.smoothed_deepest is not None:
        check_number("objective.smoothed_deepest", settings.smoothed_deepest, least=0, whole=True)
    check_number("objective.content_decay", settings.content_decay, above=0, remedy="1.0 leaves the weight.")
    return Objective(
        content=Side(
            loss=build(settings.content, Loss),
            taps=dict.fromkeys(_content_taps(architecture, settings), 1.0),
            weight=settings.content_weight,
            smoothed=None if settings.smoothed_content else (),
        ),
        style=Side(
            loss=build(settings.style, Loss),
            taps=taps,
            weight=settings.style_weight,
            smoothed=_smoothed(list(taps), settings),
        ),
        smoothing=smoothing,
        total_variation_weight=settings.total_variation_weight,
        balance=settings.balance,
        like=None
        if settings.like is None
        else BorrowedShares(smoothing=build(settings.like, Smoothing), match=settings.match),
    )


def _style_taps(architecture: Architecture, settings: Config) -> dict[str, float]:
    """Return the weight of each style tap."""
    known = {
        "style": architecture.style_taps,
        "hypercolumn": architecture.columns,
        "all": list(architecture.taps),
    }
    taps = known[settings.taps] if settings.taps in known else _spread(list(architecture.taps), settings.taps)
    if settings.layers is not None:
        _check_layer("objective.layers", settings.layers, taps)
        taps = taps[: settings.layers]
    given = settings.tap_weights
    weights = given if isinstance(given, list) else [given] * len(taps)
    if len(weights) != len(taps):
        rule = f"should have one weight for each of the taps {taps}"
        raise SettingError(
            "objective.tap_weights", rule, f"{len(weights)} weights", "A number weighs all alike."
        )
    return dict(zip(taps, weights, strict=True))


def _spread(taps: Sequence[str], number: int) -> Sequence[str]:
    """Return so many of these taps, evenly spaced from the first to the last; the last, if it is one."""
    _check_layer("objective.taps", number, taps)
    last = len(taps) - 1
    return [taps[round(place * last / (number - 1))] for place in range(number)] if number > 1 else taps[-1:]


def _content_taps(architecture: Architecture, settings: Config) -> Sequence[str]:
    known = {"content": [architecture.content_tap], "hypercolumn": architecture.columns}
    taps = known[settings.content_taps]
    if settings.content_layer is None:
        return taps
    _check_layer("objective.content_layer", settings.content_layer, architecture.style_taps)
    return [architecture.style_taps[settings.content_layer - 1]]


def _smoothed(taps: Sequence[str], settings: Config) -> Sequence[str] | None:
    """Return the taps that are smoothed; None for all."""
    number, pattern = settings.smoothed_deepest, settings.smoothed_taps
    if pattern is None:
        return None if number is None else taps[max(0, len(taps) - number) :]
    if number is not None:
        rule, remedy = "should be null beside objective.smoothed_deepest", "Give one of the two."
        raise SettingError("objective.smoothed_taps", rule, repr(pattern), remedy)
    matching = fnmatch.filter(taps, pattern)
    if not matching:
        rule = f"should match one of the taps {', '.join(taps)}"
        raise SettingError("objective.smoothed_taps", rule, repr(pattern), "* stands for anything.")
    return matching


def _check_layer(setting: str, number: int, taps: Sequence[str]) -> None:
    if not 1 <= number <= len(taps):
        rule = f"should be from 1 to {len(taps)}, the number of taps"
        raise SettingError(setting, rule, number, f"The taps are {', '.join(taps)}.")
