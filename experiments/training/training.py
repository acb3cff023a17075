"""The experiment `train_classifier`: a network trained on labelled images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from experiments.building import build, build_network, check_network
from experiments.config import Config
from experiments.frame import Context
from experiments.science import EXPERIMENT_VERSIONS
from experiments.training.alongside import TrainingExperiment
from experiments.training.trainer import ClassifierTrainer
from swag_repro.networks import Architecture
from swag_repro.training import ClassifierLoop, ClassifierRecipe, Dataset, Preparation
from swag_repro.weights import Weights


@dataclass(frozen=True, kw_only=True)
class ClassifierTraining(TrainingExperiment):
    """A network, its first weights, its data and its recipe."""

    name = "train_classifier"
    version = EXPERIMENT_VERSIONS[name]
    reads = "train_classifier"

    architecture: Architecture
    weights: Weights
    preparation: Preparation
    recipe: ClassifierRecipe

    @classmethod
    def parts(cls, config: Config) -> dict[str, Any]:
        """Return the attributes of the experiment of this config."""
        data, parts = config.data, super().parts(config)
        return {
            **parts,
            "architecture": build(config.network, Architecture),
            "weights": build(config.weights, Weights),
            "preparation": Preparation(size=data.size, crop=data.crop, flip=data.flip),
            "recipe": build(config.recipe, ClassifierRecipe),
        }

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset, read at first use."""
        dataset: Dataset = build(self.config.data.source, Dataset)
        return dataset

    @property
    def images(self) -> dict[str, str]:
        """The digest of the data."""
        return {"data": self.dataset.digest}

    @property
    def weights_digest(self) -> str | None:
        """The digest of the weights at which the training starts."""
        return self.weights.digest(self._trained_architecture)

    @property
    def origin(self) -> dict[str, Any]:
        """The columns about the network that all rows of the run share."""
        return {
            "network": self.architecture.name,
            "weights": self.weights.name,
            "seed": self.config.seed,
        }

    @property
    def label(self) -> str:
        """The network, the data and the seed, for people."""
        return f"{self.architecture.name} on {self.config.data.name}, seed {self.config.seed}"

    @property
    def tags(self) -> list[str]:
        """The tags by which users find the run in W&B."""
        return [self.architecture.name, self.config.data.name]

    def trainer(self, context: Context | None) -> ClassifierTrainer:
        """Return the trainer that runs the training to its end."""
        return ClassifierTrainer(self, self.training(), context)

    def check(self) -> None:
        """Raise what computing would raise at its start, without computing."""
        super().check()
        check_network(self.weights, self._trained_architecture, tuple(self.architecture.taps))

    @cached_property
    def _trained_architecture(self) -> Architecture:
        """The architecture with one output for each class of the data."""
        builder = partial(self.architecture.builder, num_classes=len(self.dataset.classes))
        return replace(self.architecture, builder=builder)

    def training(self) -> ClassifierLoop:
        """Return the training at its start."""
        return ClassifierLoop(
            build_network(self.weights, self._trained_architecture),
            self.architecture,
            self.dataset,
            self.preparation,
            self.recipe,
            seed=self.config.seed,
            machine=self.machine,
            kept=self.config.compute.keep_images,
        )
