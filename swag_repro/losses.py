"""What a stylisation minimises: content and style losses over the taps of a network, image by image.

Pure functions state the equations, thin classes hold their settings, and an `Objective` puts them over a
network's taps with a smoothing in front. Losses are float64: they may lie near the end of float32's range
(of SWAG's σ, squared Gram differences are near 1e-30), and line searches compare them closely. Each image
has its own; no value mixes two images of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.linalg import vecdot
from torch.nn import functional as F

from swag_repro.errors import SettingError
from swag_repro.smoothing import NoSmoothing, Smoothing, at_least_float32, peak
from swag_repro.statistics import gram

Network = Callable[[Tensor], Mapping[str, Tensor]]


# --- Equations ------------------------------------------------------------------------------------------


def content_distance(features: Tensor, target: Tensor) -> Tensor:
    """`½ ‖F − F_c‖²` of each image (Gatys et al. 2016, eq. 1; SWAG).

    Args:
        features: `(B, D, ...)`.
        target: the same shape.

    Returns:
        `(B,)` float64.
    """
    difference = (features - target).flatten(1)
    return _squares(difference) / 2


def gram_distance(features: Tensor, style_features: Tensor) -> Tensor:
    """`‖G(F) − G(S)‖²` of each image, by way of whichever matrices are smaller.

    With many channels, `D > M_F + 2 M_S`, no `D × D` matrix is made: see
    `gram_distance_in_style_basis`.

    Args:
        features: `(B, D, ...)`.
        style_features: `(B, D, ...)`, of any number of positions.

    Returns:
        `(B,)` float64.
    """
    features, style = features.flatten(2), style_features.flatten(2)
    if takes_style_basis(features.shape[1], features.shape[2], style.shape[2]):
        return gram_distance_in_style_basis(features, *torch.linalg.qr(style))
    return gram_distance_to(features, gram(style))


def takes_style_basis(channels: int, positions: int, style_positions: int) -> bool:
    """Whether `gram_distance_in_style_basis` takes fewer operations than `D × D` matrices."""
    return positions + 2 * style_positions < channels


def gram_distance_to(features: Tensor, style_gram: Tensor) -> Tensor:
    """`‖F Fᵀ − G‖²` of each image.

    Args:
        features: `(B, D, M)`.
        style_gram: `(B, D, D)`, symmetric.

    Returns:
        `(B,)` float64. Its gradient `4 (F Fᵀ − G) F` is one product of matrices; autograd would take two.
    """
    distance: Tensor = _Direct.apply(features, style_gram)
    return distance


def gram_distance_in_style_basis(features: Tensor, basis: Tensor, coordinates: Tensor) -> Tensor:
    """`‖F Fᵀ − S Sᵀ‖²` of each image, where `S = Q R` has fewer positions than channels.

    With `A = QᵀF` and the remainder `O = F − QA`, orthogonal to Q, it is
    `‖A Aᵀ − R Rᵀ‖² + 2 ⟨AᵀA, OᵀO⟩ + ‖OᵀO‖²`: matrices of M rows only. Unlike the polynomial kernel's
    `‖FᵀF‖² + ‖SᵀS‖² − 2 ‖FᵀS‖²` (Demystifying, eq. 6) it subtracts no large numbers, so it stays as exact as
    the direct form when F comes close to S.

    Args:
        features: `(B, D, M)`.
        basis: Q `(B, D, K)` with orthonormal columns.
        coordinates: R `(B, K, K')`.

    Returns:
        `(B,)` float64.
    """
    distance: Tensor = _InStyleBasis.apply(features, basis, coordinates)
    return distance


class _Context(FunctionCtx):
    saved_tensors: tuple[Tensor, ...]
    unit: Tensor


class _Direct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, features: Tensor, style_gram: Tensor) -> Tensor:
        ctx.unit = _peak_of_gram(style_gram)
        difference = torch.baddbmm(style_gram, features, features.mT, beta=-1)
        difference.div_(_column(ctx.unit, difference))
        ctx.save_for_backward(features, difference)
        distance: Tensor = _squares(difference) * ctx.unit.square()
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, upstream: Tensor) -> tuple[Tensor, None]:
        features, difference = ctx.saved_tensors
        slope = _column(4 * upstream * ctx.unit, features)
        return (difference @ features).mul_(slope), None


class _InStyleBasis(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, features: Tensor, basis: Tensor, coordinates: Tensor) -> Tensor:
        style_gram = gram(coordinates)
        ctx.unit = _peak_of_gram(style_gram)
        unit = _column(ctx.unit, features)
        inside = basis.mT @ features
        outside = torch.baddbmm(features, basis, inside, alpha=-1)
        difference = torch.baddbmm(style_gram, inside, inside.mT, beta=-1) / unit
        inner, outer = gram(inside.mT) / unit, gram(outside.mT) / unit
        ctx.save_for_backward(basis, inside, outside, difference, inner, outer)
        cross = vecdot(inner.flatten(1), outer.flatten(1)).double()
        distance: Tensor = (_squares(difference) + 2 * cross + _squares(outer)) * ctx.unit.square()
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, upstream: Tensor) -> tuple[Tensor, None, None]:
        basis, inside, outside, difference, inner, outer = ctx.saved_tensors
        gradient = basis @ (difference @ inside + inside @ outer)
        gradient.baddbmm_(outside, inner + outer)
        return gradient.mul_(_column(4 * upstream * ctx.unit, gradient)), None, None


def _peak_of_gram(matrices: Tensor) -> Tensor:
    """Largest value of Gram matrices `(B, D, D)`, on the diagonal by Cauchy–Schwarz; 1 where that is 0.

    Differences are squared in units of it.
    """
    largest = matrices.diagonal(dim1=1, dim2=2).amax(dim=1).double()
    return torch.where(largest > 0, largest, 1.0)


def _squares(matrices: Tensor) -> Tensor:
    flat = matrices.flatten(1)
    squares: Tensor = vecdot(flat, flat)
    return squares.double()


def _column(numbers: Tensor, like: Tensor) -> Tensor:
    return numbers.to(like.dtype).view(-1, 1, 1)


def total_variation(images: Tensor) -> Tensor:
    """Mean squared difference of vertical neighbours plus that of horizontal ones.

    Args:
        images: `(B, 3, H, W)`.

    Returns:
        `(B,)` float64; 0 for a side of one pixel.
    """
    steps = (images.diff(dim=-2), images.diff(dim=-1))
    return sum(
        (step.square().mean(dim=(1, 2, 3)).double() for step in steps if step.numel()),
        start=torch.zeros(len(images), dtype=torch.float64, device=images.device),
    )


# --- Style losses ---------------------------------------------------------------------------------------


class StyleLoss(Protocol):
    """One file of `conf/objective`: compares the smoothed features of a tap with a style image's."""

    def target(self, features: Tensor) -> Any:
        """What to keep of one style image's features `(1, D, ...)`."""

    def __call__(self, features: Tensor, targets: Sequence[Any]) -> Tensor:
        """`(B,)` from features `(B, D, ...)`; target i belongs to image i."""


