"""What the project's passes cost beside a plain version, timed in turn in the same process.

python experiments/benchmark.py
python experiments/benchmark.py statistics --networks resnet50 vgg19 --size 256 --repeats 9
python experiments/benchmark.py stylize
python experiments/benchmark.py stylize --quick --networks vgg19
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from experiments.cell import CONF, Cell, flush_subnormals
from experiments.config import build, checked
from swag_repro.images import batches
from swag_repro.losses import GramLoss, Objective
from swag_repro.networks import Architecture, Levers, TappedNetwork
from swag_repro.optimizers import LBFGS
from swag_repro.smoothing import NoSmoothing
from swag_repro.statistics import activation_statistics
from swag_repro.store import peak_memory
from swag_repro.transfer import Transfer
from swag_repro.weights import RandomWeights


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


# --- Stylisation ----------------------------------------------------------------------------------------

STYLE_WEIGHT = 10.0


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One row's circumstances: pairs of noise images, all terms of one objective, a number of closures."""

    architecture: Architecture
    size: int
    batch: int
    closures: int
    device: torch.device

    @property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Contents and styles `(B, 3, size, size)`: coarse noise, so that no layer is silent."""
        noise = torch.rand(
            2, self.batch, 3, self.size // 8, self.size // 8, generator=torch.Generator().manual_seed(0)
        )
        large = nn.functional.interpolate(noise.flatten(0, 1), self.size, mode="bilinear").to(self.device)
        contents, styles = large.split(self.batch)
        return contents, styles

    def network(self) -> nn.Module:
        """The model of torchvision with random weights, as it comes."""
        return RandomWeights(seed=0).build(self.architecture).eval().to(self.device)

    @property
    def description(self) -> str:
        """For the table."""
        return f"{self.architecture.name}, {self.size} px, {self.batch} pair{'s' * (self.batch > 1)}"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way of the project's engine to run a setup."""

    name: str
    levers: Levers
    smaller_side: bool = True
    deepest_tap: bool = True
    batched: bool = True
    tf32: bool = False


FULL = Variant(
    name="all levers", levers=Levers(fold_batchnorm=True, in_place=True, channels_last=True), tf32=True
)


def variants() -> Iterator[Variant]:
    """All levers, all with each one switched off, and those that cost something switched on."""
    full = FULL.levers
    yield FULL
    yield replace(FULL, name="without fold_batchnorm", levers=replace(full, fold_batchnorm=False))
    yield replace(FULL, name="without in_place", levers=replace(full, in_place=False))
    yield replace(FULL, name="without channels_last", levers=replace(full, channels_last=False))
    yield replace(FULL, name="without smaller_side", smaller_side=False)
    yield replace(FULL, name="without stop at deepest tap", deepest_tap=False)
    yield replace(FULL, name="without batching", batched=False)
    if torch.cuda.is_available():
        yield replace(FULL, name="without TF32", tf32=False)
    yield replace(FULL, name="+ checkpoints=8", levers=replace(full, checkpoints=8))
    yield replace(FULL, name="+ autocast=bfloat16", levers=replace(full, autocast="bfloat16"))
    yield replace(FULL, name="+ compile", levers=replace(full, compile=True))


