"""The objective that a stylisation minimises: content and style losses of a network's smoothed taps."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from swag_repro.errors import SettingError, check_choice, check_number
from swag_repro.losses.balance import (
    BALANCES,
    MATCHES,
    gradient_matched_units,
    gradient_norms,
    layer_units,
    matched_units,
    shares,
    side_units,
)
from swag_repro.losses.base import PIXELS, Loss, LossContext, total_variation
from swag_repro.smoothing import NoSmoothing, Smoothing, at_least_float32, peak, smooth
from swag_repro.statistics import Features

Network = Callable[[Tensor], Features]

Transformation = Callable[[Tensor, Sequence[int]], Tensor]
"""Images `(A, 3, H, W)` and a draw for each → the images, moved."""

# The draws that balance a stochastic loss; no iteration uses their numbers.
BALANCING_DRAWS = range(-8, 0)


class Terms(NamedTuple):
    """The terms of the objective, `(B,)` float64 each; all but `total` are without their weights.

    A content or style term of weight 0 is not computed, and is 0 here.
    """

    content: Tensor
    style: Tensor
    total_variation: Tensor
    total: Tensor


@dataclass(frozen=True)
class Style:
    """One of the style images of a pair.

    Attributes:
        image: `(3, H', W')`, RGB in [0, 1], of any size.
        weight: relative to the pair's other styles; 0 or more.
        mask: `(1, H, W)` in [0, 1], of the content's size, 1 where this style is wanted; None for everywhere.
    """

    image: Tensor
    weight: float = 1.0
    mask: Tensor | None = None


@dataclass(frozen=True)
class Reference:
    """The reference that one side of the objective compares an image with, for one pair.

    Attributes:
        kept: what the loss keeps of the smoothed features.
        peaks: tap → `(1, 1)`, for an adaptive temperature.
        units: part → the number that divides it, float64.
        weight: the weight of this style in the pair; 1 for a content.
        mask: `(1, 1, H, W)`, or None.
    """

    kept: Any
    peaks: Mapping[str, Tensor]
    units: Mapping[str, Tensor]
    weight: float = 1.0
    mask: Tensor | None = None


@dataclass(frozen=True)
class Targets:
    """The references of B images, computed once in a run.

    Attributes:
        contents: one for each pair.
        styles: for each pair, one for each of its styles.
    """

    contents: tuple[Reference, ...]
    styles: tuple[tuple[Reference, ...], ...]

    def of(self, indices: Sequence[int]) -> Targets:
        """Return the targets of these pairs."""
        return Targets(tuple(self.contents[i] for i in indices), tuple(self.styles[i] for i in indices))

    def unbalanced(self) -> Targets:
        """Return these targets with all units 1, as in the equations."""

        def plain(of: Reference) -> Reference:
            return replace(of, units={part: torch.ones_like(unit) for part, unit in of.units.items()})

        return Targets(
            tuple(map(plain, self.contents)), tuple(tuple(map(plain, mixed)) for mixed in self.styles)
        )


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two sides of an objective: a loss, and the taps that it reads.

    Attributes:
        loss: compares features with a reference's.
        taps: tap → weight, 0 or more; taps of weight 0 are not read.
        weight: the weight of the whole side, 0 or more; if it is 0, no tap is read.
        smoothed: the taps that are smoothed; None for all.
    """

    loss: Loss
    taps: Mapping[str, float]
    weight: float
    smoothed: Collection[str] | None = None

    @property
    def read(self) -> dict[str, float]:
        """The taps that are read, tap → weight above 0."""
        return {tap: weight for tap, weight in self.taps.items() if weight * self.weight > 0}


Request = tuple[Side, Sequence[Reference]]
"""A side of A images, and the reference of each image."""


