"""Experiments that run a network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from experiments.building import build, build_network, build_pictures, build_resize, check_network
from experiments.config import Config
from experiments.frame import Experiment
from swag_repro.images import Picture, Resize
from swag_repro.networks import Architecture, Execution, TappedNetwork
from swag_repro.smoothing import Smoothing
from swag_repro.weights import Weights

logger = logging.getLogger(__name__)

_LAST: dict[str, TappedNetwork] = {}
"""The network that this process built last; consecutive cells of a sweep often share it."""


@dataclass(frozen=True, kw_only=True)
class NetworkExperiment(Experiment):
    """A network with its weights, and pictures."""

    architecture: Architecture
    weights: Weights
    pictures: tuple[Picture, ...]
    resize: Resize

    @classmethod
    def parts(cls, config: Config) -> dict[str, Any]:
        """Return the attributes of the experiment of this config."""
        return {
            **super().parts(config),
            "architecture": build(config.network, Architecture),
            "weights": build(config.weights, Weights),
            "pictures": build_pictures(config.images.source),
            "resize": build_resize(config.images),
        }

    @property
    def images(self) -> dict[str, str]:
        """The SHA-256 of each picture that decides the result, by the picture's name."""
        return {picture.key: picture.sha256 for picture in self.pictures}

    @property
    def weights_digest(self) -> str | None:
        """A digest of the values of the weights; None where the settings determine the values."""
        return self.weights.digest(self.architecture)

    def check(self) -> None:
        """Raise what computing would raise at its start, without computing."""
        super().check()
        check_network(self.weights, self.architecture, self.taps)

    @property
    def taps(self) -> Sequence[str]:
        """The taps at which the network is read."""
        return tuple(self.architecture.taps)

    @property
    def seed(self) -> int | None:
        """The seed of random weights; None for other weights."""
        return getattr(self.weights, "seed", None)

    @property
    def origin(self) -> dict[str, Any]:
        """The columns about the network that all rows of the run share."""
        return {"network": self.architecture.name, "weights": self.weights.name, "seed": self.seed}

    @property
    def label(self) -> str:
        """The network and its weights, for people."""
        seed = "" if self.seed is None else f" seed {self.seed}"
        return f"{self.architecture.name} {self.weights.name}{seed}"

    @property
    def tags(self) -> list[str]:
        """The tags by which users find the run in W&B."""
        return [self.architecture.name, self.weights.name]


@dataclass(frozen=True, kw_only=True)
class SmoothedExperiment(NetworkExperiment):
    """A network that is read at its taps, and a smoothing of its features."""

    smoothing: Smoothing

    @classmethod
    def parts(cls, config: Config) -> dict[str, Any]:
        """Return the attributes of the experiment of this config."""
        return {**super().parts(config), "smoothing": build(config.smoothing, Smoothing)}

    @property
    def taps(self) -> Sequence[str]:
        """The taps at which the network is read."""
        return self.architecture.statistic_taps

    @property
    def execution(self) -> Execution:
        """The switches that set how the network runs."""
        # Not channels_last: statistics read a layer as (D, M); the change of layout costs more than it gains.
        return Execution(fold_batchnorm=self.config.batchnorm == "eval", in_place=True)

    def network(self) -> TappedNetwork:
        """Return the tapped network with its weights, on its device; reuse the last one if it is the same."""
        config = self.plain
        settings = [config[name] for name in ("network", "weights", "batchnorm", "precision")]
        key = repr((settings, self.weights_digest, list(self.taps), self.execution, self.device))
        if key not in _LAST:
            _LAST.clear()
            _LAST[key] = self._network()
        return _LAST[key]

    def raw_network(self) -> nn.Module:
        """Return the network with its weights, before it is read at taps."""
        return build_network(self.weights, self.architecture, self.taps)

    def _network(self) -> TappedNetwork:
        tapped = TappedNetwork.of(
            self.architecture,
            self.raw_network(),
            self.taps,
            batchnorm=self.config.batchnorm,
            dtype=getattr(torch, self.config.precision),
            execution=self.execution,
        )
        read = (f"{tap}: {self.architecture.taps[tap]} ({found})" for tap, found in tapped.layouts.items())
        logger.info("%s is read at %s", self.architecture.name, "; ".join(read))
        return tapped.to(self.device)

    @property
    def origin(self) -> dict[str, Any]:
        """The columns about the network that all rows of the run share."""
        return {**super().origin, "smoothing": str(self.smoothing)}

    @property
    def label(self) -> str:
        """The network, its weights and its smoothing, for people."""
        return f"{super().label} {self.smoothing}"

    @property
    def tags(self) -> list[str]:
        """The tags by which users find the run in W&B."""
        return [*super().tags, str(self.smoothing)]
