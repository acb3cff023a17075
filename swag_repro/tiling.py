"""An objective that reads images tile by tile, so that no layer is ever whole: the option `tile=1024`.

A loss of means over positions reads each position twice: once for the means, and once for the gradient, which
needs the means of the whole layer. A softmax over the layer divides by a sum and takes one more reading.

Networks say what their positions see; only `swag_repro.tiles` and this module know of tiles. `MEANS` and
`POINTWISE` list the losses and smoothings that fit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from swag_repro.errors import SettingError, check_number
from swag_repro.losses import BatchNormLoss, ContentLoss, GramLoss, Loss, RobustGramLoss, content_distance
from swag_repro.losses.base import LossContext, squares
from swag_repro.losses.bn import moments_distance
from swag_repro.losses.objective import Network, Objective, Reference, Request, Side
from swag_repro.networks import TappedNetwork
from swag_repro.smoothing import (
    Log1p,
    NoSmoothing,
    Power,
    Scale,
    Smoothing,
    Softmax,
    at_least_float32,
    peak,
    smooth,
)
from swag_repro.statistics import Features
from swag_repro.tiles import Patch, TiledFeatures


class Means(ABC):
    """The means of a loss, and how it is computed from them."""

    keeps_positions: ClassVar[bool] = False
    """True if the loss keeps its own `target` of a reference image's whole layer."""

    @abstractmethod
    def added(self, matrix: Tensor, shares: Tensor | None, kept: Sequence[Any], patch: Patch) -> Tensor:
        """Return what a part of a layer adds to its sums over positions, `(A, ...)`, differentiable.

        Args:
            matrix: `(A, D, m)`.
            shares: how much each position counts, `(A, m)`; None for 1.
            kept: what is kept of the A reference images; empty while it is made.
            patch: where the part lies.
        """

    @abstractmethod
    def distance(self, means: Tensor, kept: Sequence[Any], positions: int) -> Tensor:
        """Return the loss of each image, `(A,)` float64.

        Args:
            means: what `added` gives for a whole layer with shares that sum to 1, `(A, ...)` float64.
            kept: what is kept of the A reference images.
            positions: M.
        """

    def keep(self, means: Tensor) -> Any:
        """Return what `distance` reads of one reference image with means `(1, ...)`; by default the means."""
        return means


@dataclass(frozen=True)
class ContentMeans(Means):
    """Half the squared distance to the same positions of the content image."""

    loss: ContentLoss
    keeps_positions: ClassVar[bool] = True

    def added(self, matrix: Tensor, shares: Tensor | None, kept: Sequence[Any], patch: Patch) -> Tensor:
        """Return half the squared distance of a part, `(A,)`."""
        del shares
        return content_distance(matrix, patch.of(torch.cat(list(kept)) if len(kept) > 1 else kept[0]))

    def distance(self, means: Tensor, kept: Sequence[Any], positions: int) -> Tensor:
        """Return the loss, from half the squared distance per position."""
        return self.loss.normalized(means * positions, kept[0].shape[1], positions)


@dataclass(frozen=True)
class GramMeans(Means):
    """Gram matrices per position, `(A, D, D)`."""

    loss: GramLoss | RobustGramLoss

    def added(self, matrix: Tensor, shares: Tensor | None, kept: Sequence[Any], patch: Patch) -> Tensor:
        """Return `Σ_k p_k F_k F_kᵀ`; p is 1 without shares."""
        del kept, patch
        if isinstance(self.loss, GramLoss) and self.loss.precise:
            matrix = matrix.double()
        weighted = matrix if shares is None else matrix * shares.unsqueeze(1).to(matrix.dtype)
        return weighted @ matrix.mT

    def distance(self, means: Tensor, kept: Sequence[Any], positions: int) -> Tensor:
        """Return the loss, from Gram matrices per position."""
        wanted = torch.cat(list(kept))
        if isinstance(self.loss, RobustGramLoss):
            return self.loss.between(means, wanted)
        return self.loss.normalized(squares(means - wanted), means.shape[1], positions)


