"""The experiment `train_classifier`: a network trained on labelled images."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from omegaconf import DictConfig

from experiments.building import build, build_network
from experiments.config import checked
from experiments.frame import Context, Experiment
from experiments.science import VERSIONS
from experiments.training.trainer import Trainer
from swag_repro.errors import SettingError, UserError
from swag_repro.networks import Architecture
from swag_repro.runs.records import is_finished
from swag_repro.runs.store import Store
from swag_repro.training import Dataset, Machine, Preparation, Recipe, Training, World
from swag_repro.weights import SNAPSHOTS, Weights

MOST_WORKERS = 8


@dataclass(frozen=True, kw_only=True)
class ClassifierTraining(Experiment):
    """A network, where its weights start, and what it is trained on, how."""

    name = "train_classifier"
    version = VERSIONS[name]
    reads = "train_classifier"
    resumable = ("checkpoints", SNAPSHOTS)

    architecture: Architecture
    weights: Weights
    preparation: Preparation
    recipe: Recipe

    @classmethod
    def parts(cls, config: DictConfig) -> dict[str, Any]:
        """The attributes of the experiment of this config."""
        for share in config.snapshots:
            if not 0 <= share <= 1:
                rule = "should be shares of the training, from 0 to 1"
                raise SettingError("snapshots", rule, share, "0 is its start, 1 its end.")
        data, parts = config.data, super().parts(config)
        return {
            **parts,
            "device": World.current().device(parts["device"]),
            "architecture": build(config.network),
            "weights": build(config.weights),
            "preparation": Preparation(size=data.size, crop=data.crop, flip=data.flip),
            "recipe": build(config.recipe),
        }

    @cached_property
    def dataset(self) -> Dataset:
        """Read once it is needed."""
        dataset: Dataset = build(self.config.data.source)
        return dataset

    @property
    def images(self) -> dict[str, str]:
        """What tells the data from others."""
        return {"data": self.dataset.digest}

    @property
    def weights_digest(self) -> str | None:
        """What tells the weights that it starts from."""
        return self.weights.digest(self._trained_architecture)

    @property
    def label(self) -> str:
        """The network, the data and the seed, for people."""
        return f"{self.architecture.name} on {self.config.data.name}, seed {self.config.seed}"

    @property
    def tags(self) -> list[str]:
        """By which W&B finds it."""
        return [self.architecture.name, self.config.data.name]

    def compute(self, context: Context) -> None:
        """Trains to the end, from the last checkpoint on; writes weights and curves."""
        if context.place is not None and World.current().size > 1:
            raise SettingError("-m", "should be left out under torchrun", "a sweep", "Train one by one.")
        with World.current().joined(self.device):
            Trainer(self, self.training(), context).train()

    @cached_property
    def _trained_architecture(self) -> Architecture:
        """With as many outputs as the data have classes."""
        builder = partial(self.architecture.builder, num_classes=len(self.dataset.classes))
        return replace(self.architecture, builder=builder)

    def training(self) -> Training:
        """At its start."""
        compute = self.config.compute
        workers = compute.workers
        if workers is None:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            workers = 1 if self.device.type == "cpu" else min(MOST_WORKERS, cores)
        return Training(
            build_network(self.weights, self._trained_architecture),
            self.architecture,
            self.dataset,
            self.preparation,
            self.recipe,
            seed=self.config.seed,
            machine=Machine(
                device=self.device,
                precision=self.config.precision,
                compiled=compute.compile,
                workers=workers,
                world=World.current(),
            ),
            kept=compute.keep_images,
        )


def assist(composed: DictConfig) -> None:
    """What the processes of torchrun beside the first do: the same, and write nothing.

    Ends with status 1, and no message, where the first has one.
    """
    try:
        experiment = ClassifierTraining.build(checked(composed, ClassifierTraining.reads))
        target = Store(experiment.config.output).directory(experiment.identity.run_id)
        if is_finished(target) and not experiment.config.force:
            return
        with World.current().joined(experiment.device):
            Trainer(experiment, experiment.training(), None).train()
    except UserError:
        sys.exit(1)
