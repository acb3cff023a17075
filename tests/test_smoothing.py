from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

import conf
from swag_repro.errors import SettingError
from swag_repro.smoothing import (
    DropOutliers,
    Log1p,
    NoSmoothing,
    Power,
    Scale,
    Temperature,
    channel_softmax,
    peak,
    smooth,
    softmax,
)
from tests.parts import Softmax

ALL = {
    "none": NoSmoothing(),
    "softmax": Softmax(temperature=1),
    "softmax_peak": Softmax(temperature="peak/2"),
    "channel_softmax": Softmax(over="channels", temperature=1),
    "channel_softmax_peak": Softmax(over="channels", temperature="peak/2"),
    "scale": Scale(factor=0.001),
    "log1p": Log1p(),
    "power": Power(exponent=0.5),
    "drop_outliers": DropOutliers(ratio=1.5),
}


def features(batch=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 6, 5, 4, generator=generator).relu() * 3


def test_softmax_by_hand():
    x = torch.tensor([[[[0.0, 1.0]], [[2.0, 3.0]]]])
    weights = torch.tensor([0.0, 1.0, 2.0, 3.0]).exp()
    assert torch.allclose(softmax(x).flatten(), weights / weights.sum())


def test_softmax_sums_to_one_over_each_image():
    assert torch.allclose(softmax(features()).sum(dim=(1, 2, 3)), torch.ones(2))


def test_channel_softmax_sums_to_one_at_each_position():
    assert torch.allclose(channel_softmax(features()).sum(dim=1), torch.ones(2, 5, 4))


@pytest.mark.parametrize("name", ALL)
def test_images_are_smoothed_each_by_itself_in_their_shape(name):
    x = features()
    together = ALL[name](x)
    assert together.shape == x.shape
    for index in range(2):
        torch.testing.assert_close(together[index], ALL[name](x[index : index + 1])[0])


@pytest.mark.parametrize("name", [name for name in ALL if name != "drop_outliers"])
def test_order_of_activations_is_kept(name):
    x = torch.linspace(0, 5, 24).view(1, 1, 6, 4)
    smoothed = ALL[name](x).flatten()
    if name.startswith("channel"):  # a single channel takes everything
        assert torch.equal(smoothed, torch.ones(24))
    else:
        assert (smoothed.diff() > 0).all()


@pytest.mark.parametrize("name", ALL)
def test_gradients_against_finite_differences(name):
    x = features(1).double()
    x.requires_grad_()
    smoothing = ALL[name]
    reference = features(1).double()  # a temperature is a constant of the loss
    # Away from 0, where ReLU's zeros make |F| and sign(F) kink.
    shifted = (x.detach() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: smoothing(f, reference), shifted)


@pytest.mark.parametrize("name", ALL)
def test_gradients_at_zero_are_finite(name):
    x = torch.zeros(1, 2, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(ALL[name](x).square().sum() + ALL[name](x).sum(), x)
    assert gradient.isfinite().all()


def test_a_temperature_divides():
    assert torch.allclose(Softmax(temperature=2)(features()), softmax(features() / 2))


def test_peak_temperature_is_read_from_the_reference():
    x, reference = features(), features() * 7
    expected = softmax(x / (reference.flatten(1).amax(1).view(2, 1, 1, 1) / 4))
    assert torch.allclose(Softmax(temperature="peak/4")(x, reference), expected)


def test_peak_temperature_ignores_the_scale_of_activations():
    smoothing = Softmax(temperature="peak/4")
    torch.testing.assert_close(smoothing(features()), smoothing(features() * 1000))


@pytest.mark.parametrize("flushed", [False, True])
def test_a_dead_layer_becomes_uniform(flushed):
    torch.set_flush_denormal(flushed)  # entry points set this, too
    smoothed = Softmax(temperature="peak/2")(torch.zeros(1, 4, 2, 2))
    assert torch.allclose(smoothed, torch.full((1, 4, 2, 2), 1 / 16))


def test_half_precision_becomes_float32():
    for smoothing in ALL.values():
        assert smoothing(features().bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    "temperature", [0, -1.0, "peak/0", "peak/-2", "peak", "warm", float("nan"), float("inf"), None]
)
def test_bad_temperatures(temperature):
    with pytest.raises(SettingError, match=r"`smoothing.temperature` should be a positive number.*found"):
        Temperature(temperature)


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: Scale(factor=0.0), "factor"),
        (lambda: Scale(factor="small"), "factor"),
        (lambda: Power(exponent=1.0), "exponent"),
        (lambda: Power(exponent=-0.5), "exponent"),
        (lambda: Softmax(over="rows"), "over"),
    ],
)
def test_bad_settings(make, setting):
    with pytest.raises(SettingError, match=f"smoothing.{setting}"):
        make()


