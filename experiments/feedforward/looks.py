"""What the contents of a training are made of, to see what a normalisation is good for (AdaIN, Figure 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from torch import Tensor

from experiments.stylization.pairs import chosen
from swag_repro.errors import SettingError, check_choice
from swag_repro.feedforward import equalized
from swag_repro.images import Picture, Resize, load
from swag_repro.losses import Style

if TYPE_CHECKING:
    from experiments.feedforward.trained import Trained

LOOKS = ("photograph", "contrast", "stylized")


@dataclass(frozen=True)
class Look:
    """A way to prepare contents.

    Attributes:
        name: one of `LOOKS`.
        style: of `stylized`.
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
        """What is done to a content `(3, H, W)`; None for nothing.

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


def look_of(config: DictConfig, pictures: tuple[Picture, ...]) -> Look:
    """What `crop.look` asks for.

    Raises:
        SettingError: an unknown look, or a style for another one than `stylized`, or none for that.
    """
    crop = config.crop
    check_choice("crop.look", crop.look, LOOKS)
    if (crop.style is None) == (crop.look == "stylized"):
        rule = "should be given with crop.look=stylized, and only there"
        found = f"{crop.style} with crop.look={crop.look}"
        raise SettingError("crop.style", rule, found, "Change one of them.")
    if crop.look != "stylized":
        return Look(crop.look)
    from experiments.feedforward.trained import SHIPPED, trained  # which builds trainings itself

    [style] = chosen("style", crop.style, pictures)
    return Look(crop.look, style, trained(SHIPPED, config))
