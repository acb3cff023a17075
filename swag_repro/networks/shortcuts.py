"""A dial for the shortcuts of a residual network: `F^l = ReLU(R(F^{l−1}) + λF^{l−1})`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from swag_repro.errors import SettingError
from swag_repro.networks.variants import ConvolutionGroup

RESIDUAL_UNITS: Mapping[type[nn.Module], str] = {
    BasicBlock: "bn2",
    Bottleneck: "bn3",
    ConvolutionGroup: "residual",
}
"""Units that add `downsample(F)`, or F itself where `downsample` is None, to what this module gives."""


class Shortcut(nn.Sequential):
    """`λF`, or λ times the projection of F; keeps the names of the projection's parameters.

    Args:
        projection: where the shape changes from one unit to the next; None for F itself.
        scale: λ.
    """

    def __init__(self, projection: nn.Sequential | None, scale: float) -> None:
        super().__init__(*(projection or ()))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor | float:
        """`(B, C, H, W)` → `(B, C', H', W')`; the number 0 for λ = 0, so that no projection runs."""
        return super().forward(x) * self.scale if self.scale else 0.0  # type: ignore[no-untyped-call]


def scale_shortcuts(network: nn.Module, scale: float) -> None:
    """Multiplies every shortcut by λ, in place. Parameters stay as they are, with λ = 0 too.

    Args:
        network: of torchvision's residual units, or of `pseudo_resvgg`'s. λ = 1 leaves it as it is.
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
    """The residual units of a network, by their paths, from shallow to deep."""
    kinds = tuple(RESIDUAL_UNITS)
    return {name: module for name, module in network.named_modules() if isinstance(module, kinds)}


def check_scale(scale: object) -> None:
    """Objects to a λ that is no number from 0 to 1.

    Raises:
        SettingError: it is none.
    """
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 <= scale <= 1:
        raise SettingError(
            "network.shortcut",
            "should be a number from 0 to 1",
            repr(scale),
            "1 is the residual network, 0 has no shortcuts.",
        )


def idle_modules(network: nn.Module) -> list[str]:
    """Names of the modules whose parameters no output depends on: shortcuts with λ = 0."""
    return [
        name for name, module in network.named_modules() if isinstance(module, Shortcut) and not module.scale
    ]
