"""A network that stylises in one pass: an encoder, and a generator of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from experiments.building import build, build_network
from experiments.config import Config
from experiments.network import SmoothedExperiment
from experiments.objective import objective_of
from swag_repro.feedforward import Generator, Stage, Stylizer, reflect, stages
from swag_repro.losses import Objective
from swag_repro.networks import Execution


@dataclass(frozen=True, kw_only=True)
class GeneratorExperiment(SmoothedExperiment):
    """An encoder, a generator of pictures, and the objective of its training."""

    objective: Objective
    generator: Generator

    @classmethod
    def parts(cls, config: Config) -> dict[str, Any]:
        """Return the attributes of the experiment of this config."""
        parts = super().parts(config)
        return {
            **parts,
            "objective": objective_of(config.objective, parts["architecture"], parts["smoothing"]),
            "generator": build(config.generator, Generator),
        }

    def check(self) -> None:
        """Raise what computing would raise at its start, without computing."""
        super().check()
        _ = self.path

    @property
    def seed(self) -> int:
        """The seed of the generator and its training."""
        seed: int = self.config.seed
        return seed

    @property
    def origin(self) -> dict[str, Any]:
        """The columns that all rows of the run share."""
        return {**super().origin, "loss": f"{self.config.objective.name} {self.config.generator.name}"}

    @property
    def label(self) -> str:
        """The generator, encoder, smoothing and objective, for people."""
        return f"{self.config.generator.name} {super().label} {self.config.objective.name}"

    @property
    def tags(self) -> list[str]:
        """The tags by which users find the run in W&B."""
        return [*super().tags, self.config.generator.name, self.config.objective.name]

    @property
    def tap(self) -> str:
        """The tap whose features are decoded: that of the content term."""
        return next(iter(self.objective.content.taps))

    @property
    def taps(self) -> Sequence[str]:
        """The taps at which the encoder is read."""
        return tuple(dict.fromkeys([*self.objective.taps(), self.tap]))

    @property
    def execution(self) -> Execution:
        """The switches that set how the encoder runs."""
        return Execution(fold_batchnorm=self.config.batchnorm == "eval", in_place=True, channels_last=True)

    def raw_network(self) -> nn.Module:
        """Return the encoder with the padding of the config."""
        network = build_network(self.weights, self.architecture)
        return reflect(network) if self.config.padding == "reflect" else network

    @cached_property
    def structure(self) -> nn.Module:
        """The encoder without values, for what only its layers tell."""
        with torch.device("meta"):
            return self.architecture.build()

    @cached_property
    def path(self) -> list[Stage]:
        """The stages of the encoder up to the layer that is decoded."""
        return stages(self.structure, self.architecture.taps[self.tap])[0]

    def generator_network(self) -> nn.Module:
        """Return the network to train, with fresh weights."""
        path = self.architecture.taps[self.tap]
        return self.generator.network(self.structure, path, seed=self.config.seed)

    def stylizer(self, network: nn.Module) -> Stylizer:
        """Return a trained network, ready to stylise."""
        tapped = self.network()
        return Stylizer(self.generator, network, lambda images: tapped(images)[self.tap], self.path)
