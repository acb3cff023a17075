"""Experiments that measure networks: statistics of activations, and residual units (SWAG, Figures 3, 4)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from PIL.Image import Image
from torch import Tensor, nn
from torchvision.transforms.functional import resize

from experiments.building import build_network
from experiments.frame import Context
from experiments.network import NetworkExperiment, SmoothedExperiment
from experiments.science import EXPERIMENT_VERSIONS
from swag_repro.images import Picture, batches, to_pil
from swag_repro.networks import TappedNetwork
from swag_repro.networks.units import Peaks, additions, check_units
from swag_repro.smoothing import Smoothing
from swag_repro.statistics import activation_statistics

THUMBNAIL = 128
"""The short side, in pixels, of the images that W&B shows."""


def _shown_batches(
    experiment: NetworkExperiment, context: Context
) -> Iterator[tuple[Sequence[Picture], Tensor]]:
    """Yield batches of the pictures and their images `(B, 3, H, W)`, and show how many are done."""
    streamed = batches(experiment.pictures, experiment.resize, experiment.config.compute.batch_size)
    counted = ((len(pictures), (pictures, images)) for pictures, images in streamed)
    return context.shown(counted, total=len(experiment.pictures), unit="images")


class MeasureActivations(SmoothedExperiment):
    """Statistics of each picture at each statistic tap."""

    name = "measure_activations"
    version = EXPERIMENT_VERSIONS[name]
    reads = "measure_activations"

    def compute(self, context: Context) -> None:
        """Measure all pictures and write the rows."""
        network, rows = self.network(), []
        for pictures, images in _shown_batches(self, context):
            rows += list(self._rows(network, pictures, images))
            context.tracker.images("images", _thumbnails(pictures, images))
        context.run.write_rows(rows)

    def _rows(
        self, network: TappedNetwork, pictures: Sequence[Picture], images: Tensor
    ) -> Iterator[dict[str, Any]]:
        for number, row in statistic_rows(network, images.to(self.device), self.smoothing):
            yield {**self.origin, pictures[number].role: pictures[number].name, **row}


def statistic_rows(
    network: TappedNetwork, images: Tensor, smoothing: Smoothing
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield an image's place in the batch and the columns of one of its numbers, layer by layer.

    Args:
        network: The network; its taps are the layers, in order.
        images: `(B, 3, H, W)`, RGB in [0, 1], on the network's device.
        smoothing: Applied to the activations before they are measured.

    Raises:
        NonFiniteError: Activations or their Gram matrices hold NaN or infinity.
    """
    positions = {tap: rank for rank, tap in enumerate(network.layouts, start=1)}
    for tap, statistic in activation_statistics(network, images, smoothing):
        about = {
            "layer": tap,
            "depth": network.depths[tap],
            "position": positions[tap],
            "quantity": statistic.quantity,
            "statistic": statistic.statistic,
            "definition": statistic.definition,
        }
        for number, value in enumerate(statistic.values.tolist()):
            yield number, {**about, "value": value}


def _thumbnails(pictures: Sequence[Picture], images: Tensor) -> Iterator[tuple[Image, str]]:
    small = resize(images, THUMBNAIL, antialias=True)
    for picture, image in zip(pictures, small, strict=True):
        yield to_pil(image), picture.key


class MeasureUnits(NetworkExperiment):
    """The change of each picture's peaks in each residual unit."""

    name = "measure_units"
    version = EXPERIMENT_VERSIONS[name]
    reads = "measure_units"

    def check(self) -> None:
        """Raise what computing would raise at its start, without computing."""
        super().check()
        check_units(self.architecture)

    def compute(self, context: Context) -> None:
        """Measure all pictures and write the rows."""
        network, rows = build_network(self.weights, self.architecture).eval().to(self.device), []
        for pictures, images in _shown_batches(self, context):
            rows += list(self._rows(network, pictures, images))
        context.run.write_rows(rows)

    def _rows(
        self, network: nn.Module, pictures: Sequence[Picture], images: Tensor
    ) -> Iterator[dict[str, Any]]:
        names = {path: tap for tap, path in self.architecture.taps.items()}
        added = additions(network, self.architecture, images.to(self.device))
        for position, (unit, addition) in enumerate(added.items(), start=1):
            changes = Peaks.of(addition.shortcut, addition.branch).changes()
            for (statistic, definition), values in changes.items():
                for picture, value in zip(pictures, values.tolist(), strict=True):
                    yield {
                        **self.origin,
                        picture.role: picture.name,
                        "layer": names.get(unit, unit),
                        "position": position,
                        "quantity": "unit",
                        "statistic": statistic,
                        "definition": definition,
                        **_number(value),
                    }


def _number(value: float) -> dict[str, Any]:
    """Return the columns for a value, or for the reason why there is none."""
    if math.isfinite(value):
        return {"value": value}
    return {"value": None, "reason": "no channel has a positive peak"}
