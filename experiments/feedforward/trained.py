"""A finished training of a network that stylises, found by its run's id or among those that ship."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from experiments.config import checked
from experiments.feedforward.network import GeneratorExperiment
from experiments.stored import check_stored, stored
from swag_repro.errors import WeightsError
from swag_repro.runs.files import MALFORMED, digest_of, parse_yaml
from swag_repro.runs.records import is_finished
from swag_repro.weights import WEIGHTS

SHIPPED_DECODER = "shipped"

_TRAIN_ONE = "`swag train-feedforward` trains one."


@dataclass(frozen=True)
class Trained:
    """A training and its weights.

    Attributes:
        experiment: The experiment that was trained.
        path: The file of the weights.
    """

    experiment: GeneratorExperiment
    path: Path

    @property
    def digest(self) -> str:
        """The SHA-256 of the trained weights, and the digest of the encoder's."""
        return f"{digest_of(self.path)} {self.experiment.weights_digest}"

    def network(self) -> nn.Module:
        """Return the trained network, on its device.

        Raises:
            WeightsError: The file is damaged, or belongs to another network.
        """
        network = self.experiment.generator_network()
        try:
            network.load_state_dict(load_file(self.path))
        except (SafetensorError, RuntimeError, OSError) as error:
            found = f"{self.path} ({str(error).splitlines()[0]})"
            raise WeightsError("run", "should have weights of its own network", found, _TRAIN_ONE) from error
        return network.to(self.experiment.device).requires_grad_(requires_grad=False)


def trained(run: str, beside: DictConfig, kind: type[GeneratorExperiment]) -> Trained:
    """Return the training of a run.

    Args:
        run: The run's id, or `SHIPPED_DECODER`.
        beside: The config that uses the training: its output folder, images, device and precision apply.
        kind: The experiment that trained it.

    Raises:
        WeightsError: No such finished training exists, or its config builds what `conf/` doesn't name.
    """
    directory = _shipped() if run == SHIPPED_DECODER else Path(beside.output) / "runs" / run
    if run != SHIPPED_DECODER and not is_finished(directory):
        rule = "should be the id of a finished training, or shipped"
        raise WeightsError("run", rule, f"none of this id in {directory.parent}", _TRAIN_ONE)
    try:
        settings: Any = parse_yaml((directory / "config.yaml").read_text(encoding="utf-8"))
    except MALFORMED as error:
        raise WeightsError("run", "should have its config", f"{directory} ({error})", _TRAIN_ONE) from error
    check_stored(settings, directory)
    if settings.get("entry") != kind.reads:
        found = f"{settings.get('entry')}: {directory}"
        raise WeightsError("run", f"should be a training of {kind.reads}", found, _TRAIN_ONE)
    with stored(directory):
        experiment = _experiment(settings, beside, kind)
        _ = experiment.weights_digest  # raises if the weights can't be used
    return Trained(experiment, directory / WEIGHTS)


def _experiment(
    settings: Mapping[str, Any], beside: DictConfig, kind: type[GeneratorExperiment]
) -> GeneratorExperiment:
    own = {
        "images": OmegaConf.to_container(beside.images),
        "output": beside.output,
        "precision": beside.precision,
        "compute": {**settings["compute"], "device": beside.compute.device},
    }
    config = OmegaConf.create({**settings, **own})
    return kind.build(checked(config, kind.reads))


def _shipped() -> Path:
    return Path(str(files("swag_repro.feedforward"))) / SHIPPED_DECODER
