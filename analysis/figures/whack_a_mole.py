"""SWAG's Figure 4: the effect of residual units on the peaks that their shortcuts bring, unit by unit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import labels, tables
from analysis.drawing import captions, lines, style
from analysis.drawing.style import save
from analysis.tables import Tables

__all__ = ["load", "make", "save"]

_ENTRY = "measure_units"

_ROW, _WORDS = 2.0, 0.5
"""Heights in inches: a row of panels, and the words above and below them."""

_PANELS = {
    ("peaks_shrunk", "branch"): "(a) peaks lower in the branch",
    ("peaks_shrunk", "there"): "(b) lower at their place",
    ("peaks_shrunk", "sum"): "(c) channels lower after",
    ("log2_peak", "branch"): "(d) branch against peak",
    ("log2_peak", "sum"): "(e) channel, after the sum",
    ("log2_highest", "sum"): "(f) highest of the layer",
}
"""Titles by statistic and definition."""

WORDS_OF_PANELS = (
    "(a) The residual branch's largest value is below the shortcut's, its peak; (b) the sum is, where that "
    "peak stood; (c) the sum's largest value is. (d) Branch by shortcut, largest values; (e) sum by "
    "shortcut; (f) of all channels."
)

_AXES = {
    "peaks_shrunk": "share of channels",
    "log2_peak": "log₂ of after / before",
    "log2_highest": "log₂ of after / before",
}


@dataclass(frozen=True)
class Units:
    """The data of the figure.

    Attributes:
        tables: The tables behind the figure.
        table: One row for each line, seed, unit, statistic and definition: settings, the mean over images,
            the number of images, and the run.
    """

    tables: Tables
    table: pd.DataFrame

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The numbers behind the figure, which are written beside it."""
        return {"": self.table}


def load(overrides: list[str], runs: Path, *, partial: bool) -> Units:
    """Return the means over images of the experiment that these overrides name.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read.
    """
    data = tables.load_tables(overrides, runs, _ENTRY, partial=partial)
    context = data.context().assign(label=labels.label(data.runs, ["weights.seed"]))
    point = ["run_id", "position", "layer", "statistic", "definition"]
    means = data.numbers.groupby(point, sort=False)["value"].agg(value="mean", images="size").reset_index()
    return Units(data, context.merge(means, on="run_id"))


def make(units: Units) -> Figure:
    """Draw a panel for each quantity, with a line for each network and its weights, and bands over seeds."""
    styles = lines.styles_of(units.table)
    rows = len(_PANELS) // 3
    height = _ROW * rows + _WORDS + lines.legend_height(list(styles))
    with style.figure(height, caption=_caption(units), data=units) as (drawn, [part]):
        axes = part.subplots(rows, 3, sharex=True)
        for axis, (panel, title) in zip(axes.flat, _PANELS.items(), strict=True):
            lines.draw_seeds(axis, units.table, panel, styles, x="position")
            axis.set(title=title, xlabel="", ylabel=_AXES[panel[0]])
            _finish_panel(axis, panel[0])
        for axis in axes[-1]:
            axis.set_xlabel("residual unit")
        lines.add_legend(part, axes.flat, list(styles))
    return drawn


def _finish_panel(axis: Axes, statistic: str) -> None:
    if statistic == "peaks_shrunk":
        axis.set_ylim(-0.04, 1.04)
    else:
        axis.axhline(0, color="0.6", linewidth=0.7, zorder=0)


def _caption(units: Units) -> str:
    runs = units.tables.runs
    several = len(units.table["weights.seed"].unique()) > 1
    over = f"{units.table['images'].max()} images ({labels.sizes(runs)}), {labels.seeds(runs)}"
    bands = "; bands: lowest to highest seed" if several else ""
    return captions.caption_lines(f"{WORDS_OF_PANELS} Means over {over}{bands}.")
