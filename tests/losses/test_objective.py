import math

import pytest
import torch
from torch import Tensor, nn

from swag_repro.errors import NonFiniteError, SettingError
from swag_repro.losses import NORMALIZERS, Side, Style, gradient_norms
from swag_repro.losses.balance import BALANCES, matched_units
from swag_repro.losses.base import total_variation
from swag_repro.networks import TappedNetwork
from swag_repro.smoothing import Log1p, NoSmoothing, Power, Scale, softmax
from tests.parts import BorrowedShares, ContentLoss, GramLoss, Objective, Softmax

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
    content = Side(
        loss=settings.pop("content", ContentLoss()),
        taps={settings.pop("content_tap", "wide"): 1.0},
        weight=settings.pop("content_weight", 1.0),
        smoothed=settings.get("smoothed"),
    )
    style = Side(
        loss=settings.pop("style", GramLoss()),
        taps=settings.pop("style_taps", {"narrow": 1.0, "wide": 0.5}),
        weight=settings.pop("style_weight", 1.0),
        smoothed=settings.pop("smoothed", None),
    )
    return Objective(content=content, style=style, **{"smoothing": NoSmoothing(), **settings})


def single(images):
    """One style for each pair."""
    return [[Style(image)] for image in images]


def evaluate(objective, network, images, indices=(0, 1), styles=None):
    targets = objective.targets(network, CONTENTS, single(STYLES) if styles is None else styles)
    return objective(network, images, targets.of(indices))


@pytest.mark.parametrize("smoothing", SMOOTHINGS, ids=str)
@pytest.mark.parametrize("balance", BALANCES)
def test_gradients_against_finite_differences(network, smoothing, balance):
    balanced = objective(smoothing=smoothing, balance=balance, total_variation_weight=0.1)
    targets = balanced.targets(network, CONTENTS, single(STYLES))
    # Losses of σ are near 1e-12, so they are measured in units of themselves.
    unit = balanced(network, CONTENTS, targets).total
    images = (CONTENTS + 0.1 * noise(2, 3, 10, 10, seed=5)).requires_grad_()

    def total(images):
        return balanced(network, images, targets).total / unit

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
@pytest.mark.parametrize("balance", ["sides", "layers"])
def test_balanced_sides_start_at_the_sum_of_their_weights(network, smoothing, normalizer, balance):
    balanced = objective(smoothing=smoothing, style=GramLoss(normalizer=normalizer), balance=balance)
    terms = evaluate(balanced, network, CONTENTS)
    torch.testing.assert_close(terms.style, torch.full((2,), 1.5, dtype=torch.float64))
    assert terms.content.max() < 1e-20  # a batch rounds differently from one image


def test_the_content_term_is_one_at_the_style_image(network):
    same_size = [noise(3, 10, 10, seed=7).sigmoid(), noise(3, 10, 10, seed=8).sigmoid()]
    balanced = objective()
    targets = balanced.targets(network, CONTENTS, single(same_size))
    terms = balanced(network, torch.stack(same_size), targets)
    torch.testing.assert_close(terms.content, torch.ones(2, dtype=torch.float64))
    assert terms.style.max() < 1e-20


@pytest.mark.parametrize(
    "settings", [{"balance": balance} for balance in BALANCES]
    + [{"like": BorrowedShares(smoothing=Log1p(), match=match)} for match in ("loss", "gradient")],
    ids=[*BALANCES, "like its loss", "like its gradient"],
)  # fmt: skip
def test_a_style_equal_to_the_content_leaves_finite_terms(network, settings):
    balanced = objective(**settings)
    targets = balanced.targets(network, CONTENTS, single(CONTENTS))
    terms = balanced(network, CONTENTS + 0.1, targets)
    assert all(term.isfinite().all() for term in terms)


def parts(objective, network):
    targets = objective.targets(network, CONTENTS, single(STYLES))
    return objective.style_parts(network, CONTENTS, targets)


def shares_of(parts):
    return {part: term / sum(parts.values()) for part, term in parts.items()}


def gradient_shares_of(objective, network):
    images = CONTENTS.clone().requires_grad_()
    targets = objective.targets(network, CONTENTS, single(STYLES))
    return shares_of(gradient_norms(objective.style_parts(network, images, targets), images))


