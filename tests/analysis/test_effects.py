"""Intervals over pairs and seeds, and the gains that they describe."""

import numpy as np
import pandas as pd
import pytest

from analysis.effects import crossed, one_sided, sign_flip
from analysis.mechanism import MEASURE_LABELS, _effects, _gains, _mean_best


def table(pairs, seeds, *, of_pairs, of_seeds, noise, mean=0.3, draw=0):
    generator = np.random.default_rng(draw)
    values = (
        mean
        + of_pairs * generator.standard_normal((pairs, 1))
        + of_seeds * generator.standard_normal((1, seeds))
    )
    values = values + noise * generator.standard_normal((pairs, seeds))
    return pd.DataFrame(values).rename_axis(index="pair", columns="seed").unstack().swaplevel()


@pytest.mark.parametrize("varying", [(1.0, 0.3, 0.5), (0.3, 1.0, 0.5), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("design", [(3, 1), (6, 1), (12, 1), (24, 1), (6, 2), (12, 3), (12, 6)])
def test_an_interval_covers_the_truth_as_often_as_it_says(design, varying):
    """All designs in use are tried; seeds don't vary in those with one seed, which can't tell how much they do."""
    of_pairs, of_seeds, noise = varying
    settings = {"of_pairs": of_pairs, "of_seeds": of_seeds if design[1] > 1 else 0.0, "noise": noise}
    effects = [crossed(table(*design, **settings, draw=draw), tested=False) for draw in range(400)]
    covered = np.mean([effect.low <= 0.3 <= effect.high for effect in effects])
    assert covered >= 0.93 - 2 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean([effect.mean for effect in effects]) == pytest.approx(0.3, abs=0.15)


def test_the_error_rate_without_a_difference_is_the_nominal_one():
    values = [table(12, 1, of_pairs=1.0, of_seeds=0.0, noise=0.5, mean=0.0, draw=draw) for draw in range(300)]
    assert np.mean([crossed(each).p <= 0.05 for each in values]) <= 0.1


@pytest.mark.parametrize("design", [(12, 1), (24, 1), (6, 5), (12, 6), (14, 5)])
@pytest.mark.parametrize("varying", [(1.0, 0.3, 0.5), (0.3, 1.0, 0.5), (0.0, 0.0, 1.0)])
def test_one_sided_p_are_as_rare_as_they_say(design, varying):
    """At the level of one question and of thirty, without a true difference, errors are at most twice as many."""
    pairs, seeds = design
    of_pairs, of_seeds, noise = varying
    generator, draws = np.random.default_rng(0), 2000
    tables = of_pairs * generator.standard_normal((draws, pairs, 1)) + noise * generator.standard_normal(
        (draws, pairs, seeds)
    )
    if seeds > 1:
        tables += of_seeds * generator.standard_normal((draws, 1, seeds))
    p = np.array([2 * one_sided(values, abs(values.mean())) for values in tables])
    for level in (0.05, 0.05 / 30):
        assert np.mean(p <= level) <= 2 * level + 2 * np.sqrt(level / draws)


def test_few_pairs_that_lie_close_together_are_no_strong_evidence():
    values = np.full((3, 1), 0.5) + np.array([[0.0], [1e-9], [-1e-9]])
    assert one_sided(values, 0.5) == pytest.approx(1 / 8)
    assert one_sided(values, -0.5) == pytest.approx(1)
    assert one_sided(np.zeros((3, 1)), 0.0) == 0.5


def test_six_unanimous_pairs_have_an_exact_p():
    assert sign_flip(np.array([1.0, 1.1, 0.9, 1.2, 0.8, 1.05])) == pytest.approx(2 / 2**6)


def test_seeds_that_differ_widen_the_interval():
    """Pairs under one seed don't count as replications of another seed."""
    alike = crossed(table(12, 3, of_pairs=0.0, of_seeds=0.0, noise=0.1))
    apart = crossed(table(12, 3, of_pairs=0.0, of_seeds=1.0, noise=0.1))
    assert apart.high - apart.low > 5 * (alike.high - alike.low)
    assert (alike.pairs, alike.seeds) == (12, 3)


def test_an_interval_is_the_same_every_time():
    values = table(5, 2, of_pairs=1.0, of_seeds=0.0, noise=0.1)
    assert crossed(values) == crossed(values.sample(frac=1, random_state=0))


def test_pairs_without_one_of_the_seeds_are_refused():
    with pytest.raises(ValueError, match="every pair should have a value under every seed"):
        crossed(table(4, 3, of_pairs=1.0, of_seeds=0.0, noise=0.1).iloc[:-1])


def picture(arm, distance, *, ssim=1.0, weight=1.0, iteration=np.nan, pair="a", seed=0):
    return {
        "network": 0, "weights.seed": seed, "arm.name": arm, "content": pair, "style": "s",
        "objective.style_weight": weight,
        "iteration": iteration, "ssim": ssim, "left": distance / 8,
        **dict.fromkeys(MEASURE_LABELS, distance), **{f"{measure}_start": 8.0 for measure in MEASURE_LABELS},
    }  # fmt: skip


def test_a_gain_is_a_power_of_two_nearer_to_the_style():
    points = pd.DataFrame(
        [picture("plain", 8.0), picture("softmax", 2.0), picture("softmax", 99.0, iteration=10)]
    )
    gains = _gains(points)
    for measure in MEASURE_LABELS:
        assert gains[gains["measure"] == measure].set_index("arm.name")["gain"].to_dict() == {
            "plain": 0.0,
            "softmax": 2.0,
        }


def test_a_curve_counts_what_is_reached_within_each_budget_of_content():
    """An arm has half of the style at an SSIM of 0.5, a quarter at 0; budgets below 0.5 leave all of it."""
    curve = pd.DataFrame([picture("plain", 4.0, ssim=0.5), picture("plain", 2.0, ssim=0.0, iteration=5)])
    budgets = np.linspace(0, 1, 41)
    expected = np.where(budgets >= 1, 0.25, np.where(budgets >= 0.5 - 1e-9, 0.5, 1.0)).mean()
    assert _mean_best(curve) == pytest.approx(expected)
    worse = pd.DataFrame([picture("plain", 16.0, ssim=0.5)])
    assert _mean_best(worse) == 1.0  # an unchanged picture costs nothing


def test_effects_are_differences_on_the_same_pairs_and_seeds():
    rows = [
        picture(arm, 8.0 * 2.0 ** -(gain + own), pair=pair, seed=seed)
        for arm, gain in {
            "plain": 0.0,
            "softmax": 2.0,
            "weights_of_softmax": 1.5,
            "softmax_weights_of_plain": 0.25,
        }.items()
        for pair, own in {"a": 0.0, "b": 1.0, "c": 2.0}.items()
        for seed in (0, 1)
    ]
    effects = _effects(_gains(pd.DataFrame(rows)))
    assert set(effects["measure"]) == set(MEASURE_LABELS)
    effects = effects[effects["measure"] == "sifid"].set_index("effect")
    assert effects["mean"].round(9).to_dict() == {
        "SWAG (T = peak/2): both": 2.0,
        "weights without shape (loss)": 1.5,
        "shape without weights (loss)": 0.25,
        "what SWAG (T = peak/2) adds to its weights": 0.5,
    }
    # A difference does not contain what its two sides share.
    assert (effects["high"] - effects["low"]).max() == pytest.approx(0, abs=1e-9)
    assert effects["positive"].to_list() == [1.0] * 4
