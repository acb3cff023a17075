"""Training of a network that stylises in one pass: AdaIN's decoder, or one network for one style.

python experiments/train_feedforward.py weights=imagenet corpus=folder corpus.content=a corpus.style=b
python experiments/train_feedforward.py -m experiment=feedforward
torchrun --nproc-per-node 4 experiments/train_feedforward.py ...
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from experiments.command import CONF, checked_command

ENTRY = "train_feedforward"


@checked_command(ENTRY)
@hydra.main(version_base="1.3", config_path=str(CONF), config_name=ENTRY)
def main(config: DictConfig) -> None:
    """Train one network."""
    from experiments.feedforward.training import FeedforwardExperiment
    from experiments.training.alongside import train_with_others

    train_with_others(config, FeedforwardExperiment)


if __name__ == "__main__":
    from experiments import train_feedforward as importable
    from experiments.launching import launch

    launch(importable.main)
