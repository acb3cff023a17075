"""What the project's passes cost beside a plain version, timed in turn in the same process.

python experiments/benchmark.py
python experiments/benchmark.py --networks resnet50 vgg19 --size 256 --repeats 9
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from experiments.cell import CONF, Cell, flush_subnormals
from experiments.config import checked
from swag_repro.images import batches
from swag_repro.statistics import activation_statistics
from swag_repro.store import peak_memory


def interleaved(functions: Sequence[Callable[[], object]], *, repeats: int) -> list[list[float]]:
    """Seconds of each function in each round: in turn, so that drift is shared, after a round to warm up."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats + 1):
        for function, measured in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            measured.append(time.perf_counter() - start)
    return [measured[1:] for measured in seconds]


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


def _cell(*overrides: str) -> Cell:
    with initialize_config_dir(CONF, version_base="1.3"):
        return Cell.build(checked(compose("measure_activations", list(overrides))))


def _passes(cell: Cell, batch: int) -> tuple[Callable[[], object], Callable[[], object]]:
    _, images = next(batches(cell.pictures, cell.resize, batch))
    network, tapped = cell.weights.build(cell.architecture).eval(), cell.network()

    def plain() -> object:
        with torch.inference_mode():
            return network(images)

    def ours() -> object:
        return list(activation_statistics(tapped, images, cell.smoothing))

    return plain, ours


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["resnet50", "noresnet50", "pseudo_resvgg", "vgg19"])
    parser.add_argument("--smoothings", nargs="+", default=["none", "swag"])
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--batch", type=int, default=4, help="images a batch")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of which the median is taken")
    options = parser.parse_args()
    flush_subnormals()
    table = statistics(
        options.networks, options.smoothings, size=options.size, batch=options.batch, repeats=options.repeats
    )
    console = Console()
    console.print(table)
    console.print(f"Peak memory of this process: {(peak_memory() or 0) / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
