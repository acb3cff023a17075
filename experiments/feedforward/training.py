"""The experiment `train_feedforward`: it trains a network that stylises in one pass, and judges pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from experiments.building import build
from experiments.config import Config
from experiments.feedforward.network import GeneratorExperiment
from experiments.feedforward.trained import ContentLook, look_of
from experiments.feedforward.trainer import FeedforwardTrainer
from experiments.frame import Context
from experiments.pictures.batches import PairBatch
from experiments.pictures.judging import Judging, judgement_of
from experiments.pictures.pairs import Pair, pairs_of
from experiments.science import EXPERIMENT_VERSIONS
from experiments.training.alongside import TrainingExperiment, check_shares
from swag_repro.feedforward import (
    Corpus,
    Cropping,
    Encoder,
    FeedforwardRecipe,
    FeedforwardTraining,
)


@dataclass(frozen=True, kw_only=True)
class FeedforwardExperiment(TrainingExperiment, GeneratorExperiment):
    """A generator, its objective, its corpus, and the pairs that show and judge it."""

    name = "train_feedforward"
    version = EXPERIMENT_VERSIONS[name]
    reads = "train_feedforward"

    look: ContentLook
    cropping: Cropping
    recipe: FeedforwardRecipe

    @classmethod
    def parts(cls, config: Config) -> dict[str, Any]:
        """Return the attributes of the experiment of this config."""
        parts = super().parts(config)
        check_shares("shown", config.shown, "0 is its start; the end is always shown.")
        return {
            **parts,
            "look": look_of(config, parts["pictures"], cls),
            "cropping": Cropping(short=config.crop.short, size=config.crop.size),
            "recipe": build(config.recipe, FeedforwardRecipe),
        }

    @cached_property
    def corpus(self) -> Corpus:
        """The corpus, listed at first use."""
        corpus: Corpus = build(self.config.corpus.source, Corpus)
        return corpus

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs that are shown and judged."""
        return pairs_of(self.config, self.pictures)

    @property
    def images(self) -> dict[str, str]:
        """The digests that tell the corpus, the look and the pairs from others."""
        pairs = {pair.name: pair.sha256 for pair in self.pairs}
        return {"corpus": self.corpus.digest, **self.look.images, **pairs}

    def training(self) -> FeedforwardTraining:
        """Return the training at its start."""
        return FeedforwardTraining(
            self.generator,
            self.generator_network(),
            Encoder(self.network(), self.tap),
            self.objective,
            self.corpus,
            replace(self.cropping, stylize=self.look.stylize(self.cropping.short)),
            self.recipe,
            seed=self.config.seed,
            machine=self.machine,
            kept=self.config.compute.keep_images,
        )

    def trainer(self, context: Context | None) -> FeedforwardTrainer:
        """Return the trainer that runs the training to its end."""
        return FeedforwardTrainer(
            self, self.training(), context, batches=self.batches, stylizer=self.stylizer
        )

    def batches(self) -> Iterator[PairBatch]:
        """Yield the pairs to show, one by one; their contents are prepared as those of the training."""
        prepared = self.look.stylize(self.cropping.short)
        for pair in self.pairs:
            weights = [1.0] * len(pair.styles)
            batch = PairBatch.load([pair], self.resize, device=self.device, weights=weights, feather=0.0)
            if prepared is not None:
                [content] = batch.contents
                batch = replace(batch, contents=prepared(content.cpu())[None].to(self.device))
            yield batch

    def following(self) -> Judging | None:
        """Return the judgement of its pictures; None if nothing is to be measured."""
        return judgement_of(self, self.architecture, self.weights)
