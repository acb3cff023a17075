"""A network that stylises in one pass: an encoder, and what generates pictures from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from experiments.building import build, build_network
from experiments.network import SmoothedExperiment
from experiments.objective import objective_of
from swag_repro.errors import check_choice
from swag_repro.feedforward import Generator, Stage, Stylizer, reflect, stages
from swag_repro.losses import Objective
from swag_repro.networks import Levers

PADDINGS = ("reflect", "zeros")


@dataclass(frozen=True, kw_only=True)
class GeneratorExperiment(SmoothedExperiment):
    """An encoder, a generator of pictures, and the objective that it is trained by."""

    objective: Objective
    generator: Generator

    @classmethod
    def parts(cls, config: DictConfig) -> dict[str, Any]:
        """Return the attributes of the experiment of this config."""
        parts = super().parts(config)
        check_choice("padding", config.padding, PADDINGS)
        return {
            **parts,
            "objective": objective_of(config.objective, parts["architecture"], parts["smoothing"]),
            "generator": build(config.generator),
        }

    @property
    def seed(self) -> int:
        """Of the generator and its training."""
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

    def stylizer(self, network: nn.Module) -> Stylizer:
        """A trained network in use."""
        tapped = self.network()
        return Stylizer(self.generator, network, lambda images: tapped(images)[self.tap], self.path)
