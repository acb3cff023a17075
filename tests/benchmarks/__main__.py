"""What the project's passes cost beside a plain version, timed in turn in the same process.

python -m tests.benchmarks
python -m tests.benchmarks statistics --networks resnet50 vgg19 --size 256 --repeats 9
python -m tests.benchmarks stylize
python -m tests.benchmarks stylize --quick --networks vgg19
python -m tests.benchmarks losses --network vgg19 --size 256
python -m tests.benchmarks cells
python -m tests.benchmarks training --networks small_residual
python -m tests.benchmarks feedforward --network vgg19 --sizes 256 512
python -m tests.benchmarks sweep --runs 10000
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import argparse
import sys
from collections.abc import Iterator

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.running import flush_subnormals
from swag_repro.errors import UserError
from swag_repro.runs.identity import peak_memory
from tests.benchmarks.cells import cells
from tests.benchmarks.collection import collection
from tests.benchmarks.engine import Setup, architecture_of, stylization, variants
from tests.benchmarks.feedforward import feedforward
from tests.benchmarks.losses import OBJECTIVES, losses
from tests.benchmarks.statistics import statistics
from tests.benchmarks.sweeps import overhead, speedup
from tests.benchmarks.training import training


def _statistics(options: argparse.Namespace) -> Iterator[Table]:
    yield statistics(
        options.networks, options.smoothings, size=options.size, batch=options.batch, repeats=options.repeats
    )


def _stylize(options: argparse.Namespace) -> Iterator[Table]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    every = list(variants())
    if options.quick:
        sizes, closures, repeats = [(64, 1, every[:1]), (32, 2, every)], 2, 1
    else:
        sizes, closures, repeats = [(256, 1, every[:1]), (128, 8, every)], options.closures, options.repeats
    for name in options.networks:
        for size, batch, chosen in sizes:
            setup = Setup(
                architecture=architecture_of(name), size=size, batch=batch, closures=closures, device=device
            )
            yield stylization(setup, chosen, repeats=repeats)


def _feedforward(options: argparse.Namespace) -> Iterator[Table]:
    yield from feedforward(
        options.network, options.sizes, repeats=options.repeats, steps=options.steps, device=options.device
    )


def _losses(options: argparse.Namespace) -> Iterator[Table]:
    for size in options.size:
        yield losses(options.network, options.objectives, size=size, repeats=options.repeats)


def _cells(options: argparse.Namespace) -> Iterator[Table]:
    yield cells(options.modes, repeats=options.repeats)


def _training(options: argparse.Namespace) -> Iterator[Table]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    yield training(
        options.networks, steps=options.steps, workers=options.workers, repeats=options.repeats, device=device
    )


def _sweep(options: argparse.Namespace) -> Iterator[Table]:
    yield overhead(options.modes, cells=options.cells)
    yield speedup(seeds=options.cells // 2, workers=2)
    yield collection(options.runs, new=options.new, rows=options.rows)


WIDTH = 160
"""Of tables in a file."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command")
    measure = commands.add_parser("statistics", help="statistics of all taps against the bare forward pass")
    measure.add_argument(
        "--networks", nargs="+", default=["resnet50", "noresnet50", "pseudo_resvgg", "vgg19"]
    )
    measure.add_argument("--smoothings", nargs="+", default=["none", "swag"])
    measure.add_argument("--size", type=int, default=256, help="pixels")
    measure.add_argument("--batch", type=int, default=4, help="images a batch")
    measure.add_argument("--repeats", type=int, default=7, help="rounds of which the median is taken")
    measure.set_defaults(tables=_statistics)
    stylize = commands.add_parser("stylize", help="the engine against a textbook loop")
    stylize.add_argument("--networks", nargs="+", default=["resnet50", "vgg19"])
    stylize.add_argument("--closures", type=int, default=6, help="evaluations of the loss of each pair")
    stylize.add_argument("--repeats", type=int, default=3, help="rounds of which the median is taken")
    stylize.add_argument("--quick", action="store_true", help="small images: whether it runs, not how fast")
    stylize.set_defaults(tables=_stylize)
    compare = commands.add_parser("losses", help="each objective against the bare pass of the network")
    compare.add_argument("--network", default="vgg19")
    compare.add_argument("--objectives", nargs="+", default=list(OBJECTIVES))
    compare.add_argument(
        "--size", type=int, nargs="+", default=[256], help="pixels; several: memory grows how?"
    )
    compare.add_argument("--repeats", type=int, default=7, help="rounds of which the median is taken")
    compare.set_defaults(tables=_losses)
    frame = commands.add_parser("cells", help="what a cell costs beside what it computes")
    frame.add_argument("--modes", nargs="+", default=["disabled", "offline"], help="of W&B")
    frame.add_argument("--repeats", type=int, default=15, help="rounds of which the median is taken")
    frame.set_defaults(tables=_cells)
    train = commands.add_parser("training", help="the training loop against the bare step")
    train.add_argument("--networks", nargs="+", default=["small_residual"])
    train.add_argument("--steps", type=int, default=30, help="of a round")
    train.add_argument("--workers", type=int, default=1, help="processes that read images")
    train.add_argument("--repeats", type=int, default=3, help="rounds of which the median is taken")
    train.set_defaults(tables=_training)
    fast = commands.add_parser("feedforward", help="pictures in one pass, beside Gatys; and their training")
    fast.add_argument("--network", default="vgg19", help="the encoder")
    fast.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="pixels")
    fast.add_argument("--steps", type=int, default=10, help="of a training's round")
    fast.add_argument("--device", default="auto", help="compute.device")
    fast.add_argument("--repeats", type=int, default=5, help="rounds of which the median is taken")
    fast.set_defaults(tables=_feedforward)
    sweep = commands.add_parser("sweep", help="cells of a sweep, two workers, collecting many runs")
    sweep.add_argument("--modes", nargs="+", default=["disabled", "offline"], help="of W&B")
    sweep.add_argument("--cells", type=int, default=40, help="of which medians are taken")
    sweep.add_argument("--runs", type=int, default=100_000, help="synthetic run directories, some 30 KB each")
    sweep.add_argument("--new", type=int, default=100, help="more of them at each collection")
    sweep.add_argument("--rows", type=int, default=20, help="numbers that each of them measured")
    sweep.set_defaults(tables=_sweep)
    return parser


def main() -> None:
    """Prints the tables."""
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["statistics", *arguments]
    options = _parser().parse_args(arguments)
    flush_subnormals()
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    try:
        for table in options.tables(options):
            console.print(table)
    except UserError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(1)
    console.print(f"Peak memory of this process: {(peak_memory() or 0) / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