# ‖G/M − G_s/M_s‖² times this function of D.
NORMALIZERS: Mapping[str, Callable[[int], float]] = {
    "paper": lambda channels: 1 / (4 * channels**2),  # 1 / (4 D² M²) on G (Gatys et al. 2016, eq. 4; SWAG)
    "mean": lambda channels: 1 / channels**4,  # mean squared difference of G / DM (SWAG, authors' release)
    "gatys": lambda channels: 1 / channels**2,  # mean squared difference of G / M (Gatys's notebook)
}


class GramTarget:
    """Gram matrix per position of one style image, `S Sᵀ / M_s`, in the form that its loss asks for.

    Args:
        features: `(1, D, ...)`.
    """

    def __init__(self, features: Tensor) -> None:
        matrix = features[0].flatten(1)
        self.channels, self.positions = matrix.shape
        if self.positions < self.channels:
            self._features = matrix / math.sqrt(self.positions)
        else:  # the Gram matrix is fewer numbers than the features
            self.gram = gram(matrix.unsqueeze(0))[0] / self.positions

    @cached_property
    def gram(self) -> Tensor:
        """`(D, D)`."""
        return gram(self._features.unsqueeze(0))[0]

    @cached_property
    def factors(self) -> tuple[Tensor, Tensor]:
        """Q `(D, M_s)` and R `(M_s, M_s)` with `Q R = S / √M_s`; only where `M_s < D`."""
        basis, coordinates = torch.linalg.qr(self._features)
        return basis, coordinates


