import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swag_repro.errors import SettingError
from swag_repro.losses import NORMALIZERS, LossContext, content_distance, largest, share_of_entries
from swag_repro.losses.base import total_variation
from swag_repro.losses.gram import (
    gram_distance_in_style_basis,
    gram_distance_to,
    robust_squares,
    takes_style_basis,
)
from swag_repro.statistics import gram
from tests.parts import GramLoss, RobustGramLoss


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def direct(features, style):
    """The equation as it stands, in float64."""
    return (gram(features.double()) - gram(style.double())).square().sum(dim=(1, 2))


def gram_distance(features, style):
    """Return the distance by way of whichever matrices are smaller, as the loss does."""
    features, style = features.flatten(2), style.flatten(2)
    if takes_style_basis(features.shape[1], features.shape[2], style.shape[2]):
        return gram_distance_in_style_basis(features, *torch.linalg.qr(style))
    return gram_distance_to(features, gram(style))


def compared(loss, features, *styles, mask=None):
    """The loss of one layer, `(A,)`: features `(A, D, ...)` against a style `(1, D, ...)` for each image."""
    planes = [image.unflatten(2, (-1, 1)) if image.dim() == 3 else image for image in (features, *styles)]
    targets = [loss.target({"tap": style}) for style in planes[1:]]
    return loss({"tap": planes[0]}, targets, LossContext([0] * len(features), mask))["tap"]


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


@settings(max_examples=40)
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
    rotation = torch.linalg.qr(noise(16, 16, seed=2)).Q  # this leaves the Gram matrix unchanged
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


# --- The loss --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("normalizer", "expected"),
    [("paper", 57 / (4 * 2**2 * 2**2)), ("mean", 57 / (4 * 4) / 4), ("gatys", 57 / 4 / 4)],
)
def test_normalizers_by_hand(normalizer, expected):
    features, style = torch.tensor([[[1.0, 2.0], [0.0, 2.0]]]), torch.eye(2).unsqueeze(0)
    loss = GramLoss(normalizer=normalizer)
    torch.testing.assert_close(compared(loss, features, style).item(), expected)


@pytest.mark.parametrize("channels", [4, 40])
@pytest.mark.parametrize("style_sizes", [(3, 3), (3, 2), (7, 1)])
@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_smaller_side_precise_and_direct_agree(channels, style_sizes, normalizer):
    features = noise(2, channels, 3, 3, dtype=torch.float32)
    styles = [noise(1, channels, size, size, seed=size, dtype=torch.float32) for size in style_sizes]
    found = []
    for setting in ({}, {"smaller_side": False}, {"precise": True}):
        loss = GramLoss(normalizer=normalizer, **setting)
        found.append(compared(loss, features, *styles))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-5, atol=0)


def test_a_repeated_style_image_has_the_same_target():
    """Twice as many positions with the same features: the same texture."""
    features, style = noise(1, 4, 3, 3), noise(1, 4, 3, 3, seed=1)
    loss = GramLoss()
    once, twice = (compared(loss, features, seen) for seen in (style, torch.cat([style, style], dim=2)))
    torch.testing.assert_close(once, twice)


def test_a_mask_counts_its_half_only():
    """Guided Gram matrices: positions outside count nothing, and those inside as if they were all."""
    features, style = noise(1, 4, 4, 4), noise(1, 4, 3, 3, seed=1)
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    mask[..., :2] = 1.0
    for setting in ({}, {"smaller_side": False}, {"precise": True}):
        loss = GramLoss(**setting)
        masked = compared(loss, features, style, mask=mask)
        torch.testing.assert_close(masked, compared(loss, features[..., :2], style))
        everywhere = compared(loss, features, style, mask=torch.full_like(mask, 0.3))
        torch.testing.assert_close(everywhere, compared(loss, features, style))


def test_unknown_normalizer():
    with pytest.raises(SettingError, match="`normalizer of GramLoss` should be one of"):
        GramLoss(normalizer="sum")


# --- Largest entries --------------------------------------------------------------------------------------


def test_robust_squares_by_hand():
    """Squares where differences are small beside δ, 2δ|Δ| where they are large; a δ of 0 gives 0."""
    differences = torch.tensor([[[1e-4, 0.0]], [[1e6, -1e6]], [[3.0, 4.0]]], dtype=torch.float64)
    small, large, none = robust_squares(differences, torch.tensor([1.0, 1.0, 0.0]))
    assert float(small) == pytest.approx(1e-8)
    assert float(large) == pytest.approx(4e6, rel=1e-5)
    assert float(none) == 0


def test_a_robust_loss_without_a_bound_is_gram_s():
    features, styles = noise(2, 6, 5, 4), [noise(1, 6, 3, 3, seed=seed) for seed in (1, 2)]
    mask = torch.rand(2, 1, 20, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for masked in (None, mask):
        squared = compared(GramLoss(), features, *styles, mask=masked)
        robust = compared(RobustGramLoss(threshold=1e6), features, *styles, mask=masked)
        torch.testing.assert_close(robust, squared)
        assert (compared(RobustGramLoss(), features, *styles, mask=masked) < 0.7 * squared).all()


def test_a_robust_loss_follows_scale_as_gram_s_does():
    """Layers then keep their shares of the loss, whatever their scale."""
    features, style = noise(2, 6, 5, 4), noise(1, 6, 3, 3, seed=1)
    once, tenfold = (compared(RobustGramLoss(), k * features, k * style, k * style) for k in (1, 10))
    torch.testing.assert_close(tenfold, 1e4 * once)


def test_gradients_of_a_robust_loss():
    features, style = noise(1, 3, 4).requires_grad_(), noise(1, 3, 5, seed=1)
    torch.autograd.gradcheck(lambda values: compared(RobustGramLoss(), values, style), features)


def test_an_outlier_pulls_a_robust_loss_no_further():
    """The gradient of a difference has a bound, that of its square has none."""
    pulls = []
    for size in (1e2, 1e4):
        difference = torch.tensor([[size]], dtype=torch.float64, requires_grad=True)
        robust_squares(difference, torch.tensor([1.0])).backward()
        pulls.append(float(difference.grad))
    assert pulls == pytest.approx([2, 2], rel=1e-3)


@pytest.mark.parametrize("threshold", [0, -1, float("inf"), float("nan")])
def test_a_threshold_is_above_0(threshold):
    with pytest.raises(SettingError, match="threshold"):
        RobustGramLoss(threshold=threshold)


def test_the_share_of_the_largest_entries_by_hand():
    differences = torch.zeros(2, 10, 10)
    differences[0, 3, 4] = -3.0
    differences[0, 0, 0] = 4.0
    differences[1] = 1.0
    assert share_of_entries(differences, largest(differences, 0.01)).tolist() == pytest.approx([16 / 25, 1])
    assert share_of_entries(differences, largest(differences, 0.02)).tolist() == pytest.approx([1, 1])
    assert int(largest(differences, 0.01)[0].sum()) == 1
