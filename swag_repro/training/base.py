"""The parts that all trainings share: steps by a recipe, and a state from which a training can resume."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from swag_repro.errors import DataError, TrainingError, check_number
from swag_repro.memory import out_of_memory
from swag_repro.training.batches import UNREADABLE, World, number

B = TypeVar("B")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The way a training is run; apart from rounding by `precision`, no result depends on it.

    Attributes:
        device: the device of this process.
        precision: float32, or bfloat16 or float16 by autocast, for the forward pass.
        compiled: whether torch.compile is used.
        workers: processes that read images; if 0, this process reads them.
        world: the processes that train together.
    """

    device: torch.device
    precision: str
    compiled: bool
    workers: int
    world: World

    def memory_format(self, network: nn.Module) -> torch.memory_format:
        """Return the fastest memory format of images and weights: a CPU's step is up to a quarter shorter."""
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        # torch 2.15 crashes in the gradient of layers with 4 channels on a CPU.
        wide = all(convolution.out_channels % 8 == 0 for convolution in convolutions)
        return torch.channels_last if wide or self.device.type == "cuda" else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the network runs."""
        return autocast(self.device, self.precision)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return the context in which a network runs: in float32, or by autocast in a narrower precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


class Steps(Protocol):
    """The part of a recipe that every step needs."""

    @property
    def batch_size(self) -> int:
        """Number of images of a step, on all devices together."""

    @property
    def clip(self) -> float | None:
        """Largest norm of the gradient; None for any."""

    def optimizer(self, network: nn.Module) -> Optimizer:
        """Return the optimizer of the parameters that are trained."""

    def scheduler(self, optimizer: Optimizer, steps: int) -> LambdaLR:
        """Return the scheduler of the learning rate, over `steps` steps in all."""


def check_recipe(recipe: Steps, bounds: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise a `SettingError` unless the numbers of a recipe are within their bounds.

    Args:
        recipe: the recipe.
        bounds: name → arguments of `check_number`.
    """
    for name, limits in bounds.items():
        check_number(f"recipe.{name}", getattr(recipe, name), **limits)
    if recipe.clip is not None:
        check_number("recipe.clip", recipe.clip, above=0, remedy="null leaves gradients as they are.")


class Loop(ABC, Generic[B]):
    """A training under way. `state` holds all of it: a training that resumes ends with the same weights.

    Args:
        network: it has the weights to start from, and is trained in place.
        recipe: how its steps are made.
        steps: number of steps of the whole training.
        seed: seed of the random choices for batches, and of those of the network.
        machine: how it is run.
        sums: how many numbers are added up over an epoch; the first is the sum of losses.
    """

    def __init__(
        self, network: nn.Module, recipe: Steps, *, steps: int, seed: int, machine: Machine, sums: int
    ) -> None:
        self.recipe, self.seed, self.machine, self.steps = recipe, seed, machine, steps
        self.memory_format = machine.memory_format(network)
        self.network = network.to(machine.device).to(memory_format=self.memory_format)
        self.optimizer = recipe.optimizer(network)
        self.scheduler = recipe.scheduler(self.optimizer, steps)
        self.scaler = torch.amp.GradScaler(machine.device.type, enabled=machine.precision == "float16")
        self.done = 0
        self.unreadable: set[int] = set()
        self.sums = torch.zeros(sums, dtype=torch.float64, device=machine.device)
        parallel = machine.world.parallel(self.network, machine.device)
        self.forward: nn.Module = torch.compile(parallel) if machine.compiled else parallel  # type: ignore[assignment]

    @abstractmethod
    def batches(self) -> Iterable[B]:
        """Return the batches of the steps that are still to be done."""

    @abstractmethod
    def loss_of(self, batch: B) -> tuple[Tensor, Tensor]:
        """Return the loss that a step minimises, and the numbers that it adds to `sums`."""

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def __iter__(self) -> Iterator[int]:
        """Train to the end; yield, after each step, the number of steps that are done."""
        for batch in self.batches():
            self._step(batch)
            self.done += 1
            yield self.done

    def _step(self, batch: B) -> None:
        torch.manual_seed(number(self.seed, self.done, self.machine.world.rank))  # seed of dropout
        self.network.train()
        self.optimizer.zero_grad()
        with self._memory_problems():
            loss, numbers = self.loss_of(batch)
            self.scaler.scale(loss).backward()
        if self.recipe.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        self.sums += numbers.detach()

    def _memory_problems(self) -> AbstractContextManager[None]:
        return out_of_memory(
            lambda words: TrainingError(
                "recipe.batch_size",
                "should leave a step room in memory",
                f"{self.recipe.batch_size // self.machine.world.size} images ({words})",
                "Choose a smaller one, or precision=bfloat16.",
            )
        )

    def note_unreadable(self, lost: Iterable[int], images: int) -> None:
        """Count images that could not be read.

        Args:
            lost: the numbers of these images.
            images: how many images there are in all.

        Raises:
            DataError: more than one image in a hundred could not be read.
        """
        self.unreadable.update(lost)
        if len(self.unreadable) > UNREADABLE * images:
            found = f"{len(self.unreadable)} of {images}, such as number {min(self.unreadable)}"
            raise DataError(
                "data", f"should have at most {UNREADABLE:.0%} unreadable images", found, "Replace them."
            )

    def check_finite(self) -> None:
        """Raise if the network has diverged in this process.

        Raises:
            TrainingError: a loss since the epoch began is NaN or infinite.
        """
        if not self.sums.isfinite().all():
            raise self.diverged()

    def diverged(self) -> TrainingError:
        """Return the error for a network whose loss or output is NaN or infinite."""
        return TrainingError(
            "loss", "should stay finite", f"NaN or infinity by step {self.done} of {self.steps}",
            "Choose a smaller recipe.lr, or recipe.clip=1; the last checkpoint is kept.",
        )  # fmt: skip

    def forget_sums(self) -> None:
        """Set all sums to 0."""
        self.sums.zero_()

    def state(self) -> dict[str, Any]:
        """Return the training's state, as plain containers, numbers and tensors."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "done": self.done,
            "sums": self.sums,
            "unreadable": sorted(self.unreadable),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume the training from a state that `state` returned.

        Raises:
            RuntimeError, KeyError, ValueError: the state is that of another network.
        """
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.done, self.unreadable = state["done"], set(state["unreadable"])
        self.sums.copy_(state["sums"])
