import math

import pytest
import torch

from swag_repro.errors import SettingError
from swag_repro.losses.base import LossContext
from swag_repro.losses.bn import channel_means, channel_moments, moments_distance
from tests.parts import BatchNormLoss


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def compared(features, *styles, mask=None, **settings):
    loss = BatchNormLoss(**settings)
    targets = [loss.target({"tap": style}) for style in styles]
    return loss({"tap": features}, targets, LossContext([0] * len(features), mask))["tap"]


def test_by_hand():
    # Channels (1, 3) and (0, 0): means 2, 0, deviations 1, 0; style (0, 4), (2, 2): means 2, 2, deviations 2, 0.
    features = torch.tensor([[[[1.0, 3.0]], [[0.0, 0.0]]]])
    style = torch.tensor([[[[0.0, 4.0]], [[2.0, 2.0]]]])
    assert compared(features, style).tolist() == [(1 + 4) / 2]
    # The authors' code: 1e3 M times half of it.
    assert compared(features, style, normalizer="demystifying").tolist() == [1e3 * 2 * 0.5 * 2.5]


def test_moments_distance_by_hand():
    means, deviations = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    of_style = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    assert moments_distance(means, deviations, of_style).tolist() == [(1 + 4 + 4 + 9) / 2]


def test_moments_are_those_of_the_population():
    matrix = noise(2, 3, 50)
    mean, deviation = channel_moments(matrix)
    variance, expected = torch.var_mean(matrix, dim=2, correction=0)
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(deviation, variance.sqrt())
    torch.testing.assert_close(channel_means(matrix), expected)


def test_shares_are_repetitions():
    matrix = noise(1, 3, 3)
    repeated = matrix[:, :, [0, 0, 0, 2]]
    shares = torch.tensor([[0.75, 0.0, 0.25]], dtype=torch.float64)
    for found, expected in zip(channel_moments(matrix, shares), channel_moments(repeated), strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(channel_means(matrix, shares), channel_means(repeated))


@pytest.mark.parametrize("masked", [False, True])
def test_gradients(masked):
    matrix = noise(2, 3, 5).requires_grad_()
    shares = torch.softmax(noise(2, 5, seed=1), dim=1) if masked else None
    assert torch.autograd.gradcheck(lambda m: channel_moments(m, shares), matrix)
    assert torch.autograd.gradcheck(lambda m: channel_means(m, shares), matrix)


def test_a_constant_channel_has_no_gradient():
    features = torch.stack([torch.zeros(4), torch.full((4,), 2.0), torch.arange(4.0)]).view(1, 3, 2, 2)
    features.requires_grad_()
    _, deviation = channel_moments(features.flatten(2))
    assert deviation[0, :2].tolist() == [0.0, 0.0]
    deviation.sum().backward()
    assert features.grad[0, :2].abs().max() == 0
    assert features.grad[0, 2].abs().min() > 0


def test_equal_moments_leave_nothing():
    features = noise(1, 4, 5, 5)
    shuffled = features.flatten(2)[:, :, torch.randperm(25)].view(1, 4, 5, 5)
    assert compared(features, shuffled).item() < 1e-20
    # features of another size: each position occurs twice
    assert compared(features, torch.cat([features, features], dim=2)).item() < 1e-20


def test_a_mask_counts_its_half_only():
    features, style = noise(2, 4, 4, 4), noise(2, 4, 3, 3, seed=1).split(1)
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    mask[..., :2] = 1.0
    torch.testing.assert_close(compared(features, *style, mask=mask), compared(features[..., :2], *style))
    everywhere = compared(features, *style, mask=torch.full_like(mask, 0.3))
    torch.testing.assert_close(everywhere, compared(features, *style))


def test_images_do_not_mix():
    features, styles = noise(3, 4, 3, 3), noise(3, 4, 2, 2, seed=1).split(1)
    together = compared(features, *styles)
    alone = [compared(f, s) for f, s in zip(features.split(1), styles, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))
    features.requires_grad_()
    compared(features, *styles)[1].backward()
    assert features.grad[[0, 2]].abs().max() == 0


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 1e-2)])
def test_narrow_types(dtype, tolerance):
    features, style = noise(2, 4, 5, 5).relu(), noise(1, 4, 5, 4, seed=1).relu()
    found = compared(features.to(dtype), *[style.to(dtype)] * 2)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, compared(features, *[style] * 2), rtol=tolerance, atol=tolerance)


def test_a_large_mean_hides_no_deviation():
    """`E x² − (E x)²` would leave rounding of 1e8 in float32."""
    features = (noise(1, 2, 64, 64) + 1e4).float()
    _, found = channel_moments(features.flatten(2))
    torch.testing.assert_close(
        found.double(), channel_moments(features.double().flatten(2))[1], rtol=1e-3, atol=0
    )


def test_gradients_lie_in_memory_like_the_features():
    features = noise(2, 4, 3, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    compared(features, *noise(2, 4, 3, 3, seed=1).split(1)).sum().backward()
    assert features.grad.is_contiguous(memory_format=torch.channels_last)


def test_unknown_normalizer():
    with pytest.raises(SettingError, match="`normalizer of BatchNormLoss` should be one of"):
        BatchNormLoss(normalizer="median")


def test_deviations_count_half_of_a_shift():
    """A channel scaled by 3 about its mean: `(3s − s)² / D`."""
    style = noise(1, 1, 4, 4)
    mean = style.mean()
    features = mean + 3 * (style - mean)
    expected = 4 * style.var(correction=0).item()
    assert math.isclose(compared(features, style).item(), expected, rel_tol=1e-12)
