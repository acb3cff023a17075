"""Training of a classifier, whose weights every other experiment takes with `weights=run`.

python experiments/train_classifier.py network=small_residual data=cifar10
python experiments/train_classifier.py -m experiment=family
torchrun --nproc-per-node 4 experiments/train_classifier.py network=resnet50 recipe=imagenet data=folder ...
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import hydra
from omegaconf import DictConfig

from experiments.command import checked_command
from experiments.frame import run_cell
from experiments.launching import CONF, launch
from experiments.training.training import ClassifierTraining, assist
from swag_repro.training import World


@checked_command(ClassifierTraining.reads)
@hydra.main(version_base="1.3", config_path=CONF, config_name=ClassifierTraining.reads)
def main(config: DictConfig) -> None:
    """Trains one network."""
    if World.current().rank:
        assist(config)
    else:
        run_cell(config, ClassifierTraining)


if __name__ == "__main__":
    from experiments import train_classifier as importable

    launch(importable.main)
