"""The recipe by which a classifier is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from swag_repro.errors import SettingError, check_choice, check_number

Schedule = Literal["one_cycle", "cosine"]

LOWEST = 0.04
"""The learning rate at which a training begins, as a part of the highest (torch's OneCycleLR)."""

BOUNDS: Mapping[str, dict[str, Any]] = {
    "epochs": {"least": 1, "whole": True},
    "batch_size": {"least": 1, "whole": True},
    "lr": {"above": 0},
    "momentum": {"least": 0, "below": 1},
    "weight_decay": {"least": 0},
    "warmup": {"least": 0, "below": 1},
    "label_smoothing": {"least": 0, "below": 1},
}
"""The bounds of a recipe's numbers."""


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe:
    """A recipe of training by SGD with momentum, a warm-up and a decay to 0.

    Attributes:
        epochs: passes over the images.
        batch_size: images of a step, on all devices together; the last, smaller batch of an epoch is left
            out.
        lr: the highest learning rate.
        momentum: the momentum of SGD.
        nesterov: whether the gradient is taken at the point to which the momentum leads.
        weight_decay: weight decay of all parameters.
        schedule: `one_cycle` (Smith, 2018) goes up and down along half a cosine each; `cosine` (Loshchilov
            and Hutter, ICLR 2017) goes up along a line, and down along half a cosine.
        warmup: share of the steps on the way up.
        label_smoothing: share of the target that is spread over all classes (Szegedy et al., CVPR 2016).
        clip: largest norm of the gradient; None for any.

    Raises:
        SettingError: a value is out of range.
    """

    epochs: int
    batch_size: int
    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    schedule: Schedule
    warmup: float
    label_smoothing: float
    clip: float | None

    def __post_init__(self) -> None:
        check_choice("recipe.schedule", self.schedule, get_args(Schedule))
        for name, bounds in BOUNDS.items():
            check_number(f"recipe.{name}", getattr(self, name), **bounds)
        if self.clip is not None:
            check_number("recipe.clip", self.clip, above=0, remedy="null leaves gradients as they are.")
        if self.nesterov and not self.momentum:
            rule = "should be false without momentum"
            raise SettingError("recipe.nesterov", rule, self.nesterov, "Change one of the two.")

    def optimizer(self, network: nn.Module) -> SGD:
        """Return the optimizer of the parameters that are trained."""
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        return SGD(
            trained,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )

    def scheduler(self, optimizer: Optimizer, steps: int) -> LambdaLR:
        """Return the scheduler of the learning rate, over `steps` steps in all."""
        return LambdaLR(optimizer, lambda step: self.part_of_lr(min(step / steps, 1.0)))

    def part_of_lr(self, share: float) -> float:
        """Return the learning rate after a share of the steps, in [0, 1], as a part of the highest.

        torch's OneCycleLR does the same, but divides by 0 if fewer than two steps go up.
        """
        if share < self.warmup:
            risen = share / self.warmup
            rise = _half_cosine(risen) if self.schedule == "one_cycle" else risen
            return LOWEST + (1 - LOWEST) * rise
        return 1 - _half_cosine((share - self.warmup) / (1 - self.warmup))

    def loss(self) -> nn.CrossEntropyLoss:
        """Return the cross entropy of logits `(B, K)` and classes `(B,)`."""
        return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)


def _half_cosine(share: float) -> float:
    """Return a curve from 0 to 1 that is level at both ends."""
    return (1 - math.cos(math.pi * share)) / 2


def outputs_loss(loss: nn.Module, outputs: object, classes: torch.Tensor) -> torch.Tensor:
    """Return the loss of a network's outputs; auxiliary classifiers count with a weight of 0.3.

    Args:
        loss: the loss of logits and classes.
        outputs: logits `(B, K)`, or torchvision's named tuple of several (GoogLeNet; Szegedy et al., CVPR
            2015, section 5).
        classes: `(B,)`.
    """
    if isinstance(outputs, tuple):
        auxiliary = [logits for logits in outputs[1:] if logits is not None]
        main: torch.Tensor = loss(outputs[0], classes)
        return main + 0.3 * sum((loss(logits, classes) for logits in auxiliary), torch.zeros_like(main))
    return loss(outputs, classes)  # type: ignore[no-any-return]
