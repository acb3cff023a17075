"""The training of a classifier, step by step; what it says, shows and saves is its caller's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from swag_repro.errors import DataError, TrainingError
from swag_repro.memory import out_of_memory
from swag_repro.networks.architecture import Architecture
from swag_repro.networks.shortcuts import idle_modules
from swag_repro.training.batches import UNREADABLE, Batch, Images, Order, in_order, loader, number
from swag_repro.training.data import Dataset, Preparation
from swag_repro.training.recipe import Recipe, outputs_loss
from swag_repro.training.world import World


@dataclass(frozen=True)
class Score:
    """How well a network tells classes.

    Attributes:
        loss: mean cross entropy, in nats; of the training's own loss with its smoothed labels.
        accuracy: share of the images whose most likely class is right, from 0 to 1.
        images: over how many.
    """

    loss: float
    accuracy: float
    images: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a training is run; apart from rounding by `precision`, no result depends on it.

    Attributes:
        device: of this process.
        precision: of the forward pass: float32, or bfloat16 or float16 by autocast.
        compiled: whether torch.compile is used.
        workers: processes that read images; 0 reads them in this one.
        world: the processes that train together.
    """

    device: torch.device
    precision: str
    compiled: bool
    workers: int
    world: World

    def memory_format(self, network: nn.Module) -> torch.memory_format:
        """Of images and weights, for speed: on a CPU, too, a step is shorter by up to a quarter."""
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        # torch 2.15 crashes in the gradient of layers with 4 channels on a CPU.
        wide = all(convolution.out_channels % 8 == 0 for convolution in convolutions)
        return torch.channels_last if wide or self.device.type == "cuda" else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[Any]:
        """In which the network runs."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.precision))


class Training:
    """A network on its way, which `state` holds whole: what goes on from it ends with the same weights.

    Args:
        network: with the weights it starts from; trained in place.
        architecture: whose means normalise the images.
        dataset: images with their classes.
        preparation: of the images.
        recipe: how it is trained.
        seed: of the order of the images, of what is drawn for them, and of the network's own draws.
        machine: how it is run.
        kept: whether images are read once, and kept in memory.
    """

    def __init__(
        self,
        network: nn.Module,
        architecture: Architecture,
        dataset: Dataset,
        preparation: Preparation,
        recipe: Recipe,
        *,
        seed: int,
        machine: Machine,
        kept: bool,
    ) -> None:
        self.recipe, self.seed, self.machine = recipe, seed, machine
        self.memory_format = machine.memory_format(network)
        self.network = network.to(machine.device).to(memory_format=self.memory_format)
        for name in idle_modules(network):
            network.get_submodule(name).requires_grad_(requires_grad=False)  # no output depends on them
        self.images = Images(dataset.train, preparation, preparation.augmentation, seed=seed, kept=kept)
        self.plain_images = self.images.otherwise(preparation.plain)
        self.test_images = Images(dataset.test, preparation, preparation.plain, seed=seed, kept=kept)
        self.order = Order(
            len(self.images), recipe.batch_size, recipe.epochs, seed, first=0, world=machine.world
        )
        if not self.order.steps_an_epoch:
            rule = f"should be at most the number of images, {len(self.images)}"
            raise DataError("recipe.batch_size", rule, recipe.batch_size, "Choose a smaller one.")
        self.steps = len(self.order)
        self.optimizer = recipe.optimizer(network)
        self.scheduler = recipe.scheduler(self.optimizer, self.steps)
        self.scaler = torch.amp.GradScaler(machine.device.type, enabled=machine.precision == "float16")
        self.loss = recipe.loss()
        self.done = 0
        self.unreadable: set[int] = set()
        self.sums = torch.zeros(3, dtype=torch.float64, device=self._device)
        self.mean, self.std = (
            torch.tensor(values, device=machine.device).view(3, 1, 1)
            for values in (architecture.mean, architecture.std)
        )
        parallel = machine.world.parallel(self.network, machine.device)
        self.forward: nn.Module = torch.compile(parallel) if machine.compiled else parallel  # type: ignore[assignment]

    @property
    def _device(self) -> torch.device:
        return self.machine.device

    @property
    def epoch(self) -> float:
        """How many passes over the images are done."""
        return self.done / self.order.steps_an_epoch

    @property
    def ends_epoch(self) -> bool:
        """Whether the last step was the last of its epoch."""
        return self.done > 0 and self.done % self.order.steps_an_epoch == 0

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def __iter__(self) -> Iterator[int]:
        """Trains to the end; yields the number of steps that are done after each of them."""
        order = Order(**{**vars(self.order), "first": self.done})
        for batch in loader(self.images, order, self.machine.workers, self._device):
            self._note_unreadable(batch)
            self._step(batch)
            self.done += 1
            yield self.done

    def _step(self, batch: Batch) -> None:
        torch.manual_seed(number(self.seed, self.done, self.machine.world.rank))  # of dropout
        self.network.train()
        self.optimizer.zero_grad()
        images, classes = self._placed(batch)
        with self._memory_problems(len(classes)):
            with self.machine.autocast():
                outputs = self.forward(images)
                loss = outputs_loss(self.loss, outputs, classes)
            self.scaler.scale(loss).backward()
        if self.recipe.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        self.sums += _sums(loss.detach(), logits, classes)

    def _memory_problems(self, count: int) -> AbstractContextManager[None]:
        return out_of_memory(
            lambda words: TrainingError(
                "recipe.batch_size",
                "should leave a step room in memory",
                f"{count} images ({words})",
                "Choose a smaller one, or precision=bfloat16.",
            )
        )

    def _placed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images as the network wants them, `(B, 3, H, W)`, and classes, on the device."""
        images = batch.images.to(self._device, non_blocking=True, memory_format=self.memory_format)
        classes = batch.classes.to(self._device, non_blocking=True)
        return (images.float() / 255 - self.mean) / self.std, classes

    def _note_unreadable(self, batch: Batch) -> None:
        self.unreadable.update(batch.unreadable)
        if len(self.unreadable) > UNREADABLE * len(self.images):
            found = f"{len(self.unreadable)} of {len(self.images)}, such as number {min(self.unreadable)}"
            raise DataError(
                "data", f"should have at most {UNREADABLE:.0%} unreadable images", found, "Replace them."
            )

    def running(self) -> Score:
        """Since the epoch began: of the network as it was at each step, on images as they were drawn.

        Raises:
            TrainingError: the loss is NaN or infinite.
        """
        self.check_finite()
        return _score(self.machine.world.total(self.sums))

    def check_finite(self) -> None:
        """Objects to a network that has diverged, in this process.

        Raises:
            TrainingError: a loss since the epoch began is NaN or infinite.
        """
        if not self.sums.isfinite().all():
            raise TrainingError(
                "loss", "should stay finite", f"NaN or infinity by step {self.done} (epoch {self.epoch:.2f})",
                "Choose a smaller recipe.lr, or recipe.clip=1; the last checkpoint is kept.",
            )  # fmt: skip

    def begin_epoch(self) -> None:
        """Forgets the running score."""
        self.sums.zero_()

    def test(self) -> Score:
        """Of the network as it is, on the held-out images."""
        return self._evaluated(self.test_images)

    def fitted(self) -> Score:
        """Of the network as it is, on the images that it is trained on, without augmentation."""
        return self._evaluated(self.plain_images)

    @torch.inference_mode()
    def _evaluated(self, images: Images) -> Score:
        self.network.eval()
        sums = torch.zeros_like(self.sums)
        size = max(1, self.recipe.batch_size // self.machine.world.size)
        keys = in_order(len(images), size, self.machine.world)
        for batch in loader(images, keys, self.machine.workers, self._device):
            placed, classes = self._placed(batch)
            with self.machine.autocast():
                logits = self.network(placed)
            loss = nn.functional.cross_entropy(logits.float(), classes)
            sums += _sums(loss, logits, classes)
        return _score(self.machine.world.total(sums))

    def state(self) -> dict[str, Any]:
        """Plain containers, numbers and tensors."""
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
        """Goes on from what `state` returned.

        Raises:
            RuntimeError, KeyError, ValueError: it is of another network.
        """
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.done, self.unreadable = state["done"], set(state["unreadable"])
        self.sums.copy_(state["sums"])


def _sums(loss: Tensor, logits: Tensor, classes: Tensor) -> Tensor:
    """Of the losses, of right answers, and of images, `(3,)`."""
    right = (logits.argmax(dim=1) == classes).sum()
    return torch.stack(
        [loss.double() * len(classes), right.double(), torch.full_like(right, len(classes)).double()]
    )


def _score(sums: Tensor) -> Score:
    loss, right, images = sums.tolist()
    return Score(loss / max(images, 1), right / max(images, 1), int(images))
