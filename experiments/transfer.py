"""Style transfer in one pass, by a network that was trained to stylise.

swag transfer content=photo.jpg style=painting.jpg
swag transfer content=photo.jpg 'style=[a.jpg,b.jpg]' pairing=mix 'style_weights=[0.7,0.3]' run=<id>
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from experiments.command import CONF, checked_command

ENTRY = "transfer"


@checked_command(ENTRY)
@hydra.main(version_base="1.3", config_path=str(CONF), config_name=ENTRY)
def main(config: DictConfig) -> None:
    """Stylise the pairs of one cell."""
    from experiments.feedforward.transfer import Transfer
    from experiments.running import run_experiment

    run_experiment(config, Transfer)


if __name__ == "__main__":
    from experiments import transfer as importable
    from experiments.launching import launch

    launch(importable.main)
