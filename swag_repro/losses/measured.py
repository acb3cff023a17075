"""The terms of a loss as measures of finished pictures, whether they minimised it or came from one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from swag_repro.errors import SettingError
from swag_repro.losses.base import Loss
from swag_repro.losses.objective import Network, Objective, Side, Style
from swag_repro.measures import Measure, WeightedNetwork
from swag_repro.networks import Architecture, TappedNetwork
from swag_repro.smoothing import NoSmoothing
from swag_repro.weights import Weights


@dataclass(frozen=True, kw_only=True)
class MeasuredTerms:
    """Measures of finished pictures by the terms of an objective, with one network for all pictures.

    `style_term` is 1 for the content image, `content_term` is 1 for the style image, and both are 0 for the
    ideal picture. They say how far a loss was lowered, not how good a picture is: the network may be the one
    that made it.

    Attributes:
        network: read at the objective's taps.
        label: the network's name in the rows.
        objective: the objective whose terms are measured.
    """

    network: Network
    label: str
    objective: Objective

    @torch.inference_mode()
    def __call__(
        self, images: Tensor, contents: Tensor, styles: Sequence[Tensor]
    ) -> Iterator[tuple[Measure, ...]]:
        """Yield the measures of each picture, one picture at a time; see `swag_repro.measures.HeldOut`."""
        for image, content, style in zip(images, contents, styles, strict=True):
            targets = self.objective.targets(self.network, content[None], [[Style(style)]])
            terms = self.objective(self.network, image[None], targets)
            yield (
                Measure("style_term", self.label, None, terms.style.item()),
                Measure("content_term", self.label, None, terms.content.item()),
            )


@dataclass(frozen=True, kw_only=True)
class LossMeasures:
    """A file of `conf/measures` that measures by a loss.

    Attributes:
        network: the network that is read.
        weights: the network's weights.
        style: the loss of the first `layers` style taps.
        content: the loss of the last one of these taps.
        layers: the number of style taps.

    Raises:
        SettingError: more layers than the network has style taps, or none.
    """

    network: Architecture
    weights: Weights
    style: Loss
    content: Loss
    layers: int

    def __post_init__(self) -> None:
        most = len(self.network.style_taps)
        if not 1 <= self.layers <= most:
            rule = f"should be from 1 to {most}, the number of style taps"
            raise SettingError("measures.layers", rule, self.layers, "Choose another number.")

    def choose(self, optimised: WeightedNetwork) -> WeightedNetwork:  # noqa: ARG002  (it may be the same)
        """Return the network that is read, whatever made the pictures."""
        return WeightedNetwork(self.network, self.weights)

    def build(self, chosen: WeightedNetwork, device: torch.device | str = "cpu") -> MeasuredTerms:
        """Build the measures with the chosen network.

        Raises:
            WeightsError: weights that are not available.
        """
        architecture = chosen.architecture
        taps = architecture.style_taps[: self.layers]
        network = TappedNetwork.of(architecture, chosen.weights.build(architecture), taps)
        objective = Objective(
            content=Side(loss=self.content, taps={taps[-1]: 1.0}, weight=1.0),
            style=Side(loss=self.style, taps=dict.fromkeys(taps, 1 / len(taps)), weight=1.0),
            smoothing=NoSmoothing(),
            total_variation_weight=0.0,
            balance="sides",
        )
        return MeasuredTerms(network=network.to(device), label=str(chosen), objective=objective)
