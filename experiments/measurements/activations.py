"""Maximum and entropy of activations and Gram matrices per layer and image (SWAG, Figure 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from PIL.Image import Image
from torch import Tensor
from torchvision.transforms.functional import resize

from experiments.frame import Context
from experiments.network import SmoothedExperiment
from experiments.science import EXPERIMENT_VERSIONS
from swag_repro.images import Picture, batches, to_pil
from swag_repro.networks import TappedNetwork
from swag_repro.statistics import activation_statistics

THUMBNAIL = 128
"""The short side, in pixels, of the images that W&B shows."""


class MeasureActivations(SmoothedExperiment):
    """Statistics of each picture at each statistic tap."""

    name = "measure_activations"
    version = EXPERIMENT_VERSIONS[name]
    reads = "measure_activations"

    def compute(self, context: Context) -> None:
        """Measure all pictures and write the rows."""
        network, rows = self.network(), []
        streamed = batches(self.pictures, self.resize, self.config.compute.batch_size)
        counted = ((len(pictures), (pictures, images)) for pictures, images in streamed)
        for pictures, images in context.shown(counted, total=len(self.pictures), unit="images"):
            rows += list(self._rows(network, pictures, images))
            context.tracker.images("images", _thumbnails(pictures, images))
        context.run.write_rows(rows)

    def _rows(
        self, network: TappedNetwork, pictures: Sequence[Picture], images: Tensor
    ) -> Iterator[dict[str, Any]]:
        positions = {tap: rank for rank, tap in enumerate(self.architecture.statistic_taps, start=1)}
        for tap, statistic in activation_statistics(network, images.to(self.device), self.smoothing):
            for picture, value in zip(pictures, statistic.values.tolist(), strict=True):
                yield {
                    **self.origin,
                    picture.role: picture.name,
                    "layer": tap,
                    "depth": network.depths[tap],
                    "position": positions[tap],
                    "quantity": statistic.quantity,
                    "statistic": statistic.statistic,
                    "definition": statistic.definition,
                    "value": value,
                }


def _thumbnails(pictures: Sequence[Picture], images: Tensor) -> Iterator[tuple[Image, str]]:
    small = resize(images, THUMBNAIL, antialias=True)
    for picture, image in zip(pictures, small, strict=True):
        yield to_pil(image), picture.key
