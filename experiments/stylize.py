"""Style transfer by optimising an image's pixels (SWAG, Figures 1, 2 and 6), and the pictures' judgement.

swag stylize content=a.jpg style=b.jpg images.size=512
swag stylize content=a.jpg style=b.jpg network=resnet50 weights=imagenet smoothing=softmax
swag stylize content=a.jpg 'style=[b.jpg,c.jpg]' pairing=mix 'style_weights=[0.7,0.3]'
swag stylize -m experiment=fig1
"""

from __future__ import annotations

from omegaconf import DictConfig

from experiments.flags import entry_point

SHOWN = (
    "content style images.size network weights smoothing objective "
    "objective.style_weight steps preset measures experiment"
)
"""The settings that `--help` explains."""


@entry_point("stylize", shows=SHOWN)
def main(config: DictConfig) -> None:
    """Stylise the pairs of one cell, and judge the pictures."""
    from experiments.running import run_experiment
    from experiments.stylization.stylization import Stylization

    run_experiment(config, Stylization)


if __name__ == "__main__":
    from experiments import stylize as importable
    from experiments.launching import launch

    launch(importable.main)
