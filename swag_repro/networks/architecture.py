"""The description of a network without its weights, and the scale λ of its shortcuts, `ReLU(R(F) + λF)`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from torch import Tensor, nn
from torchvision.models import get_weight
from torchvision.models.resnet import BasicBlock, Bottleneck

from swag_repro.errors import SettingError, check_number
from swag_repro.networks.variants import ConvolutionGroup

RESIDUAL_UNITS: Mapping[type[nn.Module], str] = {
    BasicBlock: "bn2",
    Bottleneck: "bn3",
    ConvolutionGroup: "residual",
}
"""Kind of unit → the module to whose output it adds `downsample(F)`, or F if `downsample` is None."""


class Shortcut(nn.Sequential):
    """A shortcut `λF`, or λ times the projection of F; the projection's parameters keep their names.

    Args:
        projection: for a unit that changes the shape; None for F itself.
        scale: λ.
    """

    def __init__(self, projection: nn.Sequential | None, scale: float) -> None:
        super().__init__(*(projection or ()))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor | float:
        """Return `(B, C, H, W)` → `(B, C', H', W')`; the number 0 for λ = 0, so that no projection runs."""
        return super().forward(x) * self.scale if self.scale else 0.0  # type: ignore[no-untyped-call]


def scale_shortcuts(network: nn.Module, scale: float) -> None:
    """Multiply every shortcut by λ, in place. Parameters stay as they are, even with λ = 0.

    Args:
        network: has residual units of torchvision or of `pseudo_resvgg`. λ = 1 leaves it as it is.
        scale: λ in [0, 1].

    Raises:
        SettingError: the network has no shortcuts.
    """
    units = residual_units(network).values()
    if not units:
        raise SettingError(
            "network.shortcut", "should be null for a network without shortcuts", scale, "Leave it out."
        )
    if scale != 1:
        for unit in units:
            unit.downsample = Shortcut(unit.downsample, scale)  # type: ignore[arg-type]


def residual_units(network: nn.Module) -> dict[str, nn.Module]:
    """Return the residual units of a network by their paths, from shallow to deep."""
    kinds = tuple(RESIDUAL_UNITS)
    return {name: module for name, module in network.named_modules() if isinstance(module, kinds)}


def idle_modules(network: nn.Module) -> list[str]:
    """Return the names of modules whose parameters no output depends on: shortcuts with λ = 0."""
    return [
        name for name, module in network.named_modules() if isinstance(module, Shortcut) and not module.scale
    ]


TIMM = "timm/"
"""The start of the names of timm's models and weights."""

# Mean and standard deviation of ImageNet's RGB channels in [0, 1] (torchvision's reference training).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The architecture of a network, one file of `conf/network`.

    Attributes:
        name: its name in rows and file names (`resnet50`).
        label: its name in figures (`ResNet-50`).
        builder: returns the module with fresh weights; torchvision's own function (which also takes
            `weights=`), or yours.
        taps: a layer's name in the literature (`conv4_6`) → path of the module whose output it is
            (`layer3.5`), as torchvision's feature extraction names it.
        style_taps: layers of the style loss, from shallow to deep.
        hypercolumn_taps: layers read side by side at one position (STROTSS); None for the style taps.
        content_tap: layer of the content loss.
        statistic_taps: layers whose activations are measured, from shallow to deep.
        shortcut: λ in `ReLU(R(F) + λF)`, from 0 (no shortcuts) to 1 (as built); None for a network without
            shortcuts to scale.
        head: modules that pretrained weights may lack (the classifier).
        imagenet: torchvision's weights enum (`ResNet50_Weights.IMAGENET1K_V1`), or timm's name of weights
            (`timm/repvgg_a2.rvgg_in1k`); None if there is none.
        mean: the mean of the images that the network was made for, RGB in [0, 1].
        std: the standard deviation of these images.

    Raises:
        SettingError: a list names a tap that `taps` doesn't define, no layer is measured, the shortcut is no
            number from 0 to 1, or a colour lacks its mean or a positive deviation.
    """

    name: str
    label: str
    builder: Callable[..., nn.Module]
    taps: Mapping[str, str]
    style_taps: Sequence[str]
    content_tap: str
    statistic_taps: Sequence[str]
    hypercolumn_taps: Sequence[str] | None = None
    shortcut: float | None = None
    head: Sequence[str] = ()
    imagenet: str | None = None
    mean: Sequence[float] = field(default=IMAGENET_MEAN)
    std: Sequence[float] = field(default=IMAGENET_STD)

    def __post_init__(self) -> None:
        self._check_known("style_taps", self.style_taps)
        self._check_known("content_tap", [self.content_tap])
        self._check_known("hypercolumn_taps", self.columns)
        self._check_known("statistic_taps", self.statistic_taps)
        self._check_colors("mean", "numbers", holds=True)
        self._check_colors("std", "positive numbers", holds=all(value > 0 for value in self.std))
        if self.shortcut is not None:
            remedy = "1 is the residual network, 0 has no shortcuts."
            check_number("network.shortcut", self.shortcut, least=0, most=1, remedy=remedy)
        if self.imagenet is not None and not self.imagenet.startswith(TIMM):
            try:
                get_weight(self.imagenet)
            except (ValueError, KeyError) as error:
                rule, remedy = "should be torchvision's name of weights", "null if there are none."
                raise SettingError("network.imagenet", rule, repr(self.imagenet), remedy) from error

    def build(self, **settings: object) -> nn.Module:
        """Return the network with the weights that its builder gives it and its shortcuts scaled.

        Args:
            settings: other keywords of the builder, such as torchvision's `weights`.

        Raises:
            SettingError: a scale is given, and the network has no shortcuts.
        """
        network = self.builder(**settings)
        if self.shortcut is not None:
            scale_shortcuts(network, self.shortcut)
        return network

    @property
    def columns(self) -> Sequence[str]:
        """The layers of a hypercolumn."""
        return self.style_taps if self.hypercolumn_taps is None else self.hypercolumn_taps

    def paths(self, taps: Sequence[str]) -> dict[str, str]:
        """Return the module path of each of these taps."""
        return {tap: self.taps[tap] for tap in taps}

    def _check_colors(self, setting: str, what: str, *, holds: bool) -> None:
        values = list(getattr(self, setting))
        if len(values) != 3 or not all(map(math.isfinite, values)) or not holds:
            rule = f"should be three {what}, of red, green and blue"
            raise SettingError(f"network.{setting}", rule, values, "Leave it out for ImageNet's.")

    def _check_known(self, setting: str, taps: Sequence[str]) -> None:
        name = f"network.{setting}"
        if not taps:
            raise SettingError(
                name, "should name at least one tap", "none", f"Choose from {list(self.taps)}."
            )
        for tap in taps:
            if tap not in self.taps:
                near = get_close_matches(tap, self.taps) or list(self.taps)
                raise SettingError(
                    name, f"should name taps of {self.name}", repr(tap), f"Choose from {', '.join(near)}."
                )
