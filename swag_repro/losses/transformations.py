"""Random moves of images before each evaluation: they suppress patterns that no eye would notice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from swag_repro.errors import check_number, check_seed
from swag_repro.losses.base import generator


@dataclass(frozen=True, kw_only=True)
class RandomTransformations:
    """A random shift, rotation and scaling of each image at each step (Olah et al., Distill 2017).

    A pattern that only a network sees must then survive being moved. Mordvintsev et al., Distill 2018, use
    it to stylise with networks other than VGG. The image's reflection fills the borders.

    Attributes:
        jitter: the largest shift along either side, in pixels.
        rotation: the largest rotation around the centre, in degrees.
        scale: the largest growth or shrinkage of the sides, as a part of them; below 1.
        seed: the seed of the random numbers; equal draws move images of any batch alike.

    Raises:
        SettingError: a number below 0, a `scale` from 1, or a seed that is no whole number from 0.
    """

    jitter: float
    rotation: float
    scale: float
    seed: int

    def __post_init__(self) -> None:
        for name, below in {"jitter": math.inf, "rotation": math.inf, "scale": 1}.items():
            value, remedy = getattr(self, name), "0 leaves it out."
            check_number(f"transformations.{name}", value, least=0, below=below, remedy=remedy)
        check_seed("transformations.seed", self.seed)

    def __call__(self, images: Tensor, draws: Sequence[int]) -> Tensor:
        """Return images `(A, 3, H, W)`, each moved as its draw says; differentiable, in the same shape."""
        maps = torch.stack([self._map(draw, *images.shape[2:]) for draw in draws]).to(images)
        grid = F.affine_grid(maps, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _map(self, draw: int, height: int, width: int) -> Tensor:
        """Return the map `(2, 3)` from places in the moved image to the image, in units of half its sides."""
        chance = 2 * torch.rand(4, generator=generator(self.seed, draw), dtype=torch.float64) - 1
        across, down, turn, growth = chance.tolist()
        angle, size = math.radians(self.rotation * turn), 1 + self.scale * growth
        cosine, sine = math.cos(angle) / size, math.sin(angle) / size
        shift = 2 * self.jitter * across / width, 2 * self.jitter * down / height
        return torch.tensor(
            [[cosine, -sine * height / width, shift[0]], [sine * width / height, cosine, shift[1]]],
            dtype=torch.float64,
        )
