"""The answer of the numbers to one question: an effect, its interval, and whether it passes its threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from analysis.claims.definitions import Along, ClaimError, Expect, Inquiry
from analysis.claims.numbers import SEED, among
from analysis.effects import Sample, half_width, one_sided, standard_error
from swag_repro.runs.schema import RUNS

PAIRS = 6
"""Least number of pairs; of fewer, which all agree, an exact two-sided test has a p above 0.05."""

SEEDS = {"primary": 5, "secondary": 2, "identity": 2}
"""Least number of seeds of random or trained weights, by the role of a question.

With fewer, errors are more than twice as frequent as the level says: at that of one question among thirty, up
to 18 times with two seeds and 6 times with three, where seeds vary more than pairs.
"""

OF_NUMBERS = {"pair", "seed", "rater", "cell", "value", "gain", "relative", "asked", *RUNS.names}
"""Columns that are not settings."""

TINY = 1e-6
"""Least spread by which a distance is divided."""

Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """The mean, over pairs and seeds, of the number that a question asks for.

    Attributes:
        mean: The mean, in the units of the question.
        low: Lower end of the 95 % interval of `analysis.effects.crossed`.
        high: Upper end.
        pairs: Number of pairs.
        seeds: Number of seeds, or of raters; 1 for weights that have none.
        agreeing: Share of the pairs (means over seeds) on the claim's side of the threshold.
        size: Distance from the threshold in standard errors of one pair, positive on the claim's side; one is
            that of the mean times the root of the pairs.
        size_low: Lower end of the 95 % interval of `size`.
        size_high: Upper end.
        p_holds: One-sided p under the hypothesis that the mean is not as the claim says.
        p_refuted: One-sided p under the hypothesis that the mean is as the claim says.
        run_ids: Ids of the runs behind the answer.
    """

    mean: float
    low: float
    high: float
    pairs: int
    seeds: int
    agreeing: float
    size: float
    size_low: float
    size_high: float
    p_holds: float
    p_refuted: float
    run_ids: tuple[str, ...]


def answer(numbers: pd.DataFrame, asked: Inquiry) -> Answer:
    """Return the answer of a sweep's numbers, which come from `load_numbers`.

    Raises:
        ClaimError: The question names a column or value that the numbers don't have, or leaves several of
            them open; or there are too few pairs or seeds, or not the same on both sides.
    """
    rows = _select_rows(numbers, asked)
    _check_no_mixing(rows, asked)
    values = _difference(_one_number_each(rows, asked), asked)
    try:
        sample = Sample.of(values)
    except ValueError as error:
        rule = "should have every pair under every seed"
        raise ClaimError(_name(asked), rule, "some without", "Compute the same pairs for all.") from error
    seeded = "rater" in rows or (SEED in rows and bool(rows[SEED].notna().all()))
    _check_enough(sample.values.shape, asked, seeded=seeded)
    return _answer(sample, asked.question.expect, tuple(sorted(rows["run_id"].unique())))


def _select_rows(numbers: pd.DataFrame, asked: Inquiry) -> pd.DataFrame:
    rows = numbers
    for column, values in asked.selected.items():
        if column not in rows:
            rule = "should ask for a column of the numbers"
            known = ", ".join(name for name in _columns(numbers) if len(numbers[name].unique()) > 1)
            raise ClaimError(_name(asked), rule, column, f"There are {known}.")
        if absent := [value for value in values if not among(rows[column], [value]).any()]:
            rule = f"should ask for a {column} that there is"
            known = ", ".join(map(str, rows[column].unique()[:20]))
            raise ClaimError(_name(asked), rule, absent[0], f"There are {known}.")
        rows = rows[among(rows[column], values)]
    return rows.assign(asked=_question_values(rows, asked))


def _question_values(rows: pd.DataFrame, asked: Inquiry) -> pd.Series[float]:
    value = asked.question.value
    column = value if value in ("gain", "relative") else "value"
    if column not in rows or rows[column].isna().any():
        rule = f"should have a {value} for every number"
        raise ClaimError(_name(asked), rule, "none for some", "Ask for another, or measure the start.")
    numbers = rows[column].astype(float)
    return numbers.map(math.log2) if value == "log2" else numbers


def _check_no_mixing(rows: pd.DataFrame, asked: Inquiry) -> None:
    """Raise if the mean would mix values of a column that the question does not name."""
    compare, along = asked.question.compare, asked.question.along
    named = {*asked.where, SEED, *([compare.column] if compare else []), *([along.column] if along else [])}
    keys = [name for name in named if name in rows]
    groups = (
        rows.groupby(keys, dropna=False).ngroup().to_numpy() if keys else np.zeros(len(rows), dtype=np.int64)
    )
    open_ = [
        column for column in _columns(rows) if column not in named and not _follows(rows[column], groups)
    ]
    if open_:
        rule = "should say which, or compare them"
        found = f"several values of {', '.join(open_)}"
        raise ClaimError(_name(asked), rule, found, "Name them in where, each, along or compare.")


def _columns(rows: pd.DataFrame) -> list[str]:
    """Return the columns that say what a number is about: settings, and `COLUMNS`."""
    return [name for name in rows.columns if name not in OF_NUMBERS]


def _follows(column: pd.Series[Any], groups: NDArray[np.integer[Any]]) -> bool:
    """Return whether a column has one value, which may be null, in each of these groups."""
    codes, values = pd.factorize(column)
    together = groups * (len(values) + 1) + codes + 1
    return len(np.unique(together)) == len(np.unique(groups))


def _one_number_each(rows: pd.DataFrame, asked: Inquiry) -> pd.DataFrame:
    """Return one number for each pair, seed and value of the compared column."""
    question = asked.question
    sides = [question.compare.column] if question.compare is not None else []
    keys = ["pair", "seed", *sides]
    if question.along is None:
        return rows.groupby(keys, sort=False, dropna=False)["asked"].mean().reset_index()
    along = question.along
    points = (
        rows.groupby([*keys, along.column], sort=True, dropna=False)["asked"].mean().reset_index(along.column)
    )
    one = points.groupby(keys, sort=False, dropna=False)[[along.column, "asked"]]
    return one.apply(lambda part: _along(part, along)).rename("asked").reset_index()


def _along(part: pd.DataFrame, along: Along) -> float:
    values = part["asked"].to_numpy(float)
    if along.by == "mean":
        return float(values.mean())
    if along.by == "log2_ratio":
        return float(np.log2(values[-1] / values[0]))
    if along.by == "change":
        return float(values[-1] - values[0])
    return float(spearmanr(part[along.column].to_numpy(float), values).statistic)


def _difference(numbers: pd.DataFrame, asked: Inquiry) -> pd.Series[float]:
    compare = asked.question.compare
    keys = ["pair", "seed"]
    if compare is None:
        return numbers.set_index(keys)["asked"]
    sides = [
        numbers[among(numbers[compare.column], side)].groupby(keys)["asked"].mean()
        for side in (compare.these, compare.against)
    ]
    difference: pd.Series[float] = sides[0] - sides[1]
    return difference


def _check_enough(shape: tuple[int, ...], asked: Inquiry, *, seeded: bool) -> None:
    pairs, seeds = shape
    least = SEEDS[asked.role]
    if pairs < PAIRS or (seeded and seeds < least):
        rule = f"should rest on {PAIRS} pairs" + f" and {least} seeds" * seeded
        raise ClaimError(_name(asked), rule, f"{pairs} and {seeds}", "Compute more.")


def _name(asked: Inquiry) -> str:
    return f"{asked.claim}: {asked.name}"


def _answer(sample: Sample, expect: Expect, run_ids: tuple[str, ...]) -> Answer:
    (pairs, seeds), mean, half = sample.values.shape, float(sample.values.mean()), half_width(sample)
    distance = float(_distance(sample.values.mean(), expect))
    spread = max(standard_error(sample)[0] * math.sqrt(pairs), TINY)
    return Answer(
        mean=mean, low=mean - half, high=mean + half, pairs=pairs, seeds=seeds,
        agreeing=float((_distance(sample.by_pair, expect) > 0).mean()),
        size=distance / spread, size_low=(distance - half) / spread, size_high=(distance + half) / spread,
        p_holds=one_sided(sample, distance), p_refuted=one_sided(sample, -distance),
        run_ids=run_ids,
    )  # fmt: skip


def _distance(values: Numbers, expect: Expect) -> Numbers:
    """Return the distance from the threshold, positive on the claim's side."""
    if expect.more_than is not None:
        return np.subtract(values, expect.more_than)
    if expect.less_than is not None:
        return np.subtract(expect.less_than, values)
    assert expect.within is not None
    return np.subtract(expect.within, np.abs(values))