class Textbook:
    """The loop that tutorials show: hooks, the whole network, `D × D` Gram matrices, one pair at a time.

    Args:
        setup: what to run.
        frozen: parameters don't ask for gradients, as careful tutorials have it; torchvision's do.
    """

    def __init__(self, setup: Setup, *, frozen: bool) -> None:
        self.setup = setup
        self.network = setup.network().requires_grad_(not frozen)
        self.features: dict[str, Tensor] = {}
        architecture = setup.architecture
        self.taps = dict.fromkeys([*architecture.style_taps, architecture.content_tap])
        for tap in self.taps:
            self.network.get_submodule(architecture.taps[tap]).register_forward_hook(self._keep(tap))
        self.mean = torch.tensor(architecture.mean, device=setup.device).view(3, 1, 1)
        self.std = torch.tensor(architecture.std, device=setup.device).view(3, 1, 1)

    def _keep(self, tap: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            self.features[tap] = output

        return hook

    def _read(self, image: Tensor) -> dict[str, Tensor]:
        self.network((image - self.mean) / self.std)
        return dict(self.features)

    def __call__(self) -> list[float]:
        """Last loss of each pair."""
        return [
            self._pair(content.unsqueeze(0), style.unsqueeze(0))
            for content, style in zip(*self.setup.pairs, strict=True)
        ]

    def _pair(self, content: Tensor, style: Tensor) -> float:
        with torch.no_grad():
            of_content, of_style = self._read(content), self._read(style)
            terms = partial(self._terms, of_content=of_content, of_style=of_style)
            units = [*terms(of_style)[:1], *terms(of_content)[1:]]
        weights = [1.0] + [STYLE_WEIGHT] * (len(units) - 1)
        image, losses = content.clone().requires_grad_(), list[Tensor]()
        optimizer = torch.optim.LBFGS([image], max_iter=self.setup.closures)

        def closure() -> Tensor:
            optimizer.zero_grad()
            scaled = [w * t / u for w, t, u in zip(weights, terms(self._read(image)), units, strict=True)]
            losses.append(torch.stack(scaled).sum())
            losses[-1].backward()
            return losses[-1]

        optimizer.step(closure)
        return losses[-1].item()

    def _terms(
        self, features: Mapping[str, Tensor], of_content: Mapping[str, Tensor], of_style: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Content, then each tap's style."""
        tap = self.setup.architecture.content_tap
        content = (features[tap] - of_content[tap]).square().sum() / 2
        taps = self.setup.architecture.style_taps
        return [content] + [(_gram(features[t]) - _gram(of_style[t])).square().mean() for t in taps]


def _gram(features: Tensor) -> Tensor:
    matrix = features.flatten(2)[0]
    return matrix @ matrix.T / matrix.numel()


class Engine:
    """The project's engine in one of its variants, with the textbook's loss, optimiser and closures."""

    def __init__(self, setup: Setup, variant: Variant) -> None:
        self.setup, self.variant = setup, variant
        architecture = setup.architecture
        self.objective = Objective(
            style=GramLoss(smaller_side=variant.smaller_side),
            smoothing=NoSmoothing(),
            content_tap=architecture.content_tap,
            style_taps=dict.fromkeys(architecture.style_taps, 1.0),
            style_weight=STYLE_WEIGHT,
        )
        paths = architecture.paths(self.objective.taps())
        end = {} if variant.deepest_tap else {"end": architecture.head[-1]}
        self.network = TappedNetwork(setup.network(), {**paths, **end}, levers=variant.levers)
        self.network.to(setup.device)

    def __call__(self) -> list[float]:
        """Last loss of each pair."""
        at_once = self.setup.batch if self.variant.batched else 1
        with _convolutions_in_tf32(self.variant.tf32):
            return [
                loss
                for contents, styles in zip(
                    *(images.split(at_once) for images in self.setup.pairs), strict=True
                )
                for loss in self._run(contents, styles)
            ]

    def _run(self, contents: Tensor, styles: Tensor) -> list[float]:
        transfer = Transfer(
            self.network,
            self.objective,
            contents,
            list(styles),
            start=contents,
            optimizer=partial(LBFGS, line_search="none"),
            steps=self.setup.closures,
            evaluations=self.setup.closures,
        )
        last = [step.pairs for step in transfer][-1]
        return [pair.losses.total for pair in last]


@contextmanager
def _convolutions_in_tf32(allowed: bool) -> Iterator[None]:  # noqa: FBT001
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def stylization(setup: Setup, chosen: Sequence[Variant], *, repeats: int) -> Table:
    """The engine's variants against the textbook loop: same weights, images, loss and number of closures."""
    engines = [Engine(setup, variant) for variant in chosen]
    functions: list[Callable[[], list[float]]] = [Textbook(setup, frozen=False), Textbook(setup, frozen=True)]
    functions += engines
    names = ["textbook", "textbook, frozen parameters", *(variant.name for variant in chosen)]
    losses = [function() for function in functions]
    with FlopCounterMode(display=False) as counter:
        engines[0]()
    useful = counter.get_total_flops()
    peak = matmul_peak(setup.device)
    measured = interleaved(functions, repeats=repeats)
    peak = max(peak, matmul_peak(setup.device))  # on a machine that others use too, it comes and goes
    table = Table(
        title=f"{setup.description}: {setup.closures} closures, {useful / 1e9:.0f} GFLOP useful, "
        f"matrix multiplication at {peak / 1e9:.0f} GFLOP/s, {torch.get_num_threads()} threads, "
        f"median of {repeats}"
    )
    for column in ("variant", "ms/closure/pair", "faster than textbook", "than frozen", "of peak", "loss"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    for name, seconds, loss in zip(names, measured, losses, strict=True):
        unit = median(seconds) / (setup.closures * setup.batch)
        ratios = [median(b / s for b, s in zip(base, seconds, strict=True)) for base in measured[:2]]
        fraction = useful / median(seconds) / peak
        mean = sum(loss) / len(loss)
        table.add_row(
            name, f"{1e3 * unit:.1f}", *(f"{ratio:.2f}" for ratio in ratios), f"{fraction:.0%}", f"{mean:.5g}"
        )
    return table


def matmul_peak(device: torch.device, *, trials: int = 5) -> float:
    """Most float32 operations a second that a large matrix product reaches here."""
    size = 8192 if device.type == "cuda" else 2048
    matrix, seconds = torch.rand(size, size, device=device), []
    for _ in range(trials + 1):
        start = time.perf_counter()
        float((matrix @ matrix)[0, 0])
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[1:])


def _architecture(name: str) -> Architecture:
    with initialize_config_dir(CONF, version_base="1.3"):
        return build(compose("measure_activations", [f"network={name}"]).network)  # type: ignore[no-any-return]


# --- Command line ---------------------------------------------------------------------------------------


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
                architecture=_architecture(name), size=size, batch=batch, closures=closures, device=device
            )
            yield stylization(setup, chosen, repeats=repeats)


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
    return parser


def main() -> None:
    """Prints the tables."""
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["statistics", *arguments]
    options = _parser().parse_args(arguments)
    flush_subnormals()
    console = Console()
    for table in options.tables(options):
        console.print(table)
    console.print(f"Peak memory of this process: {(peak_memory() or 0) / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
