"""One pass beside optimisation: the overrides of each side, and the iteration at which their terms meet."""

import pytest

from analysis.figures.one_pass import _overrides_of_side, reached


@pytest.mark.parametrize(
    ("term", "expected"), [(4.0, 0.0), (2.0, 10.0), (2**0.5, 15.0), (1.0, 20.0), (5.0, 0.0), (0.5, None)]
)
def test_the_first_iteration_whose_term_is_as_low(term, expected):
    found = reached([0, 10, 20, 30], [4.0, 2.0, 1.0, 3.0], term)
    assert found == (None if expected is None else pytest.approx(expected))


def test_each_side_takes_the_overrides_that_it_knows():
    overrides = [
        "experiment=adain_gatys", "content=[a,b]", "steps=10", "run=0123", "images.size=64",
        "weights@measures.weights=imagenet", "weights.seed=1", "color=matched", "hydra/launcher=joblib",
    ]  # fmt: skip
    both = ["content=[a,b]", "images.size=64", "weights@measures.weights=imagenet", "color=matched"]
    assert _overrides_of_side("transfer", overrides) == [*both[:1], "run=0123", *both[1:]]
    assert _overrides_of_side("stylize", overrides) == [one for one in overrides if one != "run=0123"]
