"""The training of a network that stylises in one pass, by a recipe, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from swag_repro.feedforward.corpus import Corpus, Cropping
from swag_repro.feedforward.generators import Generator
from swag_repro.losses import PIXELS, Objective, Terms
from swag_repro.networks import TappedNetwork
from swag_repro.training.base import Loop, Machine, check_recipe
from swag_repro.training.batches import LabelledBatch, LabelledImages, Order, loader, number


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
        check_recipe(
            self,
            {
                "steps": {"least": 1, "whole": True},
                "batch_size": {"least": 1, "whole": True},
                "lr": {"above": 0},
                "decay": {"least": 0},
                "beta1": {"least": 0, "below": 1},
                "beta2": {"least": 0, "below": 1},
            },
        )

    def optimizer(self, network: nn.Module) -> Adam:
        """Return the optimizer of all parameters."""
        return Adam(network.parameters(), lr=self.lr, betas=(float(self.beta1), float(self.beta2)))

    def scheduler(self, optimizer: Optimizer, steps: int) -> LambdaLR:  # noqa: ARG002  (they don't matter here)
        """Return the scheduler of the learning rate."""
        return LambdaLR(optimizer, lambda step: 1 / (1 + self.decay * step))


@dataclass(frozen=True)
class MeanTerms:
    """The terms of the objective, as means over pairs.

    Attributes:
        content: the content term, without its weight.
        style: the style term, without its weight.
        total: the loss that is minimised.
    """

    content: float
    style: float
    total: float


class Encoder:
    """A frozen network, and the one tap that is decoded.

    Args:
        tapped: a network that is read at the objective's taps, and at that one.
        tap: the name of the decoded tap.
    """

    def __init__(self, tapped: TappedNetwork, tap: str) -> None:
        self.tapped, self.tap = tapped, tap

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return the features at each tap, and the images `(B, 3, H, W)` themselves as `PIXELS`."""
        return {**self.tapped(images), PIXELS: images}


