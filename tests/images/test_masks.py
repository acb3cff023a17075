"""Masks from any kind of file: the picture's size, edges of the asked softness, or one clear error."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from swag_repro.errors import ImageError, SettingError
from swag_repro.images.files import Picture
from swag_repro.images.tensors import feathered, load_image, load_mask
from tests.parts import Resize

WIDTH, HEIGHT = 48, 32
SAME = Resize(size=HEIGHT)


def left_half():
    """White on the left, black on the right."""
    levels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    levels[:, : WIDTH // 2] = 255
    return Image.fromarray(levels)


def saved(tmp_path, image, name="mask.png", role="mask"):
    path = tmp_path / name
    image.save(path)
    return Picture.of_file(path, name=path.stem, role=role, licence="none")


@pytest.fixture
def content(tmp_path):
    return saved(tmp_path, Image.new("RGB", (WIDTH, HEIGHT), "green"), "content.png", "content")


def two_halves(short, long):
    mask = torch.zeros(1, short, long)
    mask[:, :, : long // 2] = 1
    return mask


# --- Files ----------------------------------------------------------------------------------------------


def test_white_is_one_and_black_is_zero(tmp_path, content):
    found = load_mask(saved(tmp_path, left_half()), content, SAME, feather=0)
    assert found.dtype == torch.float32
    assert torch.equal(found, two_halves(HEIGHT, WIDTH))


@pytest.mark.parametrize("policy", ["short", "long", "squash"])
@pytest.mark.parametrize("size", [24, 32, 77])
def test_a_mask_is_resized_as_its_picture_is(tmp_path, content, policy, size):
    resize = Resize(size=size, policy=policy)
    found = load_mask(saved(tmp_path, left_half()), content, resize, feather=0)
    assert found.shape == (1, *load_image(content, resize).shape[1:])
    assert 0 <= found.min() < found.max() <= 1
    assert found.mean() == pytest.approx(0.5, abs=0.01)
    assert (found[:, :, : found.shape[2] // 2 - 3] > 0.95).all()
    assert (found[:, :, found.shape[2] // 2 + 3 :] < 0.05).all()


def palette():
    """White is index 0, black index 1: what counts is the colour."""
    image = Image.fromarray(1 - np.asarray(left_half()) // 255).convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    return image


KINDS = {
    "1 bit": lambda: left_half().convert("1"),
    "palette": palette,
    "rgb": lambda: left_half().convert("RGB"),
    "opaque alpha": lambda: left_half().convert("RGBA"),
    "16 bit": lambda: Image.fromarray(np.asarray(left_half(), dtype=np.uint16) * 257),
    "white on transparent": lambda: Image.merge("LA", (Image.new("L", (WIDTH, HEIGHT), 255), left_half())),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_files_agree(tmp_path, content, kind):
    found = load_mask(saved(tmp_path, KINDS[kind]()), content, SAME, feather=0)
    assert torch.equal(found, two_halves(HEIGHT, WIDTH))


@pytest.mark.parametrize(
    ("color", "share"), [((255, 255, 0), 0.886), ((0, 255, 0), 0.587), ((128, 128, 128), 0.502)]
)
def test_colours_count_by_their_luminance(tmp_path, content, color, share):
    found = load_mask(saved(tmp_path, Image.new("RGB", (WIDTH, HEIGHT), color)), content, SAME, feather=0.02)
    assert_close(found, torch.full((1, HEIGHT, WIDTH), share), rtol=0, atol=0.5 / 255)


def test_a_turned_photograph_takes_an_upright_mask(tmp_path):
    """Its file has its sides swapped, and says so in its EXIF data."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "turned.jpg", exif=exif)
    turned = Picture.of_file(tmp_path / "turned.jpg", name="turned", role="content", licence="none")
    found = load_mask(saved(tmp_path, left_half()), turned, SAME, feather=0)
    assert torch.equal(found, two_halves(HEIGHT, WIDTH))


def test_identity_is_that_of_the_file(tmp_path):
    mask, other = saved(tmp_path, left_half()), saved(tmp_path, left_half().rotate(180), "other.png")
    assert mask.key == "mask/mask"
    assert mask.sha256 != other.sha256


# --- What is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (WIDTH, HEIGHT + 1), (2 * WIDTH, 2 * HEIGHT)])
def test_a_mask_of_another_size_is_refused(tmp_path, content, size):
    mask = saved(tmp_path, Image.new("L", size, 255))
    with pytest.raises(ImageError) as caught:
        load_mask(mask, content, SAME, feather=0)
    assert str(caught.value) == (
        f"`mask/mask` should have the size of content, 48x32; found {size[0]}x{size[1]}. "
        "Paint it on a copy of that picture."
    )


