"""Resize policies: analytic sizes, antialiasing, and refused values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from swag_repro.errors import ImageError, SettingError
from tests.parts import Resize


@pytest.mark.parametrize(
    ("policy", "size", "expected"),
    [
        ("short", (600, 400), (384, 256)),
        ("short", (400, 600), (256, 384)),
        ("long", (600, 400), (256, 171)),
        ("long", (400, 600), (171, 256)),
        ("squash", (600, 400), (256, 256)),
        ("short", (30, 20), (384, 256)),
    ],
)
def test_sizes(policy, size, expected):
    assert Resize(policy=policy)(Image.new("RGB", size)).size == expected


def test_defaults():
    assert Resize() == Resize(size=256, policy="short")


@given(
    width=st.integers(16, 5000),
    height=st.integers(16, 5000),
    size=st.integers(16, 1024),
    policy=st.sampled_from(["short", "long"]),
)
def test_the_named_side_has_the_size_and_the_ratio_is_kept(width, height, size, policy):
    target = Resize(size=size, policy=policy).target(width, height)
    side = min if policy == "short" else max
    assert side(target) == size
    assert (target[0] - 0.5) * height <= (target[1] + 0.5) * width
    assert (target[1] - 0.5) * width <= (target[0] + 0.5) * height


def test_fine_stripes_become_grey_not_aliased():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    small = np.asarray(Resize(size=100, policy="squash")(Image.fromarray(stripes)), dtype=float)
    assert np.abs(small[10:-10, 10:-10] - 127.5).max() < 8


def test_bilinear_is_what_torchvision_does():
    """The authors' release and Gatys's notebook resize so."""
    pixels = np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    found = Resize(size=32, policy="squash", interpolation="bilinear")(image)
    assert np.array_equal(found, transforms.Resize((32, 32))(image))
    assert not np.array_equal(found, Resize(size=32, policy="squash")(image))


def test_unknown_interpolation_lists_the_choices():
    with pytest.raises(SettingError, match=r"`images\.interpolation` should be one of lanczos, bilinear"):
        Resize(interpolation="nearest")


@pytest.mark.parametrize("size", [15, 0, -256, True, 256.0, "256", None])
def test_size_is_an_integer_of_at_least_16(size):
    with pytest.raises(SettingError, match=r"`images\.size` should be a whole number from 16"):
        Resize(size=size)


@pytest.mark.parametrize("policy", ["crop", "", None, ["short"]])
def test_unknown_policy_lists_the_choices(policy):
    with pytest.raises(SettingError, match=r"`images\.resize` should be one of short, long, squash"):
        Resize(policy=policy)


def test_an_extreme_ratio_is_fine_while_the_short_side_stays():
    assert Resize(size=256, policy="long")(Image.new("RGB", (640, 40))).size == (256, 16)
    assert Resize(size=16)(Image.new("RGB", (4000, 20))).size == (3200, 16)


@pytest.mark.parametrize(
    ("resize", "size"),
    [(Resize(policy="long"), (640, 20)), (Resize(size=512), (100_000, 16)), (Resize(size=99_999), (16, 16))],
)
def test_too_thin_or_too_large_when_resized(resize, size):
    with pytest.raises(ImageError, match=r"`content/ribbon` should have sides of at least 16.*when resized"):
        resize(Image.new("RGB", size), "content/ribbon")