@dataclass(frozen=True, kw_only=True)
class GramLoss:
    """Squared difference of Gram matrices, each divided by its own number of positions M.

    That makes style images of any size comparable; where both have one size, `paper` is the equation.

    Attributes:
        normalizer: `paper`, `mean` or `gatys`, see `NORMALIZERS`.
        smaller_side: use the style's basis where that takes fewer operations than `D × D` matrices.
        precise: matrix products in float64.

    Raises:
        SettingError: an unknown normaliser.
    """

    normalizer: str = "paper"
    smaller_side: bool = True
    precise: bool = False

    def __post_init__(self) -> None:
        _check_choice("objective.style.normalizer", self.normalizer, NORMALIZERS)

    def target(self, features: Tensor) -> GramTarget:
        """The style image's side of the loss, from its features `(1, D, ...)`."""
        return GramTarget(features.double() if self.precise else features)

    def __call__(self, features: Tensor, targets: Sequence[GramTarget]) -> Tensor:
        """`(B,)` float64 from features `(B, D, ...)`; target i belongs to image i."""
        matrix = features.flatten(2)
        matrix = matrix.double() if self.precise else matrix
        _, channels, positions = matrix.shape
        return self._distance(matrix, targets) * (NORMALIZERS[self.normalizer](channels) / positions**2)

    def _distance(self, matrix: Tensor, targets: Sequence[GramTarget]) -> Tensor:
        """`‖G − M G_s / M_s‖²`: the style's side takes the factor, for it is the smaller one."""
        _, channels, positions = matrix.shape
        most = max(target.positions for target in targets)
        if not (self.smaller_side and takes_style_basis(channels, positions, most)):
            return gram_distance_to(matrix, torch.stack([target.gram for target in targets]) * positions)
        bases, coordinates = zip(*(target.factors for target in targets), strict=True)
        return gram_distance_in_style_basis(
            matrix, _padded(bases), _padded(coordinates) * math.sqrt(positions)
        )


def _padded(matrices: Sequence[Tensor]) -> Tensor:
    """One tensor of matrices `(n, k_i)`: columns of zeros, and rows where n = k_i, change no Gram matrix."""
    rows, columns = (max(matrix.shape[side] for matrix in matrices) for side in (0, 1))
    return torch.stack([F.pad(m, (0, columns - m.shape[1], 0, rows - m.shape[0])) for m in matrices])


# --- The objective --------------------------------------------------------------------------------------


class Terms(NamedTuple):
    """Terms of the objective, `(B,)` float64 each; all but `total` without their weights."""

    content: Tensor
    style: Tensor
    total_variation: Tensor
    total: Tensor


class Targets(NamedTuple):
    """What the images are compared with, computed once a run.

    Attributes:
        content: smoothed features of the content images, `(B, D, H, W)`.
        content_peaks: `(B, 1)`, for the temperature of the content term.
        content_units: `(B,)` float64, what the content term is divided by.
        styles: tap → one target per pair.
        style_peaks: tap → `(B, 1)`, for the temperature of the style terms.
        style_units: tap → `(B,)` float64.
    """

    content: Tensor
    content_peaks: Tensor
    content_units: Tensor
    styles: Mapping[str, Sequence[Any]]
    style_peaks: Mapping[str, Tensor]
    style_units: Mapping[str, Tensor]

    def of(self, indices: Tensor) -> Targets:
        """The targets of these pairs."""
        if len(indices) == len(self.content):
            return self
        chosen = indices.tolist()
        return Targets(
            content=self.content[indices],
            content_peaks=self.content_peaks[indices],
            content_units=self.content_units[indices],
            styles={tap: [targets[i] for i in chosen] for tap, targets in self.styles.items()},
            style_peaks={tap: peaks[indices] for tap, peaks in self.style_peaks.items()},
            style_units={tap: units[indices] for tap, units in self.style_units.items()},
        )


