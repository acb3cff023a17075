import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from swag_repro.errors import SettingError
from swag_repro.losses.base import LossContext, generator
from swag_repro.losses.sliced import directions, projected, squared_wasserstein
from swag_repro.statistics import common_quantiles, weighted_quantiles
from tests.parts import SlicedWasserstein


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def compared(loss, features, *styles, mask=None, draws=None):
    targets = [loss.target({"tap": style}) for style in styles]
    context = LossContext([0] * len(features) if draws is None else draws, mask)
    return loss({"tap": features}, targets, context)["tap"]


# --- Quantiles ------------------------------------------------------------------------------------------


def test_common_quantiles_by_hand():
    # Jumps at 1/2, 1 and at 1/3, 2/3, 1: steps end at 1/3, 1/2, 2/3, 1
    widths, at, at_other = common_quantiles(2, 3, torch.device("cpu"))
    steps = sorted(zip(at.tolist(), at_other.tolist(), (6 * widths).tolist(), strict=True))
    assert steps == [(0, 0, 2.0), (0, 1, 1.0), (1, 1, 1.0), (1, 2, 2.0)]


@settings(max_examples=60)
@given(size=st.integers(1, 40), other=st.integers(1, 40))
def test_common_quantiles_cover_each_value_by_its_share(size, other):
    widths, at, at_other = common_quantiles(size, other, torch.device("cpu"))
    assert len(widths) == size + other - math.gcd(size, other)
    assert widths.min() > 0
    for indices, count in ((at, size), (at_other, other)):
        covered = torch.zeros(count, dtype=torch.float64).index_add(0, indices, widths)
        torch.testing.assert_close(covered, torch.full_like(covered, 1 / count))


@settings(max_examples=60)
@given(size=st.integers(1, 12), other=st.integers(1, 12), seed=st.integers(0, 99))
def test_weighted_quantiles_cover_each_value_by_its_share(size, other, seed):
    shares = noise(2, size, seed=seed).relu() + torch.eye(size, dtype=torch.float64)[: 2 if size > 1 else 1]
    shares = shares / shares.sum(dim=1, keepdim=True)
    widths, at, at_other = weighted_quantiles(shares, other)
    covered = torch.zeros_like(shares).scatter_add(1, at, widths)
    torch.testing.assert_close(covered, shares)
    covered = torch.zeros(2, other, dtype=torch.float64).scatter_add(1, at_other, widths)
    torch.testing.assert_close(covered, torch.full_like(covered, 1 / other))


# --- The equation ---------------------------------------------------------------------------------------


def test_squared_wasserstein_by_hand():
    # Sorted 0, 2 against 1, 1, 4: steps (0, 1), (0, 1), (2, 1), (2, 4) of widths 2, 1, 1, 2 sixths
    values, style = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 1.0, 4.0]])
    torch.testing.assert_close(squared_wasserstein(values, style).item(), (2 + 1 + 1 + 8) / 6)
    # Two thirds of 2: the 1s against 0 and 2, the 4 against 2
    shares = torch.tensor([2 / 3, 1 / 3])
    torch.testing.assert_close(squared_wasserstein(values, style, shares).item(), (1 + 1 + 4) / 3)


@settings(max_examples=40)
@given(size=st.integers(1, 12), other=st.integers(1, 12), seed=st.integers(0, 99))
def test_against_repetition_to_a_common_size(size, other, seed):
    values, style = noise(2, size, seed=seed), noise(2, other, seed=seed + 1).sort(dim=1).values
    counts = torch.randint(0, 3, (size,), generator=torch.Generator().manual_seed(seed))
    counts[0] += 1
    total = int(counts.sum())
    for shares, repeated in (
        (None, values.repeat_interleave(other, dim=1)),
        (counts.double() / total, values.repeat_interleave(counts * other, dim=1)),
    ):
        times = repeated.shape[1] // other
        gaps = repeated.sort(dim=1).values - style.repeat_interleave(times, dim=1)
        torch.testing.assert_close(squared_wasserstein(values, style, shares), gaps.square().mean(dim=1))


def test_points_on_two_sides_bound_it_by_the_first_distance():
    """Where all gaps have one size, W₂ is W₁, which scipy has."""
    values = noise(1, 30)
    style = (values + 0.7).sort(dim=1).values
    first = wasserstein_distance(values[0].numpy(), style[0].numpy())
    np.testing.assert_allclose(squared_wasserstein(values, style).item(), first**2)


@pytest.mark.parametrize("other", [5, 7])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients(other, masked):
    values, style = noise(2, 5).requires_grad_(), noise(2, other, seed=1).sort(dim=1).values
    shares = torch.softmax(noise(5, seed=2), dim=0) if masked else None
    assert torch.autograd.gradcheck(lambda v: squared_wasserstein(v, style, shares), values)


def test_directions_are_uniform_on_the_sphere():
    found = directions(3, 20000, generator(0, 0))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(20000))
    torch.testing.assert_close(found.mT @ found / 20000, torch.eye(3) / 3, rtol=0, atol=0.01)


