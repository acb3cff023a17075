"""Datasets: three ways to the same images, and refused data."""

import os
import shutil
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from swag_repro.errors import DataError, ImageError, SettingError
from swag_repro.training import Preparation, World, labelled_folder, torchvision_dataset
from swag_repro.training.batches import LabelledImages, Order, in_order, number
from swag_repro.training.data import HELD_OUT

PAD = Preparation(size=16, crop="pad", flip=True)
ALONE = World()


def zipped(root, path, below=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*.png")):
            archive.write(file, f"{below}{file.relative_to(root)}")
    return path


@pytest.mark.parametrize("below", ["", "colors/"])
def test_a_zip_file_holds_what_its_folder_holds(colors, tmp_path, below):
    of_folder, of_zip = (
        labelled_folder(path=str(colors)),
        labelled_folder(path=str(zipped(colors, tmp_path / "c.zip", below))),
    )
    assert of_zip.classes == of_folder.classes == ("blue", "green", "red")
    for one, other in ((of_folder.train, of_zip.train), (of_folder.test, of_zip.test)):
        assert len(one) == len(other)
        for index in range(len(one)):
            (image, rank), (same, same_rank) = one[index], other[index]
            assert rank == same_rank
            assert np.array_equal(image, same)


POSTSCRIPT = """%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 32 32
newpath 0 0 moveto 32 32 lineto stroke
showpage
"""


def png_of(side):
    """A PNG that announces so many pixels a side."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(bytes(1000)), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.mark.parametrize("place", ["folder", "zip"])
@pytest.mark.parametrize(
    ("content", "message"),
    [(POSTSCRIPT.encode(), "should be an image"), (png_of(13_000), "decompression bomb")],
)
def test_labelled_images_have_the_limits_of_all_images(
    colors, tmp_path, monkeypatch, place, content, message
):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path / 'mark'}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow forgets where it found Ghostscript
    copied = shutil.copytree(colors, tmp_path / "copy")
    (copied / "train" / "blue" / "000.png").rename(copied / "train" / "blue" / "000.jpg").write_bytes(content)
    source = copied if place == "folder" else zipped(copied, tmp_path / "c.zip")
    if place == "zip":
        with zipfile.ZipFile(source, "a") as archive:
            archive.writestr("train/blue/000.jpg", content)
    train = labelled_folder(path=str(source)).train
    with pytest.raises(ImageError, match=message):
        list(map(train.__getitem__, range(len(train))))
    assert not (tmp_path / "mark").exists()


def test_labelled_images_are_told_by_what_they_hold(colors, tmp_path, caplog):
    copied = shutil.copytree(colors, tmp_path / "copy")
    (copied / "train" / "blue" / "000.png").rename(copied / "train" / "blue" / "000.jfif")
    (copied / "train" / "blue" / "001.png").rename(copied / "train" / "blue" / "photo")
    (copied / "train" / "blue" / "list.txt").write_text("no image")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        for file in [*sorted(copied.rglob("*.*")), copied / "train" / "blue" / "photo"]:
            archive.write(file, file.relative_to(copied))
    for source in (copied, tmp_path / "c.zip"):
        assert len(labelled_folder(path=str(source)).train) == len(labelled_folder(path=str(colors)).train)
        assert f"left out of {source}: 1 .txt" in caplog.text


def test_the_digest_follows_the_contents(colors, tmp_path):
    copied = shutil.copytree(colors, tmp_path / "copy")
    assert labelled_folder(path=str(copied)).digest == labelled_folder(path=str(colors)).digest
    next(copied.rglob("*.png")).unlink()
    assert labelled_folder(path=str(copied)).digest != labelled_folder(path=str(colors)).digest
    first, second = zipped(colors, tmp_path / "1.zip"), zipped(copied, tmp_path / "2.zip")
    assert labelled_folder(path=str(first)).digest != labelled_folder(path=str(second)).digest


@pytest.mark.parametrize("name", HELD_OUT)
def test_the_held_out_part_has_one_of_several_names(colors, tmp_path, name):
    copied = shutil.copytree(colors, tmp_path / "copy")
    (copied / "test").rename(copied / name)
    assert len(labelled_folder(path=str(copied)).test) == 24


def emptied(root):
    shutil.rmtree(root / "train" / "red")
    (root / "train" / "red").mkdir()


def single(root):
    for part in ("train", "test"):
        for name in ("red", "green"):
            shutil.rmtree(root / part / name)


BAD = {
    "empty class": (emptied, "should hold images of each class in train/"),
    "one class": (single, "should have at least two classes; found ['blue']"),
    "no test": (lambda root: shutil.rmtree(root / "test"), "should have train/ and test/; found train in"),
    "other classes": (lambda root: shutil.rmtree(root / "test" / "red"), "should have the same classes in both parts; found red"),
    "empty": (lambda root: [shutil.rmtree(root / part) for part in ("train", "test")], "found nothing in"),
    "none": (shutil.rmtree, "should be a folder or a zip file; found no"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_folders(colors, tmp_path, case):
    spoil, message = BAD[case]
    copied = shutil.copytree(colors, tmp_path / "copy")
    spoil(copied)
    with pytest.raises(DataError) as error:
        labelled_folder(path=str(copied))
    assert message in str(error.value)


def test_a_file_that_is_no_zip(tmp_path):
    path = tmp_path / "data.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="should be a folder or a zip file"):
        labelled_folder(path=str(path))


def test_torchvision_datasets(tmp_path):
    fake = tmp_path / "cifar-10-batches-py"
    assert not fake.exists()
    with pytest.raises(DataError, match="should be torchvision's CIFAR10.*Put its files into"):
        torchvision_dataset(dataset="CIFAR10", root=str(tmp_path), download=False)
    with pytest.raises(DataError, match="should be a name in torchvision.datasets, such as CIFAR10"):
        torchvision_dataset(dataset="CIFAR11", root=str(tmp_path), download=False)


def images_of(path, preparation=PAD, *, seed=0, kept=False, each=None):
    labelled = labelled_folder(path=str(path)).train
    return LabelledImages(labelled, preparation, each or preparation.augmentation, seed=seed, kept=kept)


def test_what_is_drawn_follows_from_seed_epoch_and_index_alone(colors):
    one, kept = images_of(colors), images_of(colors, kept=True)
    state = torch.random.get_rng_state()
    drawn = one[2, 5][1][0]
    assert torch.equal(torch.random.get_rng_state(), state)
    one[0, 3]
    assert torch.equal(one[2, 5][1][0], drawn)
    assert torch.equal(kept[2, 5][1][0], drawn)
    assert not torch.equal(one[3, 5][1][0], drawn)
    assert not torch.equal(images_of(colors, seed=1)[2, 5][1][0], drawn)


def test_padding_moves_by_an_eighth_at_most_and_mirrors_half():
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    image[:, 8, 4] = 255
    torch.manual_seed(0)
    found = [PAD.augmentation(image).nonzero()[0, 1:].tolist() for _ in range(400)]
    assert {row for row, _ in found} == {6, 7, 8, 9, 10}
    left = sum(column in (2, 3, 4, 5, 6) for _, column in found)
    assert {column for _, column in found} <= {*range(2, 7), *range(9, 14)}
    assert 160 < left < 240


def test_for_testing_nothing_is_drawn(colors):
    scale = Preparation(size=14, crop="scale", flip=True)
    for preparation in (PAD, scale):
        images = images_of(colors, preparation, each=preparation.plain)
        assert torch.equal(images[0, 1][1][0], images[7, 1][1][0])
        assert images[0, 1][1][0].shape == (3, preparation.size, preparation.size)
    [(image, _)] = [labelled_folder(path=str(colors)).train[1]]
    assert torch.equal(
        images_of(colors, each=PAD.plain)[0, 1][1][0], torch.tensor(np.array(image)).permute(2, 0, 1)
    )


def test_an_epoch_holds_each_image_once_and_goes_on_where_it_stood():
    order = Order(10, batch_size=3, epochs=2, seed=4, first=0, world=ALONE)
    batches = list(order)
    assert len(order) == len(batches) == 6
    for epoch in (0, 1):
        indices = [index for batch in batches for drawn, index in batch if drawn == epoch]
        assert len(set(indices)) == len(indices) == 9
    assert batches[:3] != [[(0, index) for _, index in batch] for batch in batches[3:]]
    for first in range(6):
        assert list(Order(10, 3, 2, 4, first, ALONE)) == batches[first:]


def test_processes_share_each_batch():
    whole = list(Order(12, 4, 1, 0, 0, ALONE))
    parts = [list(Order(12, 4, 1, 0, 0, World(rank, 2, rank))) for rank in (0, 1)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert sorted(first + second) == sorted(batch)
        assert len(first) == len(second) == 2
    tested = [key for rank in (0, 1) for batch in in_order(5, 2, World(rank, 2, rank)) for key in batch]
    assert sorted(tested) == [(0, index) for index in range(5)]


def test_numbers_fit_torchs_generator_and_differ():
    found = {number(seed, epoch, index) for seed in range(3) for epoch in range(10) for index in range(100)}
    assert len(found) == 3000
    assert all(0 <= one < 2**32 for one in found)


def test_unreadable_images_are_named(colors, tmp_path):
    copied = shutil.copytree(colors, tmp_path / "copy")
    damaged = sorted((copied / "train").rglob("*.png"))[7]
    damaged.write_bytes(damaged.read_bytes()[:60])
    for kept in (False, True):
        images = images_of(copied, kept=kept)
        assert images[0, 7] == (7, None)
        assert images[0, 6][1] is not None


def test_gray_and_transparent_images_become_rgb():
    for mode in ("L", "RGBA", "P"):
        assert PAD.read(Image.new(mode, (20, 18))).shape == (3, 16, 16)


def test_sizes_are_checked():
    with pytest.raises(SettingError, match="data.size"):
        Preparation(size=0, crop="pad", flip=True)
