"""The space of a search."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from swag_repro.errors import SettingError


def distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of each key of `search.space`.

    Raises:
        SettingError: A key has no choices, or no value lies between its limits.
    """
    if not space:
        raise SettingError("search.space", "should have at least one key", "none", "conf/search shows some.")
    return {key: _distribution(key, given) for key, given in space.items()}


def _distribution(key: str, given: Any) -> BaseDistribution:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error"
            )  # Optuna warns of choices it can't store, and of steps that miss `high`
            return CategoricalDistribution(given) if isinstance(given, list) else _range(**given)
    except (TypeError, ValueError, UserWarning) as error:
        rule = "should be a list of choices, or have low and high, and may have log and step"
        raise SettingError(
            f"search.space.{key}", rule, f"{given!r} ({error})", "conf/search shows some."
        ) from error


def _range(low: Any, high: Any, *, log: bool = False, step: Any = None) -> BaseDistribution:
    """Return the distribution from low to high, of whole numbers if the limits and the step are whole."""
    for limit in (low, high, step or 1):
        if not isinstance(limit, int | float) or not math.isfinite(limit):
            raise ValueError(f"{limit!r} is no number; 1e-3 is none in YAML, 1.0e-3 is")
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int):
        return IntDistribution(low, high, log=log, step=step)
    return FloatDistribution(low, high, log=log, step=step)


def ends(space: Mapping[str, BaseDistribution]) -> Iterator[dict[str, Any]]:
    """Yield the settings of all low values, then of all high ones; each choice appears in at least one."""
    listed = [_ends(distribution) for distribution in space.values()]
    for number in range(max(map(len, listed))):
        yield {key: values[min(number, len(values) - 1)] for key, values in zip(space, listed, strict=True)}


def _ends(distribution: Any) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    return distribution.low, distribution.high


def as_overrides(params: Mapping[str, Any]) -> list[str]:
    """Return the parameters as the overrides of a command."""
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in params.items()
    ]
