"""Weighted sums of losses (Demystifying Neural Style Transfer, Li et al., IJCAI 2017, section 4.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from swag_repro.errors import SettingError, check_number
from swag_repro.losses.base import PIXELS, Loss, LossContext
from swag_repro.statistics import Features


class Fusion:
    """A weighted sum `Σ_i w_i · loss_i`. Its parts are `name/part`: an objective balances each by itself.

    Args:
        losses: name → loss, of any kind. A loss of weight 0 is not computed.
        weights: one for each loss, in their order; 0 or more, scaled to a sum of 1.

    Raises:
        SettingError: no loss, another number of weights, or weights that are negative, not finite, or all 0.
    """

    def __init__(self, *, losses: Mapping[str, Loss], weights: Sequence[float]) -> None:
        _check(losses, weights)
        total = math.fsum(weights)
        self._weighted = {
            name: (loss, weight / total)
            for (name, loss), weight in zip(losses.items(), weights, strict=True)
            if weight > 0
        }

    @property
    def stochastic(self) -> bool:
        """Whether any of the losses is stochastic."""
        return any(loss.stochastic for loss, _ in self._weighted.values())

    @property
    def reads_pixels(self) -> bool:
        """Whether any of the losses reads pixels."""
        return any(loss.reads_pixels for loss, _ in self._weighted.values())

    def weights(self, taps: Mapping[str, float], content_weight: float) -> dict[str, float]:
        """Return `name/part` → the loss's weight times the part's."""
        return {
            f"{name}/{part}": weight * of_part
            for name, (loss, weight) in self._weighted.items()
            for part, of_part in loss.weights(taps, content_weight).items()
        }

    def target(self, features: Features) -> dict[str, Any]:
        """Return what each loss keeps."""
        return {name: loss.target(_read_by(loss, features)) for name, (loss, _) in self._weighted.items()}

    def __call__(
        self, features: Features, targets: Sequence[Mapping[str, Any]], context: LossContext
    ) -> dict[str, Tensor]:
        """Return `name/part` → `(A,)` float64, without the weights."""
        return {
            f"{name}/{part}": found
            for name, (loss, _) in self._weighted.items()
            for part, found in loss(
                _read_by(loss, features), [target[name] for target in targets], context
            ).items()
        }


def _read_by(loss: Loss, features: Features) -> Features:
    if loss.reads_pixels:
        return features
    return {tap: layer for tap, layer in features.items() if tap != PIXELS}


def _check(losses: Mapping[str, Loss], weights: Sequence[float]) -> None:
    if not losses:
        rule, remedy = "should name a loss", "Add one: +loss@objective.style.losses.bn=bn"
        raise SettingError("losses of Fusion", rule, "none", remedy)
    if len(weights) != len(losses):
        rule = f"should be one for each of {list(losses)}"
        raise SettingError("weights of Fusion", rule, list(weights), "Give as many as losses.")
    for name, weight in zip(losses, weights, strict=True):
        check_number(f"weight of {name} in Fusion", weight, least=0)
    if not math.fsum(weights) > 0:
        raise SettingError("weights of Fusion", "should have a sum above 0", list(weights), "Raise one.")
