"""The stylisation engine, switch by switch, against a textbook loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from experiments.building import build, build_network
from experiments.config import checked
from swag_repro.losses import Objective, Side, Style
from swag_repro.networks import Architecture, Execution, TappedNetwork
from swag_repro.optimisation import Guards, Optimisation
from swag_repro.smoothing import NoSmoothing
from tests.benchmarks.timing import composed, interleaved, matmul_peak

STYLE_WEIGHT = 10.0

TORCHS = ("optimizer.line_search=none", "optimizer.tolerance_grad=1e-7", "optimizer.tolerance_change=1e-9")
"""`torch.optim.LBFGS` with its defaults, as the textbook's."""


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
        weights = build(checked(composed("stylize", "weights=random"), "stylize").weights)
        return build_network(weights, self.architecture).eval().to(self.device)

    @property
    def description(self) -> str:
        """Return the setup's description in the table."""
        return f"{self.architecture.name}, {self.size} px, {self.batch} pair{'s' * (self.batch > 1)}"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way of the project's engine to run a setup."""

    name: str
    execution: Execution
    smaller_side: bool = True
    deepest_tap: bool = True
    batched: bool = True
    tf32: bool = False


FULL = Variant(
    name="all switches",
    execution=Execution(fold_batchnorm=True, in_place=True, channels_last=True),
    tf32=True,
)


def variants() -> Iterator[Variant]:
    """All switches, all with each one switched off, and those that cost something switched on."""
    full = FULL.execution
    yield FULL
    yield replace(FULL, name="without fold_batchnorm", execution=replace(full, fold_batchnorm=False))
    yield replace(FULL, name="without in_place", execution=replace(full, in_place=False))
    yield replace(FULL, name="without channels_last", execution=replace(full, channels_last=False))
    yield replace(FULL, name="without smaller_side", smaller_side=False)
    yield replace(FULL, name="without stop at deepest tap", deepest_tap=False)
    yield replace(FULL, name="without batching", batched=False)
    if torch.cuda.is_available():
        yield replace(FULL, name="without TF32", tf32=False)
    yield replace(FULL, name="+ checkpoints", execution=replace(full, checkpoints=True))
    yield replace(FULL, name="+ autocast=bfloat16", execution=replace(full, autocast="bfloat16"))


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
        """Return the last loss of each pair."""
        return [
            self._pair(content.unsqueeze(0), style.unsqueeze(0))
            for content, style in zip(*self.setup.pairs, strict=True)
        ]

    def _pair(self, content: Tensor, style: Tensor) -> float:
        advance = self.descent(content, style)
        return advance(self.setup.closures)

    def descent(self, content: Tensor, style: Tensor) -> Callable[[int], float]:
        """The optimisation of one pair, of images `(1, 3, H, W)`: so many more closures → last loss."""
        with torch.no_grad():
            of_content, of_style = self._read(content), self._read(style)
            terms = partial(self._terms, of_content=of_content, of_style=of_style)
            units = [*terms(of_style)[:1], *terms(of_content)[1:]]
        weights = [1.0] + [STYLE_WEIGHT] * (len(units) - 1)
        image, losses = content.clone().requires_grad_(), list[Tensor]()
        optimizer = torch.optim.LBFGS([image])

        def closure() -> Tensor:
            optimizer.zero_grad()
            scaled = [w * t / u for w, t, u in zip(weights, terms(self._read(image)), units, strict=True)]
            total = torch.stack(scaled).sum()
            total.backward()
            losses[:] = [total.detach()]
            return total

        def advance(closures: int) -> float:
            optimizer.param_groups[0].update(max_iter=closures, max_eval=2 * closures)
            optimizer.step(closure)
            return losses[0].item()

        return advance

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
        side = f"objective.style.smaller_side={variant.smaller_side}"
        self.config = checked(composed("stylize", side, *TORCHS), "stylize")
        settings = self.config.objective
        self.objective = Objective(
            content=Side(loss=build(settings.content), taps={architecture.content_tap: 1.0}, weight=1.0),
            style=Side(
                loss=build(settings.style),
                taps=dict.fromkeys(architecture.style_taps, 1.0),
                weight=STYLE_WEIGHT,
            ),
            smoothing=NoSmoothing(),
            total_variation_weight=0.0,
            balance="layers",  # like the textbook, each layer has a unit of its own
        )
        paths = architecture.paths(self.objective.taps())
        end = {} if variant.deepest_tap else {"end": architecture.head[-1]}
        self.network = TappedNetwork(setup.network(), {**paths, **end}, execution=variant.execution)
        self.network.to(setup.device)

    def __call__(self) -> list[float]:
        """Return the last loss of each pair."""
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
        optimisation = Optimisation(
            self.network,
            self.objective,
            contents,
            [[Style(style)] for style in styles],
            start=contents,
            optimizer=build(self.config.optimizer),
            steps=self.setup.closures,
            guards=Guards(**self.config.guards.plain),
            result=self.config.result,
            evaluations=self.setup.closures,
        )
        last = [step.pairs for step in optimisation][-1]
        return [pair.losses.total for pair in last]


@contextmanager
def _convolutions_in_tf32(allowed: bool) -> Iterator[None]:
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
    peak = max(peak, matmul_peak(setup.device))  # other users' load changes the measured peak
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


def architecture_of(name: str) -> Architecture:
    """The network of `conf/network` with this name."""
    entry = "measure_activations"
    return build(checked(composed(entry, f"network={name}"), entry).network)  # type: ignore[no-any-return]
