"""Paired effects with intervals. Pairs of pictures and seeds are both samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import permutation_test, t

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Effect:
    """A mean over pairs and seeds, and its interval.

    Attributes:
        mean: mean over all.
        low: lower end of the 95 % interval.
        high: upper end.
        pairs: number of pairs.
        seeds: number of seeds.
        positive: share of the pairs (means over seeds) above 0.
        p: two-sided p of a sign-flip test over pairs (means over seeds).
    """

    mean: float
    low: float
    high: float
    pairs: int
    seeds: int
    positive: float
    p: float


def crossed(values: pd.Series, *, tested: bool = True) -> Effect:
    """Return the mean of values by pair and seed, with Student's interval of a two-way random model.

    Pairs and seeds are both samples. The variance of the mean is `(MS_pair + MS_seed − MS_rest) / (P S)`, but
    at least what pairs or seeds alone give. The degrees of freedom are Satterthwaite's, but at most those of
    the larger of the two (Searle, Casella, McCulloch, *Variance Components*, 1992). With one seed this is
    Student's interval over pairs.

    Args:
        values: values indexed by `pair` and `seed`; every pair has every seed.
        tested: whether to compute p, which takes most of the time; p is NaN otherwise.

    Raises:
        ValueError: a pair lacks one of the seeds.
    """
    table = by_pair_and_seed(values)
    by_pair, (pairs, seeds) = table.mean(axis=1), table.shape
    mean = float(by_pair.mean())
    half = half_width(table) if pairs > 1 else math.inf
    positive = float((by_pair > 0).mean())
    return Effect(
        mean, mean - half, mean + half, pairs, seeds, positive, sign_flip(by_pair) if tested else math.nan
    )


def half_width(table: NDArray[np.float64]) -> float:
    """Return half the width of the mean's interval of a table `(pairs, seeds)` with two pairs or more."""
    error, freedom = standard_error(table)
    return error * float(t.ppf((1 + CONFIDENCE) / 2, freedom))


def standard_error(table: NDArray[np.float64]) -> tuple[float, float]:
    """Return the standard error of the mean of a table `(pairs, seeds)`, and its degrees of freedom."""
    pairs, seeds = table.shape
    by_pair, by_seed = table.mean(axis=1), table.mean(axis=0)
    of_pairs = seeds * by_pair.var(ddof=1)
    if seeds == 1:
        variance, freedom = of_pairs, float(pairs - 1)
    else:
        rest = table - by_pair[:, None] - by_seed + table.mean()
        of_seeds, of_rest = pairs * by_seed.var(ddof=1), (rest**2).sum() / (pairs - 1) / (seeds - 1)
        terms = np.array([of_pairs, of_seeds, -of_rest])
        variance = max(terms.sum(), of_pairs, of_seeds)
        each = np.array([pairs - 1, seeds - 1, (pairs - 1) * (seeds - 1)])
        if variance == 0:
            return 0.0, float(each[0])
        freedom = min(variance**2 / (terms**2 / each).sum(), each[np.argmax(terms[:2])])
    return float(np.sqrt(variance / table.size)), float(freedom)


def one_sided(table: NDArray[np.float64], distance: float) -> float:
    """Return p under the hypothesis that the true mean lies beyond a threshold, at or below a distance of 0.

    It is never below `0.5 ** pairs`, which is the least p of an exact sign-flip test: so few pairs can't pass
    for much evidence because they happen to lie close together.

    Args:
        table: `(pairs, seeds)`, with two pairs or more.
        distance: the distance of the mean from the threshold, positive on the side that is tested for.
    """
    error, freedom = standard_error(table)
    with np.errstate(divide="ignore"):
        p = float(t.sf(np.divide(distance, error), freedom)) if error or distance else 0.5
    return max(p, 0.5 ** len(table))


def sign_flip(by_pair: NDArray[np.float64]) -> float:
    """Return the two-sided p of a mean of pairs under random signs: exact up to 13 pairs, else 9999 draws."""
    if len(by_pair) < 2:
        return math.nan
    test = permutation_test(
        (by_pair,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(0)
    )
    return float(test.pvalue)


def by_pair_and_seed(values: pd.Series) -> NDArray[np.float64]:
    """Return the table `(pairs, seeds)` of values that are indexed by both.

    Raises:
        ValueError: a pair lacks one of the seeds.
    """
    table = values.unstack("seed")
    if table.isna().any(axis=None):
        raise ValueError("every pair should have a value under every seed")
    return table.to_numpy(float)
