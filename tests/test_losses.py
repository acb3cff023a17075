import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from swag_repro.errors import SettingError
from swag_repro.losses import (
    NORMALIZERS,
    GramLoss,
    Objective,
    content_distance,
    gram_distance,
    gram_distance_in_style_basis,
    gram_distance_to,
    takes_style_basis,
    total_variation,
)
from swag_repro.networks import TappedNetwork
from swag_repro.smoothing import Log1p, NoSmoothing, Power, Scale, Softmax, softmax
from swag_repro.statistics import gram

SMOOTHINGS = [
    NoSmoothing(),
    Softmax(temperature=1.0),
    Softmax(temperature="peak/2", mean_one=True),
    Softmax(temperature="peak/2", over="channels"),
    Scale(factor=0.001),
    Log1p(),
    Power(exponent=0.5),
]


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def direct(features, style):
    """The equation as it stands, in float64."""
    return (gram(features.double()) - gram(style.double())).square().sum(dim=(1, 2))


# --- Equations ------------------------------------------------------------------------------------------


def test_content_distance_by_hand():
    features, target = torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    features[0, 0, 0, 0], features[0, 0, 1, 1] = 3.0, -4.0
    assert content_distance(features, target).tolist() == [12.5, 0.0]


def test_gram_distance_by_hand():
    # G(F) = [[5, 4], [4, 4]], G(S) = [[1, 0], [0, 1]]: 16 + 16 + 16 + 9
    features, style = torch.tensor([[[1.0, 2.0], [0.0, 2.0]]]), torch.eye(2).unsqueeze(0)
    assert gram_distance(features, style).tolist() == [57.0]


def test_gram_distance_by_hand_on_the_smaller_side():
    # One position each, at right angles, of lengths 1 and 2: ‖FFᵀ − SSᵀ‖² = 1⁴ + 2⁴
    features, style = torch.zeros(1, 4, 1), torch.zeros(1, 4, 1)
    features[0, 0], style[0, 3] = 1.0, 2.0
    assert takes_style_basis(4, 1, 1)
    torch.testing.assert_close(gram_distance(features, style).item(), 17.0)


@settings(max_examples=40, deadline=None)
@given(
    channels=st.integers(1, 24), positions=st.integers(1, 9), style=st.integers(1, 9), seed=st.integers(0, 99)
)
def test_both_forms_are_the_equation(channels, positions, style, seed):
    features, style = noise(2, channels, positions, seed=seed), noise(2, channels, style, seed=seed + 1)
    expected = direct(features, style)
    torch.testing.assert_close(gram_distance(features, style), expected)
    torch.testing.assert_close(gram_distance_to(features, gram(style)), expected)
    torch.testing.assert_close(gram_distance_in_style_basis(features, *torch.linalg.qr(style)), expected)


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 9, 2)])
def test_gradients_of_both_forms(shape):
    style = noise(*shape, seed=1)
    features = noise(*shape).requires_grad_()
    assert torch.autograd.gradcheck(gram_distance, (features, style))
    assert torch.autograd.gradcheck(lambda f: gram_distance_to(f, gram(style)), features)
    assert torch.autograd.gradcheck(
        lambda f: gram_distance_in_style_basis(f, *torch.linalg.qr(style)), features
    )


@pytest.mark.parametrize("nearness", [1.0, 1e-1, 1e-2, 1e-3])
def test_the_smaller_side_stays_exact_near_the_minimum(nearness):
    style = noise(1, 256, 16).relu()
    rotation = torch.linalg.qr(noise(16, 16, seed=2)).Q  # leaves the Gram matrix as it is
    features = (style @ rotation + nearness * noise(1, 256, 16, seed=1)).float()
    reference = features.double().requires_grad_()
    expected = direct(reference, style.float())
    expected.sum().backward()
    single = features.clone().requires_grad_()
    found = gram_distance(single, style.float())
    found.sum().backward()
    assert takes_style_basis(256, 16, 16)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    assert (single.grad - reference.grad).norm() < 1e-3 * reference.grad.norm()


