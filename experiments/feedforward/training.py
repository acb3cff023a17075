"""The experiment `train_feedforward`: a network that stylises in one pass, shown and judged by some pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from experiments.building import build, build_network
from experiments.feedforward.looks import Look, look_of
from experiments.feedforward.trainer import FeedforwardTrainer
from experiments.frame import Context
from experiments.network import SmoothedExperiment
from experiments.objective import objective_of
from experiments.science import VERSIONS, wants_judge
from experiments.stylization.batches import Batch
from experiments.stylization.judging import Judging
from experiments.stylization.pairs import Pair, pairs_of
from experiments.training.alongside import TrainingExperiment, check_shares
from swag_repro.errors import check_choice
from swag_repro.feedforward import (
    Corpus,
    Cropping,
    Encoder,
    FeedforwardTraining,
    Generator,
    Recipe,
    Stage,
    Stylizer,
    reflect,
    stages,
)
from swag_repro.losses import Objective
from swag_repro.networks import Levers

PADDINGS = ("reflect", "zeros")


@dataclass(frozen=True, kw_only=True)
class FeedforwardExperiment(TrainingExperiment, SmoothedExperiment):
    """What is trained by which objective on what, and the pairs by which it is shown and judged."""

    name = "train_feedforward"
    version = VERSIONS[name]
    reads = "train_feedforward"

    objective: Objective
    generator: Generator
    look: Look
    cropping: Cropping
    recipe: Recipe

    @classmethod
    def parts(cls, config: DictConfig) -> dict[str, Any]:
        """The attributes of the experiment of this config."""
        parts = super().parts(config)
        check_choice("padding", config.padding, PADDINGS)
        check_shares("shown", config.shown, "0 is its start; the end is always shown.")
        return {
            **parts,
            "objective": objective_of(config.objective, parts["architecture"], parts["smoothing"]),
            "generator": build(config.generator),
            "look": look_of(config, parts["pictures"]),
            "cropping": Cropping(short=config.crop.short, size=config.crop.size),
            "recipe": build(config.recipe),
        }

    @cached_property
    def corpus(self) -> Corpus:
        """Listed once it is needed."""
        corpus: Corpus = build(self.config.corpus.source)
        return corpus

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Those that are shown and judged."""
        return pairs_of(self.config, self.pictures)

    @property
    def images(self) -> dict[str, str]:
        """What tells the corpus and the pairs from others."""
        pairs = {pair.name: pair.sha256 for pair in self.pairs}
        return {"corpus": self.corpus.digest, **self.look.images, **pairs}

    @property
    def seed(self) -> int:
        """Of the training."""
        seed: int = self.config.seed
        return seed

    @property
    def origin(self) -> dict[str, Any]:
        """What each of its rows says of it."""
        return {**super().origin, "loss": f"{self.config.objective.name} {self.config.generator.name}"}

    @property
    def label(self) -> str:
        """Generator, encoder, smoothing, objective, for people."""
        return f"{self.config.generator.name} {super().label} {self.config.objective.name}"

    @property
    def tags(self) -> list[str]:
        """By which W&B finds it."""
        return [*super().tags, self.config.generator.name, self.config.objective.name]

    @property
    def tap(self) -> str:
        """The layer that is decoded: that of the content term."""
        return next(iter(self.objective.content.taps))

    @property
    def taps(self) -> Sequence[str]:
        """Where the encoder is read."""
        return tuple(dict.fromkeys([*self.objective.taps(), self.tap]))

    @property
    def levers(self) -> Levers:
        """How the encoder is run."""
        return Levers(fold_batchnorm=self.config.batchnorm == "eval", in_place=True, channels_last=True)

    def raw_network(self) -> nn.Module:
        """The encoder, as it pads here."""
        network = build_network(self.weights, self.architecture)
        return reflect(network) if self.config.padding == "reflect" else network

    @cached_property
    def structure(self) -> nn.Module:
        """The encoder without any values, for what only its layers tell."""
        with torch.device("meta"):
            return self.architecture.build()

    @cached_property
    def path(self) -> list[Stage]:
        """Of the encoder to the layer that is decoded."""
        return stages(self.structure, self.architecture.taps[self.tap])[0]

    def generator_network(self) -> nn.Module:
        """What is trained, with fresh weights."""
        path = self.architecture.taps[self.tap]
        return self.generator.network(self.structure, path, seed=self.config.seed)

    def training(self) -> FeedforwardTraining:
        """At its start."""
        return FeedforwardTraining(
            self.generator,
            self.generator_network(),
            Encoder(self.network(), self.tap),
            self.objective,
            self.corpus,
            replace(self.cropping, stylize=self.look.stylize(self.cropping.short)),
            self.recipe,
            seed=self.config.seed,
            machine=self.machine,
            kept=self.config.compute.keep_images,
        )

    def stylizer(self, network: nn.Module) -> Stylizer:
        """A trained network in use."""
        tapped = self.network()
        return Stylizer(self.generator, network, lambda images: tapped(images)[self.tap], self.path)

    def trainer(self, context: Context | None) -> FeedforwardTrainer:
        """What takes it to its end."""
        return FeedforwardTrainer(self, self.training(), context)

    def batches(self) -> Iterator[Batch]:
        """The pairs that are shown, one by one, their contents prepared as those of the training are."""
        prepared = self.look.stylize(self.cropping.short)
        for pair in self.pairs:
            weights = [1.0] * len(pair.styles)
            batch = Batch.load([pair], self.resize, device=self.device, weights=weights, feather=0.0)
            if prepared is not None:
                [content] = batch.contents
                batch = replace(batch, contents=prepared(content.cpu())[None].to(self.device))
            yield batch

    def following(self) -> Judging | None:
        """The judgement of its pictures; None if nothing is to be measured."""
        return Judging.of(self) if wants_judge(self.config) else None
