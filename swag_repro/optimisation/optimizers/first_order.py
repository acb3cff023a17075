"""Optimisers that take a step with every gradient: torch's own, one for each image.

Sources: Kingma & Ba, *Adam*, ICLR 2015; Tieleman & Hinton, *RMSprop*, lecture 6.5 of a course, 2012.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from swag_repro.errors import check_choice, check_number
from swag_repro.optimisation.optimizers.batch import Constants, Descent, Optimizer, StopReason, flat_images

Make = Callable[..., torch.optim.Optimizer]


class _FirstOrder(Descent):
    """A descent in which every finite gradient makes a step of one of torch's optimisers.

    Args:
        start: the image, (N,).
        lr: learning rate.
        make: makes one of torch's optimisers from parameters and their `lr`.
        constants: see `Optimizer`.
    """

    settings: ClassVar[tuple[str, ...]] = ("constants", "make", "stepper")

    def __init__(self, start: Tensor, lr: float, make: Make, constants: Constants) -> None:
        super().__init__(start, lr, constants)
        self.make = make
        self.forget()

    def forget(self) -> None:
        self.stepper = self.make([self.iterate.clone()], lr=self.lr)

    def go_on(self, loss: float, gradient: Tensor) -> None:
        if not math.isfinite(loss) or not math.isfinite(gradient.abs().max()):
            self.count(math.inf)
            self.stop(StopReason.NON_FINITE)
            return
        self.count(loss)
        self.loss = loss
        self.iterations += 1
        self.move(gradient)

    def move(self, gradient: Tensor) -> None:
        """Replace the iterate."""
        [parameter] = self.stepper.param_groups[0]["params"]
        parameter.grad = gradient
        self.stepper.step()
        self.iterate = parameter.clone()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"moments": self.stepper.state_dict()["state"]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict({name: value for name, value in state.items() if name != "moments"})
        self.forget()
        groups = self.stepper.state_dict()["param_groups"]
        self.stepper.load_state_dict({"state": state["moments"], "param_groups": groups})


@dataclass(frozen=True)
class _Schedule:
    """The settings of `SGD` except for its learning rate."""

    momentum: float
    weight_decay: float
    clip: float
    decay: float
    decay_every: int


class _Momentum(_FirstOrder):
    """A descent by gradients with momentum for one image."""

    settings: ClassVar[tuple[str, ...]] = (*_FirstOrder.settings, "schedule")

    def __init__(self, start: Tensor, lr: float, schedule: _Schedule) -> None:
        # The gradient contains the learning rate: when the rate falls, the momentum keeps earlier rates.
        def make(parameters: list[Tensor], *, lr: float) -> torch.optim.SGD:  # noqa: ARG001
            return torch.optim.SGD(parameters, lr=1.0, momentum=schedule.momentum)

        self.schedule = schedule
        super().__init__(start, lr, make, "torch")  # its steps have the objective's unit

    def move(self, gradient: Tensor) -> None:
        schedule = self.schedule
        # The factor stays a tensor, so that nothing waits for the device.
        shrink = (schedule.clip * gradient.numel() / gradient.norm().double()).clamp(max=1.0)
        clipped = gradient * shrink.to(gradient)
        lr = self.lr * schedule.decay ** ((self.iterations - 1) // schedule.decay_every)
        super().move(clipped.add(self.iterate, alpha=schedule.weight_decay) * lr)


def _check_adaptive(lr: float, eps: float, constants: Constants) -> None:
    """Raise a `SettingError` unless the settings that Adam and RMSprop share are valid."""
    check_number("optimizer.lr", lr, above=0)
    check_number("optimizer.eps", eps, above=0)
    check_choice("optimizer.constants", constants, get_args(Constants))


class Adam(Optimizer):
    """Adam with separate states for the images of a batch; its iterates equal those of `torch.optim.Adam`.

    Args:
        start: images (B, ...), float32 or float64; not changed.
        lr: about how far a pixel moves in a step, in its own units, above 0.
        betas: decay of the gradient's mean and mean square, in [0, 1).
        eps: added to the root of the mean square, above 0.
        constants: see `Optimizer`; they decide the unit of eps.

    Raises:
        SettingError: a setting is outside its range.
    """

    kind = "adam"

    def __init__(
        self,
        start: Tensor,
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        constants: Constants,
    ) -> None:
        _check_adaptive(lr, eps, constants)
        for index, beta in enumerate(betas):
            check_number(f"optimizer.betas.{index}", beta, least=0, below=1)
        first, second = map(float, betas)  # torch takes no int
        make = partial(torch.optim.Adam, betas=(first, second), eps=eps)
        super().__init__(start, [_FirstOrder(x, lr, make, constants) for x in flat_images(start)])


class RMSprop(Optimizer):
    """RMSprop with separate states for the images of a batch, without momentum and not centred.

    Its iterates equal those of `torch.optim.RMSprop`.

    Args:
        start: images (B, ...), float32 or float64; not changed.
        lr: about how far a pixel moves in a step, in its own units, above 0. The first step is
            `1 / √(1 − alpha)` times as long, because the mean square starts at 0.
        alpha: decay of the gradient's mean square, in [0, 1).
        eps: added to the root of the mean square, above 0.
        constants: see `Optimizer`; they decide the unit of eps.

    Raises:
        SettingError: a setting is outside its range.
    """

    kind = "rmsprop"

    def __init__(
        self,
        start: Tensor,
        *,
        lr: float,
        alpha: float,
        eps: float,
        constants: Constants,
    ) -> None:
        _check_adaptive(lr, eps, constants)
        check_number("optimizer.alpha", alpha, least=0, below=1, remedy="0.99 is usual.")
        make = partial(torch.optim.RMSprop, alpha=alpha, eps=eps)
        super().__init__(start, [_FirstOrder(x, lr, make, constants) for x in flat_images(start)])


class SGD(Optimizer):
    """Gradient descent with momentum, as in Demystifying's code; separate states for the images of a batch.

    A step is `v ← momentum · v − lr · (g + weight_decay · x)`, `x ← x + v`. A gradient is scaled down to a
    norm of at most `clip · N`, where N is its number of values, so the longest step grows with the image.

    Args:
        start: images (B, ...), float32 or float64; not changed.
        lr: above 0.
        momentum: in [0, 1).
        weight_decay: 0 or more; it draws the image towards the one that the canvas writes as 0.
        clip: above 0.
        decay: factor on the learning rate after each `decay_every` iterations, above 0.
        decay_every: at least 1.

    Raises:
        SettingError: a setting is outside its range.
    """

    kind = "sgd"

    def __init__(
        self,
        start: Tensor,
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        clip: float,
        decay: float,
        decay_every: int,
    ) -> None:
        for name, value in (("lr", lr), ("clip", clip), ("decay", decay)):
            check_number(f"optimizer.{name}", value, above=0)
        check_number("optimizer.decay_every", decay_every, least=1, whole=True)
        check_number("optimizer.momentum", momentum, least=0, below=1)
        check_number("optimizer.weight_decay", weight_decay, least=0)
        schedule = _Schedule(momentum, weight_decay, clip, decay, decay_every)
        super().__init__(start, [_Momentum(x, lr, schedule) for x in flat_images(start)])