def test_projected_by_hand():
    rows, onto = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.6, 0.8]])
    torch.testing.assert_close(projected(rows, onto), torch.tensor([[2.2, 5.0]]))


# --- The loss -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resample", [True, False])
def test_a_shift_is_its_squared_length_over_the_channels(resample):
    """`E_θ (θᵀv)² = ‖v‖² / D`."""
    features = noise(1, 3, 4, 4)
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64).view(1, 3, 1, 1)
    loss = SlicedWasserstein(projections=20000, resample=resample)
    found = compared(loss, features + shift, features).item()
    assert math.isclose(found, 5.25 / 3, rel_tol=0.03)


def test_it_is_the_mean_over_directions():
    features, style = noise(1, 3, 2, 3), noise(1, 3, 2, 2, seed=1)
    onto = directions(3, 4, generator(5, 2)).double()
    expected = [
        squared_wasserstein(
            projected(features[0].flatten(1).mT, one),
            projected(style[0].flatten(1).mT, one).sort(dim=1).values,
        )
        for one in onto.split(1)
    ]
    found = compared(SlicedWasserstein(projections=4, seed=5), features, style, draws=[2])
    torch.testing.assert_close(found, torch.cat(expected).mean(dim=0, keepdim=True))


def test_equal_draws_take_equal_directions():
    features, style = noise(1, 3, 4, 5), noise(1, 3, 4, 6, seed=1)
    loss = SlicedWasserstein(projections=4)
    assert loss.stochastic
    found = compared(loss, features.repeat(4, 1, 1, 1), *[style] * 4, draws=[-3, 7, -3, 3])
    assert found[0] == found[2]
    assert len(set(found.tolist())) == 3
    assert compared(loss, features, style, draws=[-3]) == found[0]


def test_fixed_directions_heed_no_draw():
    features, style = noise(1, 3, 4, 5), noise(1, 3, 4, 6, seed=1)
    loss = SlicedWasserstein(projections=4, resample=False)
    assert not loss.stochastic
    found = compared(loss, features, style, draws=[1])
    assert found == compared(loss, features, style, draws=[2])
    assert found != compared(SlicedWasserstein(projections=4, resample=False, seed=1), features, style)
    assert found != compared(SlicedWasserstein(projections=4), features, style, draws=[1])


LOSSES = {
    "resampled": SlicedWasserstein(projections=5),
    "fixed": SlicedWasserstein(projections=5, resample=False),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("style_size", [3, 4])
def test_a_mask_counts_its_half_only(loss, style_size):
    features, style = noise(2, 4, 4, 4), noise(2, 4, style_size, 4, seed=1).split(1)
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    mask[..., :2] = 1.0
    masked = compared(loss, features, *style, mask=mask)
    torch.testing.assert_close(masked, compared(loss, features[..., :2], *style))
    everywhere = compared(loss, features, *style, mask=torch.full_like(mask, 0.3))
    torch.testing.assert_close(everywhere, compared(loss, features, *style))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("masked", [False, True])
def test_images_do_not_mix(loss, masked):
    features, styles = noise(3, 4, 3, 3), [noise(1, 4, 3, size, seed=size) for size in (2, 3, 4)]
    masks = noise(3, 1, 3, 3, seed=9).sigmoid() if masked else None
    draws = [4, 5, 6]
    together = compared(loss, features, *styles, mask=masks, draws=draws)
    for i, style in enumerate(styles):
        mask = None if masks is None else masks[i : i + 1]
        alone = compared(loss, features[i : i + 1], style, mask=mask, draws=draws[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)
    features.requires_grad_()
    compared(loss, features, *styles, mask=masks, draws=draws)[1].backward()
    assert features.grad[[0, 2]].abs().max() == 0
    assert features.grad[1].abs().max() > 0


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_against_finite_differences(loss, masked):
    features, style = noise(1, 3, 3, 2), noise(1, 3, 2, 2, seed=1)
    mask = torch.tensor([[0.5, 0.0], [1.0, 0.2], [0.7, 0.1]], dtype=torch.float64).view(1, 1, 3, 2)
    mask = mask if masked else None
    assert torch.autograd.gradcheck(lambda f: compared(loss, f, style, mask=mask), features.requires_grad_())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 1e-2)])
@pytest.mark.parametrize("style_size", [4, 5])
def test_narrow_types(dtype, tolerance, style_size):
    features, style = noise(2, 4, 5, 5).relu(), noise(1, 4, 5, style_size, seed=1).relu()
    loss = SlicedWasserstein()
    found = compared(loss, features.to(dtype), *[style.to(dtype)] * 2)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, compared(loss, features, *[style] * 2), rtol=tolerance, atol=tolerance)


def test_gradients_lie_in_memory_like_the_features():
    features = noise(2, 4, 3, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    compared(SlicedWasserstein(), features, *noise(2, 4, 3, 3, seed=1).split(1)).sum().backward()
    assert features.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("projections", [0, -1, 2.5])
def test_wrong_projections(projections):
    with pytest.raises(SettingError, match="`projections of SlicedWasserstein` should be a whole number"):
        SlicedWasserstein(projections=projections)
