"""Simulated raters of known taste: the power of a study before it begins, and a check of its intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from analysis.effects import CONFIDENCE
from analysis.study.answers import COLUMNS, answer_row
from analysis.study.design import Study
from analysis.study.strengths import fit_strengths

DRAWS = 100
"""Number of simulated studies of one power."""

NODES = 60
"""Number of nodes of the quadrature."""

SHARES = (0.6, 0.75)
"""Preferences whose power is told."""


@dataclass(frozen=True)
class Taste:
    """The taste of simulated raters, in natural log-odds.

    Attributes:
        strengths: The strength of each arm.
        pairs: Standard deviation of what a picture has besides, the same for all raters.
        raters: Standard deviation of what a rater thinks of an arm besides, the same for all pairs.
        side: Log-odds of the left picture between equal ones.
        ties: Share of answers that are ties.
    """

    strengths: Mapping[str, float]
    pairs: float = 0.5
    raters: float = 0.5
    side: float = 0.0
    ties: float = 0.0

    def share(self, one: str, other: str) -> float:
        """Return the share of all raters and pairs that prefer `one`, by Gauss's and Hermite's quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        spread = np.sqrt(2 * (self.pairs**2 + self.raters**2))
        shares = expit(self.strengths[one] - self.strengths[other] + spread * nodes)
        return float(weights @ shares / weights.sum())


def simulate(study: Study, taste: Taste, generator: np.random.Generator) -> pd.DataFrame:
    """Return the answers of all raters of a study, in the columns of `COLUMNS`; they pass all checks."""
    arms, pairs = list(taste.strengths), {one.pair for one in study.comparisons}
    of_pair = dict(
        zip(product(arms, pairs), generator.normal(0, taste.pairs, len(arms) * len(pairs)), strict=True)
    )
    rows = []
    for rater, plan in study.raters.items():
        own = dict(zip(arms, generator.normal(0, taste.raters, len(arms)), strict=True))
        for number, trial in enumerate(plan):
            pair, options = study.comparisons[trial.comparison].pair, trial.options(study)
            left, right = (
                taste.strengths[one.arm] + own[one.arm] + of_pair[one.arm, pair] if one.arm else -np.inf
                for one in options
            )
            chosen = "left" if generator.random() < expit(left - right + taste.side) else "right"
            tied = trial.kind == "trial" and generator.random() < taste.ties
            rows.append(answer_row(study, rater, number, trial, "tie" if tied else chosen, 0))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summary(study: Study) -> Iterator[str]:
    """Yield the power of a study, in words."""
    for share in SHARES:
        try:
            yield f"a preference of {share:.0%} would be found in {power(study, share):.0%} of such studies"
        except ValueError as error:
            yield f"this study can have no interval: {error}"
            return


def power(study: Study, share: float, *, draws: int = DRAWS, seed: int = 0) -> float:
    """Return how often a study like this finds a preference, in the panel with the fewest comparisons.

    Args:
        study: The study.
        share: The share of all raters and pairs that prefer the arm.
        draws: Number of simulated studies.
        seed: Their seed.
    """
    generator = np.random.default_rng(seed)
    panels = pd.Series([one.panel for one in study.comparisons]).value_counts()
    [one, other] = next(c.options for c in study.comparisons if c.panel == panels.index[-1])
    arms = {option.arm for comparison in study.comparisons for option in comparison.options}
    taste = Taste(dict.fromkeys(arms, 0.0) | {one.arm: _strength_of(share)})
    found = 0
    for _ in range(draws):
        table = simulate(study, taste, generator)
        own = table[(table["kind"] == "trial") & (table["panel"] == panels.index[-1])]
        found += fit_strengths(own).preference(one.arm, other.arm)["p"] < 1 - CONFIDENCE
    return found / draws


def _strength_of(share: float) -> float:
    """Return the difference of strengths that gives this share under the standard deviations of `Taste`."""
    return float(brentq(lambda size: Taste({"a": size, "b": 0.0}).share("a", "b") - share, -20, 20))
