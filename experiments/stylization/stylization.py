"""Style transfer of pairs of images by optimisation, built from its config."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig
from rich.markup import escape
from torch import Tensor

from experiments.building import build
from experiments.frame import Context
from experiments.network import SmoothedExperiment
from experiments.objective import objective_of
from experiments.science import VERSIONS, wants_judge
from experiments.stylization.batches import BATCH_SIZE, COLORS, STARTS, Batch, fixed_size
from experiments.stylization.judging import Judging
from experiments.stylization.memory import free_memory, kept_for_gradient
from experiments.stylization.painting import Painter
from experiments.stylization.pairs import Pair, pairs_of, start_picture, weights_of
from experiments.stylization.pictures import save_pictures
from experiments.stylization.shares import ENTRIES, SHARES, entry_shares, start_shares
from experiments.sweeps.progress import console
from swag_repro.errors import NonFiniteError, SettingError, check_choice
from swag_repro.images import Picture, load_mask
from swag_repro.losses import Objective, check_weight
from swag_repro.networks import Levers, TappedNetwork
from swag_repro.runs.schema import LOSSES
from swag_repro.transfer import Canvas, Guards, Plateau, Transfer

MOST_PAIRS = 16
"""In a batch of `auto`: more gain nothing on machines we know."""


@dataclass(frozen=True, kw_only=True)
class Stylization(SmoothedExperiment):
    """Pictures of pairs, how each ended, and the curves of their losses."""

    name = "stylize"
    version = VERSIONS[name]
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

    @classmethod
    def parts(cls, config: DictConfig) -> dict[str, Any]:
        """The attributes of the cell of this config."""
        parts = super().parts(config)
        _check_run(config)
        _check_observations(config)
        optimizer = build(config.optimizer)
        optimizer(torch.zeros(1, 3, 2, 2))  # objects to its settings now rather than after loading a network
        pairs = pairs_of(config, parts["pictures"])
        for pair in pairs:
            for mask in filter(None, pair.masks):
                load_mask(mask, pair.content, parts["resize"], feather=config.feather)  # objects now, too
        return {
            **parts,
            "pairs": pairs,
            "style_weights": weights_of(config, len(pairs[0].styles)),
            "start": start_picture(config.start, STARTS),
            "objective": replace(
                objective_of(config.objective, parts["architecture"], parts["smoothing"]),
                transformations=build(config.transformations) if config.transformations else None,
            ),
            "optimizer": optimizer,
            "canvas": build(config.canvas),
            "guards": Guards(**config.guards),
            "plateau": Plateau(**config.stop),
        }

    @property
    def images(self) -> dict[str, str]:
        """SHA-256 of each pair, and of the picture it starts from."""
        start = {} if self.start is None else {"start": self.start.sha256}
        return {pair.name: pair.sha256 for pair in self.pairs} | start

    @property
    def taps(self) -> Sequence[str]:
        """Where the objective reads the network."""
        return self.objective.taps()

    @property
    def levers(self) -> Levers:
        """How the network is run."""
        settings = dict(self.config.levers)
        settings["fold_batchnorm"] = settings["fold_batchnorm"] and self.config.batchnorm == "eval"
        return Levers(**settings)

    @property
    def origin(self) -> dict[str, Any]:
        """What each of its rows says of the network and of the loss."""
        return {**super().origin, "loss": self.config.objective.name}

    def compute(self, context: Context) -> None:
        """Optimises all pairs, batch by batch, and writes pictures, their table, rows and curves."""
        network = self.network()
        painter = Painter(self, network, context)
        pairs: list[dict[str, Any]] = []
        shares: list[dict[str, Any]] = []
        size = fixed_size(context.run, self.config.compute.batch_size, partial(self.fitting, network))
        for batch in self.batches(size):
            painted = painter.paint(batch)
            pairs += save_pictures(
                context.run,
                painted,
                label=self.label,
                animation=self.config.keep.animation,
            )
            seen = batch.seen(self.config.color)
            shares += start_shares(network, self.objective, seen, self.config.shares)
            if self.config.shares == ENTRIES:
                shares += entry_shares(network, self.objective, seen, painted.images)
        painter.clear()
        _check_any_finite(pairs)
        context.run.write_pairs(pairs)
        with context.run.write_file("curves.parquet") as file:
            pd.DataFrame(painter.curves).to_parquet(file)
        rows = [row for pair in pairs for row in rows_of(pair)]
        context.run.write_rows([{**self.origin, **row} for row in (*rows, *shares)])
        for pair in pairs:
            note = "" if pair["status"] == "finished" else f" {pair['status']}: {pair['reason']}"
            console.print(f"  {escape(str(context.run.path / pair['image']))}[yellow]{escape(note)}[/]")

    def following(self) -> Judging | None:
        """The judgement of its pictures; None if nothing is to be measured."""
        return Judging.of(self) if wants_judge(self.config) else None

    def transfer(
        self, network: TappedNetwork, batch: Batch, start: Tensor, *, scale: int = 0, last: bool = True
    ) -> Transfer:
        """The optimisation of a batch from these images `(B, 3, H, W)`, at one of the scales."""
        settings = self.config.objective
        lr = self.config.optimizer.lr * (self.config.last_step_scale if last else 1.0)
        return Transfer(
            network,
            self.objective.weighted(settings.content_weight * settings.content_decay**scale),
            batch.contents,
            batch.styles,
            start=start,
            optimizer=partial(self.optimizer, lr=lr),
            steps=self.config.steps,
            evaluations=self.config.evaluations,
            guards=self.guards,
            canvas=self.canvas,
            plateau=self.plateau,
            result=self.config.result,
        )

    def batches(self, size: int) -> Iterator[Batch]:
        """At most so many pairs each, side by side where their contents have one size."""
        for group in self._groups:
            for first in range(0, len(group), size):
                yield self._batch(group[first : first + size])

    @cached_property
    def _groups(self) -> list[list[Pair]]:
        """Pairs whose contents have one size."""
        groups: dict[tuple[int, ...], list[Pair]] = {}
        for pair in self.pairs:
            groups.setdefault(self.resize.target(*pair.content.read().size), []).append(pair)
        return list(groups.values())

    def _batch(self, pairs: Sequence[Pair]) -> Batch:
        return Batch.load(
            pairs,
            self.resize,
            device=self.device,
            weights=self.style_weights,
            feather=self.config.feather,
        )

    def fitting(self, network: TappedNetwork) -> int:
        """How many pairs fit in half of the free memory, by what one evaluation keeps for its gradient."""
        one = max(
            (self._batch(group[:1]) for group in self._groups), key=lambda batch: batch.contents.numel()
        )
        transfer = self.transfer(network, one, one.contents)
        with kept_for_gradient() as kept:
            transfer.advance()
        history = 2 * self.config.optimizer.get("history", 4) + 8
        needed = 2 * sum(kept.values()) + history * one.contents.nbytes
        return max(1, min(MOST_PAIRS, int(free_memory(self.device) // 2 // needed)))

    @property
    def label(self) -> str:
        """The network, its weights, the smoothing and the loss, for people."""
        return f"{super().label} {self.config.objective.name}"

    @property
    def tags(self) -> list[str]:
        """By which W&B finds it."""
        return [*super().tags, self.config.objective.name]


def _check_any_finite(pairs: Sequence[dict[str, Any]]) -> None:
    """A picture that diverged keeps its best image, and figures mark it; without a finite loss there is none.

    Raises:
        NonFiniteError: that is so of all.
    """
    if not any(math.isfinite(pair["total_loss"]) for pair in pairs):
        reasons = ", ".join(sorted({str(pair["reason"]) for pair in pairs}))
        rule = "should be finite for at least one picture of a cell"
        found = f"{len(pairs)} of {len(pairs)} diverged: {reasons}"
        raise NonFiniteError("loss", rule, found, "Look for NaN in the weights, or choose a wider precision.")


def rows_of(pair: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A pair's numbers, one a row."""
    counts = ("iterations", "evaluations", "recoveries")
    for statistic in (*LOSSES.values(), "first_total_loss", *counts):
        about = {"content": pair["content"], "style": pair["style"], "statistic": statistic}
        yield {**about, "value": float(pair[statistic])}


