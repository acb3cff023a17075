"""Measures of finished pictures by a network that was not optimised, and the choice of that network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from swag_repro.errors import SettingError, UserError, check_number, check_seed
from swag_repro.images import grey
from swag_repro.images.files import MIN_SIDE
from swag_repro.measures.distances import (
    Distance,
    frechet_distance,
    lpips,
    mean_over,
    read_features,
    relative_gram_distance,
    relative_sliced_wasserstein,
    shrunk,
    ssim,
    structural_divergence,
    why_no_lpips,
)
from swag_repro.networks import Architecture, TappedNetwork
from swag_repro.weights import Weights


@dataclass(frozen=True)
class WeightedNetwork:
    """An architecture and its weights, not built yet. `str()` labels it: `vgg19(random)`."""

    architecture: Architecture
    weights: Weights

    @property
    def digest(self) -> str | None:
        """The digest that identifies the weights' values; None if the settings identify them."""
        return self.weights.digest(self.architecture)

    def equals(self, other: WeightedNetwork) -> bool:
        """Return whether both are the same function, judged by names and weights.

        Raises:
            WeightsError: weights that are not available.
        """
        if self.architecture.name != other.architecture.name:
            return False
        if self.weights == other.weights:
            return True
        mine, theirs = self.digest, other.digest
        # torchvision announces only the start of a file's SHA-256.
        return (
            mine is not None and theirs is not None and (mine.startswith(theirs) or theirs.startswith(mine))
        )

    def __str__(self) -> str:
        return f"{self.architecture.name}({self.weights.name})"


def check_held_out(measuring: WeightedNetwork, optimised: WeightedNetwork) -> None:
    """Raise if the measuring network is the optimised one: its style distance would be circular.

    Raises:
        SettingError: both are the same architecture with the same weights.
    """
    if measuring.equals(optimised):
        raise SettingError(
            "measures.network",
            "should not be the network that is optimised",
            f"{measuring} for both",
            "Choose another with network@measures.network=..., or other weights.",
        )


