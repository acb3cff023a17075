"""Experiments that several processes of torchrun compute together."""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig

from experiments.config import Config, checked
from experiments.frame import Context, Experiment
from experiments.running import flush_subnormals, run_experiment
from experiments.sweeps.progress import console
from experiments.training.trainer import Trainer
from swag_repro.errors import SettingError, UserError, check_number, check_seed
from swag_repro.runs.records import is_finished
from swag_repro.runs.store import Store
from swag_repro.training import Machine, World
from swag_repro.weights import SNAPSHOTS

MOST_WORKERS = 8


def check_shares(setting: str, shares: Iterable[float], remedy: str) -> None:
    """Raise unless each number is a share of a training.

    Raises:
        SettingError: A share is below 0 or above 1.
    """
    for share in shares:
        check_number(setting, share, least=0, most=1, remedy=f"These are shares of the training: {remedy}")


class TrainingExperiment(Experiment):
    """A training in one or more processes, of which only the first writes."""

    resumable = ("checkpoints", SNAPSHOTS)

    @classmethod
    def parts(cls, config: Config) -> dict[str, Any]:
        """Return the attributes of the experiment of this config."""
        check_shares("snapshots", config.snapshots, "0 is its start, 1 its end.")
        check_seed("seed", config.seed)
        check_number("checkpoint_seconds", config.checkpoint_seconds, least=0)
        parts = super().parts(config)
        return {**parts, "device": World.current().device(parts["device"])}

    @abstractmethod
    def trainer(self, context: Context | None) -> Trainer[Any]:
        """Return the trainer that runs the training to its end; without a context it writes nothing."""

    def compute(self, context: Context) -> None:
        """Train from the last checkpoint to the end; write the weights and curves."""
        if context.place is not None and World.current().size > 1:
            raise SettingError("-m", "should be left out under torchrun", "a sweep", "Train one by one.")
        with World.current().joined(self.device, _say_waiting):
            self.trainer(context).train()

    @property
    def machine(self) -> Machine:
        """The machine and precision of the training."""
        compute = self.config.compute
        workers = compute.workers
        if workers is None:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            workers = 1 if self.device.type == "cpu" else min(MOST_WORKERS, cores)
        return Machine(
            device=self.device,
            precision=self.config.precision,
            compiled=compute.compile,
            workers=workers,
            world=World.current(),
        )


def _say_waiting() -> None:
    console.print(f"waiting for the other processes of torchrun, {World.current().size} in all")


def train_with_others(composed: DictConfig, kind: type[TrainingExperiment]) -> None:
    """Run the entry point of a training in each of its processes."""
    if World.current().rank:
        if not composed.sweep.dry_run:
            _assist(composed, kind)
    else:
        run_experiment(composed, kind)


def _assist(composed: DictConfig, kind: type[TrainingExperiment]) -> None:
    """Train in a process of torchrun beside the first, and write nothing.

    A user's error ends the process with status 1 and no message, because the first process prints one.
    """
    flush_subnormals()
    try:
        experiment = kind.build(checked(composed, kind.reads))
        target = Store(experiment.config.output).directory(experiment.identity.run_id)
        if is_finished(target) and not experiment.config.force:
            return
        with World.current().joined(experiment.device):
            experiment.trainer(None).train()
    except UserError:
        sys.exit(1)
