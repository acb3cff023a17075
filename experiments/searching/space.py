"""What a search chooses from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from swag_repro.errors import SettingError

LIMITS = {"low", "high", "log", "step"}


def distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each key of `search.space`.

    Raises:
        SettingError: a key has no choices, or its limits leave none.
    """
    if not space:
        raise SettingError("search.space", "should have at least one key", "none", "conf/search shows some.")
    return {key: _distribution(f"search.space.{key}", given) for key, given in space.items()}


def _distribution(name: str, given: Any) -> BaseDistribution:
    if isinstance(given, list):
        return _choices(name, given)
    if not isinstance(given, dict) or not {"low", "high"} <= given.keys() <= LIMITS:
        rule = "should be a list of choices, or have low and high, and may have log and step"
        raise SettingError(name, rule, repr(given), "conf/search shows some.")
    low, high, log, step = given["low"], given["high"], given.get("log", False), given.get("step")
    _check_limits(name, low, high, step, log=log)
    if isinstance(step, int) and isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, step=step)
    return FloatDistribution(float(low), float(high), log=log, step=None if step is None else float(step))


def _choices(name: str, given: list[Any]) -> BaseDistribution:
    if not given or not all(isinstance(choice, str | int | float | bool | None) for choice in given):
        rule = "should be a list of at least one number or text"
        raise SettingError(name, rule, repr(given), "Give what would stand behind the key in a command.")
    return CategoricalDistribution(given)


def _check_limits(name: str, low: Any, high: Any, step: Any, *, log: Any) -> None:
    if not isinstance(log, bool):
        raise SettingError(f"{name}.log", "should be true or false", repr(log), "Leave it out for false.")
    for limit, value in {"low": low, "high": high, "step": 1 if step is None else step}.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise SettingError(
                f"{name}.{limit}", "should be a number", repr(value), "1e-3 is no number in YAML, 1.0e-3 is."
            )
    if not low < high:
        raise SettingError(f"{name}.low", f"should be below high, {high}", low, "Exchange them?")
    if log and low <= 0:
        raise SettingError(f"{name}.low", "should be above 0 with log", low, "Leave out log.")
    if step is not None:
        _check_step(f"{name}.step", step, high - low, log=log)


def _check_step(name: str, step: float, span: float, *, log: bool) -> None:
    if log:
        raise SettingError(name, "should be left out with log", step, "Leave out log, or step.")
    if not 0 < step <= span:
        rule = f"should be above 0, and at most {span}, from low to high"
        raise SettingError(name, rule, step, "Choose a smaller one.")


def ends(space: Mapping[str, BaseDistribution]) -> Iterator[dict[str, Any]]:
    """Parameters between which all others lie: all low ones, all high ones; each choice stands in one."""
    listed = {key: _ends(distribution) for key, distribution in space.items()}
    for number in range(max(map(len, listed.values()))):
        yield {key: values[min(number, len(values) - 1)] for key, values in listed.items()}


def _ends(distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return distribution.low, distribution.high
    assert isinstance(distribution, CategoricalDistribution)
    return tuple(distribution.choices)


def as_override(key: str, value: Any) -> str:
    """A parameter as it would stand in a command."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"
