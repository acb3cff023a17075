"""Style transfer by optimising an image's pixels (SWAG, Figures 1, 2 and 6), and its judgement.

python experiments/stylize.py content=a.jpg style=b.jpg network=resnet50 smoothing=softmax images.size=256
python experiments/stylize.py content=a.jpg 'style=[b.jpg,c.jpg]' pairing=mix 'style_weights=[0.7,0.3]'
python experiments/stylize.py -m experiment=fig1
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import hydra
from omegaconf import DictConfig

from experiments.command import checked_command
from experiments.frame import run_cell
from experiments.launching import CONF, launch
from experiments.stylization.stylization import Stylization


@checked_command(Stylization.reads)
@hydra.main(version_base="1.3", config_path=CONF, config_name=Stylization.reads)
def main(config: DictConfig) -> None:
    """Stylises the pairs of one cell, and has them judged."""
    run_cell(config, Stylization)


if __name__ == "__main__":
    from experiments import stylize as importable

    launch(importable.main)