def _check_run(config: DictConfig) -> None:
    scales = list(config.scales)
    if not scales or scales[-1] != 1.0 or not all(0 < scale <= 1 for scale in scales):
        rule = "should be parts of the size, above 0, that end with 1.0"
        raise SettingError("scales", rule, scales, "[1.0] is a single scale.")
    for name in ("checkpoint_seconds", "every"):
        if not (value := config.keep[name]) >= 0:  # nor NaN
            raise SettingError(f"keep.{name}", "should be at least 0", value, "Choose a larger number.")
    if config.keep.animation and not config.keep.every:
        raise SettingError("keep.every", "should be above 0 for an animation", 0, "Add keep.every=5.")
    check_choice("color", config.color, COLORS)
    if not config.feather >= 0:
        raise SettingError("feather", "should be 0 or more", config.feather, "0 leaves edges as they are.")
    _check_factors(config)


def _check_factors(config: DictConfig) -> None:
    decays = {
        "objective.content_decay": config.objective.content_decay,
        "last_step_scale": config.last_step_scale,
    }
    for name, value in decays.items():
        if not 0 < value < math.inf:
            raise SettingError(name, "should be above 0", value, "1.0 leaves it.")


def _check_observations(config: DictConfig) -> None:
    check_weight("start_noise", config.start_noise)
    check_choice("shares", config.shares, SHARES)
    if config.transformations and config.masks is not None:
        rule = "should be null with transformations: masks are of places, which move"
        raise SettingError("masks", rule, list(config.masks), "Leave out one of the two.")
    if any(step < 0 for step in config.measured_steps):
        rule = "should be numbers of steps from 0"
        raise SettingError("measured_steps", rule, list(config.measured_steps), "[] measures the end only.")
