import math

import pytest
import torch

from swag_repro.errors import SettingError
from swag_repro.optimisation.canvas import FourierSpectrum, NormalizedPixels, Pixels, finest_level
from tests.parts import LaplacianPyramid

FOURIER = FourierSpectrum(decay=1.0, colors=[0.46, 0.13, 0.06])
CANVASES = [Pixels(), LaplacianPyramid(), LaplacianPyramid(levels=1), LaplacianPyramid(levels=2), FOURIER]
SIZES = [(32, 48), (37, 21), (1, 5), (2, 1), (1, 1)]


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("canvas", CANVASES, ids=str)
def test_what_is_encoded_is_decoded(canvas, size, dtype):
    images = noise(2, 3, *size, dtype=dtype)
    decoded = canvas.decode(canvas.encode(images), size)
    assert (decoded.shape, decoded.dtype) == (images.shape, dtype)
    torch.testing.assert_close(decoded, images, rtol=0, atol=20 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("canvas", CANVASES, ids=str)
def test_images_of_a_batch_do_not_mix(canvas):
    images = noise(3, 3, 9, 6)
    values = canvas.encode(images)
    torch.testing.assert_close(values[1:2], canvas.encode(images[1:2]), rtol=0, atol=0)
    torch.testing.assert_close(canvas.decode(values[1:2], (9, 6)), canvas.decode(values, (9, 6))[1:2])


def test_sizes_of_a_pyramid():
    assert LaplacianPyramid().sizes((37, 21)) == [(37, 21), (18, 10), (9, 5), (4, 2), (2, 1), (1, 1)]
    assert LaplacianPyramid().sizes((1, 5)) == [(1, 5), (1, 2), (1, 1)]
    assert LaplacianPyramid().sizes((1, 1)) == [(1, 1)]
    assert LaplacianPyramid(levels=2).sizes((256, 64)) == [(256, 64), (128, 32), (64, 16)]


def test_a_pyramid_by_hand():
    """Halving 1 × 3 keeps the first pixel; doubling it repeats it."""
    images = torch.tensor([1.0, 5.0, 2.0]).expand(1, 3, 1, 3)
    values = LaplacianPyramid().encode(images)
    assert values.tolist() == [[0.0, 4.0, 1.0] * 3 + [1.0] * 3]


def test_a_constant_image_has_no_residuals():
    values = LaplacianPyramid(levels=3).encode(torch.full((1, 3, 16, 16), 0.3))
    assert values.shape == (1, 3 * (256 + 64 + 16 + 4))
    torch.testing.assert_close(values[:, :-12], torch.zeros(1, values.shape[1] - 12))
    torch.testing.assert_close(values[:, -12:], torch.full((1, 12), 0.3))


def test_a_coarse_number_moves_a_region():
    pyramid = LaplacianPyramid()
    values = torch.zeros(1, pyramid.encode(torch.zeros(1, 3, 32, 32)).shape[1])
    values[0, -3] = 1.0
    decoded = pyramid.decode(values, (32, 32))
    torch.testing.assert_close(decoded, torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 32, 32))


def test_decoding_is_differentiable():
    pyramid = LaplacianPyramid(levels=2)
    values = pyramid.encode(noise(1, 3, 5, 4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: pyramid.decode(values, (5, 4)).square(), values)


@pytest.mark.parametrize("levels", [0, -1, 2.5])
def test_too_few_levels(levels):
    with pytest.raises(SettingError, match="`canvas.levels` should be a whole number from 1"):
        LaplacianPyramid(levels=levels)


def test_finest_level_by_hand():
    """2 × 2 pixels are halved to their mean."""
    images = torch.tensor([[1.0, 2.0], [3.0, 6.0]]).expand(1, 3, 2, 2)
    assert finest_level(images)[0, 0].tolist() == [[-2.0, -1.0], [0.0, 3.0]]


def test_finest_level_of_a_smooth_image_is_small():
    ramp = torch.linspace(0, 1, 32).expand(2, 3, 31, 32)
    assert finest_level(ramp).abs().max() < 0.02
    checkers = (torch.arange(32) + torch.arange(30).unsqueeze(1)) % 2
    checkers = checkers.float().expand(1, 3, 30, 32)
    torch.testing.assert_close(finest_level(checkers), checkers - 0.5)
    assert finest_level(torch.ones(1, 3, 1, 1)).tolist() == [[[[0.0]]] * 3]


def test_normalized_pixels_by_hand():
    canvas = NormalizedPixels(mean=[0.5, 0.25, 0.0], std=[0.5, 0.25, 1 / 255])
    values = canvas.encode(torch.tensor([1.0, 0.5, 0.2]).view(1, 3, 1, 1))
    torch.testing.assert_close(values.flatten(), torch.tensor([1.0, 1.0, 51.0]))
    torch.testing.assert_close(canvas.decode(values, (1, 1)).flatten(), torch.tensor([1.0, 0.5, 0.2]))


@pytest.mark.parametrize("wrong", [{"mean": [0.5]}, {"std": [1.0, 0.0, 1.0]}, {"mean": [0, math.nan, 0]}])
def test_wrong_units(wrong):
    with pytest.raises(SettingError, match=f"`canvas.{next(iter(wrong))}` should be three"):
        NormalizedPixels(**{"mean": [0.0] * 3, "std": [1.0] * 3} | wrong)


def test_a_step_in_the_spectrum_moves_low_frequencies_most():
    """The gradient of white noise, in units of the canvas, is as strong in low frequencies as photographs are."""
    values = FOURIER.encode(torch.zeros(1, 3, 32, 32)).requires_grad_()
    (FOURIER.decode(values, (32, 32)) * noise(1, 3, 32, 32, dtype=torch.float32)).sum().backward()
    moved = FOURIER.decode(values.grad, (32, 32))
    power = torch.fft.rfft2(moved).abs()[0].mean(dim=0)
    assert power[:4, :4].mean() > 20 * power[12:16, 12:16].mean()


def test_a_grey_image_has_lightness_only():
    values = FOURIER.encode(torch.rand(1, 1, 8, 8).expand(1, 3, 8, 8))
    assert values[:, 0].abs().max() > 0.1
    assert values[:, 1:].abs().max() < 1e-5


@pytest.mark.parametrize(
    ("settings", "name"), [({"decay": -1.0}, "canvas.decay"), ({"colors": [1.0, 0.0, 1.0]}, "canvas.colors")]
)
def test_a_spectrum_without_units_is_refused(settings, name):
    with pytest.raises(SettingError, match=name):
        FourierSpectrum(**{"decay": 1.0, "colors": [1.0, 1.0, 1.0]} | settings)
