import math
from dataclasses import dataclass, field

import pytest
import torch

from swag_repro.errors import SettingError
from swag_repro.losses.base import PIXELS, Fusion, LayerLoss, LossContext
from tests.parts import BatchNormLoss, GaussianMMD, GramLoss, LinearMMD


@dataclass
class Colors:
    """A loss of two parts that reads pixels."""

    stochastic: bool = False
    reads_pixels: bool = True
    seen: list = field(default_factory=list)

    def weights(self, taps, content_weight):  # noqa: ARG002
        return {"mean": 1.0, "peak": content_weight}

    def target(self, features):
        self.seen.append(set(features))
        return features[PIXELS]

    def __call__(self, features, targets, context):  # noqa: ARG002
        self.seen.append(set(features))
        difference = features[PIXELS] - torch.cat(targets)
        return {"mean": difference.mean(dim=(1, 2, 3)), "peak": difference.amax(dim=(1, 2, 3))}


class Spy(LayerLoss):
    """Notes what it is given."""

    def __init__(self):
        self.seen = []

    def keep(self, matrix):
        self.seen.append(matrix.shape)

    def distance(self, matrix, kept, *, shares, draws):  # noqa: ARG002
        self.seen.append((matrix.shape, shares, tuple(draws)))
        return torch.zeros(len(matrix), dtype=torch.float64)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


FEATURES = {"relu1": noise(2, 3, 4, 4), "relu2": noise(2, 5, 2, 2), PIXELS: noise(2, 3, 8, 8)}
STYLES = [
    {
        "relu1": noise(1, 3, 4, 3, seed=s),
        "relu2": noise(1, 5, 2, 1, seed=s),
        PIXELS: noise(1, 3, 8, 8, seed=s),
    }
    for s in (1, 2)
]
CONTEXT = LossContext([3, 4])
TAPS = {"relu1": 1.0, "relu2": 0.5}


def evaluated(loss, features=FEATURES, styles=STYLES):
    return loss(features, [loss.target(style) for style in styles], CONTEXT)


def layers(features):
    return {tap: layer for tap, layer in features.items() if tap != PIXELS}


def test_parts_are_those_of_the_losses():
    losses = {"bn": BatchNormLoss(), "gaussian": GaussianMMD(least_pairs=4), "colors": Colors()}
    found = evaluated(Fusion(losses=losses, weights=[1, 2, 1]))
    assert list(found) == [
        "bn/relu1", "bn/relu2", "gaussian/relu1", "gaussian/relu2", "colors/mean", "colors/peak",
    ]  # fmt: skip
    for name in ("bn", "gaussian"):
        alone = evaluated(losses[name], layers(FEATURES), [layers(style) for style in STYLES])
        for tap, expected in alone.items():
            assert torch.equal(found[f"{name}/{tap}"], expected)
    assert torch.equal(found["colors/peak"], evaluated(Colors())["peak"])


def test_weights_are_shares_times_those_of_the_losses():
    fused = Fusion(losses={"bn": BatchNormLoss(), "colors": Colors()}, weights=[1, 3])
    assert fused.weights(TAPS, 8.0) == {
        "bn/relu1": 0.25,
        "bn/relu2": 0.125,
        "colors/mean": 0.75,
        "colors/peak": 6.0,
    }


def test_a_fusion_of_one_is_that_loss():
    fused = Fusion(losses={"gram": GramLoss()}, weights=[7.0])
    assert fused.weights(TAPS, 1.0) == {"gram/relu1": 1.0, "gram/relu2": 0.5}
    assert not fused.reads_pixels
    found, expected = (
        evaluated(loss, layers(FEATURES), [layers(style) for style in STYLES]) for loss in (fused, GramLoss())
    )
    for tap in TAPS:
        assert torch.equal(found[f"gram/{tap}"], expected[tap])


def test_each_loss_sees_what_it_reads():
    spy, colors = Spy(), Colors()
    fused = Fusion(losses={"spy": spy, "colors": colors}, weights=[1, 1])
    mask = torch.ones(2, 1, 8, 8, dtype=torch.float64)
    fused(FEATURES, [fused.target(style) for style in STYLES], LossContext([3, 4], mask))
    assert [seen[:2] for seen in spy.seen[:4]] == [(1, 3), (1, 5), (1, 3), (1, 5)]
    assert [(shape, draws) for shape, _, draws in spy.seen[4:]] == [((2, 3, 16), (3, 4)), ((2, 5, 4), (3, 4))]
    assert all(shares.shape == (2, shape[2]) for shape, shares, _ in spy.seen[4:])
    assert colors.seen == [{"relu1", "relu2", PIXELS}] * 3


def test_it_is_what_any_of_the_losses_is():
    plain, random, colors = LinearMMD(), GaussianMMD(), Colors()
    for losses, stochastic, reads_pixels in (
        ({"a": plain}, False, False),
        ({"a": plain, "b": random}, True, False),
        ({"a": plain, "b": colors}, False, True),
    ):
        fused = Fusion(losses=losses, weights=[1.0] * len(losses))
        assert (fused.stochastic, fused.reads_pixels) == (stochastic, reads_pixels)


def test_a_loss_of_weight_0_is_not_computed():
    spy = Spy()
    fused = Fusion(losses={"linear": LinearMMD(), "spy": spy, "random": GaussianMMD()}, weights=[1, 0, 0])
    assert set(evaluated(fused)) == set(fused.weights(TAPS, 1.0)) == {"linear/relu1", "linear/relu2"}
    assert spy.seen == []
    assert not fused.stochastic


def test_fusions_nest():
    inner = Fusion(losses={"bn": BatchNormLoss(), "colors": Colors()}, weights=[1, 1])
    outer = Fusion(losses={"inner": inner, "linear": LinearMMD()}, weights=[1, 1])
    assert outer.weights(TAPS, 4.0)["inner/colors/peak"] == 1.0
    assert set(evaluated(outer)) == set(outer.weights(TAPS, 4.0))


@pytest.mark.parametrize(
    ("names", "weights", "message"),
    [
        ([], [], "`losses of Fusion` should name a loss; found none"),
        (["a", "b"], [1.0], r"`weights of Fusion` should be one for each of \['a', 'b'\]; found \[1.0\]"),
        (["a"], [0.5, 0.5], r"`weights of Fusion` should be one for each of \['a'\]; found \[0.5, 0.5\]"),
        (["a", "b"], [1.0, -1.0], "`weight of b in Fusion` should be a number from 0; found -1.0"),
        (["a", "b"], [math.nan, 1.0], "`weight of a in Fusion` should be a number from 0; found nan"),
        (["a", "b"], [1.0, math.inf], "`weight of b in Fusion` should be a number from 0; found inf"),
        (["a", "b"], [0.0, 0], r"`weights of Fusion` should have a sum above 0; found \[0.0, 0\]"),
    ],
)
def test_wrong_settings(names, weights, message):
    with pytest.raises(SettingError, match=message):
        Fusion(losses={name: LinearMMD() for name in names}, weights=weights)
