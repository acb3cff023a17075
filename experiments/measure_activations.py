"""Maximum and entropy of activations and Gram matrices per layer and image (SWAG, Figure 3).

swag measure network=vgg19 smoothing=swag images.size=256
swag measure network=resnet50 weights=imagenet images=folder images.path=my/images
swag measure -m network=vgg19,resnet50 weights.seed=0,1,2
swag measure -m experiment=fig3
"""

from __future__ import annotations

from omegaconf import DictConfig

from experiments.flags import entry_point

SHOWN = (
    "network weights weights.seed smoothing images images.size batchnorm "
    "precision experiment output force compute.device"
)
"""The settings that `--help` explains."""


@entry_point("measure_activations", shows=SHOWN)
def main(config: DictConfig) -> None:
    """Measure one cell."""
    from experiments.measurements import MeasureActivations
    from experiments.running import run_experiment

    run_experiment(config, MeasureActivations)


if __name__ == "__main__":
    from experiments import measure_activations as importable
    from experiments.launching import launch

    launch(importable.main)
