"""The two tensors that a residual unit adds: its shortcut and its residual branch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from swag_repro.errors import SettingError
from swag_repro.networks.architecture import Architecture
from swag_repro.networks.shortcuts import RESIDUAL_UNITS, residual_units


@dataclass(frozen=True)
class Addition:
    """The two sides of `λF + R(F)` in one residual unit, `(B, D, H, W)` each.

    Attributes:
        shortcut: `λF`, projected if the unit changes the shape; 0 everywhere for λ = 0.
        branch: `R(F)`.
    """

    shortcut: Tensor
    branch: Tensor

    @property
    def sum(self) -> Tensor:
        """The input of the unit's ReLU."""
        return self.shortcut + self.branch


def check_units(architecture: Architecture) -> None:
    """Raise a `SettingError` if a network has no residual units."""
    with torch.device("meta"):
        units = residual_units(architecture.build())
    if not units:
        raise SettingError("network", "should have residual units", architecture.name, "Choose a ResNet.")


@torch.inference_mode()
def additions(network: nn.Module, architecture: Architecture, images: Tensor) -> dict[str, Addition]:
    """Run a network, and return what each of its residual units adds.

    Args:
        network: in `eval` mode.
        architecture: its mean and std normalise the images.
        images: `(B, 3, H, W)`, RGB in [0, 1].

    Raises:
        SettingError: the network has no residual units.
    """
    units = residual_units(network)
    mean, std = (
        torch.tensor(values, device=images.device).view(3, 1, 1)
        for values in (architecture.mean, architecture.std)
    )
    found: dict[str, Addition] = {}
    with ExitStack() as hooks:
        for name, unit in units.items():
            hooks.enter_context(_watched(unit, partial(found.__setitem__, name)))
        network((images - mean) / std)
    return found


@contextmanager
def _watched(unit: nn.Module, take: Callable[[Addition], None]) -> Iterator[None]:
    """Hand over what the unit adds in each forward pass within the context."""
    projection = getattr(unit, "downsample", None)
    project: Callable[[Tensor], Tensor | float] = nn.Identity() if projection is None else projection
    seen: dict[str, Tensor] = {}
    last = next(name for kind, name in RESIDUAL_UNITS.items() if isinstance(unit, kind))

    def before(_: nn.Module, inputs: tuple[Tensor]) -> None:
        seen["input"] = inputs[0].clone()  # ReLUs and additions may overwrite their input

    def at_branch(_: nn.Module, __: tuple[Tensor], output: Tensor) -> None:
        seen["branch"] = output.clone()

    def after(_: nn.Module, __: tuple[Tensor], ___: Tensor) -> None:
        branch, x = seen["branch"], seen["input"]
        shortcut = project(x)
        whole = shortcut if isinstance(shortcut, Tensor) else torch.zeros_like(branch)
        take(Addition(whole, branch))

    handles = [
        unit.register_forward_pre_hook(before),
        unit.get_submodule(last).register_forward_hook(at_branch),
        unit.register_forward_hook(after),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
