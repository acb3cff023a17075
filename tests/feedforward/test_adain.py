"""AdaIN against its equation, and its controls."""

import numpy as np
import pytest
import torch

from swag_repro.feedforward import Normalization
from swag_repro.feedforward.generators import blended

PAPER = Normalization(correction=0, eps=1e-5)
PORT = Normalization(correction=1, eps=1e-5)


@pytest.fixture
def content():
    return torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0)) * 3 + 1


@pytest.fixture
def style():
    return torch.rand(2, 5, 9, 4, generator=torch.Generator().manual_seed(1)) * 2 - 5


def blend(content, styles, *, weights=None, alpha=1.0, masks=None):
    moments = [PAPER.moments(style) for style in styles]
    count = len(styles)
    return blended(
        PAPER, content, moments, weights=weights or [1.0] * count, alpha=alpha, masks=masks or [None] * count
    )


@pytest.mark.parametrize("normalize", [PAPER, PORT], ids=["paper", "port"])
def test_adain_is_its_equation(normalize, content, style):
    found = normalize(content, normalize.moments(style)).numpy()
    for image in range(2):
        for channel in range(5):
            x, y = content[image, channel].double().numpy(), style[image, channel].double().numpy()
            deviation = np.sqrt(x.var(ddof=normalize.correction) + 1e-5)
            wanted = y.std(ddof=normalize.correction) * (x - x.mean()) / deviation + y.mean()
            np.testing.assert_allclose(found[image, channel], wanted, rtol=1e-4, atol=1e-5)


def test_the_result_has_the_moments_of_the_style(content, style):
    found, wanted = PAPER.moments(PAPER(content, PAPER.moments(style))), PAPER.moments(style)
    torch.testing.assert_close(found.mean, wanted.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.deviation, wanted.deviation, rtol=1e-4, atol=1e-4)


def test_moments_where_a_mask_is_are_those_of_the_part(content):
    where = torch.zeros(2, 1, 6, 7)
    where[..., :3, :] = 1
    part, found = PAPER.moments(content[..., :3, :]), PAPER.moments(content, where)
    torch.testing.assert_close(found.mean, part.mean)
    torch.testing.assert_close(found.deviation, part.deviation)


def test_alpha_goes_from_the_content_to_the_style(content, style):
    wanted = PAPER.moments(style)
    assert torch.equal(blend(content, [style], alpha=0.0), content)
    distances = []
    for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
        found = PAPER.moments(blend(content, [style], alpha=alpha))
        distances.append(
            float((found.mean - wanted.mean).norm() + (found.deviation - wanted.deviation).norm())
        )
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3 * distances[0]


def test_a_mix_is_the_weighted_mean_of_its_styles(content, style):
    one, other = blend(content, [style]), blend(content, [-style])
    torch.testing.assert_close(blend(content, [style, -style], weights=[3.0, 1.0]), 0.75 * one + 0.25 * other)
    torch.testing.assert_close(blend(content, [style, -style], weights=[0.0, 2.0]), other)


def test_each_style_in_its_place_and_the_content_elsewhere(content, style):
    left, right = torch.zeros(2, 2, 1, 6, 7).unbind()
    left[..., :2], right[..., 5:] = 1, 1
    found = blend(content, [style, -style], masks=[left, right])
    assert torch.equal(found[..., 2:5], content[..., 2:5])
    torch.testing.assert_close(
        found[..., :2], PAPER(content[..., :2], PAPER.moments(style)), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        found[..., 5:], PAPER(content[..., 5:], PAPER.moments(-style)), rtol=1e-4, atol=1e-4
    )


def test_a_constant_content_is_no_division_by_zero(style):
    found = PAPER(torch.full((2, 5, 4, 4), 3.0), PAPER.moments(style))
    torch.testing.assert_close(found, PAPER.moments(style).mean.expand(2, 5, 4, 4))
