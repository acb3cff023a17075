"""The figures: one module each, with three functions (load, make, save)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from swag_repro.errors import SettingError


@dataclass(frozen=True)
class FigureSource:
    """The module and the runs of a figure.

    Attributes:
        module: The module that draws it, one of this package or a user's own.
        experiment: The experiment whose runs it shows; the module knows its entry point. None if the
            overrides name it.
        settings: More arguments of the module's `load`.
    """

    module: str
    experiment: str | None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def pictures(self) -> bool:
        """True if `make` takes `pairs`, the number of pairs whose pictures it shows."""
        return self.module.rpartition(".")[2] in ("grid", "matrix", "shortcut_dial_style")


FIGURES = {
    "fig1": FigureSource("grid", "fig1"),
    "fig2": FigureSource("grid", "fig2"),
    "fig2_pretrained": FigureSource("grid", "fig2_pretrained"),
    "fig2_trained": FigureSource("grid", "fig2_trained"),
    "fig3": FigureSource("fig3", "fig3"),
    "fig3_pretrained": FigureSource("fig3", "fig3_pretrained"),
    "fig3_batchnorm": FigureSource("fig3", "fig3_batchnorm"),
    "fig3_trained": FigureSource("fig3", "fig3_trained"),
    "fig6": FigureSource("grid", "fig6"),
    "fig7": FigureSource("grid", "fig7"),
    "headline": FigureSource("grid", "headline"),
    "reconstruction": FigureSource("grid", "reconstruction"),
    "texture": FigureSource("grid", "texture"),
    "demystifying_fig1": FigureSource("matrix", "demystifying_fig1", {"columns": "objective.layers"}),
    "demystifying_fig2": FigureSource("matrix", "demystifying_fig2", {"columns": "objective.style_weight"}),
    "demystifying_fig3": FigureSource("grid", "demystifying_fig3"),
    "demystifying_fig4": FigureSource("matrix", "demystifying_fig4", {"columns": "objective.style.weights"}),
    "mechanism": FigureSource("mechanism", "mechanism"),
    "mechanism_small": FigureSource("mechanism", "mechanism_small"),
    "mechanism_style": FigureSource("mechanism", "mechanism_style"),
    "mechanism_pretrained": FigureSource("mechanism", "mechanism_pretrained"),
    "mechanism_trained": FigureSource("mechanism", "mechanism_trained"),
    "mechanism_zoo": FigureSource("mechanism", "mechanism_zoo"),
    "mechanism_pretrained_pictures": FigureSource("grid", "mechanism_pretrained"),
    "mechanism_pictures": FigureSource("grid", "mechanism_style"),
    "mechanism_trained_pictures": FigureSource("grid", "mechanism_trained"),
    "shortcut_dial": FigureSource("dial", "shortcut_dial", {"setting": "network.shortcut"}),
    "training_dynamics": FigureSource("dial", "training_dynamics", {"setting": "weights.at"}),
    "chain": FigureSource("dial", "chain", {"setting": "network.name"}),
    "initialisations": FigureSource("dial", "initialisations", {"setting": "weights.init"}),
    "chain_style": FigureSource("mechanism", "chain_style"),
    "chain_pictures": FigureSource("grid", "chain_style"),
    "family": FigureSource("seeds", "family", {"entry": "train_classifier"}),
    "adain_gatys": FigureSource("one_pass", "adain_gatys"),
    "in_bn": FigureSource("seeds", "in_bn", {"entry": "train_feedforward", "split": "crop.look"}),
    "decoders": FigureSource("seeds", "decoders", {"entry": "train_feedforward"}),
    "decoder_weights": FigureSource("seeds", "decoder_weights", {"entry": "train_feedforward"}),
    "decoder_layers": FigureSource("seeds", "decoder_layers", {"entry": "train_feedforward"}),
    "decoder_losses": FigureSource("seeds", "decoder_losses", {"entry": "train_feedforward"}),
    "feedforward_swag": FigureSource("seeds", "feedforward_swag", {"entry": "train_feedforward"}),
    "whack_a_mole": FigureSource("seeds", "whack_a_mole", {"entry": "measure_units"}),
    "shortcut_dial_style": FigureSource("shortcut_dial_style", "shortcut_dial_style"),
    "curve": FigureSource("curve", "style_content_curve"),
}


def source_of(name: str) -> FigureSource:
    """Return the module and the runs of the figure with this name.

    Raises:
        SettingError: The name is neither in `FIGURES` nor a module.
    """
    if (known := FIGURES.get(name)) is not None:
        return replace(known, module=f"{__name__}.{known.module}")
    if "/" in name or find_spec(name.partition(".")[0]) is None:
        rule = f"should be one of {', '.join(FIGURES)}, or a module with load, make and save"
        raise SettingError("figure", rule, repr(name), "A module of your own should lie on PYTHONPATH.")
    return FigureSource(name, None)


def draw_figure(
    name: str, overrides: Sequence[str], runs: Path, out: Path, *, partial: bool = False, **options: Any
) -> list[Path]:
    """Draw one figure, and return the files that were written.

    Args:
        name: One of `FIGURES`, or a user's own module with the three functions.
        overrides: Hydra overrides, as given to the experiment.
        runs: The output folder of the experiments.
        out: The folder of results. The files go to a folder in it that has the figure's name.
        partial: Whether to draw a figure with missing cells; it gets a mark.
        options: More arguments of this figure's `make`, such as `pairs`.

    Raises:
        SettingError: There is no such figure.
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read, or the files can't be written.
    """
    source = source_of(name)
    module = import_module(source.module)  # imported here, so that other commands start quickly
    chosen = [] if source.experiment is None else [f"experiment={source.experiment}"]
    data = module.load([*chosen, *overrides], runs, partial=partial, **source.settings)
    paths: list[Path] = module.save(module.make(data, **options), data, out / name, name)
    return paths