@dataclass(frozen=True)
class MomentMeans(Means):
    """Means of values and of their squares, `(A, 2, D)`."""

    loss: BatchNormLoss

    def added(self, matrix: Tensor, shares: Tensor | None, kept: Sequence[Any], patch: Patch) -> Tensor:
        """Return `Σ_k p_k F_ik` and `Σ_k p_k F_ik²`, in float64: their difference is a variance."""
        del kept, patch
        wide = matrix.double()
        weighted = wide if shares is None else wide * shares.unsqueeze(1)
        return torch.stack([weighted.sum(dim=2), (weighted * wide).sum(dim=2)], dim=1)

    def distance(self, means: Tensor, kept: Sequence[Any], positions: int) -> Tensor:
        """Return the loss, from means of values and of their squares."""
        wanted_means, wanted_deviations = zip(*kept, strict=True)
        wanted = (torch.cat(wanted_means), torch.cat(wanted_deviations))
        return self.loss.normalized(moments_distance(*_moments(means), wanted), means.shape[2], positions)

    def keep(self, means: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations of the style image, `(1, D)` both."""
        return _moments(means)


EPSILON = 1e-14
"""A variance below this part of the mean square is rounding of float64."""


def _moments(means: Tensor) -> tuple[Tensor, Tensor]:
    """Return `μ_i` and `s_i`, `(A, D)` both. A constant channel has the gradient 0."""
    mean, square = means.unbind(dim=1)
    variance = square - mean.square()
    varies = variance > EPSILON * square
    return mean, torch.where(varies, torch.where(varies, variance, 1.0).sqrt(), 0.0)


MEANS: dict[type, Callable[[Any], Means]] = {
    ContentLoss: ContentMeans,
    GramLoss: GramMeans,
    RobustGramLoss: GramMeans,
    BatchNormLoss: MomentMeans,
}
"""Losses that are functions of means; add those of your own."""


def means_of(loss: Loss) -> Means | None:
    """Return the means that a loss is a function of; None if it is none of `MEANS`."""
    return MEANS[type(loss)](loss) if type(loss) in MEANS else None


POINTWISE: set[type] = {NoSmoothing, Scale, Log1p, Power}
"""Smoothings whose values depend on no other position; add those of your own."""


def reads_whole_layers(smoothing: Smoothing) -> bool:
    """Return whether a value may depend on other positions than its own."""
    if isinstance(smoothing, Softmax):
        return smoothing.over == "layer"
    return type(smoothing) not in POINTWISE


@dataclass(frozen=True)
class Shared:
    """The numbers that all values of a layer's softmax share.

    Attributes:
        shift: the largest value, `(B, 1)`; a constant of the gradient.
        total: `Σ e^{(F − shift)/T}`, `(B, 1)` float64.
    """

    shift: Tensor
    total: Tensor


def softmax_weights(softmax: Softmax, features: Tensor, reference: Tensor, shift: Tensor) -> Tensor:
    """Return `e^{(F − shift)/T}` of a layer or a part of it, in the shape of `features` `(B, D, ...)`.

    Args:
        softmax: a softmax over layers.
        features: float32 or wider.
        reference: see `Smoothing`.
        shift: `(B, 1)`, a constant.
    """
    rows = (features.flatten(1) - shift) / softmax.temperature.of(reference)
    return rows.exp().view_as(features)


def shared(softmax: Softmax, features: Tensor, reference: Tensor, before: Shared | None) -> Shared:
    """Return what the values of a layer's parts share, up to this part.

    Args:
        softmax: a softmax over layers.
        features: a part of a layer, `(B, D, ...)`.
        reference: see `Smoothing`.
        before: what the values of the earlier parts share; None at the first part.
    """
    features = at_least_float32(features)
    shift = features.flatten(1).amax(dim=1, keepdim=True)
    shift = shift if before is None else torch.maximum(shift, before.shift)
    total = softmax_weights(softmax, features, reference, shift).flatten(1).sum(dim=1, keepdim=True).double()
    if before is not None:
        total = total + before.total * softmax_weights(softmax, before.shift, reference, shift)
    return Shared(shift, total)


def of_part(softmax: Softmax, features: Tensor, reference: Tensor, whole: Shared, count: int) -> Tensor:
    """Return σ of a part of a layer.

    Args:
        softmax: a softmax over layers.
        features: `(B, D, ...)`.
        reference: see `Smoothing`.
        whole: what the values of the whole layer share; σ can be differentiated by its `total`.
        count: the number of values of a whole image, D·M.
    """
    features = at_least_float32(features)
    unit = whole.total.to(features.dtype) / (count if softmax.mean_one else 1)
    unit = unit.view(-1, *[1] * (features.dim() - 1))
    return softmax_weights(softmax, features, reference, whole.shift) / unit


@dataclass(frozen=True, kw_only=True)
class TiledObjective(Objective):
    """An `Objective` with the same terms, apart from rounding, in memory that hardly grows with the picture.

    Its networks must be `TappedNetwork`s. It keeps the content taps of a content image whole.

    Attributes:
        tile: pixels of a tile's side, without the pixels that the network sees around it.

    Raises:
        SettingError: a loss that is no function of means over positions, a smoothing of whole layers other
            than `Softmax`, transformations, or `like`.
    """

    tile: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("tile", self.tile, least=1, whole=True, remedy="null never takes tiles.")
        for side in (self.content, self.style):
            if side.read and means_of(side.loss) is None:
                rule = "should be null for a loss that is no function of means over positions"
                remedy = "Leave it out: execution.checkpoints=true takes less memory with any loss."
                raise SettingError("tile", rule, f"{self.tile} for {type(side.loss).__name__}", remedy)
        if reads_whole_layers(self.smoothing) and not isinstance(self.smoothing, Softmax):
            rule = "should be null for a smoothing that is none of swag_repro.tiling.POINTWISE"
            found = f"{self.tile} for {type(self.smoothing).__name__}"
            raise SettingError("tile", rule, found, "Leave it out, or add the smoothing there.")
        for name, given in (("transformations", self.transformations), ("objective.like", self.like)):
            if given is not None:
                raise SettingError(
                    "tile", f"should be null beside {name}", self.tile, "Leave out one of them."
                )

    @classmethod
    def of(cls, objective: Objective, tile: int) -> TiledObjective:
        """Return the same objective in tiles.

        Raises:
            SettingError: as for the class.
        """
        return cls(**{each.name: getattr(objective, each.name) for each in fields(Objective)}, tile=tile)

    def _features(self, network: Network, images: Tensor) -> Features:
        return TiledFeatures(cast(TappedNetwork, network), images, self.tile)

    def _zeros(self, features: Features) -> Features:
        return cast(TiledFeatures, features).empty()

    def _reference(self, side: Side, features: Features) -> Reference:
        tiled = cast(TiledFeatures, features)
        if not side.read or _means_of(side).keeps_positions:
            return super()._reference(side, tiled.together(side.read) if side.read else {})
        ones = dict.fromkeys(self._parts(side), torch.ones((), dtype=torch.float64))
        seen = Reference({}, self._peaks(tiled, side.read), ones)
        means = _means(tiled, self._readings(tiled, side, [seen]))
        kept = {tap: _means_of(side).keep(found) for tap, found in zip(side.read, means, strict=True)}
        return Reference(kept, seen.peaks, ones)

    def _distances_of_parts(
        self, features: Features, requests: Sequence[Request], draws: Sequence[int]
    ) -> list[dict[str, Tensor]]:
        del draws  # a mean draws no samples
        tiled = cast(TiledFeatures, features)
        readings = [self._readings(tiled, side, references) for side, references in requests]
        means = iter(_means(tiled, [reading for each in readings for reading in each]))
        patches = tiled.tiles[0].patches
        return [
            {
                reading.tap: reading.means.distance(next(means), reading.kept, patches[reading.tap].positions)
                for reading in each
            }
            for each in readings
        ]

    def _peaks(self, features: TiledFeatures, taps: Collection[str]) -> dict[str, Tensor]:
        """Return the largest magnitude of each tap's activations, `(A, 1)`; 0 if no smoothing reads it."""
        if isinstance(self.smoothing, NoSmoothing):
            return dict.fromkeys(taps, features.images.new_zeros(len(features.images), 1))
        found: dict[str, Tensor] = {}
        for _, part in features.parts():
            for tap in taps:
                highest = peak(part[tap])
                found[tap] = torch.maximum(found.get(tap, highest), highest)
        return found

    def _readings(
        self, features: TiledFeatures, side: Side, references: Sequence[Reference]
    ) -> list[_Reading]:
        masks = [of.mask for of in references if of.mask is not None]
        context = LossContext([0] * len(references), torch.cat(masks) if masks else None)
        return [
            _Reading(
                tap,
                _means_of(side),
                self.smoothing if side.smoothed is None or tap in side.smoothed else None,
                torch.cat([of.peaks[tap] for of in references]),
                [of.kept[tap] for of in references] if references[0].kept else [],
                context.position_weights(features.tiles[0].patches[tap].size),
            )
            for tap in side.read
        ]


def whole(objective: Objective) -> Objective:
    """Return the same objective without tiles."""
    if not isinstance(objective, TiledObjective):
        return objective
    return Objective(**{each.name: getattr(objective, each.name) for each in fields(Objective)})


def can_be_tiled(objective: Objective, network: TappedNetwork) -> bool:
    """Return whether tiles fit an objective and a network."""
    try:
        TiledObjective.of(objective, 1)
    except SettingError:
        return False
    return not isinstance(network.fields, str)


def _means_of(side: Side) -> Means:
    return cast(Means, means_of(side.loss))


@dataclass
class _Reading:
    """A tap of A images, as one term of the objective reads it.

    Attributes:
        tap: the tap.
        means: the means of the loss.
        smoothing: the smoothing; None for a tap that is not smoothed.
        peaks: of the references, for an adaptive temperature.
        kept: what is kept of the references.
        shares: how much each position counts; None for all alike.
        common: what the values of the layer share, once it is known, if the smoothing reads whole layers.
        slope: the slope of the means by the total of `common`, for a gradient.
    """

    tap: str
    means: Means
    smoothing: Smoothing | None
    peaks: Tensor
    kept: Sequence[Any]
    shares: Tensor | None
    common: Shared | None = None
    slope: Tensor | float = 0.0

    @property
    def shares_layer(self) -> Softmax | None:
        """The smoothing, if it reads whole layers."""
        if self.smoothing is None or not reads_whole_layers(self.smoothing):
            return None
        return cast(Softmax, self.smoothing)

    def added(self, layer: Tensor, patch: Patch, common: Shared | None) -> Tensor:
        """Return what a part of the layer, `(A, D, h, w)`, adds to the means, `(A, ...)` float64."""
        shares = None if self.shares is None else patch.of(self.shares)
        matrix = self._smoothed(layer, patch, common).flatten(2)
        found = self.means.added(matrix, shares, self.kept, patch).double()
        return found / patch.positions if shares is None else found

    def _smoothed(self, layer: Tensor, patch: Patch, common: Shared | None) -> Tensor:
        if self.smoothing is None:
            return at_least_float32(layer)
        if self.shares_layer is None or common is None:
            return smooth(self.smoothing, layer, self.peaks)
        return of_part(self.shares_layer, layer, self.peaks, common, layer.shape[1] * patch.positions)

    def added_with_slope(self, layer: Tensor, patch: Patch, common: Shared) -> Tensor:
        """Return what a part adds, and add its slope by the total that the layer's values share."""
        with torch.enable_grad():
            total = common.total.detach().requires_grad_()
            value = self.added(layer, patch, Shared(common.shift, total))
            # The slope of `Σ units · value` is linear in `units`: its gradient is each value's slope.
            units = torch.zeros_like(value, requires_grad=True)
            (weighed,) = torch.autograd.grad(value, total, units, create_graph=True)
            (slope,) = torch.autograd.grad(weighed.sum(), units)
        self.slope = self.slope + slope
        return value.detach()

    def worth(self, layer: Tensor, patch: Patch, upstream: Tensor) -> Iterator[Tensor]:
        """Yield numbers for a part, whose sum has the objective's gradient."""
        yield (upstream * self.added(layer, patch, self.common)).sum()
        if (softmax := self.shares_layer) is not None and self.common is not None:
            values = softmax_weights(softmax, at_least_float32(layer), self.peaks, self.common.shift)
            of_total = (upstream * self.slope).reshape(len(upstream), -1).sum(dim=1)
            yield (of_total * values.flatten(1).sum(dim=1)).sum()


class _Means(torch.autograd.Function):
    """The means of several readings over the tiles of images, `(A, ...)` float64 each."""

    @staticmethod
    def forward(
        ctx: Any, _: Tensor, features: TiledFeatures, readings: Sequence[_Reading]
    ) -> tuple[Tensor, ...]:
        ctx.features, ctx.readings = features, readings
        sharing = [reading for reading in readings if reading.shares_layer]
        for _tile, part in features.parts() if sharing else ():
            for reading in sharing:
                softmax = cast(Softmax, reading.shares_layer)
                reading.common = shared(softmax, part[reading.tap], reading.peaks, reading.common)
        means: list[Any] = [0.0] * len(readings)
        for tile, part in features.parts():
            for index, reading in enumerate(readings):
                layer, patch, common = part[reading.tap], tile.patches[reading.tap], reading.common
                if ctx.needs_input_grad[0] and common is not None:
                    means[index] = means[index] + reading.added_with_slope(layer, patch, common)
                else:
                    means[index] = means[index] + reading.added(layer, patch, common)
        return tuple(means)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        images = ctx.features.images
        gradient = torch.zeros_like(images)
        for tile in ctx.features.tiles:
            pixels = images[(..., *tile.pixels)].detach().requires_grad_()
            with torch.enable_grad():
                part = ctx.features.part(tile, pixels)
                worth = sum(
                    value
                    for reading, slope in zip(ctx.readings, upstream, strict=True)
                    for value in reading.worth(part[reading.tap], tile.patches[reading.tap], slope)
                )
            gradient[(..., *tile.pixels)] += torch.autograd.grad(cast(Tensor, worth), pixels)[0]
        return gradient, None, None


def _means(features: TiledFeatures, readings: Sequence[_Reading]) -> tuple[Tensor, ...]:
    """Return the means of each reading, `(A, ...)` float64, differentiable by the features' images."""
    found: tuple[Tensor, ...] = _Means.apply(features.images, features, readings)
    return found
