"""Masks: they say where in a content picture a style is wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from swag_repro.errors import ImageError, check_number
from swag_repro.images.files import Picture
from swag_repro.images.resize import Resize

# A mask without a level as bright as this looks black; so does one of 0 and 1, as segmentations are.
WHITE = 128
# Standard deviations at which the blur ends; 99.7 % of a Gaussian lie within.
REACH = 3.0


def load_mask(mask: Picture, picture: Picture, resize: Resize, *, feather: float) -> Tensor:
    """Return how much the style is wanted at each position: 1 where the mask is white, 0 where it is black.

    Args:
        mask: a picture of any kind; its luminance counts.
        picture: the picture that the mask belongs to.
        resize: how that picture is resized.
        feather: see `feathered`.

    Returns:
        `(1, H, W)`, float32 in [0, 1].

    Raises:
        SettingError: `feather` is negative or not finite.
        ImageError: The mask can't be read, has another size than the picture, or is white nowhere; or too
            little of it is white to be left when it is resized.
    """
    levels, size = mask.read().convert("L"), picture.read().size
    if levels.size != size:
        rule = f"should have the size of {picture.name}, {_sides(size)}"
        raise ImageError(mask.key, rule, _sides(levels.size), "Paint it on a copy of that picture.")
    if (brightest := np.asarray(levels).max()) < WHITE:
        found = f"no level above {brightest} of 255"
        raise ImageError(mask.key, "should be white where the style is wanted", found, "Paint that white.")
    resized = np.array(resize(levels, mask.key), dtype=np.float32)
    if not resized.any():
        rule, found = f"should leave something at {_sides(resized.shape[::-1])}", "nothing"
        raise ImageError(mask.key, rule, found, "Paint a larger region, or choose a larger images.size.")
    return feathered(torch.from_numpy(resized).div_(255).unsqueeze(0), feather)


def feathered(mask: Tensor, feather: float) -> Tensor:
    """Return a mask with soft edges, made by a Gaussian blur that mirrors the mask at its borders.

    Args:
        mask: `(1, H, W)`.
        feather: standard deviation as a part of the short side, 0 or more. The blur ends at 3 standard
            deviations, and at the short side's length.

    Returns:
        `(1, H, W)`.

    Raises:
        SettingError: `feather` is negative or not finite.
    """
    check_number("feather", feather, least=0, most=1, remedy="0 leaves edges as they are.")
    short = min(mask.shape[1:])
    deviation = feather * short
    width = 2 * min(math.ceil(REACH * deviation), short - 1) + 1
    if width == 1:
        return mask
    # A Gaussian is separable: blurring one direction after the other makes the cost grow with its width only.
    blurred: Tensor = gaussian_blur(gaussian_blur(mask, [width, 1], deviation), [1, width], deviation)
    return blurred.clamp(0, 1)


def _sides(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"
