"""Measures of finished pictures by another judge: takes what `stylize.py` took, and optimises nothing.

python experiments/judge.py -m experiment=fig2 measures=densenet121
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import hydra
from omegaconf import DictConfig

from experiments.command import checked_command
from experiments.frame import run_cell
from experiments.launching import CONF, launch
from experiments.stylization.judging import Judging


@checked_command(Judging.reads)
@hydra.main(version_base="1.3", config_path=CONF, config_name=Judging.reads)
def main(config: DictConfig) -> None:
    """Judges the pictures of one cell."""
    run_cell(config, Judging)


if __name__ == "__main__":
    from experiments import judge as importable

    launch(importable.main)
