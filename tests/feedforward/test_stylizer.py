"""A trained network in use: sizes, parts, places, strength, and refused input."""

import pytest
import torch

from swag_repro.errors import SettingError
from swag_repro.feedforward import Stylizer, stages
from swag_repro.feedforward.decoder import reach
from swag_repro.feedforward.stylizer import tiles, within
from swag_repro.losses import Style
from tests.feedforward.conftest import ADAIN, JOHNSON, TAPS, encoder, vgg


@pytest.fixture(scope="module")
def stylizer():
    read = encoder()
    network = ADAIN.network(vgg(), TAPS["second"], seed=0)
    with torch.no_grad():  # near [0, 1], like the output of a trained network
        network[-1].weight.mul_(0.05)
        network[-1].bias.fill_(0.5)
    return Stylizer(ADAIN, network, lambda images: read(images)["second"], stages(vgg(), TAPS["second"])[0])


def picture(height, width, seed=0, count=1):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


STYLE = Style(picture(30, 42, seed=5)[0])


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 21)])
def test_pictures_have_the_contents_size(stylizer, size):
    painted = stylizer(picture(*size), [STYLE])
    assert painted.shape == (1, 3, *size)
    assert painted.std() > 0.01
    assert 0 <= float(painted.min()) <= float(painted.max()) <= 1


@pytest.mark.parametrize("size", [(96, 96), (101, 67)])
def test_tiles_leave_no_seams(stylizer, size):
    content = picture(*size)
    whole, tiled = stylizer(content, [STYLE]), stylizer(content, [STYLE], tile=32)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-5)


def test_a_smaller_margin_would_show(stylizer):
    content = picture(96, 96)
    margin, stylizer.margin = stylizer.margin, 0
    try:
        assert (stylizer(content, [STYLE], tile=32) - stylizer(content, [STYLE])).abs().max() > 1e-3
    finally:
        stylizer.margin = margin


def test_tiles_cover_each_pixel_once():
    seen = torch.zeros(50, 70)
    for core, whole in tiles(50, 70, size=16, margin=8):
        seen[core] += 1
        assert seen[whole][within(core, whole)].shape == seen[core].shape
    assert (seen == 1).all()


def test_neighbours_in_a_batch_do_not_matter(stylizer):
    contents = picture(32, 32, count=3)
    together = stylizer(contents, [STYLE])
    alone = torch.cat([stylizer(content[None], [STYLE]) for content in contents])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_style_statistics_follow_alpha(stylizer):
    content, distances = picture(48, 48), []
    wanted = ADAIN.moments(stylizer.encode(STYLE.image[None, :, :28, :40]))
    for alpha in (0.0, 0.5, 1.0):
        given = stylizer._blended(stylizer.encode(content), [Style(STYLE.image[:, :28, :40])], alpha)
        found = ADAIN.moments(given)
        distances.append(float((found.mean - wanted.mean).norm()))
    assert distances[0] > distances[1] > distances[2]
    back = stylizer.network(stylizer.encode(content)).clamp(0, 1)
    torch.testing.assert_close(stylizer(content, [STYLE], alpha=0.0), back)


def test_a_mask_leaves_the_features_of_the_rest_untouched(stylizer):
    content, mask = picture(64, 64), torch.zeros(1, 64, 64)
    mask[..., :16] = 1
    masked = stylizer(content, [Style(STYLE.image, mask=mask)])
    plain = stylizer(content, [STYLE], alpha=0.0)
    far = 16 + reach(stages(vgg(), TAPS["second"])[0]) + stylizer.stride
    torch.testing.assert_close(masked[..., far:], plain[..., far:])
    assert (masked[..., :16] - plain[..., :16]).abs().max() > 1e-3


def test_a_network_of_one_style_needs_none():
    network = JOHNSON.network(vgg(), "", seed=0)
    stylizer = Stylizer(JOHNSON, network, lambda images: images, [])
    assert stylizer(picture(48, 52), []).shape == (1, 3, 48, 52)


@pytest.mark.parametrize(
    ("size", "styles", "settings", "message"),
    [
        ((32, 32), [STYLE], {"alpha": 1.5}, "`alpha` should be a number from 0 to 1; found 1.5"),
        ((32, 32), [Style(STYLE.image, weight=0.0)], {}, "`style_weights` should have a sum above 0"),
        ((32, 32), [Style(torch.full((3, 32, 32), 0.4))], {}, "`style` should not be of one colour"),
        ((1, 1), [STYLE], {}, "`images.size` should leave pictures at least 2 pixels a side"),
    ],
)
def test_bad_input(stylizer, size, styles, settings, message):
    with pytest.raises(SettingError, match=message):
        stylizer(picture(*size), styles, **settings)
