"""The looks of a training's contents, to see what a normalisation is good for (AdaIN, Figure 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from experiments.feedforward.network import GeneratorExperiment
from experiments.feedforward.trained import SHIPPED_DECODER, Trained, trained
from experiments.pictures.pairs import choose_pictures
from swag_repro.errors import SettingError, check_choice
from swag_repro.feedforward import equalized
from swag_repro.images import Picture, Resize, load_image
from swag_repro.losses import Style

LOOKS = ("photograph", "contrast", "stylized")


@dataclass(frozen=True)
class ContentLook:
    """A way to prepare contents.

    Attributes:
        name: One of `LOOKS`.
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


def look_of(
    config: DictConfig, pictures: tuple[Picture, ...], kind: type[GeneratorExperiment]
) -> ContentLook:
    """Return the look that `crop.look` names.

    Other looks ignore `crop.style`, so that a sweep over looks can set it.

    Args:
        config: The training's config.
        pictures: The set of pictures that may hold the style.
        kind: The experiment that trained the decoder.

    Raises:
        SettingError: The look is unknown, or `stylized` has no style.
    """
    crop = config.crop
    check_choice("crop.look", crop.look, LOOKS)
    if crop.look != "stylized":
        return ContentLook(crop.look)
    if crop.style is None:
        rule = "should name a style where crop.look=stylized"
        raise SettingError("crop.style", rule, "null", "Give a file, or the name of a picture of the set.")
    [style] = choose_pictures("style", crop.style, pictures)
    for_readers: Any = OmegaConf.merge(config, {"compute": {"device": "cpu"}, "precision": "float32"})
    return ContentLook(crop.look, style, trained(SHIPPED_DECODER, for_readers, kind))
