"""Paired effects with intervals: pairs of pictures and seeds are both samples, so both are drawn again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DRAWS = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Effect:
    """A mean over pairs and seeds, and its interval.

    Attributes:
        mean: over all.
        low: lower end of the 95 % interval.
        high: upper end.
        pairs: how many there are.
        seeds: how many there are.
        positive: of the pairs (means over seeds), the part above 0.
    """

    mean: float
    low: float
    high: float
    pairs: int
    seeds: int
    positive: float


def bootstrap(values: pd.Series) -> Effect:
    """The mean of values by pair and seed, with a percentile interval of a crossed bootstrap.

    Whole pairs and whole seeds are drawn with replacement, independently (Owen, *The pigeonhole bootstrap*,
    Annals of Applied Statistics 2007). The draws are seeded: the same values give the same interval.

    Args:
        values: indexed by `pair` and `seed`; every pair under every seed.

    Raises:
        ValueError: a pair without one of the seeds.
    """
    table = by_pair_and_seed(values)
    low, high = interval(resampled(table))
    by_pair, (pairs, seeds) = table.mean(axis=1), table.shape
    positive = float((by_pair > 0).mean())
    return Effect(float(by_pair.mean()), low, high, pairs, seeds, positive)


def interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Both ends of what holds `CONFIDENCE` of the draws, by percentiles."""
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)


def by_pair_and_seed(values: pd.Series) -> NDArray[np.float64]:
    """`(pairs, seeds)` of values that are indexed by both.

    Raises:
        ValueError: a pair without one of the seeds.
    """
    table = values.unstack("seed")
    if table.isna().any(axis=None):
        raise ValueError("every pair should have a value under every seed")
    return table.to_numpy(float)


def resampled(table: NDArray[np.float64], draws: int = DRAWS) -> NDArray[np.float64]:
    """`(draws,)` means of the table `(pairs, seeds)` with rows and columns drawn again."""
    generator = np.random.default_rng(0)
    counts = [generator.multinomial(n, np.full(n, 1 / n), size=draws) / n for n in table.shape]
    means: NDArray[np.float64] = np.einsum("dp,ps,ds->d", counts[0], table, counts[1])
    return means
