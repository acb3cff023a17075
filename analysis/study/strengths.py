"""Bradley–Terry strengths of arms from people's choices, with intervals clustered by pair and by rater."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import t
from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

from analysis.effects import CONFIDENCE

POWER = 0.8

CLUSTERS = ("pair", "rater")
"""Columns whose values are both samples."""

RESULT = ["left", "right", "won"]
"""Columns of what was compared, and the share of a win for the left."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Strengths:
    """Strengths of the arms of one panel, in natural log-odds; their sum is 0.

    Attributes:
        arms: The arms.
        values: The strength of each, then the log-odds of the left picture between equal ones, `(K + 1,)`.
        covariances: Covariances of these by different assumptions; the largest variance counts.
        freedom: Degrees of freedom: the smaller number of clusters, less one.
    """

    arms: tuple[str, ...]
    values: Array
    covariances: tuple[Array, ...]
    freedom: int

    def preference(self, one: str, other: str) -> dict[str, float]:
        """Return the share of choices for `one` against `other`; see `share`."""
        contrast = np.zeros(len(self.values))
        contrast[[self.arms.index(one), self.arms.index(other)]] = 1, -1
        return self.share(contrast)

    @property
    def side(self) -> dict[str, float]:
        """The share of choices for the left one of two equal pictures; see `share`."""
        return self.share(np.eye(len(self.values))[-1])

    def share(self, contrast: Array) -> dict[str, float]:
        """Return a share of choices, its 95 % interval, p of a half, and what this study could have found.

        `detectable` is the least share above a half that a study with this standard error finds with a power
        of 80 %.
        """
        mean, error = contrast @ self.values, self.error(contrast)
        reach, power = (t.ppf(level, self.freedom) for level in ((1 + CONFIDENCE) / 2, POWER))
        ends = expit([mean, mean - reach * error, mean + reach * error, error * (reach + power)])
        found = dict(zip(("share", "low", "high", "detectable"), map(float, ends), strict=True))
        return found | {"p": float(2 * t.sf(abs(mean) / error, self.freedom))}

    def error(self, contrast: Array) -> float:
        """Return the standard error of a contrast `(K + 1,)` of `values`."""
        return float(np.sqrt(max(contrast @ covariance @ contrast for covariance in self.covariances)))


def fit_strengths(choices: pd.DataFrame) -> Strengths:
    """Return the strengths of the arms of one panel.

    The model is Bradley and Terry's with a term for the side: logit P(left) = θ_left − θ_right + side; a tie
    is half a win for each. Haldane's and Anscombe's half win and half loss, added for each two arms, keep
    strengths finite where all agree. A variance is Cameron, Gelbach and Miller's for two clusterings
    (2011), at least that of either clustering, and that of independent answers.

    Args:
        choices: Rows of `Answers.table` of kind `trial`, of arms that are compared with each other.

    Raises:
        ValueError: There are fewer than two pairs or raters.
    """
    arms = tuple(sorted({*choices["left"], *choices["right"]}))
    clusters = [pd.factorize(choices[column])[0] for column in CLUSTERS]
    freedom = min(len(np.unique(codes)) for codes in clusters) - 1
    if freedom < 1:
        raise ValueError("fewer than two pairs or two raters")
    rows, won, weights = _with_half_wins(choices, arms)
    if np.linalg.matrix_rank(rows) < rows.shape[1]:
        raise ValueError("no chain of comparisons joins all arms")
    added = np.arange(len(rows) - len(choices))
    groups = [np.concatenate([codes, codes.max() + 1 + added]) for codes in clusters]
    fitted = sm.GLM(won, rows, family=sm.families.Binomial(), freq_weights=weights).fit()
    to_all = np.vstack([np.eye(len(arms))[:-1], [-1.0] * (len(arms) - 1) + [0.0], np.eye(len(arms))[-1]])
    spreads = [*cov_cluster_2groups(fitted, *groups), fitted.cov_params()]
    return Strengths(
        arms, to_all @ fitted.params, tuple(to_all @ spread @ to_all.T for spread in spreads), freedom
    )


def _with_half_wins(choices: pd.DataFrame, arms: tuple[str, ...]) -> tuple[Array, Array, Array]:
    """Return the model's rows `(N, K)`, the shares won and weights; the last column is the side."""
    met = sorted({tuple(sorted(both)) for both in zip(choices["left"], choices["right"], strict=True)})
    added = pd.DataFrame([(*both[::turn], 0.5) for both in met for turn in (1, -1)], columns=RESULT)
    shown = pd.concat([choices[RESULT], added], ignore_index=True)
    left, right = (pd.Categorical(shown[side], arms).codes for side in ("left", "right"))
    signs = np.eye(len(arms))[left] - np.eye(len(arms))[right]
    rows = np.column_stack([signs[:, :-1] - signs[:, -1:], np.ones(len(shown))])
    weights = np.repeat([1.0, 0.5], [len(choices), len(added)])
    return rows, shown["won"].to_numpy(float), weights
