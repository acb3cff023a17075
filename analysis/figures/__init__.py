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
class Source:
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
        """Whether `make` takes `pairs`, the number of pairs whose pictures it shows."""
        return self.module.rpartition(".")[2] in ("grid", "matrix", "shortcut_dial_style")


FIGURES = {
    "fig1": Source("grid", "fig1"),
    "fig2": Source("grid", "fig2"),
    "fig2_pretrained": Source("grid", "fig2_pretrained"),
    "fig2_trained": Source("grid", "fig2_trained"),
    "fig3": Source("fig3", "fig3"),
    "fig3_pretrained": Source("fig3", "fig3_pretrained"),
    "fig3_batchnorm": Source("fig3", "fig3_batchnorm"),
    "fig3_trained": Source("fig3", "fig3_trained"),
    "fig6": Source("grid", "fig6"),
    "fig7": Source("grid", "fig7"),
    "headline": Source("grid", "headline"),
    "reconstruction": Source("grid", "reconstruction"),
    "texture": Source("grid", "texture"),
    "demystifying_fig1": Source("matrix", "demystifying_fig1", {"columns": "objective.layers"}),
    "demystifying_fig2": Source("matrix", "demystifying_fig2", {"columns": "objective.style_weight"}),
    "demystifying_fig3": Source("grid", "demystifying_fig3"),
    "demystifying_fig4": Source("matrix", "demystifying_fig4", {"columns": "objective.style.weights"}),
    "mechanism": Source("mechanism", "mechanism"),
    "mechanism_small": Source("mechanism", "mechanism_small"),
    "mechanism_style": Source("mechanism", "mechanism_style"),
    "mechanism_pretrained": Source("mechanism", "mechanism_pretrained"),
    "mechanism_trained": Source("mechanism", "mechanism_trained"),
    "mechanism_zoo": Source("mechanism", "mechanism_zoo"),
    "mechanism_pretrained_pictures": Source("grid", "mechanism_pretrained"),
    "mechanism_pictures": Source("grid", "mechanism_style"),
    "mechanism_trained_pictures": Source("grid", "mechanism_trained"),
    "shortcut_dial": Source("dial", "shortcut_dial", {"setting": "network.shortcut"}),
    "training_dynamics": Source("dial", "training_dynamics", {"setting": "weights.at"}),
    "chain": Source("dial", "chain", {"setting": "network.name"}),
    "initialisations": Source("dial", "initialisations", {"setting": "weights.init"}),
    "chain_style": Source("mechanism", "chain_style"),
    "chain_pictures": Source("grid", "chain_style"),
    "family": Source("seeds", "family", {"entry": "train_classifier"}),
    "adain_gatys": Source("one_pass", "adain_gatys"),
    "in_bn": Source("seeds", "in_bn", {"entry": "train_feedforward", "split": "crop.look"}),
    "decoders": Source("seeds", "decoders", {"entry": "train_feedforward"}),
    "decoder_weights": Source("seeds", "decoder_weights", {"entry": "train_feedforward"}),
    "decoder_layers": Source("seeds", "decoder_layers", {"entry": "train_feedforward"}),
    "decoder_losses": Source("seeds", "decoder_losses", {"entry": "train_feedforward"}),
    "feedforward_swag": Source("seeds", "feedforward_swag", {"entry": "train_feedforward"}),
    "whack_a_mole": Source("seeds", "whack_a_mole", {"entry": "measure_units"}),
    "shortcut_dial_style": Source("shortcut_dial_style", "shortcut_dial_style"),
    "curve": Source("curve", "style_content_curve"),
}


def source_of(name: str) -> Source:
    """Return the module and the runs of the figure with this name.

    Raises:
        SettingError: The name is neither in `FIGURES` nor a module.
    """
    if (known := FIGURES.get(name)) is not None:
        return replace(known, module=f"{__name__}.{known.module}")
    if "/" in name or find_spec(name.partition(".")[0]) is None:
        rule = f"should be one of {', '.join(FIGURES)}, or a module with load, make and save"
        raise SettingError("figure", rule, repr(name), "A module of your own should lie on PYTHONPATH.")
    return Source(name, None)


def draw(
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