CONTENT_NORMALIZERS: Mapping[str, Callable[[int], float]] = {
    "half_sum": lambda _: 1.0,  # ½ ‖F − F_c‖² (Gatys et al. 2016, eq. 1; SWAG)
    "mean": lambda size: 2 / size,  # mean squared difference (SWAG, authors' release)
}
BALANCES = ("none", "distance")
# A squared distance below this part of the target's own is rounding: float32's is near 1e-14.
ROUNDING = 1e-11


@dataclass(frozen=True, kw_only=True)
class Objective:
    """`α · content + β · Σ_tap w_tap · style_tap + γ · total variation` of each pair (SWAG, eq. 2).

    Both sides of a term are smoothed alike: an adaptive temperature is read from the style image for the
    style terms, and from the content image for the content term.

    Attributes:
        style: compares features with a style image's.
        smoothing: in front of the losses, at `smoothed_taps`.
        content_tap: where the content is read.
        style_taps: tap → weight w, 0 or more.
        content_weight: α, 0 or more.
        style_weight: β, 0 or more.
        total_variation_weight: γ, 0 or more.
        smoothed_taps: None for all.
        content_normalizer: `half_sum` (the papers) or `mean` (the authors' release).
        balance: `distance` divides the content term, and every tap's style term, by its value between the
            pair's own content and style image, so that weights mean the same for every network, smoothing
            and normaliser; a term that tells the two apart by rounding alone is divided by its value for
            features of zeros. `none` takes them as they are.

    Raises:
        SettingError: a weight that is negative or not finite, weights that are all 0, or an unknown
            normaliser or balance.
    """

    style: StyleLoss
    smoothing: Smoothing
    content_tap: str
    style_taps: Mapping[str, float]
    content_weight: float = 1.0
    style_weight: float = 1.0
    total_variation_weight: float = 0.0
    smoothed_taps: Collection[str] | None = None
    content_normalizer: str = "half_sum"
    balance: str = "distance"

    def __post_init__(self) -> None:
        for name in ("content_weight", "style_weight", "total_variation_weight"):
            _check_weight(f"objective.{name}", getattr(self, name))
        for tap, weight in self.style_taps.items():
            _check_weight(f"objective.style_taps.{tap}", weight)
        if not self.content_weight and not self._style_terms:
            rule = "should leave a term for content or style"
            raise SettingError("objective weights", rule, "weights of 0 only", "Raise one of them.")
        _check_choice("objective.content_normalizer", self.content_normalizer, CONTENT_NORMALIZERS)
        _check_choice("objective.balance", self.balance, BALANCES)

    @property
    def _style_terms(self) -> dict[str, float]:
        """Taps whose weight counts."""
        return {tap: weight for tap, weight in self.style_taps.items() if weight * self.style_weight > 0}

    def taps(self) -> tuple[str, ...]:
        """What the network must be read at."""
        return tuple(dict.fromkeys([*self._style_terms, self.content_tap]))

    @torch.no_grad()
    def targets(self, network: Network, contents: Tensor, styles: Sequence[Tensor]) -> Targets:
        """What the pairs are compared with.

        Args:
            network: images → features of each tap, of `taps()` at least.
            contents: `(B, 3, H, W)`, RGB in [0, 1].
            styles: B images `(3, H', W')`, each of any size.

        Raises:
            ValueError: another number of styles than of contents.
        """
        pairs = [
            self._pair(network, content.unsqueeze(0), style.unsqueeze(0))
            for content, style in zip(contents, styles, strict=True)
        ]
        taps = self._style_terms
        return Targets(
            content=torch.cat([pair.content for pair in pairs]),
            content_peaks=torch.cat([pair.content_peaks for pair in pairs]),
            content_units=torch.cat([pair.content_units for pair in pairs]),
            styles={tap: [pair.styles[tap][0] for pair in pairs] for tap in taps},
            style_peaks={tap: torch.cat([pair.style_peaks[tap] for pair in pairs]) for tap in taps},
            style_units={tap: torch.cat([pair.style_units[tap] for pair in pairs]) for tap in taps},
        )

    def _pair(self, network: Network, content: Tensor, style: Tensor) -> Targets:
        of_content, of_style = network(content), network(style)
        one = torch.ones(1, dtype=torch.float64, device=content.device)
        reference = of_content[self.content_tap]
        targets = Targets(
            content=self._smoothed(self.content_tap, reference, peak(reference)),
            content_peaks=peak(reference),
            content_units=one,
            styles={tap: [self._style_target(tap, of_style[tap])] for tap in self._style_terms},
            style_peaks={tap: peak(of_style[tap]) for tap in self._style_terms},
            style_units=dict.fromkeys(self._style_terms, one),
        )
        if self.balance == "none":
            return targets
        if style.shape != content.shape:
            of_style = network(F.interpolate(style, content.shape[-2:], mode="bilinear", antialias=True))
        nothing = {tap: torch.zeros_like(features) for tap, features in of_content.items()}
        plain = replace(self, smoothing=NoSmoothing())
        distances, sizes = self._styles(of_content, targets), plain._styles(nothing, targets)
        return targets._replace(
            content_units=_unit(self._content(of_style, targets), plain._content(nothing, targets)),
            style_units={tap: _unit(distances[tap], sizes[tap]) for tap in distances},
        )

    def __call__(self, network: Network, images: Tensor, targets: Targets, indices: Tensor) -> Terms:
        """The terms of images `(A, 3, H, W)`, of the pairs with these indices `(A,)`."""
        features, targets = network(images), targets.of(indices)
        content, smoothness = self._content(features, targets), total_variation(images)
        style = torch.zeros_like(content)
        for tap, value in self._styles(features, targets).items():
            style = style + self.style_taps[tap] * value
        weights = (self.content_weight, self.style_weight, self.total_variation_weight)
        total = torch.zeros_like(content)
        for weight, term in zip(weights, (content, style, smoothness), strict=True):
            total = total + weight * term if weight else total
        return Terms(content, style, smoothness, total)

    def _content(self, features: Mapping[str, Tensor], targets: Targets) -> Tensor:
        smoothed = self._smoothed(self.content_tap, features[self.content_tap], targets.content_peaks)
        normalizer = CONTENT_NORMALIZERS[self.content_normalizer](smoothed[0].numel())
        return content_distance(smoothed, targets.content) * normalizer / targets.content_units

    def _styles(self, features: Mapping[str, Tensor], targets: Targets) -> dict[str, Tensor]:
        return {
            tap: self.style(self._smoothed(tap, features[tap], targets.style_peaks[tap]), targets.styles[tap])
            / targets.style_units[tap]
            for tap in self._style_terms
        }

    def _style_target(self, tap: str, features: Tensor) -> Any:
        return self.style.target(self._smoothed(tap, features, peak(features)))

    def _smoothed(self, tap: str, features: Tensor, peaks: Tensor) -> Tensor:
        smooth = self.smoothed_taps is None or tap in self.smoothed_taps
        return self.smoothing(features, peaks) if smooth else at_least_float32(features)


def _unit(distance: Tensor, size: Tensor) -> Tensor:
    """What to divide a term by, `(B,)`: its distance, or its size where the distance is rounding; never 0."""
    unit = torch.where(distance > ROUNDING * size.nan_to_num(), distance, size)
    return torch.where(unit > 0, unit, 1.0)


def _check_weight(setting: str, weight: float) -> None:
    if not (isinstance(weight, int | float) and 0 <= weight < math.inf):
        raise SettingError(setting, "should be a number from 0", repr(weight), "0 leaves the term out.")


def _check_choice(setting: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise SettingError(setting, f"should be one of {list(choices)}", repr(value), "Choose one.")
