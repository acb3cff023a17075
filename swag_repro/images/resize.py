"""Resizing of an image to the size at which it is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image

from swag_repro.errors import ImageError, check_choice, check_number
from swag_repro.images.files import MIN_SIDE

Policy = Literal["short", "long", "squash", "none"]
Interpolation = Literal["lanczos", "bilinear"]

MAX_PIXELS = 2**26
"""Most pixels of a resized image. An image of extreme ratio could fill the memory."""


@dataclass(frozen=True, kw_only=True)
class Resize:
    """A way to resize images, by antialiased interpolation.

    The policies `short` and `long` set that side to `size` pixels and keep the ratio. `squash` makes any
    image `size` x `size`, as the authors' release does. `none` leaves images as they are. The interpolation
    `bilinear` is that of torchvision's transforms.

    Raises:
        SettingError: `size` is below 16 or no integer, or the policy or the interpolation is unknown.
    """

    size: int
    policy: Policy
    interpolation: Interpolation

    def __post_init__(self) -> None:
        most, remedy = MAX_PIXELS // MIN_SIDE, "These are pixels."
        check_number("images.size", self.size, least=MIN_SIDE, most=most, whole=True, remedy=remedy)
        check_choice("images.resize", self.policy, get_args(Policy))
        check_choice("images.interpolation", self.interpolation, get_args(Interpolation))

    def target(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height, in pixels, of an image of `width` x `height` after resizing."""
        if self.policy == "squash":
            return self.size, self.size
        if self.policy == "none":
            return width, height
        side = min(width, height) if self.policy == "short" else max(width, height)
        return round(width * self.size / side), round(height * self.size / side)

    def __call__(self, image: Image.Image, name: str = "image") -> Image.Image:
        """Return the resized image.

        Raises:
            ImageError: The ratio is so extreme that the result would have a side below 16, or over
                `MAX_PIXELS`.
        """
        width, height = self.target(*image.size)
        if min(width, height) < MIN_SIDE or width * height > MAX_PIXELS:
            rule = f"should have sides of at least {MIN_SIDE} and at most {MAX_PIXELS} pixels when resized"
            remedy = "Crop it, or choose another images.size or images.resize."
            raise ImageError(name, rule, f"{width}x{height}", remedy)
        return image.resize((width, height), Image.Resampling[self.interpolation.upper()])
