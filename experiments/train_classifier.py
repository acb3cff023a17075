"""Training of a classifier, whose weights every other experiment takes with `weights=run`.

swag train network=small_residual data=cifar10
swag train network=resnet18 weights=imagenet data=folder data.path=my/data
swag train -m experiment=family
torchrun --nproc-per-node 4 experiments/train_classifier.py network=resnet50 recipe=imagenet data=folder ...
"""

from __future__ import annotations

from omegaconf import DictConfig

from experiments.flags import entry_point

SHOWN = (
    "network weights data data.path recipe recipe.epochs recipe.lr "
    "seed snapshots precision experiment compute.workers"
)
"""The settings that `--help` explains."""


@entry_point("train_classifier", shows=SHOWN)
def main(config: DictConfig) -> None:
    """Train one network."""
    from experiments.training.alongside import train_with_others
    from experiments.training.training import ClassifierTraining

    train_with_others(config, ClassifierTraining)


if __name__ == "__main__":
    from experiments import train_classifier as importable
    from experiments.launching import launch

    launch(importable.main)