def test_only_positions_of_outlying_norm_are_dropped():
    x = torch.ones(2, 3, 2, 4)
    x[0, :, 1, 2] = 10
    x[1, 1, 0, 0] = 2  # a norm of 2.4, where the median is 1.7
    x.requires_grad_()
    kept = DropOutliers(ratio=3)(x)
    kept.sum().backward()
    expected = torch.ones(2, 3, 2, 4)
    expected[0, :, 1, 2] = 0
    torch.testing.assert_close(x.grad, expected)
    torch.testing.assert_close(kept, x * expected)


def test_names_tell_all_that_differs():
    assert [str(smoothing) for smoothing in ALL.values()] == [
        "none",
        "softmax(over=layer, temperature=1)",
        "softmax(over=layer, temperature=peak/2)",
        "softmax(over=channels, temperature=1)",
        "softmax(over=channels, temperature=peak/2)",
        "scale(factor=0.001)",
        "log1p",
        "power(exponent=0.5)",
        "drop_outliers(ratio=1.5)",
    ]


def test_different_settings_have_different_names():
    different = [
        Softmax(over=over, temperature=temperature, mean_one=mean_one)
        for over in ("layer", "channels")
        for temperature in (1, 1.0000001, "peak/2", "peak/2.0000001", 2)
        for mean_one in (False, True)
    ]
    different += [
        Scale(factor=0.001),
        Scale(factor=0.0010000001),
        Power(exponent=0.5),
        Power(exponent=0.50000001),
    ]
    assert len({str(smoothing) for smoothing in different}) == len(different)


def test_every_smoothing_of_the_config_has_its_own_name():
    files = sorted((Path(conf.__file__).parent / "smoothing").glob("*.yaml"))
    with initialize_config_module("conf", version_base="1.3"):
        configs = [compose("measure_activations", [f"smoothing={file.stem}"]).smoothing for file in files]
    assert [config.name for config in configs] == [file.stem for file in files]
    assert [str(instantiate(config)).split("(")[0] for config in configs] == [file.stem for file in files]


def relu1_1(size):
    """Peaked like ReLU's values, and as many as VGG-19 has there: `(1, 64, size, size)`."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 64, size, size, generator=generator).mul_(3).relu_()


@pytest.mark.parametrize("smoothing", [Softmax(temperature=1), Softmax(mean_one=True)], ids=str)
def test_a_long_row_in_float32_sums_to_its_total(smoothing):
    features = relu1_1(1024)
    total = features.numel() if smoothing.mean_one else 1.0
    assert smoothing(features).sum(dtype=torch.float64).item() / total == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("smoothing", [Softmax(temperature=1), Softmax(mean_one=True)], ids=str)
def test_a_long_row_in_float32_is_that_of_float64_and_so_is_its_gradient(smoothing):
    features = relu1_1(256).requires_grad_()
    smoothed = smoothing(features)
    weights = torch.rand(64, 1, 1)
    (gradient,) = torch.autograd.grad((smoothed * weights).sum(), features)
    temperature = features.detach().double().max() / 2 if smoothing.mean_one else 1.0
    expected = torch.softmax((features.detach().double() / temperature).flatten(), 0).view_as(features)
    expected *= features.numel() if smoothing.mean_one else 1.0
    torch.testing.assert_close(smoothed.double(), expected, rtol=5e-6, atol=0.0)
    mean = (expected * weights).sum() / expected.sum()
    expected *= (weights - mean) / temperature
    assert (gradient - expected).norm() < 1e-5 * expected.norm()
    assert abs(gradient.sum(dtype=torch.float64)) < 1e-6 * gradient.abs().sum(dtype=torch.float64)


@pytest.mark.parametrize("over", ["layer", "channels"])
def test_mean_one_is_a_constant_factor(over):
    plain, scaled = Softmax(over=over)(features()), Softmax(over=over, mean_one=True)(features())
    torch.testing.assert_close(scaled.mean(dim=(1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(scaled / plain, torch.full_like(plain, 120.0 if over == "layer" else 6.0))


def test_peaks_stand_for_the_reference():
    smoothing, reference = Softmax(temperature="peak/2"), 7 * features()
    assert torch.equal(smoothing(features(), peak(reference)), smoothing(features(), reference))


def test_a_smoothing_of_ones_own_that_changes_the_shape_is_refused():
    with pytest.raises(SettingError, match=r"as many values as it is given; found \(2, 1, 5, 4\)"):
        smooth(lambda features: features[:, :1], features())
