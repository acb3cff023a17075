"""A measurement of what residual units do to peaks, unit by unit: SWAG's "whack-a-mole" (Figure 4).

swag units network=resnet50 weights=imagenet
swag units network=resnet50 weights=random images.size=256
swag units -m network=resnet18,resnet50 weights.seed=0,1,2
swag units -m experiment=whack_a_mole
"""

from __future__ import annotations

from omegaconf import DictConfig

from experiments.flags import entry_point

SHOWN = (
    "network weights weights.seed images images.size images.path experiment "
    "output force compute.device compute.batch_size tracking"
)
"""The settings that `--help` explains."""


@entry_point("measure_units", shows=SHOWN)
def main(config: DictConfig) -> None:
    """Measure one cell."""
    from experiments.measurements import MeasureUnits
    from experiments.running import run_experiment

    run_experiment(config, MeasureUnits)


if __name__ == "__main__":
    from experiments import measure_units as importable
    from experiments.launching import launch

    launch(importable.main)
