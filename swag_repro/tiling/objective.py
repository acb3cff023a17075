"""An objective that reads images tile by tile, so that no layer is ever whole.

A loss of means over positions reads each position twice: once for the means, and once for the gradient, which
needs the means of the whole layer. A softmax over the layer divides by a sum and takes one more reading.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from swag_repro.errors import SettingError, check_number
from swag_repro.losses.base import LossContext
from swag_repro.losses.objective import Network, Objective, Reference, Request, Side
from swag_repro.networks import TappedNetwork
from swag_repro.smoothing import NoSmoothing, Smoothing, Softmax, at_least_float32, peak
from swag_repro.statistics import Features
from swag_repro.tiling.features import Patch, Tile, TiledFeatures
from swag_repro.tiling.means import (
    Means,
    Shared,
    means_of,
    of_part,
    reads_whole_layers,
    shared,
    softmax_weights,
)


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
        positions = tiled.tiling.positions
        return [
            {
                reading.tap: reading.means.distance(
                    next(means), reading.kept, math.prod(positions[reading.tap])
                )
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
                context.position_weights(features.tiling.positions[tap]),
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


@dataclass(frozen=True)
class _Reading:
    """A tap of A images, as one term of the objective reads it."""

    tap: str
    means: Means
    smoothing: Smoothing | None
    peaks: Tensor
    kept: Sequence[Any]
    shares: Tensor | None

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
            return self.smoothing(layer, self.peaks)
        return of_part(self.shares_layer, layer, self.peaks, common, layer.shape[1] * patch.positions)


class _Passes:
    """The passes that give the means of several readings over the tiles of images, and their gradient.

    Args:
        features: the features of the images.
        readings: the R readings.
    """

    def __init__(self, features: TiledFeatures, readings: Sequence[_Reading]) -> None:
        self.features, self.readings = features, readings
        self.shared: list[Shared | None] = [None] * len(readings)
        self.slopes: list[Tensor | None] = [None] * len(readings)  # of the means, by the total of `shared`

    def share(self) -> None:
        """Run the first pass, which finds what a layer's values share, if a smoothing asks for it."""
        if not any(reading.shares_layer for reading in self.readings):
            return
        for _, part in self.features.parts():
            for index, reading in enumerate(self.readings):
                if (smoothing := reading.shares_layer) is not None:
                    before = self.shared[index]
                    self.shared[index] = shared(smoothing, part[reading.tap], reading.peaks, before)

    def means(self, *, slopes: bool) -> tuple[Tensor, ...]:
        """Run the second pass, and return the means of each reading, `(A, ...)` float64.

        With `slopes` it also keeps the slopes that a gradient needs.
        """
        means: list[Tensor | None] = [None] * len(self.readings)
        for tile, part in self.features.parts():
            for index, reading in enumerate(self.readings):
                layer, patch = part[reading.tap], tile.patches[reading.tap]
                common = self.shared[index]
                if slopes and common is not None:
                    mean, slope = _with_slope(reading, layer, patch, common)
                    self.slopes[index] = _plus(self.slopes[index], slope)
                else:
                    mean = reading.added(layer, patch, common)
                means[index] = _plus(means[index], mean)
        return tuple(mean for mean in means if mean is not None)

    def gradient(self, upstream: Sequence[Tensor]) -> Tensor:
        """Run the last pass: return the images' gradient, `(A, 3, H, W)`, from those of the means."""
        images = self.features.images
        gradient = torch.zeros_like(images)
        for tile in self.features.tiling.tiles:
            pixels = images[(..., *tile.pixels)].detach().requires_grad_()
            with torch.enable_grad():
                worth = sum(self._worth(tile, self.features.part(tile, pixels), upstream))
            gradient[(..., *tile.pixels)] += torch.autograd.grad(cast(Tensor, worth), pixels)[0]
        return gradient

    def _worth(self, tile: Tile, part: dict[str, Tensor], upstream: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield numbers for each reading's part of a tile, whose sum has the objective's gradient."""
        for index, reading in enumerate(self.readings):
            layer, patch, common = part[reading.tap], tile.patches[reading.tap], self.shared[index]
            slope, smoothing = self.slopes[index], reading.shares_layer
            yield (upstream[index] * reading.added(layer, patch, common)).sum()
            if common is not None and slope is not None and smoothing is not None:
                values = softmax_weights(smoothing, at_least_float32(layer), reading.peaks, common.shift)
                of_total = (upstream[index] * slope).reshape(len(slope), -1).sum(dim=1)
                yield (of_total * values.flatten(1).sum(dim=1)).sum()


def _with_slope(reading: _Reading, layer: Tensor, patch: Patch, common: Shared) -> tuple[Tensor, Tensor]:
    """Return what a part of a layer adds, and its slope by the total that the layer's values share."""
    with torch.enable_grad():
        total = common.total.detach().requires_grad_()
        value = reading.added(layer, patch, Shared(common.shift, total))
        # The slope of `Σ units · value` is linear in `units`: its gradient is each value's slope.
        units = torch.zeros_like(value, requires_grad=True)
        (weighed,) = torch.autograd.grad(value, total, units, create_graph=True)
        (slope,) = torch.autograd.grad(weighed.sum(), units)
    return value.detach(), slope


def _plus(one: Tensor | None, other: Tensor) -> Tensor:
    return other if one is None else one + other


class _Means(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, _: Tensor, passes: _Passes) -> tuple[Tensor, ...]:
        ctx.passes = passes
        passes.share()
        return passes.means(slopes=ctx.needs_input_grad[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return ctx.passes.gradient(upstream), None


def _means(features: TiledFeatures, readings: Sequence[_Reading]) -> tuple[Tensor, ...]:
    """Return the means of each reading, `(A, ...)` float64, differentiable by the features' images."""
    found: tuple[Tensor, ...] = _Means.apply(features.images, _Passes(features, readings))
    return found
