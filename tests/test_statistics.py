import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from swag_repro import statistics
from swag_repro.errors import NonFiniteError
from swag_repro.smoothing import NoSmoothing
from swag_repro.statistics import (
    activation_statistics,
    effective_rank,
    gram,
    kurtosis,
    layer_statistics,
    linear_entropy,
    max_over_rms,
    maximum,
    participation_ratio,
    softmax_entropy,
)
from tests.parts import Softmax

ENTROPIES = (softmax_entropy, linear_entropy)
SHAPES = (max_over_rms, kurtosis, participation_ratio)
values = arrays(
    np.float64,
    st.integers(2, 40),
    elements=st.floats(0, 1e3, allow_subnormal=False).map(lambda x: round(x, 6)),
)


def by_name(features):
    return {(s.quantity, s.statistic, s.definition): s.values for s in layer_statistics(features)}


@pytest.mark.parametrize("entropy", ENTROPIES)
@pytest.mark.parametrize("constant", [0.0, 1e-20, 3.0, 1e6])
def test_entropy_of_a_uniform_tensor_is_one(entropy, constant):
    assert entropy(torch.full((2, 3, 4, 5), constant)) == pytest.approx([1.0, 1.0])


def test_entropy_of_a_one_hot_tensor_is_zero():
    one_hot = torch.zeros(1, 8, 4, 4)
    one_hot[0, 3, 1, 2] = 1e4
    assert linear_entropy(one_hot).item() == 0.0
    assert softmax_entropy(one_hot).item() < 1e-30


def test_entropy_of_k_equal_peaks_is_log_k_over_log_n():
    peaks = torch.zeros(1, 64)
    peaks[0, :4] = 500.0
    expected = math.log(4) / math.log(64)
    assert linear_entropy(peaks).item() == pytest.approx(expected)
    assert softmax_entropy(peaks).item() == pytest.approx(expected)


@given(values)
def test_entropies_agree_with_scipy(x):
    tensor = torch.from_numpy(x)[None]
    softmax = scipy.stats.entropy(scipy.special.softmax(x)) / math.log(x.size)
    assert softmax_entropy(tensor).item() == pytest.approx(softmax, abs=1e-9)
    if x.sum() > 0:
        assert linear_entropy(tensor).item() == pytest.approx(
            scipy.stats.entropy(x) / math.log(x.size), abs=1e-9
        )


@given(values, st.randoms(use_true_random=False))
def test_entropies_are_in_the_unit_interval_and_ignore_order(x, random):
    shuffled = x.copy()
    random.shuffle(shuffled)
    for entropy in ENTROPIES:
        found = entropy(torch.from_numpy(x)[None]).item()
        assert 0.0 <= found <= 1.0
        assert entropy(torch.from_numpy(shuffled)[None]).item() == pytest.approx(found, abs=1e-9)


@given(values, st.floats(1e-3, 1e3))
def test_linear_entropy_ignores_scale_and_softmax_entropy_takes_it_as_an_argument(x, scale):
    tensor = torch.from_numpy(x)[None]
    assert linear_entropy(tensor * scale).item() == pytest.approx(linear_entropy(tensor).item(), abs=1e-9)
    assert softmax_entropy(tensor, scale).item() == pytest.approx(
        softmax_entropy(tensor * scale).item(), abs=1e-9
    )


def test_entropies_do_not_depend_on_the_chunks(monkeypatch):
    x = torch.rand(3, 16, 9, 9) * 20
    whole = [entropy(x) for entropy in ENTROPIES]
    monkeypatch.setattr(statistics, "BLOCK", 100)
    for entropy, expected in zip(ENTROPIES, whole, strict=True):
        torch.testing.assert_close(entropy(x), expected, rtol=1e-6, atol=0)


def test_entropy_of_huge_values_stays_exact():
    x = torch.tensor([[1e30, 1e30, 0.0, -1e30]])
    assert softmax_entropy(x).item() == pytest.approx(0.5)


