"""The figures: one module each, with three functions (load, make, save)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from swag_repro.errors import SettingError
from swag_repro.program import OWN_MODULES, did_you_mean


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


def _figures(module: str, *names: str, **settings: Any) -> dict[str, FigureSource]:
    """Return figures that one module draws of the experiments of their own names."""
    return {name: FigureSource(module, name, settings) for name in names}


FIGURES = {
    **_figures("grid", "fig1", "fig2", "fig2_pretrained", "fig2_trained", "fig6", "fig7", "headline"),
    **_figures("grid", "reconstruction", "texture", "demystifying_fig3"),
    **_figures("fig3", "fig3", "fig3_pretrained", "fig3_batchnorm", "fig3_trained"),
    **_figures("matrix", "demystifying_fig1", columns="objective.layers"),
    **_figures("matrix", "taps", columns="objective.taps"),
    **_figures("matrix", "demystifying_fig2", columns="objective.style_weight"),
    **_figures("matrix", "demystifying_fig4", columns="objective.style.weights"),
    **_figures("mechanism", "mechanism", "mechanism_small", "mechanism_style", "mechanism_pretrained"),
    **_figures("mechanism", "mechanism_trained", "mechanism_zoo", "chain_style", "zoo_style"),
    "mechanism_pretrained_pictures": FigureSource("grid", "mechanism_pretrained"),
    "mechanism_pictures": FigureSource("grid", "mechanism_style"),
    "mechanism_trained_pictures": FigureSource("grid", "mechanism_trained"),
    "chain_pictures": FigureSource("grid", "chain_style"),
    "zoo_pictures": FigureSource("matrix", "zoo_style", {"columns": "arm.label"}),
    **_figures("dial", "shortcut_dial", setting="network.shortcut"),
    **_figures("dial", "training_dynamics", setting="weights.at"),
    **_figures("dial", "chain", setting="network.name"),
    **_figures("dial", "initialisations", setting="weights.init"),
    **_figures("shortcut_dial_style", "shortcut_dial_style"),
    **_figures("zoo", "zoo"),
    **_figures("dial", "parts", setting="network.name"),
    "curve": FigureSource("curve", "style_content_curve"),
    **_figures("one_pass", "adain_gatys"),
    **_figures("seeds", "family", entry="train_classifier"),
    **_figures("seeds", "whack_a_mole", entry="measure_units"),
    **_figures("seeds", "in_bn", entry="train_feedforward", split="crop.look"),
    **_figures("seeds", "decoders", "decoder_weights", "decoder_layers", entry="train_feedforward"),
    **_figures("seeds", "decoder_losses", "feedforward_swag", entry="train_feedforward"),
}


def source_of(name: str) -> FigureSource:
    """Return the module and the runs of the figure with this name.

    Raises:
        SettingError: The name is neither in `FIGURES` nor a module.
    """
    if (known := FIGURES.get(name)) is not None:
        return replace(known, module=f"{__name__}.{known.module}")
    if "/" in name or find_spec(name.partition(".")[0]) is None:
        near, others = did_you_mean(name, FIGURES, ""), "or a module with load, make and save"
        rule = f"should be a figure, {others}" if near else f"should be one of {', '.join(FIGURES)}, {others}"
        raise SettingError("figure", rule, repr(name), near or OWN_MODULES)
    return FigureSource(name, None)


def draw_figure(
    name: str, overrides: Sequence[str], runs: Path, out: Path, *, partial: bool = False, **options: Any
) -> list[Path]:
    """Draw one figure, and return the files that were written.

    Args:
        name: One of `FIGURES`, or a user's own module with the three functions.
        overrides: Hydra overrides, as given to the experiment; or a handle of its sweep.
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
    if lacking := [verb for verb in ("load", "make", "save") if not hasattr(module, verb)]:
        rule = "should be a module with load, make and save"
        raise SettingError("figure", rule, f"{name} without {', '.join(lacking)}", "Define them in it.")
    from experiments.sweeps.sweep import is_handle  # here: completion needs the figures' names only

    named = source.experiment is None or any(map(is_handle, overrides))
    chosen = [] if named else [f"experiment={source.experiment}"]
    data = module.load([*chosen, *overrides], runs, partial=partial, **source.settings)
    paths: list[Path] = module.save(module.make(data, **options), data, out / name, name)
    return paths
