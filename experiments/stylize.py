"""Style transfer by optimising an image's pixels (SWAG, Figures 1, 2 and 6), and the pictures' judgement.

python experiments/stylize.py content=a.jpg style=b.jpg network=resnet50 smoothing=softmax images.size=256
python experiments/stylize.py content=a.jpg 'style=[b.jpg,c.jpg]' pairing=mix 'style_weights=[0.7,0.3]'
python experiments/stylize.py -m experiment=fig1
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from experiments.command import CONF, checked_command

ENTRY = "stylize"


@checked_command(ENTRY)
@hydra.main(version_base="1.3", config_path=str(CONF), config_name=ENTRY)
def main(config: DictConfig) -> None:
    """Stylise the pairs of one cell, and judge the pictures."""
    from experiments.running import run_experiment
    from experiments.stylization.stylization import Stylization

    run_experiment(config, Stylization)


if __name__ == "__main__":
    from experiments import stylize as importable
    from experiments.launching import launch

    launch(importable.main)
