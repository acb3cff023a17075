"""The numbers that an optimiser moves in place of an image: its pixels, or numbers that give pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from swag_repro.errors import SettingError, check_number


@runtime_checkable
class Canvas(Protocol):
    """A way to write images as numbers; one file of `conf/canvas`."""

    def encode(self, images: Tensor) -> Tensor:
        """Return images `(B, 3, H, W)` as numbers, `(B, ...)`."""

    def decode(self, values: Tensor, size: Sequence[int]) -> Tensor:
        """Return the images `(B, 3, H, W)` of this size that the numbers stand for, differentiably."""


@dataclass(frozen=True)
class Pixels:
    """The pixels themselves."""

    def encode(self, images: Tensor) -> Tensor:
        """Return the images."""
        return images

    def decode(self, values: Tensor, size: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Return the images."""
        return values


@dataclass(frozen=True, kw_only=True)
class NormalizedPixels:
    """The pixels as a network sees them, `(pixel − mean) / std`.

    The image is the same; the units of an optimiser's steps, tolerances and weight decay differ.

    Attributes:
        mean: the mean of each channel, RGB in [0, 1].
        std: the standard deviation of each channel, above 0; 1/255 for values from 0 to 255.

    Raises:
        SettingError: not three finite numbers each, or a `std` that is not above 0.
    """

    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        _check_three("canvas.mean", self.mean, "One for each of R, G and B.", above=-math.inf)
        _check_three("canvas.std", self.std, "One for each of R, G and B.", above=0)

    def encode(self, images: Tensor) -> Tensor:
        """Return normalised images, `(B, 3, H, W)`."""
        mean, std = self._moments(images)
        return (images - mean) / std

    def decode(self, values: Tensor, size: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Return the images."""
        mean, std = self._moments(values)
        return values * std + mean

    def _moments(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, `(3, 1, 1)` both."""
        mean, std = (
            torch.tensor(values, dtype=like.dtype, device=like.device).view(3, 1, 1)
            for values in (self.mean, self.std)
        )
        return mean, std


@dataclass(frozen=True, kw_only=True)
class LaplacianPyramid:
    """The residuals that each halving of an image loses, and the smallest image (Burt & Adelson 1983).

    A step on a coarse number moves many pixels at once, so that the optimiser soon finds the colours of whole
    regions (STROTSS, section 2.5). As in the authors' code, images are halved and doubled by bilinear
    interpolation between centres of the corner pixels, without a blur.

    Attributes:
        levels: the number of residuals, at least 1; an image that is soon down to one pixel has fewer. The
            authors' code has 5.

    Raises:
        SettingError: fewer than one level.
    """

    levels: int

    def __post_init__(self) -> None:
        check_number("canvas.levels", self.levels, least=1, whole=True, remedy="For none, use canvas=pixels.")

    def encode(self, images: Tensor) -> Tensor:
        """Return residuals, fine to coarse, then the smallest image: `(B, 3, H, W)` → `(B, N)`."""
        smaller = [images]
        for size in self.sizes(images.shape[2:])[1:]:
            smaller.append(_interpolated(smaller[-1], size))
        residuals = [fine - _interpolated(coarse, fine.shape[2:]) for fine, coarse in pairwise(smaller)]
        return torch.cat([level.flatten(1) for level in (*residuals, smaller[-1])], dim=1)

    def decode(self, values: Tensor, size: Sequence[int]) -> Tensor:
        """Return the images `(B, 3, H, W)` of this size."""
        sizes = self.sizes(size)
        parts = values.split([3 * height * width for height, width in sizes], dim=1)
        levels = [part.unflatten(1, (3, *each)) for part, each in zip(parts, sizes, strict=True)]
        images: Tensor = levels.pop()
        while levels:
            residual = levels.pop()
            images = residual + _interpolated(images, residual.shape[2:])
        return images

    def sizes(self, size: Sequence[int]) -> list[tuple[int, int]]:
        """Return heights and widths, fine to coarse: the image's own, and those after each halving."""
        found = [(size[0], size[1])]
        while len(found) <= self.levels and max(found[-1]) > 1:
            found.append(_half(found[-1]))
        return found


OPPONENTS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""Lightness, red against blue, and green against both: nearly uncorrelated in photographs."""


@dataclass(frozen=True, kw_only=True)
class FourierSpectrum:
    """The spatial frequencies of opponent colours, each in units of its strength in photographs.

    These numbers decorrelate natural images, so that a step moves low frequencies as readily as high ones.
    Mordvintsev et al., *Differentiable image parameterizations*, Distill 2018, use them to stylise with
    networks other than VGG.

    Attributes:
        decay: the unit of frequency f is `1 / f^decay`; 0 gives equal units.
        colors: the units of lightness and of the two opponent colours, above 0.

    Raises:
        SettingError: a negative decay, or not three units above 0.
    """

    decay: float
    colors: Sequence[float]

    def __post_init__(self) -> None:
        check_number("canvas.decay", self.decay, least=0, remedy="1 is that of photographs.")
        _check_three("canvas.colors", self.colors, "One for each opponent colour.", above=0)

    def encode(self, images: Tensor) -> Tensor:
        """Return the half spectrum, real and imaginary: `(B, 3, H, W)` → `(B, 3, H, W // 2 + 1, 2)`."""
        opponents = torch.einsum("oc,bchw->bohw", self._basis(images).inverse(), images)
        spectrum = torch.fft.rfft2(opponents, norm="ortho")
        return torch.view_as_real(spectrum / self._units_of(images, images.shape[2:]))

    def decode(self, values: Tensor, size: Sequence[int]) -> Tensor:
        """Return the images `(B, 3, H, W)` of this size."""
        spectrum = torch.view_as_complex(values.contiguous()) * self._units_of(values, size)
        opponents = torch.fft.irfft2(spectrum, s=tuple(size), norm="ortho")
        return torch.einsum("co,bohw->bchw", self._basis(values), opponents)

    def _basis(self, like: Tensor) -> Tensor:
        """Return a matrix `(3, 3)` with a column for each opponent colour, as long as its unit."""
        rows = torch.tensor(OPPONENTS, dtype=like.dtype, device=like.device)
        units = torch.tensor(list(self.colors), dtype=like.dtype, device=like.device)
        basis: Tensor = (rows / rows.norm(dim=1, keepdim=True) * units[:, None]).T
        return basis

    def _units_of(self, like: Tensor, size: Sequence[int]) -> Tensor:
        """Return each frequency's unit, `(H, W // 2 + 1)`; frequency 0 has the unit of the lowest other."""
        height, width = size
        options = {"dtype": like.dtype, "device": like.device}
        rows, columns = torch.fft.fftfreq(height, **options), torch.fft.rfftfreq(width, **options)
        frequency = torch.hypot(rows[:, None], columns[None, :])
        units: Tensor = torch.pow(frequency.clamp_min(1 / max(height, width)), -self.decay)
        return units


def _check_three(setting: str, values: Sequence[float], remedy: str, *, above: float) -> None:
    if len(values) != 3 or not all(above < value < math.inf for value in values):
        rule = f"should be three {'numbers above 0' if above == 0 else 'finite numbers'}"
        raise SettingError(setting, rule, list(values), remedy)


def finest_level(images: Tensor) -> Tensor:
    """Return the residual that halving the images loses, `(B, 3, H, W)` → the same shape.

    STROTSS starts from it and the style's mean colour. The authors' code interpolates here between the
    centres of all pixels, which gives the mean of two by two pixels where sides are even.
    """
    smaller = F.interpolate(images, _half(images.shape[2:]), mode="bilinear")
    return images - F.interpolate(smaller, images.shape[2:], mode="bilinear")


def _half(size: Sequence[int]) -> tuple[int, int]:
    return max(size[0] // 2, 1), max(size[1] // 2, 1)


def _interpolated(images: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(images, tuple(size), mode="bilinear", align_corners=True)
