"""The experiment `transfer`: a network that was trained to stylise makes pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor

from experiments.building import build_pictures
from experiments.config import Config
from experiments.feedforward.trained import Trained, trained
from experiments.feedforward.training import FeedforwardExperiment
from experiments.frame import Context, Experiment
from experiments.pictures.batches import PairBatch
from experiments.pictures.judging import Judging, judgement_of
from experiments.pictures.pairs import Pair, named, pairs_of, weights_of
from experiments.pictures.saving import FinishedBatch, save_pictures
from experiments.results import check_save
from experiments.science import EXPERIMENT_VERSIONS, scientific
from swag_repro.errors import SettingError, UserError, check_number
from swag_repro.feedforward import Stylizer
from swag_repro.images import Picture, Resize
from swag_repro.memory import out_of_memory
from swag_repro.networks import Architecture
from swag_repro.optimisation import PairRecord
from swag_repro.optimisation.records import Losses, PairStatus
from swag_repro.training import autocast
from swag_repro.weights import Weights

NO_LOSSES = Losses(*[math.nan] * 4)
"""Losses of a picture that nothing optimised."""


@dataclass(frozen=True, kw_only=True)
class Transfer(Experiment):
    """Pairs, and the trained network that stylises them."""

    name = "transfer"
    version = EXPERIMENT_VERSIONS[name]
    reads = "transfer"

    trained: Trained
    pictures: tuple[Picture, ...]
    resize: Resize
    pairs: tuple[Pair, ...]
    style_weights: Sequence[float]

    @classmethod
    def parts(cls, config: Config) -> dict[str, Any]:
        """Return the attributes of the experiment of this config."""
        check_number("alpha", config.alpha, least=0, most=1, remedy="1 is the whole style.")
        check_number("feather", config.feather, least=0, most=1, remedy="0 leaves edges as they are.")
        if config.tile is not None:
            check_number("tile", config.tile, least=1, whole=True, remedy="null never takes tiles.")
        images = config.images
        pictures = build_pictures(images.source)
        pairs = pairs_of(config, pictures)
        check_save(config.save, len(pairs), named(config))
        return {
            **super().parts(config),
            "trained": trained(config.run, config, FeedforwardExperiment),
            "pictures": pictures,
            "resize": Resize(size=images.size, policy=images.resize, interpolation=images.interpolation),
            "pairs": pairs,
            "style_weights": weights_of(config, len(pairs[0].styles)),
        }

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The config, with the settings of the trained network."""
        of_training = self.trained.experiment.plain
        kept = ("network", "weights", "smoothing", "objective", "generator", "recipe", "corpus", "seed")
        return {**super().plain, **{key: of_training[key] for key in kept}}

    @property
    def settings(self) -> dict[str, Any]:
        """The config's own settings; the digest of the weights stands for the network and its training."""
        return scientific(self.config.plain, self.name)

    @property
    def images(self) -> dict[str, str]:
        """The SHA-256 of each pair."""
        return {pair.name: pair.sha256 for pair in self.pairs}

    @property
    def weights_digest(self) -> str:
        """The digests of the trained network and its encoder."""
        return self.trained.digest

    @property
    def architecture(self) -> Architecture:
        """The encoder's architecture, which the judge must not share."""
        return self.trained.experiment.architecture

    @property
    def weights(self) -> Weights:
        """The encoder's weights."""
        return self.trained.experiment.weights

    @property
    def origin(self) -> dict[str, Any]:
        """The columns about the network that all rows of the run share."""
        return self.trained.experiment.origin

    @property
    def label(self) -> str:
        """The network, for people."""
        return f"{self.config.run} {self.trained.experiment.label}"

    @property
    def tags(self) -> list[str]:
        """The tags by which users find the run in W&B."""
        return self.trained.experiment.tags

    def compute(self, context: Context) -> None:
        """Stylise all pairs; write the pictures, their table and the seconds of each."""
        network = self.trained.network()
        stylizer = self.trained.experiment.stylizer(network)
        pairs: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        counted = ((len(batch.pairs), batch) for batch in self.batches())
        for batch in context.shown(counted, total=len(self.pairs), unit="pictures"):
            began = time.monotonic()
            images = self._stylized(stylizer, batch)
            seconds = (time.monotonic() - began) / len(batch.pairs)
            record = PairRecord(
                NO_LOSSES, NO_LOSSES, NO_LOSSES, status=PairStatus.FINISHED, reason="one pass"
            )
            finished = FinishedBatch(batch, images, (record,) * len(batch.pairs), steps=(), last_scale=0)
            pairs += save_pictures(context.run, finished, label=self.label, animation=False)
            rows += [self._row(pair, seconds) for pair in batch.pairs]
        context.run.write_pairs(pairs)
        context.run.write_rows(rows)

    def _row(self, pair: Pair, seconds: float) -> dict[str, Any]:
        about = {"content": pair.content.name, "style": pair.style_name}
        return {**self.origin, **about, "statistic": "seconds", "value": seconds}

    def _stylized(self, stylizer: Stylizer, batch: PairBatch) -> Tensor:
        """Return the pictures of a batch whose pairs share their styles.

        They are moved to the CPU, so that the measured time includes all of their computation.
        """
        seen = batch.seen(self.config.color)
        with autocast(self.device, self.config.precision), out_of_memory(_too_large):
            images = stylizer(
                seen.contents, seen.styles[0], alpha=self.config.alpha, tile=self.config.tile
            ).float()
        return batch.finished(images, self.config.color).cpu()

    def batches(self) -> Iterator[PairBatch]:
        """Yield batches of pairs that share styles and masks, and whose contents have one size."""
        groups: dict[Any, list[Pair]] = {}
        for pair in self.pairs:
            size = self.resize.target(*pair.content.read().size)
            alone = pair.name if self.config.color == "matched" else None
            groups.setdefault((size, pair.styles, pair.masks, alone), []).append(pair)
        most = self.config.compute.batch_size
        for group in groups.values():
            styles = None
            for first in range(0, len(group), most):
                batch = self._batch(group[first : first + most])
                styles = styles or batch.styles[0]  # all batches share them: they are encoded once
                yield replace(batch, styles=(styles,) * len(batch.pairs))

    def _batch(self, pairs: Sequence[Pair]) -> PairBatch:
        return PairBatch.load(
            pairs,
            self.resize,
            device=self.device,
            weights=self.style_weights,
            feather=self.config.feather,
        )

    def following(self) -> Judging | None:
        """Return the judgement of its pictures; None if nothing is to be measured."""
        return judgement_of(self, self.architecture, self.weights)


def _too_large(words: str) -> UserError:
    rule, remedy = "should leave pictures room in memory", "Choose tile=1024, or compute.batch_size=1."
    return SettingError("tile", rule, words, remedy)
