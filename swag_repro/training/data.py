"""Labelled images to train on: those of a folder, of a zipped folder, or of a dataset of torchvision."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Protocol, get_args

import torchvision
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, resize

from swag_repro.errors import DataError, check_choice, check_number
from swag_repro.images.files import is_there, open_image
from swag_repro.images.sets import Sieve
from swag_repro.images.tensors import MAX_PIXELS

Crop = Literal["pad", "scale"]

LARGEST_SIDE = math.isqrt(MAX_PIXELS)
"""The most pixels of a side that a network sees."""

HELD_OUT = ("test", "val", "validation")
"""Names of the folder beside `train`; the first that is there counts."""

_REMEDY = "It should hold train/CLASS/*.jpg and test/CLASS/*.jpg (or val/, validation/)."


class Labelled(Protocol):
    """Images with their classes, as torchvision's datasets are."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return an image and the rank of its class."""


@dataclass(frozen=True)
class Dataset:
    """The images that a classifier is trained and tested on.

    Attributes:
        name: its name, for people.
        train: the images to train on.
        test: the images to test on.
        classes: the names of the classes, by rank.
        digest: what tells these data from others: SHA-256 of names and sizes, and of a zip file's checksums.
    """

    name: str
    train: Labelled
    test: Labelled
    classes: tuple[str, ...]
    digest: str

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise DataError(
                "data", "should have at least two classes", f"{list(self.classes)} in {self.name}", _REMEDY
            )
        for part, images in (("train", self.train), ("test", self.test)):
            if not len(images):
                raise DataError("data", f"should have images in {part}/", f"none in {self.name}", _REMEDY)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The way from an image file to what the network sees.

    Attributes:
        size: side in pixels of the square that it sees.
        crop: `pad`: images of this size are padded by an eighth of it and cropped at random (He et al., CVPR
            2016, section 4.2); `scale`: a random part of 8 to 100 % of the area is cut out (Szegedy et al.,
            CVPR 2015), and for testing the middle 7/8 of the short side.
        flip: whether half of the images are mirrored.
    """

    size: int
    crop: Crop
    flip: bool

    def __post_init__(self) -> None:
        check_number("data.size", self.size, least=1, most=LARGEST_SIDE, whole=True)
        check_choice("data.crop", self.crop, get_args(Crop))

    def read(self, image: Image.Image) -> Tensor:
        """Return a PIL image as a tensor `(3, H, W)`, uint8; for `pad`, both sides have `size` pixels."""
        pixels: Tensor = pil_to_tensor(image.convert("RGB"))
        if self.crop == "pad" and pixels.shape[1:] != (self.size, self.size):
            pixels = center_crop(resize(pixels, [self.size], antialias=True), [self.size])
        return pixels

    @property
    def augmentation(self) -> v2.Transform:
        """The transform with random choices for each epoch: `(3, H, W)` → `(3, size, size)`, uint8."""
        crop = (
            v2.RandomCrop(self.size, padding=self.size // 8)
            if self.crop == "pad"
            else v2.RandomResizedCrop(self.size, antialias=True)
        )
        return v2.Compose([crop, *([v2.RandomHorizontalFlip()] if self.flip else [])])

    @property
    def plain(self) -> v2.Transform:
        """The transform for testing, without random choices."""
        if self.crop == "pad":
            return v2.Identity()
        return v2.Compose([v2.Resize(round(self.size * 8 / 7), antialias=True), v2.CenterCrop(self.size)])


def labelled_folder(*, path: str) -> Dataset:
    """Return the images of a folder or zip file in torchvision's `ImageFolder` layout.

    The layout is `train/CLASS/*` and `test/CLASS/*`.

    Args:
        path: the folder, or the file.

    Raises:
        DataError: there is no such folder, a part of it is missing or empty, or it has fewer than two
            classes.
    """
    root = Path(path).expanduser()
    if not is_there(root):
        raise DataError("data.path", "should be a folder or a zip file", f"no {path}", _REMEDY)
    if root.is_file():
        return _zipped(root)
    parts = {part.name for part in root.iterdir() if part.is_dir()}
    sieve = Sieve()
    train, test = (_image_folder(root / part, sieve) for part in ("train", _held_out(parts, path)))
    sieve.tell(path)
    _check_same_classes(train.classes, test.classes, path)
    files = [Path(file) for part in (train, test) for file, _ in part.samples]
    sizes = ((str(file.relative_to(root)), file.stat().st_size) for file in files)
    return Dataset(path, train, test, tuple(train.classes), digest_of_entries(sizes))


def _image_folder(path: Path, sieve: Sieve) -> ImageFolder:
    def takes(file: str) -> bool:
        return sieve.takes(Path(file))

    try:
        return ImageFolder(str(path), loader=read_plain, is_valid_file=takes)
    except FileNotFoundError as error:
        raise DataError(
            "data.path", f"should hold images of each class in {path.name}/", str(error), _REMEDY
        ) from error


def _held_out(parts: Iterable[str], path: str) -> str:
    known = set(parts)
    found = next((part for part in HELD_OUT if part in known), None)
    if "train" not in known or found is None:
        listed = ", ".join(sorted(known)) or "nothing"
        raise DataError("data.path", "should have train/ and test/", f"{listed} in {path}", _REMEDY)
    return found


def _check_same_classes(train: Sequence[str], test: Sequence[str], path: str) -> None:
    if list(train) != list(test):
        found = f"{', '.join(sorted(set(train) ^ set(test)))} in one of {path}"
        raise DataError("data.path", "should have the same classes in both parts", found, _REMEDY)


def digest_of_entries(entries: Iterable[tuple[Any, ...]]) -> str:
    """Return what tells a set of files from others: the SHA-256 of their entries, such as name and size."""
    return hashlib.sha256(repr(sorted(entries)).encode()).hexdigest()


def read_plain(path: str, content: IO[bytes] | None = None) -> Image.Image:
    """Return an image's RGB values as trainings read them: as stored, without turning or colour profile.

    Args:
        path: the file's path.
        content: the content of a file inside another, such as a zip file.

    Raises:
        ImageError: the content is no image, or an unsound one, or one of an unusual size.
    """
    with open_image(content or Path(path), path, least=1) as image:
        return image.convert("RGB")


class ZippedFolder:
    """One part of a zip file in `ImageFolder` layout.

    Args:
        path: the path of the zip file.
        members: names in the zip file, `…/CLASS/…`, with the rank of their classes.
    """

    def __init__(self, path: Path, members: Sequence[tuple[str, int]]) -> None:
        self.path, self.members = path, list(members)
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        name, rank = self.members[index]
        with self._archive.open(name) as file:
            return read_plain(name, file), rank

    @property
    def _archive(self) -> zipfile.ZipFile:
        """The open zip file. Each process opens its own: in a shared file, all would move one position."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(self.path)
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def _zipped(path: Path) -> Dataset:
    try:
        with zipfile.ZipFile(path) as archive:
            images = _images_of(archive)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            "data.path", "should be a folder or a zip file", f"{path} ({error})", _REMEDY
        ) from error
    below = _common_folder([entry.filename for entry in images])
    placed = [(entry, PurePosixPath(entry.filename).relative_to(below).parts) for entry in images]
    placed = [(entry, parts) for entry, parts in placed if len(parts) >= 3]
    held_out = _held_out({parts[0] for _, parts in placed}, str(path))
    classes = {name: sorted({p[1] for _, p in placed if p[0] == name}) for name in ("train", held_out)}
    _check_same_classes(classes["train"], classes[held_out], str(path))
    ranks = {name: rank for rank, name in enumerate(classes["train"])}
    split = {
        part: ZippedFolder(path, [(e.filename, ranks[parts[1]]) for e, parts in placed if parts[0] == part])
        for part in ("train", held_out)
    }
    digest = digest_of_entries((entry.filename, entry.file_size, entry.CRC) for entry, _ in placed)
    return Dataset(str(path), split["train"], split[held_out], tuple(classes["train"]), digest)


