"""Style transfer of pairs of images by optimisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import pandas as pd
import torch
from rich.markup import escape
from torch import Tensor

from experiments.building import build, make
from experiments.config import Config
from experiments.frame import Context
from experiments.network import SmoothedExperiment
from experiments.objective import objective_of
from experiments.pictures.batches import PairBatch
from experiments.pictures.judging import Judging, judgement_of
from experiments.pictures.pairs import Pair, named, pairs_of, weights_of
from experiments.pictures.saving import save_pictures
from experiments.results import check_save
from experiments.science import EXPERIMENT_VERSIONS
from experiments.stylization.memory import (
    BATCH_SIZE,
    KEPT_OF_CONTENT,
    PEAK,
    SURE,
    TILE,
    MemoryNeeded,
    settled_batch_size,
    small,
)
from experiments.stylization.optimising import BatchOptimiser
from experiments.stylization.scales import PictureScale, scales_of
from experiments.stylization.shares import LARGEST_ENTRIES, entry_shares, start_shares
from experiments.stylization.slow_run import SlowRunHint, is_slow
from experiments.stylization.starts import restart_of, start_of, start_picture
from experiments.sweeps.progress import console
from swag_repro.errors import NonFiniteError, SettingError, check_number, check_seed
from swag_repro.images import Picture, load_mask
from swag_repro.losses import Objective
from swag_repro.memory import give_back_freed, kept_for_gradient
from swag_repro.networks import Architecture, Execution, TappedNetwork
from swag_repro.optimisation import Canvas, Guards, Optimisation, Plateau
from swag_repro.optimisation.engine import check_optimizer
from swag_repro.runs.schema import LOSSES
from swag_repro.runs.store import Run
from swag_repro.smoothing import Smoothing
from swag_repro.tiles import TiledFeatures
from swag_repro.tiling import TiledObjective, can_be_tiled, whole

UNTRAINED = (
    "[yellow]random weights:[/] this network has learnt nothing, and its pictures are controls. "
    "weights=pretrained (network=resnet50_half, vgg16) or weights=imagenet paint better ones."
)

MOST_PAIRS = 16
"""The most pairs in a batch of `auto`; more gained nothing on the machines that were measured."""


@dataclass(frozen=True, kw_only=True)
class Stylization(SmoothedExperiment):
    """A stylisation of pairs: their pictures, the end of each pair, and the curves of their losses."""

    name = "stylize"
    version = EXPERIMENT_VERSIONS[name]
    reads = "stylize"
    resumable = ("checkpoints", "images/steps", BATCH_SIZE)

    pairs: tuple[Pair, ...]
    style_weights: Sequence[float]
    start: Picture | None
    objective: Objective
    optimizer: Any
    canvas: Canvas
    guards: Guards
    plateau: Plateau
    scales: tuple[PictureScale, ...]

    @classmethod
    def parts(cls, config: Config) -> dict[str, Any]:
        """Return the attributes of the experiment of this config."""
        parts = super().parts(config)
        _check_run(config)
        optimizer = build(config.optimizer, Callable)
        pairs = pairs_of(config, parts["pictures"])
        check_save(config.save, len(pairs), named(config))
        for pair in pairs:
            for mask in filter(None, pair.masks):
                load_mask(mask, pair.content, parts["resize"], feather=config.feather)  # a bad mask, too
        objective = _objective(config, parts["architecture"], parts["smoothing"])
        check_optimizer(objective, optimizer(torch.zeros(1, 3, 2, 2)))  # a bad setting raises here, too
        scales = scales_of(config)
        _execution(config, scales[-1])  # here, too
        return {
            **parts,
            "pairs": pairs,
            "style_weights": weights_of(config, len(pairs[0].styles)),
            "start": start_picture(config.start),
            "objective": objective,
            "optimizer": optimizer,
            "canvas": build(config.canvas, Canvas),
            "guards": make(Guards, config.guards),
            "plateau": make(Plateau, config.stop),
            "scales": scales,
        }

    @property
    def images(self) -> dict[str, str]:
        """The SHA-256 of each pair, and of the picture at which it starts."""
        start = {} if self.start is None else {"start": self.start.sha256}
        return {pair.name: pair.sha256 for pair in self.pairs} | start

    @property
    def taps(self) -> Sequence[str]:
        """The taps at which the objective reads the network."""
        return self.objective.taps()

    @property
    def execution(self) -> Execution:
        """The switches that set how the network runs at the last scale."""
        return _execution(self.config, self.scales[-1])

    @property
    def origin(self) -> dict[str, Any]:
        """The columns about the network and the loss that all rows of the run share."""
        return {**super().origin, "loss": self.config.objective.name}

    def compute(self, context: Context) -> None:
        """Optimise all pairs, batch by batch; write the pictures, their table, rows and curves."""
        if self.weights.name == "random" and context.place is None:
            console.print(UNTRAINED)
        network = self.network()
        optimiser = BatchOptimiser(
            self.config,
            context,
            names=[pair.name for pair in self.pairs],
            scales_for=self.scales_for,
            begin=partial(self.begin, network),
            hint=self._slow_run_hint(context),
        )
        pairs: list[dict[str, Any]] = []
        shares: list[dict[str, Any]] = []
        if self.execution.checkpoints:
            give_back_freed()
        for batch in self._batches(self._batch_size(network, context.run)):
            painted = optimiser.paint(batch)
            pairs += save_pictures(
                context.run,
                painted,
                label=self.label,
                animation=self.config.keep.animation,
            )
            seen = batch.seen(self.config.color)
            shares += start_shares(network, self.objective, seen, self.config.shares)
            if self.config.shares == LARGEST_ENTRIES:
                shares += entry_shares(network, self.objective, seen, painted.images)
        optimiser.clear()
        _check_any_finite(pairs)
        context.run.write_pairs(pairs)
        with context.run.write_file("curves.parquet") as file:
            pd.DataFrame(optimiser.curves).to_parquet(file)
        rows = [row for pair in pairs for row in rows_of(pair)]
        context.run.write_rows([{**self.origin, **row} for row in (*rows, *shares)])
        for pair in pairs:
            if pair["status"] != "finished":
                more = ". More steps or evaluations change it further" * (pair["status"] == "unchanged")
                note = f"{pair['image']} {pair['status']}: {pair['reason']}{more}"
                console.print(f"  [yellow]{escape(note)}[/]")

    def following(self) -> Judging | None:
        """Return the judgement of its pictures; None if nothing is to be measured."""
        return judgement_of(self, self.architecture, self.weights)

    def _slow_run_hint(self, context: Context) -> SlowRunHint | None:
        """Return the watch for a slow run; None in a sweep, or if no choice would be quicker."""
        if context.place or not is_slow(self.scales, stochastic=self.objective.stochastic):
            return None
        return SlowRunHint(self.work, lambda line: console.print(f"  [dim]{line}[/]"))

    def scales_for(self, batch: PairBatch) -> tuple[PictureScale, ...]:
        """Return the scales with steps and a long side of at least `coarsest` pixels, and the last one."""
        longest = max(batch.contents.shape[2:])
        fine = [scale for scale in self.scales[:-1] if scale.part * longest >= self.config.coarsest]
        return (*(scale for scale in fine if scale.steps != 0), self.scales[-1])

    def begin(
        self,
        network: TappedNetwork,
        batch: PairBatch,
        scales: Sequence[PictureScale],
        index: int,
        before: Tensor | None,
    ) -> Optimisation:
        """Return the optimisation of a batch at one of its scales.

        Args:
            network: The network as `network` returns it.
            batch: The batch at its whole size.
            scales: The batch's scales.
            index: The index of the scale.
            before: The images of the scale before, `(B, 3, h, w)`; None at the first scale.
        """
        scale, last = scales[index], index == len(scales) - 1
        seen = batch.at(scale.part).seen(self.config.color)
        config = self.config
        if before is None:
            start = start_of(
                seen, config.start, noise=config.start_noise, seed=config.seed, picture=self.start
            )
        else:
            start = restart_of(seen, config.start, before, last=last)
        at_scale = network.with_autocast(scale.autocast)
        return self.optimisation(at_scale, seen, start, scale=scale, index=index, last=last)

    def optimisation(
        self,
        network: TappedNetwork,
        batch: PairBatch,
        start: Tensor,
        *,
        scale: PictureScale | None = None,
        index: int = 0,
        last: bool = True,
    ) -> Optimisation:
        """Return the optimisation of a batch as the objective sees it, from these images `(B, 3, H, W)`.

        Args:
            network: The network with the scale's precision.
            batch: The batch at the scale's size.
            start: The images at which it starts.
            scale: The scale; None for the whole size.
            index: The number of scales before it.
            last: Whether it is the last scale.
        """
        settings, scale = self.config.objective, scale or self.scales[-1]
        lr = self.config.optimizer.lr * (self.config.last_step_scale if last else 1.0)
        return Optimisation(
            network,
            self.objective.weighted(settings.content_weight * settings.content_decay**index),
            batch.contents,
            batch.styles,
            start=start,
            optimizer=partial(self.optimizer, lr=lr),
            steps=scale.steps,
            evaluations=scale.evaluations,
            guards=self.guards,
            canvas=self.canvas,
            plateau=self.plateau,
            result=self.config.result,
        )

    def _batches(self, most: int) -> Iterator[PairBatch]:
        """Yield batches of at most `most` pairs whose contents have one size."""
        for group in self._groups.values():
            for first in range(0, len(group), most):
                yield self.batch(group[first : first + most])

    @cached_property
    def _groups(self) -> dict[tuple[int, ...], list[Pair]]:
        """The pairs by the width and height of their contents."""
        groups: dict[tuple[int, ...], list[Pair]] = {}
        for pair in self.pairs:
            groups.setdefault(self.resize.target(*pair.content.read().size), []).append(pair)
        return groups

    @property
    def work(self) -> float:
        """Pixels times evaluations, over all pairs and scales, if no pair ends early."""
        pixels = sum(math.prod(size) * len(pairs) for size, pairs in self._groups.items())
        return pixels * sum(scale.most * scale.part**2 for scale in self.scales)

    def batch(self, pairs: Sequence[Pair]) -> PairBatch:
        """Return the batch of pairs whose contents have one size."""
        return PairBatch.load(
            pairs,
            self.resize,
            device=self.device,
            weights=self.style_weights,
            feather=self.config.feather,
        )

    def _batch_size(self, network: TappedNetwork, run: Run) -> int:
        """Return how many pairs are optimised together; small batches need no prediction of memory.

        Raises:
            TooLargeError: The pairs, or with `auto` even one pair, don't fit in memory.
        """
        asked = self.config.compute.batch_size
        if asked == "auto":
            return settled_batch_size(
                run, lambda: min(MOST_PAIRS, self._predict_memory(network, self._largest()).most(self.device))
            )
        if asked * max(map(math.prod, self._groups)) > SURE:
            self._predict_memory(network, self._largest()).check(min(asked, len(self.pairs)), self.device)
        return int(asked)

    def _largest(self) -> PairBatch:
        """Return a batch of one pair, that with the most pixels."""
        return self.batch(self._groups[max(self._groups, key=math.prod)][:1])

    def _predict_memory(self, network: TappedNetwork, one: PairBatch) -> MemoryNeeded:
        """Return the memory of this pair's optimisation, predicted from one evaluation at a small size."""
        sample, tile = small(one), self.config.tile
        plain = replace(self, objective=whole(self.objective))
        optimisation = plain.optimisation(network, sample, sample.contents)
        with kept_for_gradient(besides=(*network.parameters(), *network.buffers())) as kept:
            optimisation.advance()
        larger = one.contents.numel() / sample.contents.numel()
        history = self.config.optimizer.plain.get("history", 4)
        needed = (2 * min(history, self.scales[-1].steps) + 8) * one.contents.nbytes
        gradient = PEAK[self.execution.checkpoints] * sum(kept.values()) / sample.contents.numel()
        if tile is None:
            needed += gradient * one.contents.numel()
        else:
            needed += gradient * 3 * TiledFeatures(network, one.contents, tile).most
            needed += KEPT_OF_CONTENT * larger * _bytes_of_content(network, self.objective, sample)
        taken = {
            "execution.checkpoints=true": self.execution.checkpoints,
            "optimizer.history=10": history <= 10,
            f"tile={TILE}": tile is not None or not self._gains_by_tiles(network, one),
        }
        height, width = one.contents.shape[2:]
        return MemoryNeeded(
            needed, height, width, tuple(name for name, is_taken in taken.items() if not is_taken)
        )

    def _gains_by_tiles(self, network: TappedNetwork, one: PairBatch) -> bool:
        """Return whether tiles would be smaller than the picture, and the objective can be tiled."""
        if not can_be_tiled(self.objective, network):
            return False
        return TiledFeatures(network, one.contents, TILE).most < math.prod(one.contents.shape[2:])

    @property
    def label(self) -> str:
        """The network, its weights, the smoothing and the loss, for people."""
        return f"{super().label} {self.config.objective.name}"

    @property
    def tags(self) -> list[str]:
        """The tags by which users find the run in W&B."""
        return [*super().tags, self.config.objective.name]


