"""The two tensors that a residual unit adds, its shortcut and its branch, and what the sum does to peaks.

SWAG argues that a unit can hardly flatten a peak (its "whack-a-mole", Figure 4 and the text beside it). The
shortcut after a ReLU is never negative, so the residual branch would have to be as negative at the place of
the peak, and must not raise another peak.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from swag_repro.errors import SettingError
from swag_repro.networks.architecture import RESIDUAL_UNITS, Architecture, residual_units


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
        _units(architecture.build(), architecture)


def _units(network: nn.Module, architecture: Architecture) -> dict[str, nn.Module]:
    units = residual_units(network)
    if not units:
        raise SettingError("network", "should have residual units", architecture.name, "Choose a ResNet.")
    return units


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
    units = _units(network, architecture)
    mean, std = (
        torch.tensor(values, device=images.device).view(3, 1, 1)
        for values in (architecture.mean, architecture.std)
    )
    found: dict[str, Addition] = {}
    with ExitStack() as hooks:
        for name, unit in units.items():
            for hook in _watch(unit, partial(found.__setitem__, name)):
                hooks.callback(hook.remove)
        network((images - mean) / std)
    return found


def _watch(unit: nn.Module, take: Callable[[Addition], None]) -> list[RemovableHandle]:
    """Hand over what the unit adds in each forward pass until the hooks, which are returned, are removed."""
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

    return [
        unit.register_forward_pre_hook(before),
        unit.get_submodule(last).register_forward_hook(at_branch),
        unit.register_forward_hook(after),
    ]


# Peaks below this part of the largest are rounding and are left out.
LEAST = 1e-6


@dataclass(frozen=True)
class Peaks:
    """The largest values of each channel, `(B, D)` each.

    Attributes:
        shortcut: the largest values of the shortcut.
        branch: the largest values of the residual branch alone.
        sum: the largest values of their sum.
        there: the sum at the place of the shortcut's peak.
    """

    shortcut: Tensor
    branch: Tensor
    sum: Tensor
    there: Tensor

    @classmethod
    def of(cls, shortcut: Tensor, branch: Tensor) -> Peaks:
        """Return the peaks of the two sides of an addition, `(B, D, H, W)` each."""
        brought, given = shortcut.flatten(2), branch.flatten(2)
        peaks, places = brought.max(dim=2)
        whole = brought + given
        there = whole.gather(2, places.unsqueeze(2)).squeeze(2)
        return cls(peaks, given.amax(dim=2), whole.amax(dim=2), there)

    def changes(self) -> Mapping[tuple[str, str], Tensor]:
        """Return the changes of the shortcut's peaks, (statistic, definition) → `(B,)`.

        `peaks_shrunk` is the part of channels in which a value is smaller than the shortcut's peak: the peak
        of the `branch`, the peak of the `sum`, or the sum `there`, at the place of the shortcut's peak.
        `log2_peak` is the mean over channels of log₂ of the new peak over the shortcut's, where both are
        positive. `log2_highest` is the same for the largest value of the layer. Channels without a positive
        peak don't count.
        """
        counted = self.shortcut > LEAST * self.shortcut.amax(dim=1, keepdim=True).clamp_min(0)
        counted &= self.shortcut > 0
        after = {"branch": self.branch, "sum": self.sum, "there": self.there}
        shrunk = {
            ("peaks_shrunk", name): _mean((values < self.shortcut).to(values), counted)
            for name, values in after.items()
        }
        highest = self.shortcut.amax(dim=1)
        ratios = {}
        for name in ("branch", "sum"):
            positive = counted & (after[name] > 0)
            ratios["log2_peak", name] = _mean((after[name] / self.shortcut).log2(), positive)
            ratios["log2_highest", name] = (after[name].amax(dim=1) / highest).log2()
        return {**shrunk, **ratios}


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean over the counted channels, `(B, D)` → `(B,)`; NaN where there are none."""
    return values.masked_fill(~counted, 0).sum(dim=1) / counted.sum(dim=1)