class FeedforwardTraining(Loop[tuple[LabelledBatch, ...]]):
    """The training of a network that stylises contents as an objective asks.

    Args:
        generator: makes the network's input and its targets.
        network: the network, which is trained in place.
        encoder: the network by which the objective compares, and whose features AdaIN's network decodes.
        objective: content and style terms.
        corpus: the images to train on; a generator of one style takes the first style.
        cropping: how the images are cropped.
        recipe: how the network is trained.
        seed: seed of the order of the images, and of the random choices for them.
        machine: how the training is run.
        kept: whether images are read once, and kept in memory.
    """

    def __init__(
        self,
        generator: Generator,
        network: nn.Module,
        encoder: Encoder,
        objective: Objective,
        corpus: Corpus,
        cropping: Cropping,
        recipe: FeedforwardRecipe,
        *,
        seed: int,
        machine: Machine,
        kept: bool,
    ) -> None:
        self.generator, self.encoder, self.objective = generator, encoder, objective
        super().__init__(network, recipe, steps=recipe.steps, seed=seed, machine=machine, sums=4)
        parts = {"content": (corpus.contents, cropping)}
        if generator.reads_styles:
            parts["style"] = (corpus.styles, replace(cropping, stylize=None))
        self.images = {
            name: LabelledImages(images, how, how.each, seed=self._seed(name), kept=kept)
            for name, (images, how) in parts.items()
        }
        self.orders = {name: self._order(name, len(images), recipe) for name, images in self.images.items()}
        self.only_style: dict[str, Tensor] = {}
        if not generator.reads_styles:
            self.only_style = self._encoded(cropping.middle(corpus.styles[0][0]))

    def _order(self, name: str, images: int, recipe: FeedforwardRecipe) -> Order:
        world = self.machine.world
        order = Order(images, recipe.batch_size, 1, self._seed(name), first=0, world=world)
        order.check("recipe.batch_size")
        return replace(order, epochs=math.ceil(recipe.steps / order.steps_an_epoch))

    def _seed(self, part: str) -> int:
        """Return a seed for contents or styles: each have orders and crops of their own."""
        return number(self.seed, ("content", "style").index(part))

    def _encoded(self, image: Tensor) -> dict[str, Tensor]:
        """Return the features of one image `(3, H, W)`, uint8."""
        with torch.no_grad():
            return self.encoder(self._on_device(image[None]))

    def batches(self) -> Iterator[tuple[LabelledBatch, ...]]:
        """Return contents and styles of the steps still to be done; contents alone if one style is learnt."""
        machine = self.machine
        parts = [
            loader(self.images[name], replace(order, first=self.done), machine.workers, machine.device)
            for name, order in self.orders.items()
        ]
        return islice(zip(*parts, strict=False), self.steps - self.done)

    def loss_of(self, batch: tuple[LabelledBatch, ...]) -> tuple[Tensor, Tensor]:
        """Return the mean loss of a step's pairs, and sums over them, `(4,)`: total, content, style, 1."""
        self._note_unreadable(batch)
        fewest = min(len(part.images) for part in batch)
        contents, *styles = (self._on_device(part.images[:fewest]) for part in batch)
        draws = [number(self.seed, self.done, index) for index in range(fewest)]
        terms = self.terms(contents, styles[0] if styles else None, draws)
        total = terms.total.mean()
        sums = [terms.total.sum(), terms.content.sum(), terms.style.sum(), total.new_tensor(fewest)]
        return total, torch.stack(sums)

    def _note_unreadable(self, batch: tuple[LabelledBatch, ...]) -> None:
        """Count unreadable images; styles are numbered behind the contents."""
        first = 0
        total = sum(map(len, self.images.values()))
        for part, images in zip(batch, self.images.values(), strict=True):
            self.note_unreadable((first + index for index in part.unreadable), total)
            first += len(images)

    def _on_device(self, images: Tensor) -> Tensor:
        moved = images.to(self.machine.device, non_blocking=True, memory_format=self.memory_format)
        return moved.float() / 255

    def terms(self, contents: Tensor, styles: Tensor | None, draws: Sequence[int]) -> Terms:
        """Return the terms of pairs, `(B,)` each.

        Args:
            contents: `(B, 3, H, W)`, RGB in [0, 1].
            styles: the same shape; None for the one style that is learnt.
            draws: seeds of a loss that samples, see `swag_repro.losses.LossContext`.
        """
        tap = self.encoder.tap
        with self.machine.autocast():
            with torch.no_grad():
                of_content = self.encoder(contents)
                of_style = self._style_features(styles, len(contents))
            given = self.generator.given(contents, of_content[tap], of_style[tap])
            images = fitted(self.forward(given), contents)
            wanted = {tap: self.generator.wanted(given, of_content[tap])}
            targets = self.objective.targets_of(of_content, of_style, wanted)
            return self.objective(self.encoder, images, targets, draws)

    def _style_features(self, styles: Tensor | None, count: int) -> dict[str, Tensor]:
        if styles is not None:
            return self.encoder(styles)
        return {tap: layer.expand(count, -1, -1, -1) for tap, layer in self.only_style.items()}

    def running(self) -> MeanTerms:
        """Return means over the pairs since the sums were last set to 0.

        Raises:
            TrainingError: a loss is NaN or infinite.
        """
        self.check_finite()
        total, content, style, pairs = self.machine.world.total(self.sums).tolist()
        return MeanTerms(content / max(pairs, 1), style / max(pairs, 1), total / max(pairs, 1))


def fitted(images: Tensor, like: Tensor) -> Tensor:
    """Return images in the size of others; networks that don't pad make them smaller."""
    if images.shape[2:] == like.shape[2:]:
        return images
    return F.interpolate(images, like.shape[2:], mode="bilinear")
