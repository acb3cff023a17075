"""The statistics pass against the bare forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import torch
from rich.table import Table

from experiments.config import checked
from experiments.measurements import MeasureActivations
from swag_repro.images import batches
from swag_repro.statistics import activation_statistics
from tests.benchmarks.timing import composed, interleaved


def statistics(
    networks: Sequence[str], smoothings: Sequence[str], *, size: int, batch: int, repeats: int
) -> Table:
    """Statistics of all taps against the bare forward pass of the whole network, same weights and images."""
    table = Table(
        title=f"{batch} images at {size}×{size} px, {torch.get_num_threads()} threads, median of {repeats}"
    )
    for column in (
        "network",
        "smoothing",
        "forward (ms/image)",
        "statistics pass (ms/image)",
        "ratio",
        "min–max",
    ):
        table.add_column(column, justify="left" if column in ("network", "smoothing") else "right")
    for name in networks:
        for smoothing in smoothings:
            cell = _cell(
                f"network={name}", f"smoothing={smoothing}", f"images.size={size}", "images.resize=squash"
            )
            plain, ours = _passes(cell, batch)
            forward, measured = interleaved([plain, ours], repeats=repeats)
            ratios = [m / f for m, f in zip(measured, forward, strict=True)]
            milliseconds = [f"{1e3 * median(seconds) / batch:.1f}" for seconds in (forward, measured)]
            spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
            table.add_row(name, smoothing, *milliseconds, f"{median(ratios):.2f}", spread)
    return table


def _cell(*overrides: str) -> MeasureActivations:
    return MeasureActivations.build(
        checked(composed("measure_activations", *overrides), "measure_activations")
    )


def _passes(cell: MeasureActivations, batch: int) -> tuple[Callable[[], object], Callable[[], object]]:
    _, images = next(batches(cell.pictures, cell.resize, batch))
    network, tapped = cell.weights.build(cell.architecture).eval(), cell.network()

    def plain() -> object:
        with torch.inference_mode():
            return network(images)

    def ours() -> object:
        return list(activation_statistics(tapped, images, cell.smoothing))

    return plain, ours