def checkerboard():
    """Return 8 channels with as many zeros as ones, `(1, 8, 6, 6)`."""
    rows, columns = torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij")
    return ((rows + columns + torch.arange(8).view(8, 1, 1)) % 2).float()[None]


def test_shape_of_a_checkerboard():
    x = 7 * checkerboard()
    assert max_over_rms(x).item() == pytest.approx(math.sqrt(2))
    assert kurtosis(x).item() == pytest.approx(1.0)
    assert participation_ratio(x).item() == pytest.approx(0.5)
    assert effective_rank(x).item() == pytest.approx(2.0)  # black squares and white ones


def test_shape_of_a_single_peak():
    n = 8 * 4 * 4
    peak = torch.zeros(1, 8, 4, 4)
    peak[0, 3, 1, 2] = 1e4
    assert max_over_rms(peak).item() == pytest.approx(math.sqrt(n))
    assert kurtosis(peak).item() == pytest.approx(n - 2 + 1 / (n - 1))
    assert participation_ratio(peak).item() == pytest.approx(1 / n)
    assert effective_rank(peak).item() == pytest.approx(1.0)


@pytest.mark.parametrize("constant", [0.0, 1e-15, 0.1, 3.0, 1e6])
def test_shape_of_a_constant(constant, monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK", 100)
    x = torch.full((2, 7, 5, 5), constant)
    for shape in SHAPES:
        assert shape(x) == pytest.approx([1.0, 1.0])
    assert effective_rank(x) == pytest.approx([7.0, 7.0] if constant == 0 else [1.0, 1.0])


def test_shape_of_normal_numbers():
    x = torch.randn(1, 1 << 20, generator=torch.Generator().manual_seed(0))
    assert kurtosis(x).item() == pytest.approx(3.0, abs=0.03)
    assert participation_ratio(x).item() == pytest.approx(1 / 3, abs=0.003)
    assert max_over_rms(x).item() == pytest.approx(x.max().item(), rel=1e-2)


@given(values, st.floats(-1e3, 1e3))
def test_shape_agrees_with_scipy(x, offset):
    x = x + offset
    tensor = torch.from_numpy(x)[None]
    rms = np.sqrt((x**2).mean())
    if np.abs(x).max() > 1e-3:
        assert max_over_rms(tensor).item() == pytest.approx(x.max() / rms, rel=1e-9, abs=1e-9)
        expected = (x**2).sum() ** 2 / (x.size * (x**4).sum())
        assert participation_ratio(tensor).item() == pytest.approx(expected, rel=1e-9)
    if x.std() > 1e-3:
        assert kurtosis(tensor).item() == pytest.approx(scipy.stats.kurtosis(x, fisher=False), rel=1e-6)


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (5.0, 1.0), (100.0, 1.0), (1.0, 1e-3)])
@pytest.mark.parametrize("block", [100, 1 << 18])
def test_shape_in_float32_is_that_of_float64(mean, spread, block, monkeypatch):
    """This holds where the mean outweighs all else, as after a smoothing, and where blocks have means of their own."""
    monkeypatch.setattr(statistics, "BLOCK", block)
    x = mean + spread * torch.randn(2, 40000, generator=torch.Generator().manual_seed(1)).relu_()
    x[:, :20000] += spread
    exact = x.double()
    for shape in SHAPES:
        torch.testing.assert_close(shape(x), shape(exact), rtol=1e-4, atol=0)


@pytest.mark.parametrize("magnitude", [1e-20, 1e-6, 1.0, 1e9])
def test_shape_ignores_scale(magnitude):
    x = torch.rand(2, 8, 6, 6) - 0.3
    for shape in (*SHAPES, effective_rank):
        scale = magnitude if shape in SHAPES else max(magnitude, 1e-12)  # G squares the scale
        torch.testing.assert_close(shape(x * scale), shape(x), rtol=1e-4, atol=0)


