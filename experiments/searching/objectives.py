"""The objective of a search: a number that is computed from a trial's rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from swag_repro.errors import NonFiniteError, SettingError, check_choice
from swag_repro.runs.schema import NUMBERS

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