def _execution(config: Config, scale: PictureScale) -> Execution:
    """Return the switches that set how the network runs at a scale."""
    settings = {**config.execution.plain, "autocast": scale.autocast}
    made = make(Execution, Config(settings, config.execution.key))
    return replace(made, fold_batchnorm=made.fold_batchnorm and config.batchnorm == "eval")


def _objective(config: Config, architecture: Architecture, smoothing: Smoothing) -> Objective:
    """Return the config's objective with its transformations and tiles."""
    transformations = build(config.transformations, Callable) if config.transformations else None
    objective = replace(
        objective_of(config.objective, architecture, smoothing), transformations=transformations
    )
    return objective if config.tile is None else TiledObjective.of(objective, config.tile)


@torch.no_grad()
def _bytes_of_content(network: TappedNetwork, objective: Objective, sample: PairBatch) -> int:
    """Return the bytes of the features with which the content term compares."""
    features = network(sample.contents)
    return sum(features[tap].nbytes for tap in objective.content.read)


def _check_any_finite(pairs: Sequence[dict[str, Any]]) -> None:
    """Raise if no pair has a finite loss.

    A pair that diverged keeps its best image, and figures mark it. Without a finite loss there is no image.

    Raises:
        NonFiniteError: All pairs diverged.
    """
    if not any(math.isfinite(pair["total_loss"]) for pair in pairs):
        reasons = ", ".join(sorted({str(pair["reason"]) for pair in pairs}))
        rule = "should be finite for at least one picture of a cell"
        found = f"{len(pairs)} of {len(pairs)} diverged: {reasons}"
        raise NonFiniteError("loss", rule, found, "Look for NaN in the weights, or choose a wider precision.")