@pytest.mark.parametrize("smoothing", SMOOTHINGS, ids=str)
def test_sides_keep_the_equations_layer_weights(network, smoothing):
    """The parts have the proportions of `none`, and the side is the sum of the weights; layers evens them out."""
    plain, sides, layers = (
        parts(objective(smoothing=smoothing, balance=balance), network) for balance in BALANCES
    )
    for part in TAPS:
        torch.testing.assert_close(shares_of(sides)[part], shares_of(plain)[part])
    torch.testing.assert_close(sum(sides.values()), torch.full((2,), 1.5, dtype=torch.float64))
    torch.testing.assert_close(layers["narrow"], torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(layers["wide"], torch.full((2,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize(("own", "other"), [(NoSmoothing(), Power(exponent=0.5)), (Power(exponent=0.5), NoSmoothing())], ids=str)  # fmt: skip
def test_matched_arms_have_the_other_arms_shares(network, own, other):
    """The shares are those of the loss, or of its gradient at the content image; the side stays as large."""
    wanted = objective(smoothing=other)
    by_loss = objective(smoothing=own, like=BorrowedShares(smoothing=other))
    by_gradient = objective(smoothing=own, like=BorrowedShares(smoothing=other, match="gradient"))
    for part, share in shares_of(parts(wanted, network)).items():
        torch.testing.assert_close(shares_of(parts(by_loss, network))[part], share)
    for part, share in gradient_shares_of(wanted, network).items():
        torch.testing.assert_close(gradient_shares_of(by_gradient, network)[part], share)
    for arm in (by_loss, by_gradient):
        torch.testing.assert_close(
            sum(parts(arm, network).values()), torch.full((2,), 1.5, dtype=torch.float64)
        )
    unmatched = shares_of(parts(objective(smoothing=own), network))["wide"]
    assert (unmatched - shares_of(parts(by_loss, network))["wide"]).abs().min() > 0.01


def test_an_arm_like_itself_is_itself(network):
    own = objective(smoothing=Log1p())
    like = objective(smoothing=Log1p(), like=BorrowedShares(smoothing=Log1p()))
    for found, expected in zip(*(evaluate(arm, network, CONTENTS * 0.9) for arm in (like, own)), strict=True):
        torch.testing.assert_close(found, expected)


def test_matched_weights_that_overflow():
    tiny = torch.tensor(1e-306, dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    with pytest.raises(NonFiniteError, match="`matched weight of a` should be a finite number"):
        matched_units(
            {"a": 1e-5, "b": 1.0}, {"a": tiny, "b": one}, {"a": tiny, "b": one}, {"a": one, "b": 0 * one}
        )
    without = matched_units(
        {"a": 1.0, "b": 1.0}, dict.fromkeys("ab", one), dict.fromkeys("ab", one), {"a": one, "b": 0 * one}
    )
    assert without["b"] == math.inf  # a share of 0 is a weight of 0


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
    none = evaluate(objective(balance="none", smoothing=Scale(factor=0.001), smoothed=[]), network, images)
    deep = evaluate(
        objective(balance="none", smoothing=Scale(factor=0.001), smoothed=["wide"]), network, images
    )
    for found, expected in zip(none, plain, strict=True):
        torch.testing.assert_close(found, expected)
    # The authors' 0.001 · F: the content loss falls by 1e-6, that layer's style loss by 1e-12.
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


def test_a_side_without_weight_is_not_read(network):
    texture = objective(content_weight=0.0, style_taps={"narrow": 1.0})
    assert texture.taps() == ("narrow",)
    terms = evaluate(texture, network, CONTENTS * 0.9)
    torch.testing.assert_close(terms.total, terms.style)
    assert terms.content.tolist() == [0.0, 0.0]
    reconstruction = objective(style_weight=0.0)
    assert reconstruction.taps() == ("wide",)
    terms = evaluate(reconstruction, network, CONTENTS * 0.9)
    torch.testing.assert_close(terms.total, terms.content)
    assert terms.style.tolist() == [0.0, 0.0]


# --- Several styles, and where they are wanted ----------------------------------------------------------


def test_a_mix_is_the_weighted_mean_of_its_styles(network):
    images, swapped = CONTENTS * 0.9, single(STYLES[::-1])
    mix = [[Style(one, 3.0), Style(other, 1.0)] for one, other in zip(STYLES, STYLES[::-1], strict=True)]
    mixed, plain, other = (
        evaluate(objective(), network, images, styles=s).style for s in (mix, single(STYLES), swapped)
    )
    torch.testing.assert_close(mixed, 0.75 * plain + 0.25 * other)


def test_masks_count_by_their_area_and_give_each_place_its_style(network):
    """A quarter and three quarters of an image in styles of their own: as strong as one style everywhere."""
    mask = torch.zeros(1, 10, 10, dtype=torch.float64)
    mask[:, :5, :5] = 1.0
    shallow = objective(style_taps={"narrow": 1.0}, content_tap="narrow", balance="none")
    styles = [[Style(STYLES[0], mask=mask), Style(STYLES[1], mask=1 - mask)] for _ in range(2)]
    images = (CONTENTS * 0.9).requires_grad_()
    found = evaluate(shallow, network, images, styles=styles).style
    expected = torch.zeros(2, dtype=torch.float64)
    features = network(images)["narrow"]
    for style, inside, area in ((STYLES[0], mask, 0.25), (STYLES[1], 1 - mask, 0.75)):
        chosen = features[..., inside[0].bool()]
        reference = network(style.unsqueeze(0))["narrow"].flatten(2)
        loss = GramLoss()
        kept = [loss.keep(reference)] * 2
        expected = expected + area * loss.distance(chosen, kept, shares=None, draws=[0, 0])
    torch.testing.assert_close(found, expected)


def test_an_objective_is_the_same_function_for_an_image_wherever_it_stands(network):
    images = CONTENTS * 0.9
    soft = torch.rand(1, 10, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    styles = [[Style(s, mask=soft), Style(s.flip(1), 2.0, 1 - soft)] for s in STYLES]
    both = evaluate(objective(), network, images, styles=styles)
    second = evaluate(objective(), network, images[1:], indices=[1], styles=styles)
    for one, two in zip(second, both, strict=True):
        torch.testing.assert_close(one, two[1:])


@pytest.mark.parametrize(
    ("style", "message"),
    [
        (Style(STYLES[0], 0.0), "`weights of the styles` should have a sum above 0"),
        (Style(STYLES[0], -1.0), "`weight of a style` should be a number from 0"),
        (Style(STYLES[0], math.nan), "`weight of a style` should be a number from 0"),
        (Style(STYLES[0], mask=torch.zeros(1, 10, 10)), "`masks` should be above 0 somewhere"),
    ],
)
def test_wrong_styles(network, style, message):
    with pytest.raises(SettingError, match=message):
        evaluate(objective(), network, CONTENTS, styles=[[style], [style]])


def test_pairs_have_equally_many_styles(network):
    with pytest.raises(ValueError, match="same number of styles"):
        evaluate(objective(), network, CONTENTS, styles=[[Style(STYLES[0])], [Style(STYLES[0])] * 2])


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        ({"content_weight": -1.0}, "objective.content_weight"),
        ({"style_weight": math.nan}, "objective.style_weight"),
        ({"total_variation_weight": math.inf}, "objective.total_variation_weight"),
        ({"style_taps": {"wide": -1.0}}, "objective weight of wide"),
        ({"content_weight": 0.0, "style_weight": 0.0}, "objective weights"),
        ({"content_weight": 0, "style_taps": {}}, "objective weights"),
        ({"balance": "distance"}, "objective.balance"),
        ({"balance": "layers", "like": BorrowedShares(smoothing=NoSmoothing())}, "objective.balance"),
    ],
)
def test_wrong_settings(wrong, setting):
    with pytest.raises(SettingError, match=f"`{setting}` should"):
        objective(**wrong)


def test_unknown_normalizer_of_the_content():
    with pytest.raises(SettingError, match="`normalizer of ContentLoss` should be one of"):
        ContentLoss(normalizer="sum")


def test_another_content_weight_leaves_the_rest(network):
    images, plain = CONTENTS * 0.9, objective()
    again, doubled = (
        evaluate(plain.weighted(1.0), network, images),
        evaluate(plain.weighted(2.0), network, images),
    )
    torch.testing.assert_close(doubled.total, again.total + again.content)
