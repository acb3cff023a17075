"""The kept colours of a content picture: statistics, identities, and pictures without colour or contrast."""

import colorsys

import pytest
import torch
from torch.testing import assert_close

from swag_repro.images import bundled, load_image
from swag_repro.images.colors import (
    _ROUNDING,
    grey,
    luminance,
    match_colors,
    match_luminance,
    with_luminance_of,
)
from tests.parts import Resize


def noise(seed, *shape, low=0.0, high=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*shape, generator=generator, dtype=dtype)


def coloured(seed, height, width, *, centre):
    """An image of correlated channels that stay far from 0 and 1."""
    mixing = torch.tensor([[1.0, 0.3, -0.2], [0.0, 0.8, 0.4], [0.1, 0.0, 0.5]], dtype=torch.float64)
    pixels = noise(seed, 3, height * width, low=-0.1, high=0.1)
    return (mixing.roll(seed, 0) @ pixels + torch.tensor(centre)[:, None]).view(3, height, width)


def mean_and_covariance(image):
    pixels = image.flatten(1)
    return pixels.mean(dim=1), torch.cov(pixels, correction=0)


CONTENT = coloured(0, 17, 23, centre=(0.6, 0.5, 0.4))
STYLE = coloured(1, 19, 13, centre=(0.4, 0.45, 0.55))
GREY = noise(2, 1, 16, 20, low=0.3, high=0.7).expand(3, 16, 20)


def constant(*levels, size=(16, 16)):
    return torch.tensor(levels, dtype=torch.float64)[:, None, None].expand(3, *size)


ALL = {
    "grey": lambda style, _: grey(style),
    "with_luminance_of": lambda style, content: with_luminance_of(style, content[..., :19, :13]),
    "match_luminance": match_luminance,
    "match_colors": match_colors,
}
LARGER = noise(3, 2, 3, 24, 21)


# --- For all of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_images_of_a_batch_do_not_mix(name):
    styles = noise(4, 2, 3, 19, 13)
    batch = ALL[name](styles, LARGER)
    assert batch.shape == styles.shape
    for index in range(2):
        assert_close(batch[index], ALL[name](styles[index], LARGER[index]), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float16, 2e-3)])
def test_dtypes(name, dtype, tolerance):
    style, content = (noise(seed, 3, 19, 13, dtype=torch.float64).to(dtype) for seed in (5, 6))
    found = ALL[name](style, content)
    assert found.dtype == dtype
    assert_close(found.double(), ALL[name](style.double(), content.double()), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_changed_in_place_and_nothing_shared(name):
    style, content = noise(7, 3, 19, 13), noise(8, 3, 19, 13)
    before = style.clone(), content.clone()
    ALL[name](style, content).add_(1)  # an expanded view refuses writes
    assert torch.equal(style, before[0])
    assert torch.equal(content, before[1])


@pytest.mark.parametrize("name", ALL)
def test_what_leaves_the_range_is_clamped(name):
    content = noise(9, 3, 19, 13).round()  # all possible contrast
    style = noise(10, 3, 19, 13) ** 8  # mostly dark, so that the few lights become too light
    found = ALL[name](style, content)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-15
    if name != "grey":
        assert (found == 1).any()


# --- Luminance ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("color", "level"),
    [((1, 0, 0), 0.299), ((0, 1, 0), 0.587), ((0, 0, 1), 0.114), ((1, 1, 1), 1.0), ((0.5, 0.2, 1.0), 0.3809)],
)
def test_luminance_by_hand(color, level):
    assert_close(luminance(constant(*color)), torch.full((1, 16, 16), level, dtype=torch.float64))
    assert_close(grey(constant(*color)), constant(level, level, level))


def test_grey_of_grey_is_itself():
    assert_close(grey(GREY), GREY.contiguous(), rtol=0, atol=1e-15)


