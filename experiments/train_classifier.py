"""Training of a classifier, whose weights every other experiment takes with `weights=run`.

python experiments/train_classifier.py network=small_residual data=cifar10
python experiments/train_classifier.py -m experiment=family
torchrun --nproc-per-node 4 experiments/train_classifier.py network=resnet50 recipe=imagenet data=folder ...
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from experiments.command import CONF, checked_command

ENTRY = "train_classifier"


@checked_command(ENTRY)
@hydra.main(version_base="1.3", config_path=str(CONF), config_name=ENTRY)
def main(config: DictConfig) -> None:
    """Train one network."""
    from experiments.training.alongside import train_with_others
    from experiments.training.training import ClassifierTraining

    train_with_others(config, ClassifierTraining)


if __name__ == "__main__":
    from experiments import train_classifier as importable
    from experiments.launching import launch

    launch(importable.main)
