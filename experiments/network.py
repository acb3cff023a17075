"""What experiments that run a network need beside what every experiment does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from experiments.building import build, build_network
from experiments.frame import Experiment
from swag_repro.images import Picture, Resize
from swag_repro.networks import Architecture, Levers, TappedNetwork
from swag_repro.smoothing import Smoothing
from swag_repro.weights import Weights

_LAST: dict[str, TappedNetwork] = {}
"""The network that this process built last: cells of a sweep that follow each other often share it."""


@dataclass(frozen=True, kw_only=True)
class NetworkExperiment(Experiment):
    """A network with its weights, and pictures."""

    architecture: Architecture
    weights: Weights
    pictures: tuple[Picture, ...]
    resize: Resize

    @classmethod
    def parts(cls, config: DictConfig) -> dict[str, Any]:
        """The attributes of the experiment of this config."""
        return {
            **super().parts(config),
            "architecture": build(config.network),
            "weights": build(config.weights),
            "pictures": build(config.images.source),
            "resize": Resize(
                size=config.images.size,
                policy=config.images.resize,
                interpolation=config.images.interpolation,
            ),
        }

    @property
    def images(self) -> dict[str, str]:
        """SHA-256 of all the pictures that decide its result, by their names."""
        return {picture.key: picture.sha256 for picture in self.pictures}

    @property
    def weights_digest(self) -> str | None:
        """What tells the weights' values from others; None where the settings tell them."""
        return self.weights.digest(self.architecture)

    @property
    def seed(self) -> int | None:
        """Of random weights; None for others."""
        return getattr(self.weights, "seed", None)

    @property
    def origin(self) -> dict[str, Any]:
        """What each of its rows says of the network."""
        return {"network": self.architecture.name, "weights": self.weights.name, "seed": self.seed}

    @property
    def label(self) -> str:
        """The network and its weights, for people."""
        seed = "" if self.seed is None else f" seed {self.seed}"
        return f"{self.architecture.name} {self.weights.name}{seed}"

    @property
    def tags(self) -> list[str]:
        """By which W&B finds it."""
        return [self.architecture.name, self.weights.name]


@dataclass(frozen=True, kw_only=True)
class SmoothedExperiment(NetworkExperiment):
    """A network that is read at its taps, and a smoothing of what is read."""

    smoothing: Smoothing

    @classmethod
    def parts(cls, config: DictConfig) -> dict[str, Any]:
        """The attributes of the experiment of this config."""
        return {**super().parts(config), "smoothing": build(config.smoothing)}

    @property
    def taps(self) -> Sequence[str]:
        """Where the network is read."""
        return self.architecture.statistic_taps

    @property
    def levers(self) -> Levers:
        """How the network is run."""
        # Not channels_last: statistics read a layer as (D, M), and turning it costs more than it gains.
        return Levers(fold_batchnorm=self.config.batchnorm == "eval", in_place=True)

    def network(self) -> TappedNetwork:
        """The network with its weights, read at its taps, on its device; the last one again, if it fits."""
        config = self.plain
        settings = [config[name] for name in ("network", "weights", "batchnorm", "precision")]
        key = repr((settings, self.weights_digest, list(self.taps), self.levers, self.device))
        if key not in _LAST:
            _LAST.clear()
            _LAST[key] = self._network()
        return _LAST[key]

    def raw_network(self) -> nn.Module:
        """The network with its weights, before it is read at taps."""
        return build_network(self.weights, self.architecture, self.taps)

    def _network(self) -> TappedNetwork:
        tapped = TappedNetwork(
            self.raw_network(),
            self.architecture.paths(self.taps),
            mean=self.architecture.mean,
            std=self.architecture.std,
            batchnorm=self.config.batchnorm,
            dtype=getattr(torch, self.config.precision),
            levers=self.levers,
        )
        return tapped.to(self.device)

    @property
    def origin(self) -> dict[str, Any]:
        """What each of its rows says of the network."""
        return {**super().origin, "smoothing": str(self.smoothing)}

    @property
    def label(self) -> str:
        """The network, its weights and its smoothing, for people."""
        return f"{super().label} {self.smoothing}"

    @property
    def tags(self) -> list[str]:
        """By which W&B finds it."""
        return [*super().tags, str(self.smoothing)]
