"""Maximum and entropy of activations and Gram matrices per layer and image (SWAG, Figure 3).

python experiments/measure_activations.py network=vgg19 smoothing=softmax images.size=256
python experiments/measure_activations.py -m experiment=fig3
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
from collections.abc import Iterator, Sequence
from typing import Any

import hydra
import pandas as pd
from omegaconf import DictConfig
from PIL.Image import Image
from torch import Tensor
from torchvision.transforms.functional import resize

from experiments.cell import CONF, Cell, Experiment, launch, run_cell
from experiments.command import checked_command
from experiments.sweeps.plan import Sweep
from experiments.sweeps.progress import track
from swag_repro.images import Picture, batches, to_pil
from swag_repro.networks import TappedNetwork
from swag_repro.runs.store import Run
from swag_repro.runs.tracking import Tracker
from swag_repro.statistics import activation_statistics

THUMBNAIL = 128
"""Short side, in pixels, of the images shown in W&B."""


def measure(cell: Cell, run: Run, tracker: Tracker, sweep: Sweep | None) -> None:
    """Writes the rows of a cell, and mirrors them."""
    network = cell.network()
    rows: list[dict[str, Any]] = []
    looked_at = {}
    streamed = batches(cell.pictures, cell.resize, cell.config.compute.batch_size)
    for pictures, images in track(
        ((len(pictures), (pictures, images)) for pictures, images in streamed),
        total=len(cell.pictures),
        what=str(cell) if sweep is None else f"cell {len(sweep.outcomes()) + 1}/{sweep.cells} {cell}",
        left=sweep.time_left() if sweep is not None else "",
        enabled=cell.config.progress,
    ):
        rows += _rows(cell, network, pictures, images)
        looked_at.update(_thumbnails(pictures, images))
    run.write_rows(rows)
    _mirror(tracker, pd.DataFrame(rows), looked_at)


def _rows(
    cell: Cell, network: TappedNetwork, pictures: Sequence[Picture], images: Tensor
) -> Iterator[dict[str, Any]]:
    positions = {tap: rank for rank, tap in enumerate(cell.architecture.statistic_taps, start=1)}
    for tap, statistic in activation_statistics(network, images.to(cell.device), cell.smoothing):
        for picture, value in zip(pictures, statistic.values.tolist(), strict=True):
            yield {
                "network": cell.architecture.name,
                "weights": cell.weights.name,
                "smoothing": str(cell.smoothing),
                "seed": cell.seed,
                picture.role: picture.name,
                "layer": tap,
                "depth": network.depths[tap],
                "position": positions[tap],
                "quantity": statistic.quantity,
                "statistic": statistic.statistic,
                "definition": statistic.definition,
                "value": value,
            }


def _thumbnails(pictures: Sequence[Picture], images: Tensor) -> dict[str, Image]:
    small = resize(images, THUMBNAIL, antialias=True)
    return {
        f"{picture.role}/{picture.name}": to_pil(one) for picture, one in zip(pictures, small, strict=True)
    }


def _mirror(tracker: Tracker, rows: pd.DataFrame, looked_at: dict[str, Image]) -> None:
    name = rows["quantity"] + "/" + rows["statistic"] + ("/" + rows["definition"]).fillna("")
    means = rows.groupby(["position", name])["value"].mean().unstack()
    curves: list[dict[str, float]] = means.to_dict("records")  # type: ignore[assignment]
    for position, values in enumerate(curves, start=1):
        tracker.log(values, step=position)
    # After the curves: W&B counts a step for each of these, and drops what comes at an earlier one.
    tracker.table("statistics", rows)
    tracker.images(looked_at)
    tracker.summary({f"deepest/{curve}": value for curve, value in curves[-1].items()})


EXPERIMENT = Experiment(name="measure_activations", version=3, cell=Cell, compute=measure)


@checked_command(EXPERIMENT.name)
@hydra.main(version_base="1.3", config_path=CONF, config_name=EXPERIMENT.name)
def main(config: DictConfig) -> None:
    """Measures one cell."""
    run_cell(config, EXPERIMENT)


if __name__ == "__main__":
    from experiments import measure_activations as importable

    launch(importable.main)
