"""The descent of one image, whatever the method, and a batch of images, each with a descent of its own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

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
        """Whether every image has stopped."""
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