@pytest.mark.parametrize("block", [200, 1 << 18])
@pytest.mark.parametrize("channels", [1, 3, 16, 37])
def test_effective_rank_is_that_of_the_eigenvalues(channels, block, monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK", block)
    x = torch.rand(2, channels, 5, 4) * torch.logspace(0, 1, channels)[:, None, None]
    eigenvalues = torch.linalg.eigvalsh(gram(x.double()))
    expected = eigenvalues.sum(dim=1) ** 2 / eigenvalues.square().sum(dim=1)
    torch.testing.assert_close(effective_rank(x), expected, rtol=1e-5, atol=0)


def test_half_precision_is_measured_in_float32():
    x = torch.rand(1, 64, 32, 32).half() * 4
    torch.testing.assert_close(softmax_entropy(x), softmax_entropy(x.float()))


def test_gram_of_a_constant():
    # Every entry is M c².
    assert torch.equal(gram(torch.full((2, 3, 4, 5), 2.0)), torch.full((2, 3, 3), 4 * 5 * 4.0))


def test_gram_by_hand_and_no_mixing_across_the_batch():
    one = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])  # (D=2, 1, M=2)
    other = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]])
    expected = torch.tensor([[[5.0, 11.0], [11.0, 25.0]], [[1.0, 0.0], [0.0, 1.0]]])
    assert torch.equal(gram(torch.stack([one, other])), expected)


def test_largest_entry_of_a_gram_matrix_is_on_its_diagonal():
    features = torch.randn(4, 16, 5, 5)
    torch.testing.assert_close(maximum(gram(features)), gram(features).diagonal(dim1=1, dim2=2).amax(1))


def test_layer_statistics_of_each_image_alone_and_in_a_batch():
    features = torch.rand(3, 8, 6, 6) * 30
    together = by_name(features)
    for index in range(3):
        for key, alone in by_name(features[index : index + 1]).items():
            torch.testing.assert_close(together[key][index], alone[0], rtol=1e-6, atol=1e-9)


def test_layer_statistics_divide_the_gram_matrix_by_dm():
    features = torch.rand(1, 8, 6, 5)
    found = by_name(features)
    divided = gram(features) / (8 * 6 * 5)
    torch.testing.assert_close(found["gram_per_dm", "maximum", None], maximum(divided).double())
    torch.testing.assert_close(
        found["gram_per_dm", "normalized_entropy", "softmax"], softmax_entropy(divided), rtol=1e-6, atol=0
    )
    assert torch.equal(
        found["gram_per_dm", "normalized_entropy", "linear"], found["gram", "normalized_entropy", "linear"]
    )


@pytest.mark.parametrize("magnitude", [1.0, 1e2, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("channels", [7, 64, 256])
def test_gram_entropies_hold_for_large_activations(magnitude, channels):
    # Random Inception-v3 and ResNet-101 have G of 1e9 and more; rounding there exceeds what e^x resolves.
    features = magnitude * (1.0 + torch.rand(2, channels, 9, 9))
    found, exact = by_name(features), gram(features.double()).flatten(1)
    for quantity, scale in (("gram", 1.0), ("gram_per_dm", 1.0 / features[0].numel())):
        expected = scipy.stats.entropy(scipy.special.softmax(scale * exact.numpy(), axis=1), axis=1)
        torch.testing.assert_close(
            found[quantity, "normalized_entropy", "softmax"],
            torch.from_numpy(expected / math.log(exact.shape[1])),
            rtol=1e-2,  # at 1e4, one rounding step of G in float32 has the same effect
            atol=1e-6,
        )


def test_linear_entropy_of_sigma_is_the_softmax_entropy_of_the_activations():
    # The reason why SWAG's softmax entropy says nothing: see "What we found" in the README.
    features = torch.randn(2, 32, 8, 8).relu() * 5
    torch.testing.assert_close(
        linear_entropy(Softmax(temperature=1)(features)), softmax_entropy(features), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_activations_are_an_error(bad):
    def network(images):
        features = images.clone()
        features[0, 0, 0, 0] = bad
        return {"relu1_1": features}

    with pytest.raises(NonFiniteError, match="at relu1_1` should be finite"):
        list(activation_statistics(network, torch.rand(2, 3, 8, 8), NoSmoothing()))