@pytest.mark.parametrize("brightest", [0, 1, 127])
def test_a_mask_without_white_is_refused(tmp_path, content, brightest):
    """A segmentation stored as 0 and 1 too, which is black to the eye."""
    image = Image.fromarray(np.minimum(np.asarray(left_half()), brightest).astype(np.uint8))
    found = f"should be white where the style is wanted; found no level above {brightest} of 255"
    with pytest.raises(ImageError, match=f"`mask/mask` {found}"):
        load_mask(saved(tmp_path, image), content, SAME, feather=0)


def test_one_white_pixel_suffices(tmp_path, content):
    levels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    levels[20, 30] = 128
    found = load_mask(saved(tmp_path, Image.fromarray(levels)), content, SAME, feather=0)
    assert found[0, 20, 30] == 128 / 255
    assert found.count_nonzero() == 1


def test_an_unreadable_mask_is_refused_as_any_image_is(tmp_path, content):
    (tmp_path / "mask.png").write_text("no image")
    with pytest.raises(ImageError, match=r"mask\.png` should be an image"):
        Picture.of_file(tmp_path / "mask.png", name="mask", role="mask", licence="none")
    mask = saved(tmp_path, left_half())
    whole = (tmp_path / "mask.png").read_bytes()
    (tmp_path / "mask.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"mask\.png` should be a readable image"):
        load_mask(mask, content, SAME, feather=0)


@pytest.mark.parametrize("feather", [-0.01, math.nan, math.inf])
def test_feathers_that_are_none(tmp_path, content, feather):
    with pytest.raises(SettingError, match="`feather` should be a number from 0 to 1; found"):
        load_mask(saved(tmp_path, left_half()), content, SAME, feather=feather)


# --- Soft edges -----------------------------------------------------------------------------------------


def test_an_edge_becomes_the_integral_of_a_gaussian():
    """`Φ(d/σ)` at a distance d from the edge, whose pixels lie half a pixel beside it."""
    found = feathered(two_halves(100, 160), 0.05)
    distances = 80 - (torch.arange(160) + 0.5)
    assert_close(found[0, 0], torch.special.ndtr(distances / 5), rtol=0, atol=2e-3)
    assert_close(found, found[:, :1].expand(1, 100, 160))


def test_a_blob_is_blurred_in_both_directions():
    mask = torch.zeros(1, 81, 121)
    mask[0, 40, 60] = 1
    found = feathered(mask, 3 / 81)[0]
    rows, columns = (torch.arange(side) - side // 2 for side in found.shape)
    squares = rows[:, None] ** 2 + columns**2
    expected = torch.exp(-squares / 18) / (18 * math.pi)
    assert_close(found, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("feather", [0.0, 0.01, 0.05, 0.2])
def test_feathering_keeps_the_area(feather):
    generator = torch.Generator().manual_seed(0)
    inside = torch.zeros(1, 200, 240)
    inside[:, 90:110, 105:140] = 1  # so far inside that the border has no effect
    for mask, tolerance in [(inside, 0.01), (torch.rand(1, 60, 80, generator=generator).round(), 0.03)]:
        found = feathered(mask, feather)
        assert found.mean().item() == pytest.approx(mask.mean().item(), rel=tolerance)
        assert 0 <= found.min() <= found.max() <= 1


def test_no_feather_no_change():
    mask = torch.rand(1, 20, 30, generator=torch.Generator().manual_seed(0))
    assert torch.equal(feathered(mask, 0.0), mask)


@pytest.mark.parametrize("feather", [0.02, 0.5, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (16, 3), (16, 400)])
def test_tiny_images_and_wide_blurs(size, feather):
    whole = torch.ones(1, *size)
    assert_close(feathered(whole, feather), whole)
    corner = torch.zeros(1, *size)
    corner[0, 0, 0] = 1
    found = feathered(corner, feather)
    assert found.isfinite().all()
    assert found.max() > 0


@pytest.mark.timeout(60)
def test_a_wide_blur_is_one_direction_after_the_other():
    """One kernel of 615 x 615 would take minutes."""
    found = feathered(two_halves(1024, 1024), 0.1)
    assert found[0, 0, 512] == pytest.approx(0.5, abs=0.01)
