"""Pairs of contents and styles."""

from __future__ import annotations

import hashlib
import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from experiments.command import QUOTING
from experiments.config import Config
from swag_repro import names
from swag_repro.errors import ImageError, SettingError
from swag_repro.images import Picture, Role, existing
from swag_repro.runs.files import is_folder


@dataclass(frozen=True)
class Pair:
    """A content picture and its styles, of which there is usually one.

    Attributes:
        content: The picture to stylise.
        styles: One style, or all styles of a mix.
        masks: For each style the mask of where it is wanted; None for everywhere.
        namesake: Whether the files of another pair would have the same names.
    """

    content: Picture
    styles: tuple[Picture, ...]
    masks: tuple[Picture | None, ...]
    namesake: bool = False

    @property
    def style_name(self) -> str:
        """The name of the style, or of a mix, such as `wave+mosaic`."""
        return "+".join(style.name for style in self.styles)

    @property
    def name(self) -> str:
        """The name of the pair's files."""
        plain = f"{self.content.name}__{self.style_name}"
        parts = "\n".join(part.name for part in (self.content, *self.styles))
        return names.file_stem(names.hashed(plain, parts) if self.namesake else plain)

    @property
    def sha256(self) -> str:
        """A digest of all pictures of the pair, whatever their names."""
        parts = (self.content, *self.styles, *self.masks)
        digests = "\n".join("everywhere" if part is None else part.sha256 for part in parts)
        return hashlib.sha256(digests.encode()).hexdigest()


def pairs_of(config: Config, pictures: Sequence[Picture]) -> tuple[Pair, ...]:
    """Return the pairs that a config asks for, each with its own name.

    Raises:
        ImageError: A picture is neither a file nor in the set, or there is no picture.
        SettingError: Weights or masks don't fit the styles, or a pair is given twice.
    """
    pairs = _met(config, pictures)
    if twice := [pair.name for pair, times in Counter(pairs).items() if times > 1]:
        raise SettingError("content and style", "should name each pair once", twice, "Leave out the second.")
    keys = Counter(names.file_key(pair.name) for pair in pairs)
    return tuple(replace(pair, namesake=keys[names.file_key(pair.name)] > 1) for pair in pairs)


def named(config: Config) -> list[str]:
    """Return what the user names as contents and styles."""
    given = (config.content, config.style)
    return [str(one) for part in given if part for one in ([part] if isinstance(part, str) else part)]


def _met(config: Config, pictures: Sequence[Picture]) -> tuple[Pair, ...]:
    contents = choose_pictures("content", config.content, pictures)
    styles = choose_pictures("style", config.style, pictures)
    if config.pairing == "mix":
        masks = _masks(_for_each("masks", config.select("masks"), len(styles)))
        return tuple(Pair(content, tuple(styles), masks) for content in contents)
    for name in ("style_weights", "masks"):
        if config.select(name) is not None:
            raise SettingError(name, "needs pairing=mix", f"pairing={config.pairing}", "Add pairing=mix.")
    every = config.pairing == "product" or 1 in (len(contents), len(styles))
    met = product(contents, styles) if every else zip(contents, styles, strict=False)
    return tuple(Pair(content, (style,), (None,)) for content, style in met)


def weights_of(config: Config, styles: int) -> list[float]:
    """Return the styles' weights that a config asks for.

    Raises:
        SettingError: Their number is not that of the styles, one is negative, or all are 0.
    """
    weights = _for_each("style_weights", config.style_weights, styles)
    weights = [1.0 if weight is None else weight for weight in weights]
    numbers = [w for w in weights if isinstance(w, int | float) and 0 <= w < math.inf]
    if len(numbers) < styles or not any(numbers):
        rule = "should be numbers from 0, not all 0"
        raise SettingError("style_weights", rule, weights, "null gives each style 1.")
    return numbers


def _for_each(setting: str, given: Any, styles: int) -> list[Any]:
    """Return one entry for each style."""
    if given is None:
        return [None] * styles
    listed = given if isinstance(given, list) else [given]
    if len(listed) != styles:
        rule = f"should have one entry for each of the {styles} styles"
        raise SettingError(setting, rule, len(listed), "null leaves all styles alike.")
    return listed


def _masks(given: Sequence[Any]) -> tuple[Picture | None, ...]:
    files = [None if path is None else _file("masks", str(path), []) for path in given]
    read = _of_files("mask", list(filter(None, files)))
    return tuple(None if file is None else read[file] for file in files)


def choose_pictures(role: Role, asked: Any, pictures: Sequence[Picture]) -> list[Picture]:
    """Return the pictures of a role that a config names, from the set or as files; None names the whole set.

    Raises:
        ImageError: The set is empty, or a word is neither a name nor a file.
    """
    known = {picture.name: picture for picture in pictures if picture.role == role}
    if asked is None:
        if not known:
            rule = f"should have a {role} image"
            remedy = f"Give {role}=a/file.jpg, or put images into a folder {role}/."
            raise ImageError("images", rule, "none", remedy)
        return list(known.values())
    given = [str(name) for name in (asked if isinstance(asked, list) else [asked])]
    if not given:
        raise ImageError(role, "should name at least one image", "[]", "null takes all of the image set.")
    files = {name: _file(role, name, sorted(known)) for name in given if name not in known}
    read = _of_files(role, list(files.values()), taken=[name for name in given if name in known])
    return [read[files[name]] if name in files else known[name] for name in given]


def file_picture(setting: str, path: str, *, role: Role, known: Sequence[str]) -> Picture:
    """Return the picture of an image file that a setting names.

    Raises:
        ImageError: No such file exists; the message offers the `known` words.
    """
    file = _file(setting, path, known)
    return _of_files(role, [file])[file]


def _of_files(role: Role, files: Sequence[Path], taken: Sequence[str] = ()) -> dict[Path, Picture]:
    named = zip(files, names.of_files(files, taken=taken), strict=True)
    return {file: Picture.of_file(file, name=name, role=role, licence="yours") for file, name in named}


def _file(setting: str, path: str, known: Sequence[str]) -> Path:
    if (file := existing(path)) is not None:
        return file
    remedy = f"Give a file, or one of {', '.join(known)}." if known else "Give a file."
    if known and is_folder(Path(path)):
        rule, asked = "should be an image file or a known name", shlex.quote(f"images.path={path}")
        remedy = f"Write images=folder {asked} in its place; styles lie in its sub-folder style."
        raise ImageError(setting, rule, f"the folder {path!r}", remedy)
    raise ImageError(setting, "should be an image file or a known name", repr(path), f"{remedy} {QUOTING}")
