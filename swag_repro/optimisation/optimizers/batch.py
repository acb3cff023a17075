"""The descent of one image, a batch of images with a descent each, and those that step with every gradient.

Adam, RMSprop and SGD are torch's own, one for each image. Sources: Kingma & Ba, *Adam*, ICLR 2015; Tieleman &
Hinton, *RMSprop*, lecture 6.5 of a course, 2012.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from swag_repro.errors import check_choice, check_number

Constants = Literal["relative", "torch"]


class StopReason(StrEnum):
    """The reason why an image no longer moves by itself."""

    GRADIENT = "gradient below tolerance"
    CHANGE = "change below tolerance"
    NO_DESCENT = "no direction of descent"
    LINE_SEARCH = "line search failed"
    NON_FINITE = "loss or gradient is not finite"


class ImageProgress(NamedTuple):
    """The progress of one image.

    `loss` belongs to the last accepted iterate, and `best_loss` is the least of all evaluations (both are NaN
    or infinite before the first). `stopped` gives the reason; None while the image is under way.
    """

    iterations: int
    evaluations: int
    loss: float
    best_loss: float
    stopped: str | None


class Descent(ABC):
    """The descent of one flat image (N,). Its vectors are replaced, never written into."""

    settings: ClassVar[tuple[str, ...]] = ("constants",)  # attributes outside the state

    def __init__(self, start: Tensor, lr: float, constants: Constants) -> None:
        self.iterate = start
        self.best = start
        self.lr = lr
        self.constants = constants
        self.unit: float | None = None
        self.loss = math.nan
        self.best_loss = math.inf
        self.iterations = 0
        self.evaluations = 0
        self.stopped: str | None = None

    @property
    def point(self) -> Tensor:
        """The point to evaluate next, (N,)."""
        return self.iterate

    @property
    def position(self) -> Tensor:
        """The newest accepted iterate, (N,), evaluated or not."""
        return self.iterate

    def observe(self, loss: float, gradient: Tensor) -> None:
        """Go on from the evaluation at `point`; the image may keep `gradient` (N,)."""
        if self.unit is None and self.constants == "relative":
            self.unit = _unit(float(gradient.double().abs().mean()))
        scaled = (loss, gradient) if self.unit is None else (loss / self.unit, gradient / self.unit)
        self.go_on(*scaled)

    @abstractmethod
    def go_on(self, loss: float, gradient: Tensor) -> None:
        """Go on from the evaluation at `point`, in the image's own unit."""

    @abstractmethod
    def forget(self) -> None:
        """Lose all memory of earlier gradients, and evaluate the iterate anew."""

    def stop(self, reason: str) -> None:
        """Freeze the image where it is."""
        self.stopped = str(reason)

    def count(self, loss: float) -> None:
        """Record an evaluation at `point`; the loss is infinite if it or the gradient was not finite."""
        self.evaluations += 1
        if loss < self.best_loss:
            self.best, self.best_loss = self.point, loss

    @property
    def progress(self) -> ImageProgress:
        """The progress of the image, in the unit of the losses that it observed."""
        loss, best = (value * (self.unit or 1.0) for value in (self.loss, self.best_loss))
        return ImageProgress(self.iterations, self.evaluations, loss, best, self.stopped)

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides what comes next."""
        return {name: value for name, value in vars(self).items() if name not in self.settings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of another descent."""
        vars(self).update(state)


def _unit(magnitude: float) -> float | None:
    """Return the power of 2 below the mean magnitude of a first gradient: dividing by it rounds nothing.

    In this unit an objective and any multiple of it take the same path. Return None if the magnitude is 0 or
    not finite.
    """
    return 2.0 ** math.floor(math.log2(magnitude)) if 0 < magnitude < math.inf else None


