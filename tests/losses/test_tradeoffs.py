"""What an optimum loses on one side to gain on another: content and style as γ grows, a fusion's losses."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from swag_repro.losses import Fusion, Side, Style
from swag_repro.networks import TappedNetwork
from swag_repro.smoothing import NoSmoothing
from tests.parts import (
    LBFGS,
    Adam,
    BatchNormLoss,
    ContentLoss,
    GaussianMMD,
    GramLoss,
    LinearMMD,
    Objective,
    Optimisation,
    PolynomialMMD,
    SlicedWasserstein,
)

SIZE = 24
STEPS = 60
IMAGES = torch.rand(2, 3, SIZE // 4, SIZE // 4, generator=torch.Generator().manual_seed(0))
CONTENT, STYLE = nn.functional.interpolate(IMAGES, SIZE, mode="bicubic").clamp(0, 1).split(1)
TAPS = {"shallow": 1.0, "deep": 1.0}


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.shallow = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())

    def forward(self, x):
        return self.deep(self.shallow(x))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return TappedNetwork(Small(), {tap: tap for tap in TAPS})


def objective(loss, style_weight=5.0, content_weight=1.0):
    return Objective(
        content=Side(loss=ContentLoss(), taps={"deep": 1.0}, weight=content_weight),
        style=Side(loss=loss, taps=TAPS, weight=style_weight),
        smoothing=NoSmoothing(),
        balance="layers",
    )


def stylized(network, objective, steps):
    chosen = partial(Adam, lr=0.01) if objective.stochastic else LBFGS
    optimisation = Optimisation(
        network, objective, CONTENT, [[Style(STYLE[0])]], start=CONTENT, optimizer=chosen, steps=steps
    )
    for _ in optimisation:
        pass
    return optimisation


LOSSES = [
    GramLoss(), LinearMMD(), PolynomialMMD(c=1.0), BatchNormLoss(), GaussianMMD(), SlicedWasserstein(),
]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_style_falls_and_content_rises_with_gamma(loss, network):
    found = [
        stylized(network, objective(loss, style_weight=gamma), STEPS).results[0].best
        for gamma in (0.03, 0.3, 3.0, 30.0)
    ]
    noise = 0.01 if objective(loss).stochastic else 1e-4
    for less, more in pairwise(found):
        assert more.style < less.style + noise
        assert more.content > less.content - noise
    assert found[-1].style < 0.5 * found[0].style
    assert found[-1].content > 1.5 * found[0].content


@pytest.mark.parametrize(
    "losses",
    [
        {"bn": BatchNormLoss(), "poly": PolynomialMMD()},
        {"linear": LinearMMD(), "gaussian": GaussianMMD()},
    ],
    ids=["-".join, "-".join],
)
def test_fusion_weights_lie_between_the_pure_results(losses, network):
    """Each loss, measured alone: the less weight it had, the larger it stays.

    Up to a tenth of its range: an optimum of both losses may give up other content than that of one.
    """
    first, second = [], []
    for weight in (1.0, 0.5, 0.0):
        image = stylized(
            network, objective(Fusion(losses=losses, weights=[weight, 1 - weight]), style_weight=0.3), STEPS
        ).images
        for loss, found in zip(losses.values(), (first, second), strict=True):
            judge = objective(loss)
            targets = judge.targets(network, CONTENT, [[Style(STYLE[0])]])
            draws = [judge(network, image, targets, [draw]).style for draw in range(16)]
            found.append(torch.stack(draws).mean().item())
    for pure, mixed, other in (first, second[::-1]):
        assert pure - 0.1 * (other - pure) < mixed < other
        assert pure < other
