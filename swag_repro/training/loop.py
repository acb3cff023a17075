"""The training of a classifier, step by step; its caller logs, shows and saves the results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from swag_repro.networks.architecture import Architecture
from swag_repro.networks.shortcuts import idle_modules
from swag_repro.training.base import Loop, Machine
from swag_repro.training.batches import LabelledBatch, LabelledImages, Order, in_order, loader
from swag_repro.training.data import Dataset, Preparation
from swag_repro.training.recipe import ClassifierRecipe, outputs_loss


@dataclass(frozen=True)
class ClassifierScore:
    """The quality of a network as a classifier.

    Attributes:
        loss: mean cross entropy, in nats; during training it is the training's own loss, with smoothed
            labels.
        accuracy: share of the images whose most likely class is right, from 0 to 1.
        images: number of images.
    """

    loss: float
    accuracy: float
    images: int


class ClassifierLoop(Loop[LabelledBatch]):
    """The training of a classifier.

    Args:
        network: it has the weights to start from, and is trained in place.
        architecture: its means and deviations normalise the images.
        dataset: images with their classes.
        preparation: how the images are prepared.
        recipe: how the network is trained.
        seed: seed of the order of the images, of the random choices for them, and of those of the network.
        machine: how the training is run.
        kept: whether images are read once, and kept in memory.
    """

    def __init__(
        self,
        network: nn.Module,
        architecture: Architecture,
        dataset: Dataset,
        preparation: Preparation,
        recipe: ClassifierRecipe,
        *,
        seed: int,
        machine: Machine,
        kept: bool,
    ) -> None:
        for name in idle_modules(network):
            network.get_submodule(name).requires_grad_(requires_grad=False)  # no output depends on them
        self.images = LabelledImages(
            dataset.train, preparation, preparation.augmentation, seed=seed, kept=kept
        )
        self.plain_images = self.images.otherwise(preparation.plain)
        self.test_images = LabelledImages(dataset.test, preparation, preparation.plain, seed=seed, kept=kept)
        self.order = Order(
            len(self.images), recipe.batch_size, recipe.epochs, seed, first=0, world=machine.world
        )
        self.order.check("recipe.batch_size")
        super().__init__(network, recipe, steps=len(self.order), seed=seed, machine=machine, sums=3)
        self.loss = recipe.loss()
        self.mean, self.std = (
            torch.tensor(values, device=machine.device).view(3, 1, 1)
            for values in (architecture.mean, architecture.std)
        )

    @property
    def epoch(self) -> float:
        """The number of passes over the images that are done."""
        return self.done / self.order.steps_an_epoch

    @property
    def ends_epoch(self) -> bool:
        """Whether the last step was the last of its epoch."""
        return self.done > 0 and self.done % self.order.steps_an_epoch == 0

    def batches(self) -> Iterable[LabelledBatch]:
        """Return the batches of the steps that are still to be done."""
        order = replace(self.order, first=self.done)
        return loader(self.images, order, self.machine.workers, self.machine.device)

    def loss_of(self, batch: LabelledBatch) -> tuple[Tensor, Tensor]:
        """Return a batch's mean loss, and sums over it, `(3,)`: of losses, right answers, and images."""
        self.note_unreadable(batch.unreadable, len(self.images))
        images, classes = self._on_device(batch)
        with self.machine.autocast():
            outputs = self.forward(images)
            loss = outputs_loss(self.loss, outputs, classes)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        return loss, _sums(loss.detach(), logits, classes)

    def _on_device(self, batch: LabelledBatch) -> tuple[Tensor, Tensor]:
        """Return images as the network needs them, `(B, 3, H, W)`, and classes, both on the device."""
        images = batch.images.to(self.machine.device, non_blocking=True, memory_format=self.memory_format)
        classes = batch.classes.to(self.machine.device, non_blocking=True)
        return (images.float() / 255 - self.mean) / self.std, classes

    def running(self) -> ClassifierScore:
        """Return the score since the epoch began: that of the network at each step, on augmented images.

        Raises:
            TrainingError: the loss is NaN or infinite.
        """
        self.check_finite()
        return _score(self.machine.world.total(self.sums))

    def test(self) -> ClassifierScore:
        """Return the score of the present network on the held-out images."""
        return self._evaluated(self.test_images)

    def fitted(self) -> ClassifierScore:
        """Return the score of the present network on its training images, without augmentation."""
        return self._evaluated(self.plain_images)

    @torch.inference_mode()
    def _evaluated(self, images: LabelledImages) -> ClassifierScore:
        self.network.eval()
        sums = torch.zeros_like(self.sums)
        size = max(1, self.recipe.batch_size // self.machine.world.size)
        keys = in_order(len(images), size, self.machine.world)
        for batch in loader(images, keys, self.machine.workers, self.machine.device):
            placed, classes = self._on_device(batch)
            with self.machine.autocast():
                logits = self.network(placed)
            loss = nn.functional.cross_entropy(logits.float(), classes)
            sums += _sums(loss, logits, classes)
        return _score(self.machine.world.total(sums))


def _sums(loss: Tensor, logits: Tensor, classes: Tensor) -> Tensor:
    """Return the sum of the losses, and the numbers of right answers and of images, `(3,)`."""
    right = (logits.argmax(dim=1) == classes).sum()
    return torch.stack(
        [loss.double() * len(classes), right.double(), torch.full_like(right, len(classes)).double()]
    )


def _score(sums: Tensor) -> ClassifierScore:
    loss, right, images = sums.tolist()
    return ClassifierScore(loss / max(images, 1), right / max(images, 1), int(images))
