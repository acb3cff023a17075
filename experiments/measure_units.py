"""A measurement of what residual units do to peaks, unit by unit: SWAG's "whack-a-mole" (Figure 4).

python experiments/measure_units.py network=resnet50 weights=imagenet
python experiments/measure_units.py -m experiment=whack_a_mole
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from experiments.command import CONF, checked_command

ENTRY = "measure_units"


@checked_command(ENTRY)
@hydra.main(version_base="1.3", config_path=str(CONF), config_name=ENTRY)
def main(config: DictConfig) -> None:
    """Measure one cell."""
    from experiments.measurements import MeasureUnits
    from experiments.running import run_experiment

    run_experiment(config, MeasureUnits)


if __name__ == "__main__":
    from experiments import measure_units as importable
    from experiments.launching import launch

    launch(importable.main)
