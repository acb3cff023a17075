"""Style transfer in one pass, by a network that was trained to stylise.

swag transfer content=photo.jpg style=painting.jpg
swag transfer content=photo.jpg style=painting.jpg alpha=0.5 color=luminance
swag transfer images=folder images.path=frames style=painting.jpg
swag transfer content=photo.jpg 'style=[a.jpg,b.jpg]' pairing=mix 'style_weights=[0.7,0.3]' run=ID
"""

from __future__ import annotations

from omegaconf import DictConfig

from experiments.flags import entry_point

SHOWN = (
    "content style run alpha images images.path images.resize images.size pairing style_weights color tile"
)
"""The settings that `--help` explains."""


@entry_point("transfer", shows=SHOWN)
def main(config: DictConfig) -> None:
    """Stylise the pairs of one cell."""
    from experiments.feedforward.transfer import Transfer
    from experiments.running import run_experiment

    run_experiment(config, Transfer)


if __name__ == "__main__":
    from experiments import transfer as importable
    from experiments.launching import launch

    launch(importable.main)