@dataclass(frozen=True, kw_only=True)
class BorrowedShares:
    """Another arm, whose layers' shares of the style term are taken over without its smoothing.

    Attributes:
        smoothing: the other arm's smoothing; its balance is `sides`.
        match: `loss` takes shares of the loss between content and style image, `gradient` takes shares of the
            norm of the loss's gradient at the content image.

    Raises:
        SettingError: an unknown `match`.
    """

    smoothing: Smoothing
    match: str

    def __post_init__(self) -> None:
        check_choice("objective.match", self.match, MATCHES)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The sum `α · content + β · Σ_s v_s Σ_p w_p · style_p + γ · total variation` of a pair (SWAG, eq. 2).

    The parts p of a loss are mostly the taps. The index s runs over the styles of a pair; their weights v are
    scaled to a sum of 1. Styles with masks also count by the masks' areas, so that their strokes are as
    strong as without masks. Both images of a term are smoothed alike: an adaptive temperature comes from the
    style image for the style terms, and from the content image for the content term.

    Attributes:
        content: the content loss and its taps; its weight is α.
        style: the style loss and its taps; its weight is β.
        smoothing: smooths the features that both losses read.
        total_variation_weight: γ, 0 or more.
        balance: `sides` divides the content term and the sum of the style's parts by one number each, which
            comes from the pair's own content and style image. Their weights then mean the same for every
            network, smoothing, loss and normaliser, and the equation's layer weights stay. `layers` divides
            each part by a number of its own, which gives all layers equal shares: a re-weighting. `none`
            takes the equations as they are. A side or part that differs between the two images only by
            rounding is divided by its value for features of zeros. See `swag_repro.losses.balance`.
        like: the arm whose shares the style's parts take; None for their own. It needs `sides`.
        transformations: moves the images before the network sees them, differently for each draw; None leaves
            the images as they are. Content terms and masks compare places, so they exclude it.

    Raises:
        SettingError: a weight that is negative or not finite, weights that are all 0, an unknown balance, or
            `like` under another balance than `sides`.
    """

    content: Side
    style: Side
    smoothing: Smoothing
    total_variation_weight: float
    balance: str
    like: BorrowedShares | None = None
    transformations: Transformation | None = None

    def __post_init__(self) -> None:
        weights = {
            "objective.content_weight": self.content.weight,
            "objective.style_weight": self.style.weight,
            "objective.total_variation_weight": self.total_variation_weight,
            **{f"objective weight of {tap}": weight for tap, weight in self.content.taps.items()},
            **{f"objective weight of {tap}": weight for tap, weight in self.style.taps.items()},
        }
        for setting, weight in weights.items():
            check_number(setting, weight, least=0, remedy="0 leaves the term out.")
        if not (self.content.read or self.style.read):
            rule = "should leave a term for content or style"
            raise SettingError("objective weights", rule, "weights of 0 only", "Raise one of them.")
        check_choice("objective.balance", self.balance, BALANCES)
        if self.like is not None and self.balance != "sides":
            rule = "should be sides where objective.like takes over another arm's shares"
            raise SettingError("objective.balance", rule, self.balance, "Leave out one of the two.")
        if self.transformations is not None and self.content.read:
            rule = "should be 0 with transformations: the content term compares places, which move"
            raise SettingError(
                "objective.content_weight", rule, self.content.weight, "Leave out one of the two."
            )

    @property
    def stochastic(self) -> bool:
        """True if two evaluations of one image may differ."""
        return self.transformations is not None or any(
            side.loss.stochastic for side in (self.content, self.style) if side.read
        )

    def taps(self) -> tuple[str, ...]:
        """Return the taps that the network must read."""
        return tuple(dict.fromkeys([*self.style.read, *self.content.read]))

    def weighted(self, content_weight: float) -> Objective:
        """Return this objective with another α."""
        return replace(self, content=replace(self.content, weight=content_weight))

    # --- Targets ---

    @torch.no_grad()
    def targets(self, network: Network, contents: Tensor, styles: Sequence[Sequence[Style]]) -> Targets:
        """Return the references that the pairs are compared with.

        Args:
            network: images → features of each tap; it has all of `taps()`.
            contents: `(B, 3, H, W)`, RGB in [0, 1].
            styles: the styles of each of the B pairs, the same number for all.

        Raises:
            SettingError: weights of styles that sum to 0, or an empty mask.
            ValueError: another number of styles than of contents.
        """
        if len({len(mixed) for mixed in styles}) > 1:
            raise ValueError("every pair should have the same number of styles")
        pairs = [
            self._pair(network, content.unsqueeze(0), mixed)
            for content, mixed in zip(contents, styles, strict=True)
        ]
        return Targets(tuple(content for content, _ in pairs), tuple(mixed for _, mixed in pairs))

    @torch.no_grad()
    def targets_of(
        self, of_contents: Features, of_styles: Features, wanted: Mapping[str, Tensor] | None = None
    ) -> Targets:
        """Return the references of pairs with one style each, given their features.

        All pairs have the mean of their units, so that a pair of nearly equal images weighs no more.

        Args:
            of_contents: features of B contents at each tap of `taps()`, `(B, D, H, W)`, and `PIXELS`.
            of_styles: features of their styles, in the same form.
            wanted: tap → features that the content term compares with, in place of the contents' own.

        Raises:
            SettingError: `like` matches gradients, for which there is no network.
        """
        if self.like is not None and self.like.match == "gradient":
            rule = "should be loss where networks are trained"
            raise SettingError("objective.match", rule, self.like.match, "Choose objective.match=loss.")
        pairs = []
        for index in range(len(of_contents[PIXELS])):
            content, style, asked = (
                {tap: layer[index : index + 1] for tap, layer in features.items()}
                for features in (of_contents, of_styles, {**of_contents, **(wanted or {})})
            )
            reference = self._style_reference(None, Style(style[PIXELS][0]), 1.0, style, content)
            own = self._balanced(self.content, self._reference(self.content, asked), style)
            pairs.append((own, reference))
        contents, styles = (_in_mean_units(side) for side in zip(*pairs, strict=True))
        return Targets(tuple(contents), tuple((style,) for style in styles))

    def _pair(
        self, network: Network, content: Tensor, styles: Sequence[Style]
    ) -> tuple[Reference, tuple[Reference, ...]]:
        features = self._features(network, content)
        own = self._reference(self.content, features)
        references, others = [], []
        for style, weight in zip(styles, style_weights(styles), strict=True):
            image = style.image.unsqueeze(0)
            of_style = self._features(network, image)
            references.append(self._style_reference(network, style, weight, of_style, features))
            if self._needs_units(self.content) and image.shape != content.shape:
                of_style = self._features(network, _resized(image, content))
            others.append(of_style)
        return self._balanced(self.content, own, *others), tuple(references)

    def _style_reference(
        self, network: Network | None, style: Style, weight: float, of_style: Features, of_content: Features
    ) -> Reference:
        mask = None if style.mask is None else style.mask.unsqueeze(0)
        reference = replace(self._reference(self.style, of_style), weight=weight, mask=mask)
        if self.like is None or not self.style.read:
            return self._balanced(self.style, reference, of_content)
        return self._matched(network, self.like, reference, of_style, of_content)

    def _reference(self, side: Side, features: Features) -> Reference:
        peaks = {tap: peak(features[tap]) for tap in side.read}
        ones = dict.fromkeys(self._parts(side), torch.ones((), dtype=torch.float64))
        if not side.read:
            return Reference(None, peaks, ones)
        return Reference(side.loss.target(self._smoothed(side, features, peaks)), peaks, ones)

    def _needs_units(self, side: Side) -> bool:
        return self.balance != "none" and bool(side.read)

    def _balanced(self, side: Side, reference: Reference, *others: Features) -> Reference:
        """Return the reference with units, from the mean distances of each part to these features."""
        if not self._needs_units(side):
            return reference
        units_of = layer_units if self.balance == "layers" else side_units
        units = units_of(self._parts(side), *self._distances(side, reference, others))
        return replace(reference, units=units)

    def _matched(
        self,
        network: Network | None,
        like: BorrowedShares,
        reference: Reference,
        of_style: Features,
        of_content: Features,
    ) -> Reference:
        """Return the reference with units that give each style part the share it has in another arm."""
        other = replace(self, smoothing=like.smoothing, like=None)
        theirs = replace(other._reference(other.style, of_style), mask=reference.mask)
        weights, distances = self._parts(self.style), self._distances(self.style, reference, [of_content])
        if like.match == "gradient" and network is not None:
            image = of_content[PIXELS]
            own, wanted = (arm._norms(network, of, image) for arm, of in ((self, reference), (other, theirs)))
            wanted = shares({part: weight * wanted[part] for part, weight in weights.items()})
            return replace(reference, units=gradient_matched_units(weights, *distances, own, wanted))
        wanted, _ = other._distances(other.style, theirs, [of_content])
        wanted = shares({part: weight * wanted[part] for part, weight in weights.items()})
        return replace(reference, units=matched_units(weights, *distances, wanted))

    def _norms(self, network: Network, reference: Reference, image: Tensor) -> dict[str, Tensor]:
        """Return the norm of the gradient of each style part at an image `(1, 3, H, W)`."""
        with torch.enable_grad():
            image = image.detach().requires_grad_()
            features = self._features(network, image)
            terms = self._parts_of(self.style, features, [reference], [BALANCING_DRAWS[0]])
            return {part: norm[0] for part, norm in gradient_norms(terms, image).items()}

    def _distances(
        self, side: Side, reference: Reference, others: Sequence[Features]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return each part's mean distance to other images' features, and its value for zero features."""
        nothing = self._zeros(others[0])
        sizes = replace(self, smoothing=NoSmoothing())._mean_parts(side, reference, nothing)
        found = [self._mean_parts(side, reference, other) for other in others]
        return {part: torch.stack([each[part] for each in found]).mean(dim=0) for part in sizes}, sizes

    def _mean_parts(self, side: Side, reference: Reference, features: Features) -> dict[str, Tensor]:
        """Return each part between one reference and one image, the mean over draws if it is stochastic."""
        draws = BALANCING_DRAWS if side.loss.stochastic else range(1)
        found = [self._distances_of_parts(features, [(side, [reference])], [draw])[0] for draw in draws]
        return {part: torch.stack([each[part][0] for each in found]).mean(dim=0) for part in found[0]}

    # --- Evaluation ---

    def __call__(
        self, network: Network, images: Tensor, targets: Targets, draws: Sequence[int] | None = None
    ) -> Terms:
        """Return the terms of A images.

        Args:
            network: as for `targets`.
            images: `(A, 3, H, W)`.
            targets: the references of these images, in their order.
            draws: A numbers, see `LossContext`; None for 0 everywhere.
        """
        draws = [0] * len(images) if draws is None else draws
        seen = images if self.transformations is None else self.transformations(images, draws)
        features = self._features(network, seen)
        zero = torch.zeros(len(images), dtype=torch.float64, device=images.device)
        requests = [(self.content, targets.contents)] if self.content.read else []
        if self.style.read:
            requests += [(self.style, mixed) for mixed in zip(*targets.styles, strict=True)]
        terms = [
            torch.stack(list(parts.values())).sum(dim=0) for parts in self._terms(features, requests, draws)
        ]
        content = terms.pop(0) if self.content.read else zero
        style = sum(terms, start=zero)
        smoothness = total_variation(images)
        weights = (self.content.weight, self.style.weight, self.total_variation_weight)
        total = zero
        for weight, term in zip(weights, (content, style, smoothness), strict=True):
            total = total + weight * term if weight else total
        return Terms(content, style, smoothness, total)

    def style_parts(self, network: Network, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Return the summands of the style term, part → `(A,)` float64; empty without a style.

        The arguments are those of `__call__`; the draws are 0.
        """
        features = self._features(network, images)
        parts: dict[str, Tensor] = {}
        requests = [(self.style, mixed) for mixed in zip(*targets.styles, strict=True)]
        for terms in self._terms(features, requests if self.style.read else [], [0] * len(images)):
            for part, term in terms.items():
                parts[part] = parts.get(part, 0) + term
        return parts

    def style_features(self, network: Network, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Return the smoothed features that the style term compares with its first style.

        They are tap → `(A, D, H, W)`; empty without a style. The arguments are those of `__call__`.
        """
        if not self.style.read:
            return {}
        references = [mixed[0] for mixed in targets.styles]
        peaks = {tap: torch.cat([of.peaks[tap] for of in references]) for tap in self.style.read}
        return self._smoothed(self.style, self._features(network, images), peaks)

    def _terms(
        self, features: Features, requests: Sequence[Request], draws: Sequence[int]
    ) -> list[dict[str, Tensor]]:
        """Return part → `(A,)` of each request, weighted and divided by its units."""
        return [
            {
                part: found[part] * _factors(part, weight, references, found[part].device)
                for part, weight in self._parts(side).items()
            }
            for (side, references), found in zip(
                requests, self._distances_of_parts(features, requests, draws), strict=True
            )
        ]

    def _distances_of_parts(
        self, features: Features, requests: Sequence[Request], draws: Sequence[int]
    ) -> list[dict[str, Tensor]]:
        """Return part → `(A,)` of each request."""
        return [self._parts_of(side, features, references, draws) for side, references in requests]

    def _parts_of(
        self, side: Side, features: Features, references: Sequence[Reference], draws: Sequence[int]
    ) -> dict[str, Tensor]:
        masks = [of.mask for of in references if of.mask is not None]
        context = LossContext(draws, torch.cat(masks) if masks else None)
        peaks = {tap: torch.cat([of.peaks[tap] for of in references]) for tap in side.read}
        smoothed = self._smoothed(side, features, peaks)
        return side.loss(smoothed, [of.kept for of in references], context)

    def _parts(self, side: Side) -> dict[str, float]:
        return side.loss.weights(side.read, self.content.weight) if side.read else {}

    def _smoothed(self, side: Side, features: Features, peaks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        read = {
            tap: smooth(self.smoothing, features[tap], peaks[tap])
            if side.smoothed is None or tap in side.smoothed
            else at_least_float32(features[tap])
            for tap in side.read
        }
        return {PIXELS: features[PIXELS], **read} if side.loss.reads_pixels else read

    def _features(self, network: Network, images: Tensor) -> Features:
        return {**network(images), PIXELS: images}

    def _zeros(self, features: Features) -> Features:
        """Return zeros in place of features."""
        return {tap: torch.zeros_like(layer) for tap, layer in features.items()}


def _factors(part: str, weight: float, references: Sequence[Reference], device: torch.device) -> Tensor:
    """Return a part's weight times each reference's, divided by its unit: `(A,)` float64.

    No device synchronises for it.
    """
    own = torch.tensor([of.weight for of in references], dtype=torch.float64, device=device)
    return weight * own / torch.stack([of.units[part].to(device) for of in references])


def _in_mean_units(references: Sequence[Reference]) -> list[Reference]:
    means = {
        part: torch.stack([of.units[part] for of in references]).mean(dim=0) for part in references[0].units
    }
    return [replace(of, units=means) for of in references]


def style_weights(styles: Sequence[Style]) -> list[float]:
    """Return the styles' weights times the areas of their masks, scaled to a sum of 1.

    Raises:
        SettingError: a weight that is negative or not finite, an empty mask, or a sum of 0.
    """
    for style in styles:
        check_number("weight of a style", style.weight, least=0)
        if style.mask is not None and not float(style.mask.max()) > 0:
            rule = "should be above 0 somewhere: white is where the style is wanted"
            raise SettingError("masks", rule, "an empty mask", "Paint the region white.")
    areas = [1.0 if style.mask is None else float(style.mask.mean()) for style in styles]
    weights = [style.weight * area for style, area in zip(styles, areas, strict=True)]
    if not math.fsum(weights) > 0:
        rule = "should have a sum above 0"
        raise SettingError("weights of the styles", rule, [s.weight for s in styles], "Raise one of them.")
    return [weight / math.fsum(weights) for weight in weights]


def _resized(image: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(image, like.shape[-2:], mode="bilinear", antialias=True)