@dataclass(frozen=True)
class Measure:
    """One number of one finished picture.

    Attributes:
        statistic: `luminance_wasserstein`, `style_distance`, `sliced_wasserstein`, `sifid` (style);
            `cfsd`, `ssim`, `lpips` (content).
        definition: the network that measured, such as `vgg19(random)`; None where pixels are compared.
        layer: the tap; None for a mean over the style taps, or for pixels.
        value: the number; None if it is not available.
        reason: why there is no value; else None.
    """

    statistic: str
    definition: str | None
    layer: str | None
    value: float | None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """All measures of finished pictures by one network that wasn't optimised.

    Attributes:
        network: read at all the taps below.
        label: the network's name in rows.
        style_taps: the taps of `style_distance` and `sliced_wasserstein`. CFSD reads the middle one (relu3_1
            in a VGG, as its authors do). SIFID reads the first one (its authors read a layer of
            Inception-v3). The distance of luminances reads the last but one (relu4_1 in a VGG).
        projections: the number of projections of the sliced Wasserstein distances.
        seed: the seed of the projections.
        size: the most pixels of the short side of what is measured; larger pictures are shrunk. None: no
            limit.
    """

    network: TappedNetwork
    label: str
    style_taps: Sequence[str]
    projections: int
    seed: int
    size: int | None

    def __call__(
        self, images: Tensor, contents: Tensor, styles: Sequence[Tensor]
    ) -> Iterator[tuple[Measure, ...]]:
        """Yield the measures of each picture, one picture at a time.

        Args:
            images: finished pictures, `(B, 3, H, W)`, RGB in [0, 1].
            contents: the content image of each picture, `(B, 3, H, W)`.
            styles: the style image of each picture, `(3, H', W')` of any size.

        Yields:
            One tuple per picture, with the same measures in the same order.
        """
        for image, content, style in zip(images, contents, styles, strict=True):
            yield self._measures(*(shrunk(picture, self.size) for picture in (image, content, style)))

    @torch.inference_mode()
    def _measures(self, image: Tensor, content: Tensor, style: Tensor) -> tuple[Measure, ...]:
        features = cache(partial(read_features, self.network))
        taps = self.style_taps
        early, middle, deep = taps[0], taps[len(taps) // 2], taps[-2]

        def by_network(statistic: str, distance: Distance, taps: Sequence[str], other: Tensor) -> Measure:
            layer = taps[0] if len(taps) == 1 else None
            return _measure(
                statistic,
                self.label,
                layer,
                lambda: mean_over(taps, distance, features(image), features(other)),
            )

        sliced = partial(relative_sliced_wasserstein, projections=self.projections, seed=self.seed)
        grey_image, grey_style = grey(image), grey(style)
        return (
            _measure(
                "luminance_wasserstein",
                self.label,
                deep,
                lambda: sliced(features(grey_image)[deep], features(grey_style)[deep]),
            ),
            by_network("style_distance", relative_gram_distance, taps, style),
            by_network("sliced_wasserstein", sliced, taps, style),
            by_network("sifid", frechet_distance, [early], style),
            by_network("cfsd", structural_divergence, [middle], content),
            _measure("ssim", None, None, lambda: ssim(image[None], content[None])),
            _lpips(image[None], content[None]),
        )


def _measure(
    statistic: str, definition: str | None, layer: str | None, compute: Callable[[], Tensor]
) -> Measure:
    """Return the measure, or the reason why it has no value: an error must not lose a finished picture."""
    try:
        value = compute().item()
    except (UserError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
        return Measure(statistic, definition, layer, None, str(error))
    if not math.isfinite(value):
        return Measure(statistic, definition, layer, None, f"not finite ({value})")
    return Measure(statistic, definition, layer, value)


def _lpips(image: Tensor, content: Tensor) -> Measure:
    value = lpips(image, content)
    if value is None:
        return Measure("lpips", "alexnet(imagenet)", None, None, why_no_lpips(image))
    return _measure("lpips", "alexnet(imagenet)", None, lambda: value)


@dataclass(frozen=True, kw_only=True)
class Measures:
    """The settings of the measures, one file of `conf/measures`: which network measures, and how.

    Attributes:
        network: the network that measures, unless the optimised network is of its family. The names in a
            family differ only in the number of layers at the end and in the pooling, like VGG-16 and VGG-19.
        alternative: the network that measures in that case.
        weights: the weights of the network that measures.
        projections: the number of projections of the sliced Wasserstein distances.
        seed: the seed of these projections.
        size: the most pixels of the short side of what is measured; None: no limit.

    Raises:
        SettingError: no projection, or a size below 16 pixels.
    """

    network: Architecture
    alternative: Architecture
    weights: Weights
    projections: int
    seed: int
    size: int | None

    def __post_init__(self) -> None:
        check_number("measures.projections", self.projections, least=1, whole=True)
        check_seed("measures.seed", self.seed)
        if self.size is not None:
            remedy = "null measures pictures as they are."
            check_number("measures.size", self.size, least=MIN_SIDE, whole=True, remedy=remedy)

    def choose(self, optimised: WeightedNetwork) -> WeightedNetwork:
        """Return the network that measures the pictures of the optimised one.

        Raises:
            SettingError: the two would be the same.
            WeightsError: weights that are not available.
        """
        same_family = _family(self.network) == _family(optimised.architecture)
        architecture = self.alternative if same_family else self.network
        chosen = WeightedNetwork(architecture, self.weights)
        check_held_out(chosen, optimised)
        return chosen

    def build(self, chosen: WeightedNetwork, device: torch.device | str = "cpu") -> HeldOut:
        """Build the measures with the chosen network.

        Raises:
            WeightsError: weights that are not available.
        """
        architecture, taps = chosen.architecture, chosen.architecture.style_taps
        network = TappedNetwork.of(architecture, chosen.weights.build(architecture), taps)
        return HeldOut(
            network=network.to(device),
            label=str(chosen),
            style_taps=taps,
            projections=self.projections,
            seed=self.seed,
            size=self.size,
        )


def _family(architecture: Architecture) -> str:
    return architecture.name.removesuffix("_avg").rstrip("0123456789")
