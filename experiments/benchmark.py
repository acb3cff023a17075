"""What the project's passes cost beside a plain version, timed in turn in the same process.

python experiments/benchmark.py
python experiments/benchmark.py statistics --networks resnet50 vgg19 --size 256 --repeats 9
python experiments/benchmark.py stylize
python experiments/benchmark.py stylize --quick --networks vgg19
python experiments/benchmark.py losses --network vgg19 --size 256
python experiments/benchmark.py cells
python experiments/benchmark.py training --networks small_residual
python experiments/benchmark.py feedforward --network vgg19 --sizes 256 512
python experiments/benchmark.py sweep --runs 10000
python experiments/benchmark.py quality --network resnet18 --weights resnet18.pth --size 256 --closures 300
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.benchmarks.cells import cells
from experiments.benchmarks.collection import collection
from experiments.benchmarks.engine import Setup, architecture_of, stylization, variants
from experiments.benchmarks.feedforward import feedforward
from experiments.benchmarks.losses import OBJECTIVES, losses
from experiments.benchmarks.quality import CLOCKS, VARIANTS, Quality, Question
from experiments.benchmarks.quality import OBJECTIVES as QUALITY_OBJECTIVES
from experiments.benchmarks.statistics import statistics
from experiments.benchmarks.sweeps import overhead, speedup
from experiments.benchmarks.training import training
from experiments.running import flush_subnormals
from swag_repro.errors import UserError
from swag_repro.runs.provenance import peak_memory


def _statistics(options: argparse.Namespace) -> Iterator[Table]:
    yield statistics(
        options.networks, options.smoothings, size=options.size, batch=options.batch, repeats=options.repeats
    )


def _stylize(options: argparse.Namespace) -> Iterator[Table]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    every = [v for v in variants() if options.compile or not v.levers.compile]
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

QUICK: dict[str, Any] = {"size": 64, "closures": 12, "pairs": 2, "network": "resnet18", "chunk": 4}


def _quality(options: argparse.Namespace) -> Iterator[Table | str]:
    given = dict(QUICK if options.quick else FULL_QUALITY)
    given |= {name: asked for name in given if (asked := getattr(options, name)) is not None}
    settings = [f"network={given['network']}", *_weights_of("weights", options.weights)]
    if options.images is not None:
        settings += ["images=folder", f"images.path={options.images}"]
    if options.judge is not None:
        judges = [f"network@measures.{role}={options.judge}" for role in ("network", "alternative")]
        settings += [*judges, *_weights_of("measures.weights", options.judge_weights)]
    question = Question(
        settings=(*settings, *options.set),
        size=given["size"],
        closures=given["closures"],
        pairs=given["pairs"],
        objective=options.objective,
    )
    quality = Quality(question, options.variants, options.out)
    yield from quality.compute(chunk=given["chunk"])
    yield quality.table(options.clock)
    yield from quality.write(options.clock)


FULL_QUALITY: dict[str, Any] = {"size": 512, "closures": 1020, "pairs": 6, "network": "resnet50", "chunk": 10}
"""As `conf/preset/release.yaml` has it; pairs: as many as the comparison is to be of at least."""


def _weights_of(node: str, given: str) -> list[str]:
    """`random`, `imagenet` or `trained`, or a file."""
    group = "weights" if node == "weights" else f"weights@{node}"
    if given in ("random", "imagenet", "trained"):
        return [f"{group}={given}"]
    return [f"{group}=file", f"{node}.path={given}"]


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
    stylize.add_argument("--compile", action="store_true", help="torch.compile too; needs a C++ compiler")
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
    _add_quality(commands.add_parser("quality", help="seconds until a picture is as good as the authors'"))
    sweep = commands.add_parser("sweep", help="cells of a sweep, two workers, collecting many runs")
    sweep.add_argument("--modes", nargs="+", default=["disabled", "offline"], help="of W&B")
    sweep.add_argument("--cells", type=int, default=40, help="of which medians are taken")
    sweep.add_argument("--runs", type=int, default=100_000, help="synthetic run directories, some 30 KB each")
    sweep.add_argument("--new", type=int, default=100, help="more of them at each collection")
    sweep.add_argument("--rows", type=int, default=20, help="numbers that each of them measured")
    sweep.set_defaults(tables=_sweep)
    return parser


def _add_quality(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", help=f"in conf/network ({FULL_QUALITY['network']})")
    parser.add_argument("--weights", default="random", help="random, imagenet, trained, or a file")
    parser.add_argument("--images", help="a folder with content/ and style/; the bundled ones without it")
    parser.add_argument("--size", type=int, help=f"pixels of both sides ({FULL_QUALITY['size']})")
    closures = f"of the authors' settings; others take a part of it ({FULL_QUALITY['closures']})"
    parser.add_argument("--closures", type=int, help=closures)
    parser.add_argument("--pairs", type=int, help=f"the first ones of the images ({FULL_QUALITY['pairs']})")
    parser.add_argument("--judge", help="network in conf/network; that of measures=default without it")
    parser.add_argument("--judge-weights", default="imagenet", help="as --weights")
    parser.add_argument(
        "--variants", nargs="+", default=list(VARIANTS), help="names, in quotes; all without it"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="more Hydra overrides, of all variants"
    )
    minimised = "what variants beside the authors' settings minimise (authors)"
    parser.add_argument("--objective", choices=QUALITY_OBJECTIVES, default="authors", help=minimised)
    parser.add_argument("--clock", choices=CLOCKS, default="seconds", help="by which they are compared")
    parser.add_argument("--chunk", type=int, help=f"closures of a turn ({FULL_QUALITY['chunk']})")
    parser.add_argument(
        "--out", type=Path, default=Path("results/quality"), help="folder: what is there is kept"
    )
    parser.add_argument("--quick", action="store_true", help="small: whether it runs, not how fast")
    parser.set_defaults(tables=_quality)


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
