"""What the contents of a training are made of, to see what a normalisation is good for (AdaIN, Figure 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from experiments.feedforward.network import GeneratorExperiment
from experiments.feedforward.trained import SHIPPED, Trained, trained
from experiments.pictures.pairs import chosen
from swag_repro.errors import SettingError, check_choice
from swag_repro.feedforward import equalized
from swag_repro.images import Picture, Resize, load
from swag_repro.losses import Style

LOOKS = ("photograph", "contrast", "stylized")


@dataclass(frozen=True)
class Look:
    """A way to prepare contents.

    Attributes:
        name: one of `LOOKS`.
        style: of `stylized`; None for the others.
        decoder: that stylises; None for the others.
    """

    name: str
    style: Picture | None = None
    decoder: Trained | None = None

    @property
    def images(self) -> dict[str, str]:
        """What tells it from others, beside its name."""
        if self.style is None or self.decoder is None:
            return {}
        return {"look": f"{self.style.sha256} {self.decoder.digest}"}

    def stylize(self, size: int) -> Callable[[Tensor], Tensor] | None:
        """What is done to a content `(3, H, W)` on the CPU; None for nothing.

        Args:
            size: pixels of the style's short side.
        """
        if self.name == "photograph":
            return None
        if self.style is None or self.decoder is None:
            return equalized
        stylizer = self.decoder.experiment.stylizer(self.decoder.network())
        style = Style(load(self.style, Resize(size=size, policy="short", interpolation="lanczos")))
        return lambda image: stylizer(image[None], [style])[0]


def look_of(config: DictConfig, pictures: tuple[Picture, ...], kind: type[GeneratorExperiment]) -> Look:
    """What `crop.look` asks for.

    `crop.style` may stand beside any look, so that a sweep over looks can have it.

    Args:
        config: of the training.
        pictures: among which the style may be.
        kind: the experiment that trained the decoder.

    Raises:
        SettingError: an unknown look, or no style for `stylized`.
    """
    crop = config.crop
    check_choice("crop.look", crop.look, LOOKS)
    if crop.look != "stylized":
        return Look(crop.look)
    if crop.style is None:
        rule = "should name a style where crop.look=stylized"
        raise SettingError("crop.style", rule, "null", "Give a file, or the name of a picture of the set.")
    [style] = chosen("style", crop.style, pictures)
    for_readers: Any = OmegaConf.merge(config, {"compute": {"device": "cpu"}, "precision": "float32"})
    return Look(crop.look, style, trained(SHIPPED, for_readers, kind))
