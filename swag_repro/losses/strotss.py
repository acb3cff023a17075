"""STROTSS: optimal transport between sampled hypercolumns (Kolkin, Salavon & Shakhnarovich, CVPR 2019).

A hypercolumn is the values of all taps, and of the pixels, at one position. Style is a set of hypercolumns at
any positions; content is how much the hypercolumns of one image resemble each other. The objective that adds
the two leaves out the division by `2 + α + 1/α` of the paper's eq. 1, because it is a constant.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from swag_repro.errors import check_number, check_seed
from swag_repro.losses.base import PIXELS, LossContext, generator
from swag_repro.smoothing import at_least_float32
from swag_repro.statistics import Features

# Streams of random numbers. Both losses use the first one for the image. As in the authors' code, they then
# read it at the same positions, if they have the same seed and number of samples.
IMAGE_DRAW, STYLE_DRAW = 0, 1
# Mean distances below this many units of rounding count as 0.
_ROUNDING = 16

# --- Equations ------------------------------------------------------------------------------------------


def hypercolumns(features: Features, positions: Tensor) -> Tensor:
    """Return bilinear samples of all layers, one below the other (section 2.1).

    A layer of any size spans the whole image here, so its values lie where they belong in the image. The
    authors' code halves pixel coordinates at each pooling, which is off by up to half a position.

    Args:
        features: layers `(A, D_l, H_l, W_l)`.
        positions: `(A, n, 2)` float64, as parts of the height and of the width, in [0, 1].

    Returns:
        `(A, Σ D_l, n)`, in float32 at least.
    """
    return torch.cat([_sampled(layer, positions) for layer in features.values()], dim=1)


def cosine_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return `1 − x_i·y_j / (‖x_i‖ ‖y_j‖)` (eq. 9); a vector of zeros is at distance 1 from all others.

    Args:
        x: `(A, D, n)`.
        y: `(A, D, m)`.

    Returns:
        `(A, n, m)`.
    """
    distances: Tensor = 1 - _directions(x).mT @ _directions(y)
    return distances


