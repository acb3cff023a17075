"""Ways to optimise the same pairs that take turns, each judged on its way by a held-out network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.pictures.batches import Batch
from experiments.stylization.scales import Scale
from experiments.stylization.stylization import Stylization
from swag_repro.measures import HeldOut
from swag_repro.measures.distances import mean_over, relative_gram_distance, structural_divergence
from swag_repro.measures.pictures import read
from swag_repro.networks import TappedNetwork
from swag_repro.transfer import Transfer

FIRST, GROWTH = 8.0, 2**0.25
"""Work after which a picture is first judged, and how much more there is of it from one time to the next."""


CONTENT_SIZE = 128
"""Pixels of the long side at which contents are judged: CFSD compares each position with each other one."""


@dataclass
class Clock:
    """Seconds that passed within, by the wall and of this process's processors."""

    wall: float = 0.0
    processors: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within, it goes on."""
        wall, processors = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall += time.perf_counter() - wall
            self.processors += time.process_time() - processors


@dataclass(frozen=True)
class Distances:
    """Of a picture, in a network that was not optimised.

    Attributes:
        style: `style_distance` of `swag_repro.measures`.
        content: its `cfsd`, of pictures of at most `CONTENT_SIZE`.
    """

    style: float
    content: float


class Judge:
    """Measures pictures of a batch, whose contents and styles it reads once.

    Args:
        held_out: the network and its taps.
        batch: of B pairs with one style each, at their whole size.
    """

    def __init__(self, held_out: HeldOut, batch: Batch) -> None:
        self.held_out = held_out
        with torch.inference_mode():
            self.contents = [self._structure(content) for content in batch.contents]
            self.styles = [read(held_out.network, mixed[0].image) for mixed in batch.styles]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> list[Distances]:
        """The distances of B pictures `(B, 3, H, W)` in [0, 1], as they would be saved: in 8 bits."""
        saved = (images * 255).round() / 255
        return [self._distances(*parts) for parts in zip(saved, self.contents, self.styles, strict=True)]

    def _distances(self, image: Tensor, content: Tensor, style: Mapping[str, Tensor]) -> Distances:
        features, taps = read(self.held_out.network, image), self.held_out.style_taps
        return Distances(
            style=mean_over(taps, relative_gram_distance, features, style).item(),
            content=structural_divergence(self._structure(image), content).item(),
        )

    def _structure(self, image: Tensor) -> Tensor:
        """Features of an image `(3, H, W)` that is shrunk, at the tap of the content's distance."""
        part = min(1.0, CONTENT_SIZE / max(image.shape[1:]))
        size = [round(side * part) for side in image.shape[1:]]
        small = image if part == 1 else F.interpolate(image[None], size, mode="bicubic", antialias=True)[0]
        return read(self.held_out.network, small)[self.held_out.structure_tap]


@dataclass(frozen=True)
class Point:
    """Where a batch stood when it was judged.

    Attributes:
        scale: the part of the whole size that it had then.
        closures: evaluations of the loss of a pair so far, at all scales.
        work: of a pair so far, in evaluations at the whole size: one at half of it is a quarter.
        seconds: of a pair so far, judging not counted: those of a batch over its number of pairs.
        cpu_seconds: likewise, of all threads of this process.
        images: `(B, 3, H, W)`, 8 bits.
        distances: of each pair.
    """

    scale: float
    closures: float
    work: float
    seconds: float
    cpu_seconds: float
    images: Tensor
    distances: Sequence[Distances]


@dataclass
class Contender:
    """One way to optimise a batch, as far as it has come.

    Attributes:
        cell: the settings.
        network: that is optimised.
        batch: of pairs, at their whole size.
        judge: of their pictures.
        points: where it was judged, the start first.
    """

    cell: Stylization
    network: TappedNetwork
    batch: Batch
    judge: Judge
    points: list[Point] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    closures: int = 0
    work: float = 0.0

    def __post_init__(self) -> None:
        self._evaluations = self._optimised()
        self._note(self.batch.contents, 1.0)

    def advance(self, closures: int) -> bool:
        """Lets it make so many evaluations; whether it goes on after them."""
        return all(self._one() for _ in range(closures))

    def _one(self) -> bool:
        with self.clock.running():
            reached = next(self._evaluations, None)
        if reached is None:
            return False
        scale, transfer, active = reached
        self.closures += active
        self.work += active * scale.part**2 / len(self.batch.pairs)
        if transfer.done or self.work >= max(FIRST, GROWTH * self.points[-1].work):
            self._note(transfer.images, scale.part)
        return True

    def _optimised(self) -> Iterator[tuple[Scale, Transfer, int]]:
        """Each evaluation, with how many pairs it was of."""
        scales, before = self.cell.scales_for(self.batch), None
        for index, scale in enumerate(scales):
            transfer = self.cell.begin(self.network, self.batch, scales, index, before)
            while not transfer.done:
                active = sum(pair.status == "running" for pair in transfer.results)
                transfer.advance()
                yield scale, transfer, active
            before = transfer.images

    def _note(self, images: Tensor, scale: float) -> None:
        whole, count = self.batch.resized(images), len(self.batch.pairs)
        point = Point(
            scale=scale,
            closures=self.closures / count,
            work=self.work,
            seconds=self.clock.wall / count,
            cpu_seconds=self.clock.processors / count,
            images=(whole * 255).round().to(torch.uint8).cpu(),
            distances=self.judge(whole),
        )
        self.points.append(point)


@dataclass(frozen=True)
class Pace:
    """Seconds of one closure of the textbook loop, while something else took turns with it."""

    seconds: float
    cpu_seconds: float


def race(
    contenders: dict[str, Contender], textbook: Callable[[int], object], *, chunk: int
) -> Iterator[tuple[str, Pace]]:
    """Lets contenders take turns of `chunk` evaluations, and the textbook loop of one, until all have ended.

    Args:
        contenders: by name.
        textbook: makes so many closures.
        chunk: evaluations of a turn.

    Yields:
        The name of each as it ends, and what a closure of the textbook loop took until then.
    """
    clock, rounds, left = Clock(), 0, dict(contenders)
    textbook(1)  # to warm up
    while left:
        with clock.running():
            textbook(1)
        rounds += 1
        ended = [name for name, contender in left.items() if not contender.advance(chunk)]
        for name in ended:
            del left[name]
            yield name, Pace(clock.wall / rounds, clock.processors / rounds)
