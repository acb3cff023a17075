"""Networks that a run has trained or that ship, and contents that such a network prepares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from experiments.config import Config, checked
from experiments.feedforward.network import GeneratorExperiment
from experiments.pictures.pairs import choose_pictures
from experiments.stored import check_stored, stored
from swag_repro.errors import SettingError, WeightsError
from swag_repro.feedforward import equalized
from swag_repro.images import Picture, Resize, load_image
from swag_repro.losses import Style
from swag_repro.runs.files import MALFORMED, digest_of, parse_yaml
from swag_repro.runs.records import damage_of
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

    @cached_property
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


def trained(run: str, beside: Config, kind: type[GeneratorExperiment]) -> Trained:
    """Return the training of a run.

    Args:
        run: The run's id, or `SHIPPED_DECODER`.
        beside: The config that uses the training: its output folder, images, device and precision apply.
        kind: The experiment that trained it.

    Raises:
        WeightsError: No such finished training exists, or its config builds what `conf/` doesn't name.
    """
    directory = _shipped() if run == SHIPPED_DECODER else Path(beside.output) / "runs" / run
    if run != SHIPPED_DECODER and (lost := damage_of(directory)) != []:
        rule, found = "should be the id of a finished training, or shipped", f"none in {directory}"
        if lost is not None:
            found = f"{directory} with files that are damaged or missing: {', '.join(lost)}"
        raise WeightsError("run", rule, found, _TRAIN_ONE)
    try:
        settings: Any = parse_yaml((directory / "config.yaml").read_text(encoding="utf-8"))
    except MALFORMED as error:
        found = f"{directory} ({' '.join(str(error).split())})"
        raise WeightsError("run", "should have its config", found, _TRAIN_ONE) from error
    check_stored(settings, directory)
    if settings.get("entry") != kind.reads:
        found = f"{settings.get('entry')}: {directory}"
        raise WeightsError("run", f"should be a training of {kind.reads}", found, _TRAIN_ONE)
    with stored(directory):
        training = Trained(_experiment(settings, beside, kind), directory / WEIGHTS)
        _ = training.digest  # raises if the weights can't be used
    return training


def _experiment(
    settings: Mapping[str, Any], beside: Config, kind: type[GeneratorExperiment]
) -> GeneratorExperiment:
    own = {
        "images": beside.images.plain,
        "output": beside.output,
        "precision": beside.precision,
        "compute": {**settings["compute"], "device": beside.compute.device},
    }
    return kind.build(checked({**settings, **own}, kind.reads))


def _shipped() -> Path:
    return Path(str(files("swag_repro.feedforward"))) / SHIPPED_DECODER


@dataclass(frozen=True)
class ContentLook:
    """A way to prepare contents.

    Attributes:
        name: `photograph`, `contrast` or `stylized`.
        style: The style of `stylized`; None for other looks.
        decoder: The trained decoder of `stylized`; None for other looks.
    """

    name: str
    style: Picture | None = None
    decoder: Trained | None = None

    @property
    def images(self) -> dict[str, str]:
        """The digests that tell this look from others of its name."""
        if self.style is None or self.decoder is None:
            return {}
        return {"look": f"{self.style.sha256} {self.decoder.digest}"}

    def stylize(self, size: int) -> Callable[[Tensor], Tensor] | None:
        """Return the function that prepares a content `(3, H, W)` on the CPU; None if nothing is to be done.

        Args:
            size: Pixels of the style's short side.
        """
        if self.name == "photograph":
            return None
        if self.style is None or self.decoder is None:
            return equalized
        stylizer = self.decoder.experiment.stylizer(self.decoder.network())
        style = Style(load_image(self.style, Resize(size=size, policy="short", interpolation="lanczos")))
        return lambda image: stylizer(image[None], [style])[0]


def look_of(config: Config, pictures: tuple[Picture, ...], kind: type[GeneratorExperiment]) -> ContentLook:
    """Return the look that `crop.look` names.

    Other looks ignore `crop.style`, so that a sweep over looks can set it.

    Args:
        config: The training's config.
        pictures: The set of pictures that may hold the style.
        kind: The experiment that trained the decoder.

    Raises:
        SettingError: `stylized` has no style.
    """
    crop = config.crop
    if crop.look != "stylized":
        return ContentLook(crop.look)
    if crop.style is None:
        rule = "should name a style where crop.look=stylized"
        raise SettingError("crop.style", rule, "null", "Give a file, or the name of a picture of the set.")
    [style] = choose_pictures("style", crop.style, pictures)
    on_cpu = {**config.compute.plain, "device": "cpu"}
    for_readers = Config({**config.plain, "compute": on_cpu, "precision": "float32"})
    return ContentLook(crop.look, style, trained(SHIPPED_DECODER, for_readers, kind))
