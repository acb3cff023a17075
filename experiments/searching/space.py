"""The space of a search, and its objective: a number that is computed from a trial's rows."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from swag_repro.errors import NonFiniteError, SettingError, check_choice
from swag_repro.runs.schema import NUMBERS


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


AGGREGATES = ("mean", "median", "min", "max")
DIRECTIONS = ("minimize", "maximize")


@dataclass(frozen=True)
class SearchObjective:
    """A number that a search makes small, or large.

    Args:
        name: The number's name.
        query: A query of pandas over the columns of `NUMBERS`; it selects the rows behind the number.
        aggregate: The function that turns the rows' values into one number.
        direction: `minimize` or `maximize`.

    Raises:
        SettingError: An argument is none of its choices, or the query is invalid.
    """

    name: str
    query: str
    aggregate: str
    direction: str

    def __post_init__(self) -> None:
        check_choice(f"search.objectives.{self.name}.aggregate", self.aggregate, AGGREGATES)
        check_choice(f"search.objectives.{self.name}.direction", self.direction, DIRECTIONS)
        self._fitting(NUMBERS.empty_table().to_pandas())

    def value(self, rows: pd.DataFrame) -> float:
        """Return the number of a trial.

        Args:
            rows: The rows of the trial's runs, in `NUMBERS`.

        Raises:
            SettingError: No row fits the query, or a fitting row has no value.
            NonFiniteError: The number is infinite or NaN.
        """
        fitting = self._fitting(rows)
        if fitting.empty:
            known = ", ".join(sorted(set(rows["statistic"])))
            rule = "should fit at least one row of a trial"
            raise self._refusal(rule, f"none for {self.query!r}", f"Its statistics are {known}.")
        if len(without := fitting[fitting["value"].isna()]):
            found = f"one without: {without.iloc[0]['reason']}"
            raise self._refusal("should fit rows that have a value", found, "Choose another statistic.")
        value = float(fitting["value"].agg(self.aggregate))
        if not math.isfinite(value):
            raise NonFiniteError(self.name, "should be finite", value, "Make the space smaller.")
        return value

    def _fitting(self, rows: pd.DataFrame) -> pd.DataFrame:
        try:
            return rows.query(self.query, engine="python")
        except Exception as error:  # an expression can raise anything
            rule = f"should be a query of pandas over the columns {', '.join(NUMBERS.names)}"
            found = f"{self.query!r} ({type(error).__name__}: {error})"
            raise self._refusal(rule, found, 'For example: statistic == "ssim"') from error

    def _refusal(self, rule: str, found: str, remedy: str) -> SettingError:
        return SettingError(f"search.objectives.{self.name}.query", rule, found, remedy)
