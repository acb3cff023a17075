"""Training of a network that stylises in one pass: AdaIN's decoder, or one network for one style.

swag train-feedforward corpus=folder corpus.content=coco corpus.style=wikiart network=vgg19 weights=imagenet
swag train-feedforward generator=johnson recipe=johnson corpus=folder corpus.content=coco corpus.style=a.jpg
swag train-feedforward -m experiment=feedforward_swag
torchrun --nproc-per-node 4 experiments/train_feedforward.py corpus=folder ...
"""

from __future__ import annotations

from omegaconf import DictConfig

from experiments.flags import entry_point

SHOWN = (
    "corpus corpus.content corpus.style network weights generator objective "
    "objective.style_weight recipe recipe.steps crop.size experiment"
)
"""The settings that `--help` explains."""


@entry_point("train_feedforward", shows=SHOWN)
def main(config: DictConfig) -> None:
    """Train one network."""
    from experiments.feedforward.training import FeedforwardExperiment
    from experiments.training.alongside import train_with_others

    train_with_others(config, FeedforwardExperiment)


if __name__ == "__main__":
    from experiments import train_feedforward as importable
    from experiments.launching import launch

    launch(importable.main)