def _images_of(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    sieve = Sieve()
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    found = [
        entry for entry in files if sieve.takes_content(entry.filename, partial(archive.open, entry.filename))
    ]
    sieve.tell(archive.filename)
    return found


def _common_folder(names: Sequence[str]) -> str:
    """Return the folder above `train/` that holds all files of an archive; an empty string if none does."""
    tops = Counter(PurePosixPath(name).parts[0] for name in names)
    return next(iter(tops)) if len(tops) == 1 and "train" not in tops else ""


def torchvision_dataset(*, dataset: str, root: str, download: bool) -> Dataset:
    """Return a dataset of torchvision that has `train=True` and `train=False`, such as CIFAR10.

    Args:
        dataset: its name in `torchvision.datasets`.
        root: the folder of its files.
        download: whether torchvision fetches missing files; it checks their MD5.

    Raises:
        DataError: there is no such dataset, its files are missing, or they can't be fetched.
    """
    kind = getattr(torchvision.datasets, dataset, None)
    if kind is None:
        known = [name for name in torchvision.datasets.__all__ if "CIFAR" in name or "MNIST" in name]
        rule = f"should be a name in torchvision.datasets, such as {', '.join(known)}"
        raise DataError("data.dataset", rule, repr(dataset), "Or use data=folder.")
    try:
        with warnings.catch_warnings(action="ignore"):  # it warns of how the files were pickled
            train, test = (kind(root, train=train, download=download) for train in (True, False))
    except Exception as error:  # from the network, the disk, or a dataset with other arguments
        raise DataError(
            "data", f"should be torchvision's {dataset}", f"{type(error).__name__}: {error}",
            f"Put its files into {root}, or use data=folder.",
        ) from error  # fmt: skip
    return Dataset(
        dataset, train, test, tuple(map(str, train.classes)), digest_of_entries([("torchvision", dataset)])
    )
