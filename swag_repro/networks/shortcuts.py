"""The scale λ of the shortcuts of a residual network: `F^l = ReLU(R(F^{l−1}) + λF^{l−1})`."""

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
