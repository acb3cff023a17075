"""The recipe by which a network that stylises is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from swag_repro.errors import check_number

BOUNDS: Mapping[str, dict[str, Any]] = {
    "steps": {"least": 1, "whole": True},
    "batch_size": {"least": 1, "whole": True},
    "lr": {"above": 0},
    "decay": {"least": 0},
    "beta1": {"least": 0, "below": 1},
    "beta2": {"least": 0, "below": 1},
}
"""The bounds of a recipe's numbers."""


@dataclass(frozen=True, kw_only=True)
class FeedforwardRecipe:
    """A recipe of training by Adam; its learning rate is divided by `1 + decay · step`.

    Attributes:
        steps: number of steps of the training.
        batch_size: pairs of a step, on all devices together.
        lr: learning rate of the first step.
        decay: 5e-5 in AdaIN's code; 0 keeps the learning rate.
        beta1: decay of the mean of gradients.
        beta2: decay of the mean of their squares.
        clip: largest norm of the gradient; None for any.

    Raises:
        SettingError: a value is out of range.
    """

    steps: int
    batch_size: int
    lr: float
    decay: float
    beta1: float
    beta2: float
    clip: float | None

    def __post_init__(self) -> None:
        for name, bounds in BOUNDS.items():
            check_number(f"recipe.{name}", getattr(self, name), **bounds)
        if self.clip is not None:
            check_number("recipe.clip", self.clip, above=0, remedy="null leaves gradients as they are.")

    def optimizer(self, network: nn.Module) -> Adam:
        """Return the optimizer of all parameters."""
        return Adam(network.parameters(), lr=self.lr, betas=(float(self.beta1), float(self.beta2)))

    def scheduler(self, optimizer: Optimizer, steps: int) -> LambdaLR:  # noqa: ARG002  (they don't matter here)
        """Return the scheduler of the learning rate."""
        return LambdaLR(optimizer, lambda step: 1 / (1 + self.decay * step))
