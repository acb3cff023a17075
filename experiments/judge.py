"""The measurement of finished pictures by another judge; it takes the overrides of the stylisation.

swag judge content=a.jpg style=b.jpg measures=resnet50_half
swag judge -m experiment=fig2 measures=resnet50_half
swag judge -m experiment=fig2 measures=vgg16
swag judge -m experiment=mechanism measures=vgg16,resnet50_half
"""

from __future__ import annotations

from omegaconf import DictConfig

from experiments.flags import entry_point

SHOWN = (
    "measures measures.network content style images.size network weights "
    "smoothing objective preset experiment output"
)
"""The settings that `--help` explains."""


@entry_point("stylize", shows=SHOWN)
def main(config: DictConfig) -> None:
    """Measure the pictures of one cell."""
    from experiments.running import run_experiment
    from experiments.stylization.judging import StylizationJudging

    run_experiment(config, StylizationJudging)


if __name__ == "__main__":
    from experiments import judge as importable
    from experiments.launching import launch

    launch(importable.main)
