"""A search by Optuna for the settings of a stylisation that its judge rates best.

swag search search=style network=resnet50 weights=imagenet images.size=128
swag search search=style content=a.jpg style=b.jpg search.trials=20
swag search search=tradeoff network=resnet50_half
swag search search=style search.show=true

The same command resumes an interrupted search. Several processes of the same command share the trials, also
on several hosts that share the output folder.
"""

from __future__ import annotations

from omegaconf import DictConfig

from experiments.flags import entry_point

SHOWN = (
    "search search.trials search.space search.show content style images.size "
    "network weights smoothing steps output"
)
"""The settings that `--help` explains."""


@entry_point("search", shows=SHOWN, computes="stylize")
def main(config: DictConfig) -> None:
    """Compute trials up to the requested number, and show the best."""
    from experiments.launching import explained
    from swag_repro.errors import SettingError

    with explained():
        try:
            import optuna  # noqa: F401  (here, because it is an extra of the package)
        except ModuleNotFoundError as error:
            remedy = "Install it: pip install 'swag-repro[search]'"
            raise SettingError("search", "needs Optuna", str(error), remedy) from error
        from experiments.searching import run_search
        from experiments.stylization.stylization import Stylization

        run_search(config, Stylization)


if __name__ == "__main__":
    from experiments import search as importable
    from experiments.launching import launch

    launch(importable.main)