def test_luminance_of_one_and_colours_of_the_other():
    pictures = noise(11, 3, 17, 23, low=0.4, high=0.6)
    found = with_luminance_of(CONTENT, pictures)
    assert 0 < found.min() < found.max() < 1  # so nothing was clamped
    assert_close(luminance(found), luminance(pictures))
    for row, column in [(0, 0), (5, 7), (16, 22)]:
        expected = colorsys.rgb_to_yiq(*CONTENT[:, row, column].tolist())
        assert colorsys.rgb_to_yiq(*found[:, row, column].tolist())[1:] == pytest.approx(expected[1:])


def test_a_picture_has_its_own_luminance_already():
    assert torch.equal(with_luminance_of(CONTENT, CONTENT), CONTENT)
    once = with_luminance_of(CONTENT, noise(12, 3, 17, 23, low=0.4, high=0.6))
    assert_close(with_luminance_of(CONTENT, once), once, rtol=0, atol=1e-15)


def test_clamped_colours_are_paler_by_hand():
    """Red at white's luminance: 0.701 on all channels, (1.701, 0.701, 0.701), of which red is cut to 1."""
    found = with_luminance_of(constant(1, 0, 0), constant(1, 1, 1))
    assert_close(found, constant(1, 0.701, 0.701))


def test_match_luminance_has_the_contents_statistics():
    found = match_luminance(STYLE, CONTENT)
    assert_close(found[:1].expand(3, -1, -1), found)
    levels, wanted = found[0], luminance(CONTENT)
    assert_close(levels.mean(), wanted.mean())
    assert_close(levels.std(correction=0), wanted.std(correction=0))
    # An affine map with a positive factor: it correlates fully with the style.
    both = torch.stack([levels.flatten(), luminance(STYLE).flatten()])
    assert_close(torch.corrcoef(both), torch.ones(2, 2, dtype=torch.float64))


def test_match_luminance_by_hand():
    style = torch.tensor([0.0, 0.2]).repeat(8).expand(3, 2, 16)  # mean 0.1, deviation 0.1
    content = torch.tensor([0.3, 0.3, 0.7, 0.7]).expand(3, 1, 4)  # mean 0.5, deviation 0.2
    assert_close(match_luminance(style, content), torch.tensor([0.3, 0.7]).repeat(8).expand(3, 2, 16))


def test_match_luminance_again_changes_nothing():
    once = match_luminance(STYLE, CONTENT)
    assert_close(match_luminance(once, CONTENT), once)


# --- Colours --------------------------------------------------------------------------------------------


def test_match_colors_has_the_contents_statistics():
    found = match_colors(STYLE, CONTENT)
    assert 0 < found.min() < found.max() < 1
    for statistic, wanted in zip(mean_and_covariance(found), mean_and_covariance(CONTENT), strict=True):
        assert_close(statistic, wanted)


def test_match_colors_by_hand():
    """Independent channels: each is shifted and scaled by itself, its variance that of its two levels."""
    signs = torch.tensor(
        [[1, 1, 1, 1, -1, -1, -1, -1], [1, 1, -1, -1, 1, 1, -1, -1], [1, -1, 1, -1, 1, -1, 1, -1]]
    )
    signs = signs.double().unflatten(1, (2, 4))
    style = 0.5 + signs * torch.tensor([0.1, 0.2, 0.3])[:, None, None].double()
    content = (
        torch.tensor([0.4, 0.5, 0.6])[:, None, None] + signs * torch.tensor([0.3, 0.1, 0.2])[:, None, None]
    )
    assert_close(match_colors(style, content), content.double(), rtol=0, atol=1e-7)


def test_the_map_is_the_symmetric_one_of_image_analogies():
    """`A = Σ_c^½ Σ_s^−½`; Cholesky factors would match the covariance too, by another A."""
    found = match_colors(STYLE, CONTENT)
    centred = (STYLE - STYLE.mean(dim=(1, 2), keepdim=True)).flatten(1)
    moved = (found - found.mean(dim=(1, 2), keepdim=True)).flatten(1)
    matrix = moved @ torch.linalg.pinv(centred)
    _, style = mean_and_covariance(STYLE)
    _, content = mean_and_covariance(CONTENT)
    root = matrix @ square_root(style)
    assert_close(root, root.mT)  # so it is Σ_c^½, whose square is Σ_c
    assert_close(root @ root, content)
    assert (torch.linalg.eigvalsh(root) > 0).all()


