"""Pictures to tensors, tensors to files, and batches that stream."""

import hashlib
import stat
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from swag_repro.errors import ImageError, NonFiniteError, SettingError, StoreError
from swag_repro.images import Picture, batches, bundled, load_image, save_png, to_pil
from tests.parts import Resize


def picture(name, width=20, height=20, colour=(0, 0, 0), read=None):
    identity = hashlib.sha256(name.encode()).hexdigest()
    return Picture(
        name, "content", identity, "none", read or partial(Image.new, "RGB", (width, height), colour)
    )


SAME = Resize(size=20)


def test_load_is_channels_first_in_the_unit_interval():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = load_image(picture("noise", read=lambda: Image.fromarray(pixels)), SAME)
    assert image.shape == (3, 20, 30)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    assert torch.equal(image, torch.from_numpy(pixels).permute(2, 0, 1) / 255)


@given(st.integers(0, 255), st.floats(-0.49, 0.49))
def test_to_pil_rounds_to_the_nearest_level(level, error):
    image = torch.full((3, 2, 5), (level + error) / 255, dtype=torch.float64, requires_grad=True)
    found = to_pil(image)
    assert found.size == (5, 2)
    assert found.getpixel((0, 0)) == (level,) * 3


def test_to_pil_clamps_and_load_undoes_it():
    assert to_pil(torch.tensor([-3.0, 0.5, 7.0]).reshape(3, 1, 1)).getpixel((0, 0)) == (0, 128, 255)
    image = load_image(bundled(limit=1)[0], Resize(size=64))
    again = load_image(picture("again", read=lambda: to_pil(image)), Resize(size=64))
    assert torch.equal(image, again)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_noise_is_not_written_as_an_image(tmp_path, value):
    image = torch.zeros(3, 16, 16)
    image[1, 3, 4] = value
    with pytest.raises(NonFiniteError, match="finite"):
        save_png(image, tmp_path / "image.png", {})
    assert not list(tmp_path.iterdir())


def test_png_keeps_pixels_and_metadata(tmp_path):
    image = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "image.png"
    metadata = {"run_id": "abc", "smoothing": "σ(F/T)"}
    save_png(torch.zeros(3, 16, 16), path, {})
    save_png(image, path, metadata)
    with Image.open(path) as found:
        assert found.text == metadata
        assert found.tobytes() == to_pil(image).tobytes()
    assert list(tmp_path.iterdir()) == [path]


def test_png_has_ordinary_permissions(tmp_path):
    save_png(torch.zeros(3, 16, 16), tmp_path / "image.png", {})
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "image.png"
    path.mkdir()
    with pytest.raises(StoreError, match=r"should be a folder that can be written to.*image\.png"):
        save_png(torch.zeros(3, 16, 16), path, {})
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_made(tmp_path):
    save_png(torch.zeros(3, 16, 16), tmp_path / "missing" / "image.png", {})
    assert [path.name for path in (tmp_path / "missing").iterdir()] == ["image.png"]


@given(st.lists(st.sampled_from([20, 24, 30]), max_size=12), st.integers(1, 5))
def test_batches_keep_order_and_sizes_and_are_full_where_they_can_be(widths, batch_size):
    pictures = [picture(str(number), width=width) for number, width in enumerate(widths)]
    found = list(batches(pictures, SAME, batch_size))
    assert [one for group, _ in found for one in group] == pictures
    for group, images in found:
        assert images.shape == (len(group), 3, 20, group[0].read().width)
        assert len(group) <= batch_size
    for (group, images), (_, following) in pairwise(found):
        assert len(group) == batch_size or images.shape[3] != following.shape[3]


def test_empty_batches_are_refused():
    with pytest.raises(SettingError, match=r"`compute\.batch_size` should be a whole number from 1; found 0"):
        next(batches([picture("a")], SAME, 0))


def test_each_image_of_a_batch_is_its_own_picture():
    pictures = [picture(str(level), colour=(level, 0, 0)) for level in (0, 51, 255)]
    ((_, images),) = batches(pictures, SAME, 3)
    assert torch.equal(images[:, 0, 0, 0], torch.tensor([0, 51, 255]) / 255)


def test_batches_stream():
    read = []

    def reader(number):
        read.append(number)
        return Image.new("RGB", (20, 20))

    pictures = [picture(str(number), read=partial(reader, number)) for number in range(6)]
    stream = batches(pictures, SAME, 2)
    assert read == []
    next(stream)
    assert read == [0, 1]
    next(stream)
    assert read == [0, 1, 2, 3]


def test_what_was_read_before_a_bad_picture_is_not_lost():
    def refuse():
        raise ImageError("bad.png", "should be readable", "noise", "Remove it.")

    stream = batches([picture("a"), picture("b"), picture("bad", read=refuse)], SAME, 2)
    assert [one.name for one in next(stream)[0]] == ["a", "b"]
    with pytest.raises(ImageError, match=r"bad\.png"):
        next(stream)