def color_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return the cosine distance plus the root mean squared difference of colours (authors' code).

    The authors first rotate colours to decorrelated axes, one of which is brightness. Their matrix is
    orthogonal: it changes neither distance, and is left out. The paper names only the Euclidean distance.

    Args:
        x: `(A, 3, n)`.
        y: `(A, 3, m)`.

    Returns:
        `(A, n, m)`.
    """
    # Computed from products, short distances would be rounding, and their gradients large.
    exact = "donot_use_mm_for_euclid_dist"
    straight = torch.cdist(x.mT, y.mT, compute_mode=exact)
    distances: Tensor = cosine_distances(x, y) + straight / x.shape[1] ** 0.5
    return distances


def relaxed_emd(distances: Tensor) -> Tensor:
    """Return the earth mover's distance with one of its two constraints, the dearer one (eqs. 5 to 8).

    Args:
        distances: `(A, n, m)`.

    Returns:
        `(A,)` float64: the larger of the mean row minimum and the mean column minimum.
    """
    rows, columns = distances.amin(dim=2), distances.amin(dim=1)
    return torch.maximum(rows.double().mean(dim=1), columns.double().mean(dim=1))


class MeanCovariance(NamedTuple):
    """The means μ `(A, D)` and covariances Σ `(A, D, D)` of sets of columns."""

    means: Tensor
    covariances: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Self:
        """Return the moments of columns `(A, D, n)`."""
        return cls(x.mean(dim=2), _covariance(x))


def moment_distance(x: MeanCovariance, y: MeanCovariance) -> Tensor:
    """Return `‖μ_x − μ_y‖₁ / D + ‖Σ_x − Σ_y‖₁ / D²` (eq. 10), `(A,)` float64."""
    means, covariances = x.means - y.means, x.covariances - y.covariances
    return means.abs().mean(dim=1).double() + covariances.abs().mean(dim=(1, 2)).double()


def self_similarity_distance(x: Tensor, c: Tensor) -> Tensor:
    """Return `1/n Σ_ij |D_ij / Σ_i D_ij − E_ij / Σ_i E_ij|`, cosine distances D in x, E in c (section 2.3).

    It lies between 0 and 2. The paper divides by n²; the authors' code and this function divide by n. In a
    set of equal vectors all distances and their shares are 0: such a set is at distance 1 from any other.

    Args:
        x: `(A, D, n)`.
        c: `(A, D, n)`, at the same positions.

    Returns:
        `(A,)` float64.
    """
    difference = _shares_of_distance(x) - _shares_of_distance(c)
    return difference.abs().sum(dim=1).double().mean(dim=1)


def draw_positions(
    size: Sequence[int], samples: int, random: torch.Generator, shares: Tensor | None = None
) -> Tensor:
    """Draw the centres of different pixels at random.

    Args:
        size: height and width.
        samples: the number of pixels; if fewer have a share above 0, all of these are drawn.
        random: a generator on the CPU, so that positions are the same for all devices.
        shares: how often each pixel is drawn, `(H·W,)`; None for all alike.

    Returns:
        `(n, 2)` float64, as `hypercolumns` takes them.
    """
    height, width = size
    if shares is None:
        chosen = torch.randperm(height * width, generator=random)[:samples]
    else:
        number = min(samples, int(shares.count_nonzero()))
        chosen = torch.multinomial(shares.detach().cpu(), number, generator=random)
    cells = torch.stack((chosen // width, chosen % width), dim=1).double()
    positions: Tensor = (cells + 0.5) / torch.tensor([height, width])
    return positions


def _sampled(layer: Tensor, positions: Tensor) -> Tensor:
    """Return samples `(A, D, n)` of a layer.

    Only the values that are read cost time; `grid_sample` goes through the whole layer in both passes.
    """
    corners, weights = _corners(layer.shape[2:], positions)
    index = corners.flatten(1).unsqueeze(1).to(layer.device).expand(-1, layer.shape[1], -1)
    values = at_least_float32(layer.flatten(2).gather(2, index)).unflatten(2, (-1, 4))
    samples: Tensor = (values * weights.unsqueeze(1).to(values)).sum(dim=3)
    return samples


def _corners(size: Sequence[int], positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of the four values around each position, and their weights, `(A, n, 4)` both.

    Value i has its centre at `i + ½`. Beyond the outermost centres the outermost values apply.
    """
    last = torch.tensor(size) - 1
    place = (positions * torch.tensor(size) - 0.5).clamp(min=0).minimum(last)
    low = place.floor().long()
    cells = torch.stack((low, (low + 1).minimum(last)), dim=-1)
    parts = torch.stack((1 - (place - low), place - low), dim=-1)
    corners = cells[..., 0, :, None] * size[1] + cells[..., 1, None, :]
    return corners.flatten(2), (parts[..., 0, :, None] * parts[..., 1, None, :]).flatten(2)


def _directions(x: Tensor) -> Tensor:
    """Return the columns scaled to length 1; columns of zeros stay."""
    lengths = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(lengths > 0, lengths, 1.0)


def _covariance(x: Tensor) -> Tensor:
    """Return the covariance `(A, D, D)` of columns `(A, D, n)`, divided by n.

    The incoming gradient must be symmetric. Then its products with the two factors are equal, and one of
    these large products is enough.
    """
    centred = (x - x.mean(dim=2, keepdim=True)) / x.shape[2] ** 0.5
    product = centred @ centred.detach().mT
    covariance: Tensor = 2 * product - product.detach()
    return covariance


def _shares_of_distance(x: Tensor) -> Tensor:
    """Return the cosine distances in a set `(A, D, n)`, each column divided by its sum, `(A, n, n)`."""
    distances = cosine_distances(x, x)
    least = _ROUNDING * torch.finfo(x.dtype).eps * x.shape[2]
    return distances / distances.sum(dim=1, keepdim=True).clamp(min=least)


# --- Losses ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Sampling(ABC):
    """The settings of losses that read hypercolumns at random positions, other positions at each draw.

    Attributes:
        samples: the number of positions, at least 2; a smaller image or mask gives all that it has.
        seed: chooses the positions, together with the number of the draw.

    Raises:
        SettingError: fewer than two samples.
    """

    samples: int
    seed: int

    stochastic: ClassVar[bool] = True
    reads_pixels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._check_number("samples", least=2)
        check_seed(f"seed of {type(self).__name__}", self.seed)

    def _check_number(self, name: str, *, least: int) -> None:
        setting = f"{name} of {type(self).__name__}"
        check_number(setting, getattr(self, name), least=least, whole=True)

    @abstractmethod
    def target(self, features: Features) -> Any:
        """Return what the loss keeps of one reference image's features `(1, D, H, W)`."""

    def __call__(self, features: Features, targets: Sequence[Any], context: LossContext) -> dict[str, Tensor]:
        """Return part → `(A,)` float64, from features `(A, D, H, W)`."""
        shares = context.position_weights(features[PIXELS].shape[2:])
        own = [None] * len(targets) if shares is None else shares.unbind()
        images = zip(_split_images(features), targets, context.draws, own, strict=True)
        found = [self._terms(*each) for each in images]
        return {part: torch.cat([terms[part] for terms in found]) for part in found[0]}

    @abstractmethod
    def _terms(self, image: Features, target: Any, draw: int, shares: Tensor | None) -> dict[str, Tensor]:
        """Return part → `(1,)` float64 of one image; the shares of its pixels are `(H·W,)`."""

    def _positions(self, image: Features, draw: int, shares: Tensor | None) -> Tensor:
        """Return the positions `(1, n, 2)` in one image."""
        size, random = image[PIXELS].shape[2:], generator(self.seed, draw, IMAGE_DRAW)
        return draw_positions(size, self.samples, random, shares).unsqueeze(0)


class StyleSet(NamedTuple):
    """The part of a style image that `Strotss` keeps: hypercolumns `(1, D, n)`, their colours and moments."""

    columns: Tensor
    colors: Tensor
    moments: MeanCovariance


@dataclass(frozen=True, kw_only=True)
class Strotss(_Sampling):
    """The style terms, which compare the hypercolumns of image and style image as two sets.

    The parts are `remd`, the relaxed earth mover's distance by cosines; `moments`; and `color`, the relaxed
    earth mover's distance of colours. Taps of weight 0 are not read. Other weights of taps have no effect: a
    tap counts by the size of its activations. Positions in the image are drawn in proportion to the mask, if
    there is one. Positions in the style image are drawn from all of it, once in an optimisation (the authors'
    code keeps them for a scale).

    Attributes:
        style_samples: the number of positions in the style image in one draw, at least 2, all different.
        style_draws: the number of draws that are put together, at least 1.

    Raises:
        SettingError: a number below its least.
    """

    style_samples: int
    style_draws: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("style_samples", least=2)
        self._check_number("style_draws", least=1)

    def target(self, features: Features) -> StyleSet:
        """Return the hypercolumns of the style image."""
        size = features[PIXELS].shape[2:]
        drawn = [
            draw_positions(size, self.style_samples, generator(self.seed, draw, STYLE_DRAW))
            for draw in range(self.style_draws)
        ]
        positions = torch.cat(drawn).unsqueeze(0)
        columns = hypercolumns(features, positions)
        return StyleSet(columns, hypercolumns(_pixels(features), positions), MeanCovariance.of(columns))

    def weights(self, taps: Mapping[str, float], content_weight: float) -> dict[str, float]:  # noqa: ARG002
        """Return 1, but `1 / max(α, 1)` for colours, which conflict with the content (authors' code)."""
        return {"remd": 1.0, "moments": 1.0, "color": 1 / max(content_weight, 1.0)}

    def _terms(
        self, image: Features, target: StyleSet, draw: int, shares: Tensor | None
    ) -> dict[str, Tensor]:
        positions = self._positions(image, draw, shares)
        x, colors = hypercolumns(image, positions), hypercolumns(_pixels(image), positions)
        return {
            "remd": relaxed_emd(cosine_distances(x, target.columns)),
            "moments": moment_distance(MeanCovariance.of(x), target.moments),
            "color": relaxed_emd(color_distances(colors, target.colors)),
        }


@dataclass(frozen=True, kw_only=True)
class SelfSimilarity(_Sampling):
    """The content term, which compares how hypercolumns resemble each other in the two images.

    Both images are read at the same positions. The only part is `self_similarity`. Taps of weight 0 are not
    read; other weights of taps have no effect.
    """

    def weights(self, taps: Mapping[str, float], content_weight: float) -> dict[str, float]:  # noqa: ARG002
        """Return 1 for the only part."""
        return {"self_similarity": 1.0}

    def target(self, features: Features) -> Features:
        """Return all layers, because each evaluation draws other positions."""
        return dict(features)

    def _terms(
        self, image: Features, target: Features, draw: int, shares: Tensor | None
    ) -> dict[str, Tensor]:
        positions = self._positions(image, draw, shares)
        x, c = hypercolumns(image, positions), hypercolumns(target, positions)
        return {"self_similarity": self_similarity_distance(x, c)}


def _split_images(features: Features) -> list[dict[str, Tensor]]:
    """Return the features `(1, D, H, W)` of each image, because images differ in draws, masks and styles."""
    images = zip(*(layer.split(1) for layer in features.values()), strict=True)
    return [dict(zip(features, layers, strict=True)) for layers in images]


def _pixels(features: Features) -> Features:
    return {PIXELS: features[PIXELS]}
