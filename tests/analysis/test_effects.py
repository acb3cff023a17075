"""Intervals over pairs and seeds, and the gains that they describe."""

import numpy as np
import pandas as pd
import pytest

from analysis.effects import BETWEEN, Sample, crossed, half_width, one_sided
from analysis.mechanism import MEASURE_LABELS, _effects, _gains, _mean_best, _means
from experiments.asking import compose_cells

ALONE = dict.fromkeys(("contents", "styles", "seeds"), 0.0) | {"pairs": 1.0, "noise": 0.5}

VARYING = {
    "pairs": ALONE | {"seeds": 0.3},
    "seeds": ALONE | {"pairs": 0.3, "seeds": 1.0},
    "nothing but noise": ALONE | {"pairs": 0.0},
    "photographs": ALONE | {"contents": 1.0, "pairs": 0.5},
    "paintings": ALONE | {"styles": 1.0, "pairs": 0.5},
    "photographs and paintings": ALONE | {"contents": 1.0, "styles": 1.0, "pairs": 0.3},
}
"""Standard deviations of what may vary, in a world without any other effect."""


def apart(count):
    return [(f"photograph {one}", f"painting {one}") for one in range(count)]


@pytest.fixture(scope="module")
def pairs_of():
    """Pairs of the designs in use: those of the experiments, which share pictures, and pairs that share none."""
    [cell] = compose_cells(
        ["experiment=mechanism_pretrained", "network=resnet50_half", "arm=plain"], "stylize"
    )
    both = [tuple(pair) for pair in zip(cell.config["content"], cell.config["style"], strict=True)]
    return lambda count, shared: both[:count] if shared else apart(count)


def tables(pairs, seeds, varying, *, mean=0.3, draws=1):
    """Tables of values as these draw them, `(draws, pairs, seeds)`."""
    generator = np.random.default_rng(0)
    values = mean + varying["noise"] * generator.standard_normal((draws, len(pairs), seeds))
    values += varying["pairs"] * generator.standard_normal((draws, len(pairs), 1))
    if seeds > 1:  # with one seed nobody can tell how much they vary
        values += varying["seeds"] * generator.standard_normal((draws, 1, seeds))
    for names, spread in zip(zip(*pairs, strict=True), (varying["contents"], varying["styles"]), strict=True):
        pictures, numbers = np.unique(names, return_inverse=True)
        values += spread * generator.standard_normal((draws, len(pictures)))[:, numbers, None]
    return values


def indexed(pairs, values):
    names = [BETWEEN.join(pair) for pair in pairs]
    return pd.DataFrame(values, index=names).rename_axis(index="pair", columns="seed").unstack().swaplevel()


def samples(pairs, seeds, varying, **how):
    values = tables(pairs, seeds, varying, **how)
    shared = Sample.of(indexed(pairs, values[0])).shared
    return [Sample(one, shared) for one in values]


def table(pairs, seeds, *, of_pairs, of_seeds, noise, mean=0.3):
    each = apart(pairs)
    varying = ALONE | {"pairs": of_pairs, "seeds": of_seeds, "noise": noise}
    return indexed(each, tables(each, seeds, varying, mean=mean)[0])


DESIGNS = [(6, 1, False), (6, 5, True), (12, 1, True), (12, 6, False), (24, 1, True), (14, 5, False)]
MORE = [(6, 1, True), (6, 5, False), (12, 1, False), (12, 6, True), (24, 1, False), (14, 6, False)]
"""Pairs, seeds, and whether pairs share pictures, of the experiments and claims."""


@pytest.mark.parametrize("varying", VARYING)
@pytest.mark.parametrize(
    "design", [*DESIGNS, *(pytest.param(design, marks=pytest.mark.slow) for design in MORE)]
)
def test_intervals_and_p_err_as_rarely_as_they_say(pairs_of, design, varying):
    """A 95 % interval covers the truth in 93 % of worlds, and at the level of one question among thirty p errs at
    most twice as often as it says; both within what 600 worlds can tell."""
    count, seeds, shared = design
    drawn = samples(pairs_of(count, shared), seeds, VARYING[varying], draws=600)
    p = np.array([2 * one_sided(one, abs(one.values.mean() - 0.3)) for one in drawn])
    assert np.mean(p > 0.05) >= 0.93 - 2 * np.sqrt(0.05 * 0.95 / 600)
    assert np.mean(p <= 0.05 / 30) <= 2 * 0.05 / 30 + 2 * np.sqrt(0.05 / 30 / 600)


def test_an_interval_holds_what_p_does_not_exclude(pairs_of):
    drawn = samples(pairs_of(12, True), 6, VARYING["photographs"], draws=300)
    held = [abs(one.values.mean() - 0.3) <= half_width(one) for one in drawn]
    assert held == [2 * one_sided(one, abs(one.values.mean() - 0.3)) >= 0.05 for one in drawn]
    assert 0 < np.sum(held) < 300


def test_pairs_that_share_pictures_are_not_independent(pairs_of):
    pairs = pairs_of(24, True)
    values = tables(pairs, 1, VARYING["photographs"])[0]
    shared, independent = (crossed(indexed(each, values)) for each in (pairs, apart(24)))
    assert shared.mean == independent.mean
    assert shared.high - shared.low > 1.3 * (independent.high - independent.low)


def test_few_pairs_that_lie_close_together_are_no_strong_evidence():
    sample = Sample(np.full((3, 1), 0.5) + np.array([[0.0], [1e-9], [-1e-9]]))
    assert one_sided(sample, 0.5) == pytest.approx(1 / 8)
    assert one_sided(sample, -0.5) == pytest.approx(1)
    assert one_sided(Sample(np.zeros((3, 1))), 0.0) == 0.5


def test_six_unanimous_pairs_have_an_exact_p():
    values = pd.Series(
        [1.0, 1.1, 0.9, 1.2, 0.8, 1.05], pd.MultiIndex.from_product([range(6), [0]], names=["pair", "seed"])
    )
    assert crossed(values).p == pytest.approx(2 / 2**6)


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


def test_means_are_those_of_finished_pictures_and_of_the_photographs():
    points = pd.DataFrame(
        [
            picture("plain", 8.0),
            picture("plain", 4.0, pair="b"),
            picture("plain", 99.0, iteration=10),
            picture("swag", 2.0, ssim=0.5),
        ]
    )
    means = _means(points).set_index("arm.name")
    for measure in MEASURE_LABELS:
        assert means[measure].to_dict() == {"(photograph)": 8.0, "plain": 6.0, "swag": 2.0}
    assert means["ssim"].to_dict() == {"(photograph)": 1.0, "plain": 1.0, "swag": 0.5}


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
