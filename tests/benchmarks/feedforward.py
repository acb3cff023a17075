"""Networks that stylise in one pass: beside the bare pass and beside Gatys, and their training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from statistics import median

import numpy as np
import torch
from PIL import Image
from rich.table import Table

from experiments.config import checked
from experiments.feedforward.training import FeedforwardExperiment
from swag_repro.feedforward import Corpus, Encoder, FeedforwardTraining, Stylizer
from swag_repro.losses import Style
from swag_repro.runs.identity import peak_memory
from tests.benchmarks.engine import Setup, Textbook
from tests.benchmarks.timing import composed, interleaved

GATYS = 500
"""Evaluations of the loss that Gatys' method takes (author's notebook)."""


CLOSURES = 2
"""That are timed of them."""


class Noise:
    """Random images of one size."""

    def __init__(self, size: int) -> None:
        draw = np.random.default_rng(0)
        self.pixels = draw.integers(0, 256, (8, size, size, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return 1024

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.pixels[index % 8]), 0


def feedforward(
    network: str, sizes: Sequence[int], *, repeats: int, steps: int, device: str
) -> Iterator[Table]:
    """Tables of use and of training.

    Args:
        network: the encoder, a name in `conf/network`.
        sizes: of pictures, in pixels.
        repeats: rounds of which the median is taken.
        steps: of a training's round.
        device: `compute.device`.
    """
    experiment = _experiment(network, device)
    yield _use(experiment, sizes, repeats)
    yield _training(experiment, steps, repeats)


def _experiment(network: str, device: str) -> FeedforwardExperiment:
    chosen = [f"network={network}", f"compute.device={device}", "crop.size=128", "crop.short=128"]
    config = checked(composed("train_feedforward", *chosen), "train_feedforward")
    return FeedforwardExperiment.build(config)


def _use(experiment: FeedforwardExperiment, sizes: Sequence[int], repeats: int) -> Table:
    label = experiment.architecture.label
    table = Table(title=f"{label} and its mirror: pictures a second, one by one, median of {repeats}")
    for column in ("px", "bare", "style known", "/ bare", "new style", f"Gatys × {GATYS}: s", "× it", "GiB"):
        table.add_column(column, justify="right")
    decoder = experiment.generator_network().to(experiment.device)
    stylizer = experiment.stylizer(decoder)
    for size in sizes:
        content, style = torch.rand(2, 3, size, size, device=experiment.device).unbind()
        setup = Setup(
            architecture=experiment.architecture,
            size=size,
            batch=1,
            closures=CLOSURES,
            device=experiment.device,
        )
        turns: list[Callable[[], object]] = [
            _bare(stylizer, decoder, content[None]),
            partial(_picture, stylizer, content[None], style),
            partial(_picture_of_new_style, stylizer, content[None], style),
            Textbook(setup, frozen=True),
        ]
        bare, known, new, gatys = (median(seconds) for seconds in interleaved(turns, repeats=repeats))
        whole, memory = gatys / CLOSURES * GATYS, (peak_memory() or 0) / 2**30
        speeds = (f"{1 / bare:.2f}", f"{1 / known:.2f}", f"{bare / known:.0%}", f"{1 / new:.2f}")
        table.add_row(str(size), *speeds, f"{whole:.0f}", f"{whole / known:.0f}", f"{memory:.2f}")
    return table


def _picture(stylizer: Stylizer, content: torch.Tensor, style: torch.Tensor) -> object:
    return float(stylizer(content, [Style(style)])[0, 0, 0, 0])


def _picture_of_new_style(stylizer: Stylizer, content: torch.Tensor, style: torch.Tensor) -> object:
    return _picture(stylizer, content, style.clone())  # what is known is known of a tensor


def _bare(stylizer: Stylizer, decoder: torch.nn.Module, content: torch.Tensor) -> Callable[[], object]:
    """Encoder and decoder on an image that is there."""

    @torch.inference_mode()
    def run() -> object:
        return float(decoder(stylizer.encode(content))[0, 0, 0, 0])

    return run


def _training(experiment: FeedforwardExperiment, steps: int, repeats: int) -> Table:
    table = Table(title=f"Training on 8 pairs of 128 px, {steps} steps, median of {repeats}")
    for column in ("encoder", "bare step: pairs/s", "loop: pairs/s", "loop / bare"):
        table.add_column(column, justify="left" if column == "encoder" else "right")
    noise = Noise(128)
    training = FeedforwardTraining(
        experiment.generator, experiment.generator_network(), Encoder(experiment.network(), experiment.tap),
        experiment.objective, Corpus(noise, noise, ""), experiment.cropping, experiment.recipe,
        seed=0, machine=experiment.machine, kept=True,
    )  # fmt: skip
    turns = [_bare_steps(training, steps), _loop(training, steps)]
    bare, loop = (median(seconds) for seconds in interleaved(turns, repeats=repeats))
    pairs = steps * experiment.recipe.batch_size
    name = experiment.architecture.label
    table.add_row(name, f"{pairs / bare:.1f}", f"{pairs / loop:.1f}", f"{bare / loop:.0%}")
    return table


def _bare_steps(training: FeedforwardTraining, steps: int) -> Callable[[], object]:
    """Three passes through the encoder, one through the decoder, a plain loss's gradient, Adam's step."""
    shape = (training.recipe.batch_size, 3, 128, 128)
    contents, styles = torch.rand(2, *shape, device=training.machine.device).unbind()

    def run() -> object:
        for _ in range(steps):
            training.optimizer.zero_grad()
            with torch.no_grad():
                of_content, _ = training.encoder(contents), training.encoder(styles)
            features = training.encoder(training.network(of_content[training.encoder.tap]))
            torch.stack([features[tap].square().mean() for tap in training.objective.taps()]).sum().backward()
            training.optimizer.step()
        return None

    return run


def _loop(training: FeedforwardTraining, steps: int) -> Callable[[], object]:
    """The next steps of a training under way: the processes that read images were started before."""
    under_way = iter(training)
    next(under_way)

    def run() -> object:
        for _ in islice(under_way, steps):
            pass
        return float(training.sums[0])

    return run
