"""The recipe by which a network that stylises is trained."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from swag_repro.errors import SettingError


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
        rules = {
            "steps": (self.steps >= 1, "should be a whole number from 1"),
            "batch_size": (self.batch_size >= 1, "should be a whole number from 1"),
            "lr": (self.lr > 0, "should be positive"),
            "decay": (self.decay >= 0, "should be 0 or more"),
            "beta1": (0 <= self.beta1 < 1, "should be from 0 to below 1"),
            "beta2": (0 <= self.beta2 < 1, "should be from 0 to below 1"),
            "clip": (self.clip is None or self.clip > 0, "should be positive, or null"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise SettingError(f"recipe.{name}", rule, repr(getattr(self, name)), "Choose another value.")

    def optimizer(self, network: nn.Module) -> Adam:
        """Return the optimizer of all parameters."""
        return Adam(network.parameters(), lr=self.lr, betas=(self.beta1, self.beta2))

    def scheduler(self, optimizer: Optimizer, steps: int) -> LambdaLR:  # noqa: ARG002  (they don't matter here)
        """Return the scheduler of the learning rate."""
        return LambdaLR(optimizer, lambda step: 1 / (1 + self.decay * step))
