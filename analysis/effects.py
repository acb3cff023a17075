"""Paired effects with intervals. The pictures of pairs, and seeds, are samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t

CONFIDENCE = 0.95

BETWEEN = " × "
"""The text between content and style in the name of a pair."""


def pair_names(table: pd.DataFrame) -> pd.Series[str]:
    """Return the name of each row's pair, from the columns `content` and `style`."""
    names: pd.Series[str] = table["content"] + BETWEEN + table["style"]
    return names


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
        p: two-sided p under the hypothesis that the true mean is 0; NaN for a single pair.
    """

    mean: float
    low: float
    high: float
    pairs: int
    seeds: int
    positive: float
    p: float


@dataclass(frozen=True)
class Sample:
    """Values by pair and seed, and the pictures that pairs share.

    Attributes:
        values: `(pairs, seeds)`.
        shared: For contents, and for styles, the number of each pair's picture, from 0. Contents are left out
            where each pair has one of its own, or all have the same; so are styles.
    """

    values: NDArray[np.float64]
    shared: tuple[NDArray[np.intp], ...] = ()

    @classmethod
    def of(cls, values: pd.Series[float]) -> Sample:
        """Return the sample of values that are indexed by `pair`, as `pair_names` has them, and `seed`.

        Raises:
            ValueError: A pair lacks one of the seeds.
        """
        table = values.unstack("seed")
        if table.isna().any(axis=None):
            raise ValueError("every pair should have a value under every seed")
        pictures = zip(*(str(pair).rpartition(BETWEEN)[::2] for pair in table.index), strict=True)
        numbered = (np.unique(names, return_inverse=True) for names in pictures)
        shared = (numbers for names, numbers in numbered if 1 < len(names) < len(table))
        return cls(table.to_numpy(float), tuple(shared))

    @property
    def by_pair(self) -> NDArray[np.float64]:
        """Means over seeds, one for each pair."""
        means: NDArray[np.float64] = self.values.mean(axis=1)
        return means


def crossed(values: pd.Series[float]) -> Effect:
    """Return the mean of values by pair and seed, with Student's interval; see `standard_error`.

    Args:
        values: values indexed by `pair`, as `pair_names` has them, and `seed`; every pair has every seed.

    Raises:
        ValueError: a pair lacks one of the seeds.
    """
    sample = Sample.of(values)
    mean, (pairs, seeds) = float(sample.values.mean()), sample.values.shape
    half = half_width(sample) if pairs > 1 else math.inf
    p = min(1.0, 2 * one_sided(sample, abs(mean))) if pairs > 1 else math.nan
    return Effect(mean, mean - half, mean + half, pairs, seeds, float((sample.by_pair > 0).mean()), p)


def half_width(sample: Sample) -> float:
    """Return half the width of the mean's interval of a sample with two pairs or more."""
    error, freedom = standard_error(sample)
    return error * float(t.ppf((1 + CONFIDENCE) / 2, freedom))


def standard_error(sample: Sample) -> tuple[float, float]:
    """Return the standard error of a sample's mean, and its degrees of freedom.

    Contents, styles and seeds are samples, crossed with each other: pairs that share a picture are not
    independent. The variance is that of each alone, clustered, less what is counted twice (Cameron, Gelbach,
    Miller, *Robust Inference with Multiway Clustering*, 2011), but at least the largest of them. The degrees
    of freedom are Satterthwaite's, but at most those of the largest. Where pairs share nothing and there is
    one seed, this is Student's over pairs.
    """
    pairs, seeds = sample.values.shape
    own = [_of_pairs(sample.by_pair)]
    terms = [_of_pictures(sample.by_pair, picture) for picture in sample.shared] or own
    twice = own if len(sample.shared) > 1 else []
    if seeds > 1:
        by_seed = sample.values.mean(axis=0)
        rest = sample.values - sample.by_pair[:, None] - by_seed + sample.values.mean()
        freedom = (pairs - 1) * (seeds - 1)
        terms = [*terms, _of_pairs(by_seed)]
        twice = [*twice, ((rest**2).sum() / freedom / rest.size, freedom)]
    variance, freedom = max(*terms, *own)
    variance = max(variance, sum(one for one, _ in terms) - sum(one for one, _ in twice))
    if variance == 0:
        return 0.0, float(freedom)
    whole = variance**2 / sum(one**2 / free for one, free in [*terms, *twice])
    return math.sqrt(variance), float(min(whole, freedom))


def _of_pairs(means: NDArray[np.float64]) -> tuple[float, int]:
    """Return the variance of the mean of independent values, and its degrees of freedom."""
    return float(means.var(ddof=1)) / len(means), len(means) - 1


def _of_pictures(by_pair: NDArray[np.float64], picture: NDArray[np.intp]) -> tuple[float, int]:
    """Return the variance of the mean of pairs that share these pictures, and its degrees of freedom."""
    sums = np.bincount(picture, by_pair - by_pair.mean())
    count = len(sums)
    return float((sums**2).sum()) / len(by_pair) ** 2 * count / (count - 1), count - 1


def one_sided(sample: Sample, distance: float) -> float:
    """Return p under the hypothesis that the true mean lies beyond a threshold, at or below a distance of 0.

    It is never below `0.5 ** pairs`, which is the least p of an exact sign-flip test: so few pairs can't pass
    for much evidence because they happen to lie close together.

    Args:
        sample: The values, of two pairs or more.
        distance: The distance of the mean from the threshold, positive on the side that is tested for.
    """
    error, freedom = standard_error(sample)
    with np.errstate(divide="ignore"):
        p = float(t.sf(np.divide(distance, error), freedom)) if error or distance else 0.5
    return max(p, 0.5 ** len(sample.values))