@pytest.mark.parametrize(("channels", "positions"), [(8, 64), (64, 8)])
def test_nothing_underflows_at_the_scale_of_softmax(channels, positions):
    """σ of a wide layer: the distance is near 1e-30, below what float32 can square."""
    features, style = noise(1, channels, positions).abs() * 1e-9, noise(1, channels, positions, seed=1) * 1e-9
    expected, found = direct(features, style), gram_distance(features.float(), style.float())
    assert expected.item() < 1e-30
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    single = features.float().requires_grad_()
    (gram_distance(single, style.float()) / expected).sum().backward()
    reference = features.clone().requires_grad_()
    (direct(reference, style) / expected).sum().backward()
    assert (single.grad - reference.grad).norm() < 1e-5 * reference.grad.norm()


def test_images_do_not_mix():
    features, style = noise(3, 6, 4), noise(3, 6, 4, seed=1)
    together = gram_distance(features, style)
    alone = torch.cat([gram_distance(f, s) for f, s in zip(features.split(1), style.split(1), strict=True)])
    torch.testing.assert_close(together, alone)
    features.requires_grad_()
    gram_distance(features, style)[1].backward()
    assert features.grad[[0, 2]].abs().max() == 0


def test_total_variation_by_hand():
    image = torch.zeros(1, 1, 2, 2)
    image[0, 0, 0, 0] = 2.0
    # Two vertical pairs differ by 2 and 0, and so do the two horizontal ones.
    assert total_variation(image).tolist() == [4.0]
    assert total_variation(torch.ones(2, 3, 1, 1)).tolist() == [0.0, 0.0]
    assert torch.autograd.gradcheck(total_variation, noise(1, 3, 4, 5).requires_grad_())


# --- The Gram loss --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("normalizer", "expected"),
    [("paper", 57 / (4 * 2**2 * 2**2)), ("mean", 57 / (4 * 4) / 4), ("gatys", 57 / 4 / 4)],
)
def test_normalizers_by_hand(normalizer, expected):
    features, style = torch.tensor([[[1.0, 2.0], [0.0, 2.0]]]), torch.eye(2).unsqueeze(0)
    loss = GramLoss(normalizer=normalizer)
    torch.testing.assert_close(loss(features, [loss.target(style)]).item(), expected)


@pytest.mark.parametrize("channels", [4, 40])
@pytest.mark.parametrize("style_sizes", [(3, 3), (3, 2), (7, 1)])
@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_smaller_side_precise_and_direct_agree(channels, style_sizes, normalizer):
    features = noise(2, channels, 3, 3, dtype=torch.float32)
    styles = [noise(1, channels, size, size, seed=size, dtype=torch.float32) for size in style_sizes]
    found = []
    for setting in ({}, {"smaller_side": False}, {"precise": True}):
        loss = GramLoss(normalizer=normalizer, **setting)
        found.append(loss(features, [loss.target(style) for style in styles]))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-5, atol=0)


def test_a_repeated_style_image_has_the_same_target():
    """Twice as many positions with the same features: the same texture."""
    features, style = noise(1, 4, 3, 3), noise(1, 4, 3, 3, seed=1)
    loss = GramLoss()
    once, twice = loss.target(style), loss.target(torch.cat([style, style], dim=2))
    torch.testing.assert_close(loss(features, [once]), loss(features, [twice]))


def test_unknown_normalizer():
    with pytest.raises(SettingError, match="`objective.style.normalizer` should be one of"):
        GramLoss(normalizer="sum")


# --- The objective --------------------------------------------------------------------------------------


