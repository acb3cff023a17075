"""The measurement of finished pictures by another judge; it takes the overrides of the stylisation.

python experiments/judge.py -m experiment=fig2 measures=resnet50_half
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from experiments.command import CONF, checked_command

ENTRY = "stylize"


@checked_command(ENTRY)
@hydra.main(version_base="1.3", config_path=str(CONF), config_name=ENTRY)
def main(config: DictConfig) -> None:
    """Measure the pictures of one cell."""
    from experiments.running import run_experiment
    from experiments.stylization.judging import StylizationJudging

    run_experiment(config, StylizationJudging)


if __name__ == "__main__":
    from experiments import judge as importable
    from experiments.launching import launch

    launch(importable.main)