def square_root(matrix):
    """Return the root by Newton's iteration, without eigenvalues (Denman and Beavers)."""
    root, inverse = matrix, torch.eye(3, dtype=matrix.dtype)
    for _ in range(40):
        root, inverse = (root + inverse.inverse()) / 2, (inverse + root.inverse()) / 2
    return root


def test_match_colors_again_changes_nothing():
    once = match_colors(STYLE, CONTENT)
    assert_close(match_colors(once, CONTENT), once)
    assert_close(match_colors(CONTENT, CONTENT), CONTENT)


def test_a_grey_content_makes_the_style_grey():
    found = match_colors(STYLE, GREY)
    assert_close(found[:1].expand(3, -1, -1), found)
    assert_close(found[0].mean(), GREY[0].mean())
    assert_close(found[0].std(correction=0), GREY[0].std(correction=0))


def test_a_grey_style_varies_along_one_colour_only():
    found = match_colors(GREY, CONTENT)
    mean, covariance = mean_and_covariance(found)
    assert_close(mean, mean_and_covariance(CONTENT)[0])
    values = torch.linalg.eigvalsh(covariance)
    assert values[2] > 1e-4
    assert_close(values[:2], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)


# --- Pictures of one colour, or nearly ------------------------------------------------------------------


@pytest.mark.parametrize("match", [match_luminance, match_colors])
@pytest.mark.parametrize("level", [0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_style_of_one_colour_becomes_the_contents_mean(match, level, dtype):
    found = match(constant(level, level / 3, level / 7).to(dtype), CONTENT.to(dtype))
    wanted = grey(CONTENT) if match is match_luminance else CONTENT
    mean = wanted.mean(dim=(1, 2), keepdim=True).expand(3, 16, 16).to(dtype)
    assert_close(found, mean, rtol=0, atol=1e-6)


@pytest.mark.parametrize("match", [match_luminance, match_colors])
@pytest.mark.parametrize("style", [STYLE, GREY, constant(0.2, 0.4, 0.6), constant(0, 0, 0)])
def test_a_content_of_one_colour_makes_the_style_that_colour(match, style):
    content = constant(0.7, 0.2, 0.4, size=(3, 5))
    found = match(style, content)
    wanted = grey(content) if match is match_luminance else content
    assert_close(found, wanted[:, :1, :1].expand(style.shape), rtol=0, atol=1e-7)


def test_a_variation_below_rounding_is_not_blown_up():
    """A tenth of what 8 bits resolve, in red, comes to a tenth of the content's contrast, not to all of it."""
    faint = constant(0.5, 0.5, 0.5).clone()
    faint[0] += torch.tensor([-1, 1]).repeat(8) * _ROUNDING / 10
    wanted = luminance(CONTENT).std(correction=0)
    assert_close(match_luminance(faint, CONTENT)[0].std(correction=0), 0.299 * wanted / 10)
    _, found = mean_and_covariance(match_colors(faint, CONTENT))
    _, content = mean_and_covariance(CONTENT)
    assert_close(found.trace(), content[0, 0] / 100)  # of Σ_c^½ diag(1/100, 0, 0) Σ_c^½


def test_real_pictures_come_close_to_the_contents_mean_although_clamped():
    pictures = [load_image(picture, Resize(size=64)) for picture in bundled()]
    for content in pictures[:7]:
        for style in pictures[7:]:
            found = match_colors(style, content)
            assert_close(found.mean(dim=(1, 2)), content.mean(dim=(1, 2)), rtol=0, atol=0.04)