class TwoLayers(nn.Module):
    """Narrow then wide, so that both forms of the Gram loss occur; smooth, for finite differences."""

    def __init__(self):
        super().__init__()
        self.narrow = nn.Conv2d(3, 4, 3, padding=1)
        self.tanh = nn.Tanh()
        self.wide = nn.Conv2d(4, 80, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(self.tanh(self.narrow(x)))


TAPS = {"narrow": "narrow", "wide": "wide"}
CONTENTS, STYLES = noise(2, 3, 10, 10).sigmoid(), [noise(3, 8, 9).sigmoid(), noise(3, 6, 6, seed=3).sigmoid()]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return TappedNetwork(TwoLayers(), TAPS, dtype=torch.float64)


def objective(**settings):
    settings = {
        "style": GramLoss(),
        "smoothing": NoSmoothing(),
        "content_tap": "wide",
        "style_taps": {"narrow": 1.0, "wide": 0.5},
        **settings,
    }
    return Objective(**settings)


def evaluate(objective, network, images, indices=(0, 1)):
    targets = objective.targets(network, CONTENTS, STYLES)
    return objective(network, images, targets, torch.tensor(indices))


@pytest.mark.parametrize("smoothing", SMOOTHINGS, ids=str)
@pytest.mark.parametrize("balance", ["none", "distance"])
def test_gradients_against_finite_differences(network, smoothing, balance):
    balanced = objective(smoothing=smoothing, balance=balance, total_variation_weight=0.1)
    targets = balanced.targets(network, CONTENTS, STYLES)
    # Losses of σ are near 1e-12: measured in units of themselves.
    unit = balanced(network, CONTENTS, targets, torch.tensor([0, 1])).total
    images = (CONTENTS + 0.1 * noise(2, 3, 10, 10, seed=5)).requires_grad_()

    def total(images):
        return balanced(network, images, targets, torch.tensor([0, 1])).total / unit

    assert torch.autograd.gradcheck(total, images, fast_mode=True)


def test_terms_are_the_equation(network):
    images = CONTENTS + 0.1 * noise(2, 3, 10, 10, seed=5)
    terms = evaluate(
        objective(balance="none", content_weight=3.0, style_weight=7.0, total_variation_weight=2.0),
        network,
        images,
    )
    ours, contents = network(images), network(CONTENTS)
    for i, style in enumerate(STYLES):
        of_style = network(style.unsqueeze(0))
        content = 0.5 * (ours["wide"][i] - contents["wide"][i]).square().sum()
        layers = []
        for tap in TAPS:
            f, s = ours[tap][i].flatten(1), of_style[tap][0].flatten(1)
            difference = f @ f.T / f.shape[1] - s @ s.T / s.shape[1]
            layers.append(difference.square().sum() / (4 * f.shape[0] ** 2))
        torch.testing.assert_close(terms.content[i], content)
        torch.testing.assert_close(terms.style[i], layers[0] + 0.5 * layers[1])
        smoothness = 2 * total_variation(images)[i]
        torch.testing.assert_close(terms.total[i], 3 * content + 7 * terms.style[i] + smoothness)


@pytest.mark.parametrize("smoothing", SMOOTHINGS, ids=str)
@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_balanced_terms_start_at_one_a_layer(network, smoothing, normalizer):
    balanced = objective(smoothing=smoothing, style=GramLoss(normalizer=normalizer))
    terms = evaluate(balanced, network, CONTENTS)
    torch.testing.assert_close(terms.style, torch.full((2,), 1.5, dtype=torch.float64))
    assert terms.content.max() < 1e-20  # a batch rounds otherwise than one image


def test_the_content_term_is_one_at_the_style_image(network):
    same_size = [noise(3, 10, 10, seed=7).sigmoid(), noise(3, 10, 10, seed=8).sigmoid()]
    balanced = objective()
    targets = balanced.targets(network, CONTENTS, same_size)
    terms = balanced(network, torch.stack(same_size), targets, torch.tensor([0, 1]))
    torch.testing.assert_close(terms.content, torch.ones(2, dtype=torch.float64))
    assert terms.style.max() < 1e-20


def test_a_style_equal_to_the_content_leaves_finite_terms(network):
    balanced = objective()
    targets = balanced.targets(network, CONTENTS, list(CONTENTS))
    terms = balanced(network, CONTENTS + 0.1, targets, torch.tensor([0, 1]))
    assert all(term.isfinite().all() for term in terms)


def test_both_sides_share_the_temperature_of_what_is_matched(network):
    smoothing = Softmax(temperature="peak/2")
    terms = evaluate(
        objective(smoothing=smoothing, balance="none", style_taps={"narrow": 1.0}), network, CONTENTS * 0.5
    )
    ours, contents, style = network(CONTENTS * 0.5), network(CONTENTS), network(STYLES[0].unsqueeze(0))

    def smoothed(features, reference):
        return softmax(features, float(reference.abs().max()) / 2)

    content = contents["wide"][:1]
    difference = smoothed(ours["wide"][:1], content) - smoothed(content, content)
    torch.testing.assert_close(terms.content[0], 0.5 * difference.square().sum())
    matrix, target = (
        smoothed(features["narrow"][:1], style["narrow"])[0].flatten(1) for features in (ours, style)
    )
    difference = matrix @ matrix.T / matrix.shape[1] - target @ target.T / target.shape[1]
    torch.testing.assert_close(terms.style[0], difference.square().sum() / (4 * 4**2))


def test_only_smoothed_taps_are_smoothed(network):
    images = CONTENTS * 0.9
    plain = evaluate(objective(balance="none"), network, images)
    none = evaluate(
        objective(balance="none", smoothing=Scale(factor=0.001), smoothed_taps=[]), network, images
    )
    deep = evaluate(
        objective(balance="none", smoothing=Scale(factor=0.001), smoothed_taps=["wide"]), network, images
    )
    for found, expected in zip(none, plain, strict=True):
        torch.testing.assert_close(found, expected)
    # The authors' 0.001 · F: content falls by 1e-6, that layer's style by 1e-12.
    torch.testing.assert_close(deep.content, plain.content * 1e-6)
    narrow = evaluate(objective(balance="none", style_taps={"narrow": 1.0}), network, images).style
    wide = plain.style - narrow
    torch.testing.assert_close(deep.style, narrow + 1e-12 * wide)


def test_indices_choose_the_pairs(network):
    images = CONTENTS * 0.9
    both = evaluate(objective(), network, images)
    second = evaluate(objective(), network, images[1:], indices=[1])
    for one, two in zip(second, both, strict=True):
        torch.testing.assert_close(one, two[1:])


def test_unused_taps_are_not_read():
    shallow = objective(style_taps={"narrow": 1.0, "wide": 0.0}, content_tap="narrow")
    assert shallow.taps() == ("narrow",)


def test_a_term_without_weight_is_reported_and_not_followed(network):
    images = (CONTENTS * 0.9).requires_grad_()
    terms = evaluate(objective(content_weight=0.0), network, images)
    torch.testing.assert_close(terms.total, terms.style)
    assert (terms.content > 0).all()


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        ({"content_weight": -1.0}, "objective.content_weight"),
        ({"style_weight": math.nan}, "objective.style_weight"),
        ({"total_variation_weight": math.inf}, "objective.total_variation_weight"),
        ({"style_taps": {"wide": -1.0}}, "objective.style_taps.wide"),
        ({"content_weight": 0.0, "style_weight": 0.0}, "objective weights"),
        ({"content_weight": 0, "style_taps": {}}, "objective weights"),
        ({"content_normalizer": "sum"}, "objective.content_normalizer"),
        ({"balance": "layers"}, "objective.balance"),
    ],
)
def test_wrong_settings(wrong, setting):
    with pytest.raises(SettingError, match=f"`{setting}` should"):
        objective(**wrong)