def rows_of(pair: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the numbers of a pair, one a row."""
    counts = ("iterations", "evaluations", "recoveries")
    for statistic in (*LOSSES.values(), "first_total_loss", *counts):
        about = {"content": pair["content"], "style": pair["style"], "statistic": statistic}
        yield {**about, "value": float(pair[statistic])}


def _check_run(config: Config) -> None:
    """Raise a `SettingError` if a setting that no part of the science owns is out of range."""
    numbers: dict[str, dict[str, Any]] = {
        "keep.checkpoint_seconds": {"least": 0},
        "keep.every": {"least": 0},
        "feather": {"least": 0, "most": 1, "remedy": "0 leaves edges as they are."},
        "start_noise": {"least": 0, "remedy": "0 adds none."},
        "coarsest": {"least": 0},
        "last_step_scale": {"above": 0, "remedy": "1.0 leaves it."},
    }
    for name, bounds in numbers.items():
        check_number(name, config.select(name), **bounds)
    check_seed("seed", config.seed)
    if config.keep.animation and not config.keep.every:
        raise SettingError("keep.every", "should be above 0 for an animation", 0, "Add keep.every=5.")
    if config.transformations and config.masks is not None:
        rule = "should be null with transformations: masks are of places, which move"
        raise SettingError("masks", rule, config.masks, "Leave out one of the two.")
    if any(step < 0 for step in config.measured_steps):
        rule = "should be numbers of steps from 0"
        raise SettingError("measured_steps", rule, config.measured_steps, "[] measures the end only.")
