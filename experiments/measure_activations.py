"""Maximum and entropy of activations and Gram matrices per layer and image (SWAG, Figure 3).

python experiments/measure_activations.py network=vgg19 smoothing=softmax images.size=256
python experiments/measure_activations.py -m experiment=fig3
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from experiments.command import CONF, checked_command

ENTRY = "measure_activations"


@checked_command(ENTRY)
@hydra.main(version_base="1.3", config_path=str(CONF), config_name=ENTRY)
def main(config: DictConfig) -> None:
    """Measure one cell."""
    from experiments.measurements import MeasureActivations
    from experiments.running import run_experiment

    run_experiment(config, MeasureActivations)


if __name__ == "__main__":
    from experiments import measure_activations as importable
    from experiments.launching import launch

    launch(importable.main)