class Optimizer:
    """A batch of images (B, ...), each with an optimiser of its own; the base of all optimisers.

    The setting `constants` is the unit of tolerances, least curvatures and eps. With `relative` they are in
    units of the image's first gradient, so that an objective and any multiple of it take the same path. With
    `torch` they are absolute numbers, as in authors' codes.
    """

    kind: ClassVar[str]

    def __init__(self, start: Tensor, images: Sequence[Descent]) -> None:
        self._shape = start.shape[1:]
        self._device = start.device
        self._images = images

    @property
    def active(self) -> list[int]:
        """Indices of the images still under way."""
        return [i for i, image in enumerate(self._images) if image.stopped is None]

    @property
    def done(self) -> bool:
        """True if every image has stopped."""
        return not self.active

    @property
    def progress(self) -> list[ImageProgress]:
        """The progress of each of the B images."""
        return [image.progress for image in self._images]

    def iterate(self, index: int) -> Tensor:
        """Return the newest accepted iterate of one image, to which the `loss` in `progress` belongs.

        First-order optimisers and a fixed step accept a step when they choose it. Then this is the point
        after the step, not evaluated yet, which `torch.optim` would have in its parameters by now.
        """
        return self._images[index].position.view(self._shape).clone()

    def best(self, index: int) -> Tensor:
        """Return the point of least loss ever evaluated for one image; its start if no loss was finite."""
        return self._images[index].best.view(self._shape).clone()

    @torch.no_grad()
    def propose(self) -> Tensor:
        """Return the points (A, ...) of the active images to evaluate next.

        A second call returns the same points.
        """
        points = [self._images[i].point.view(self._shape) for i in self.active]
        return torch.stack(points) if points else torch.empty(0, *self._shape, device=self._device)

    @torch.no_grad()
    def observe(self, losses: Tensor, gradients: Tensor) -> None:
        """Go on from the losses (A,) and gradients (A, ...) at the points last proposed.

        Raises:
            ValueError: their shapes don't fit the points.
        """
        active = self.active
        expected = torch.Size([len(active), *self._shape])
        if losses.shape != expected[:1] or gradients.shape != expected:
            found = f"{tuple(losses.shape)} and {tuple(gradients.shape)}"
            raise ValueError(f"losses and gradients should fit points {tuple(expected)}; found {found}")
        for i, loss, gradient in zip(active, losses.tolist(), flat_images(gradients), strict=True):
            self._images[i].observe(loss, gradient)

    def stop(self, index: int, reason: str) -> None:
        """Freeze one image where it is; `propose` leaves it out from now on."""
        self._images[index].stop(reason)

    def restart(self, index: int, *, step_scale: float) -> None:
        """Let one image, stopped or not, go on from its best point without its memory of earlier gradients.

        Args:
            index: the image.
            step_scale: factor on its learning rate, from now on; above 0.
        """
        image = self._images[index]
        image.iterate = image.best
        image.lr *= step_scale
        image.stopped = None
        image.forget()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that decides what comes next, in plain containers and tensors.

        The tensors are not copies, as in `torch.optim`: save or copy the dictionary at once.
        """
        return {"kind": self.kind, "images": [image.state_dict() for image in self._images]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy the state of another optimiser with the same settings, and continue from it bit for bit.

        Raises:
            ValueError: the state belongs to another optimiser or number of images.
        """
        if (state["kind"], len(state["images"])) != (self.kind, len(self._images)):
            found = f"{state['kind']} of {len(state['images'])} images"
            raise ValueError(f"state should be {self.kind} of {len(self._images)} images; found {found}")
        for image, saved in zip(self._images, state["images"], strict=True):
            image.load_state_dict(_copied(saved, self._device))


def flat_images(start: Tensor) -> Iterator[Tensor]:
    """Yield flat copies of images (B, ...)."""
    for image in start.detach():
        yield image.clone(memory_format=torch.contiguous_format).view(-1)


def _copied(state: Any, device: torch.device) -> Any:
    if isinstance(state, Tensor):
        return state.to(device, copy=True)
    if isinstance(state, Mapping):
        return {key: _copied(value, device) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_copied(value, device) for value in state)
    return state


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
