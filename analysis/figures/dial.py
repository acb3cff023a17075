"""Statistics of activations against one setting, such as λ of `ReLU(R(F) + λF)`: a line for each layer.

Each network has a row; there is one row for all if the setting is the network. A setting without numbers has
its values in the order of the sweep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.api.types import is_numeric_dtype

from analysis import labels, points, tables
from analysis.drawing import lines, style
from analysis.drawing.lines import LineStyle
from analysis.drawing.style import save
from analysis.tables import CellsError, Tables

__all__ = ["load", "make", "save"]

_ROW, _WORDS = 1.8, 0.75
"""Heights in inches: a network's panels, and the words above and below all of them."""

_ENTROPY = "normalized_entropy"
_PANELS = {
    ("maximum", ""): "maximum",
    (_ENTROPY, "softmax"): "entropy, softmax",
    (_ENTROPY, "linear"): "entropy, $p = |F|/\\Sigma|F|$",
    ("max_over_rms", ""): "max / RMS",
}
"""Titles by statistic and definition."""

_AXES = {"network.shortcut": "λ, 1: with shortcuts", "weights.at": "part of the training"}
"""Axis labels of settings."""

FEW = 6
"""Largest number of values that have a tick each."""

_LETTER, _SLANT = 0.062, 55
"""Width of a letter below an axis in inches, and slant of words there in degrees."""

LAYER_MARKERS = "oXsPD"
"""Markers of layers, shallow to deep."""

MEAN = ["cell", "position", "layer", "statistic", "definition"]
"""Columns that the images of one mean have in common."""


@dataclass(frozen=True)
class Dial:
    """The data of the figure.

    Attributes:
        setting: The swept setting, such as `network.shortcut`.
        tables: The tables behind the figure.
        table: One row for each network, value of the setting, seed, layer and statistic: settings, the mean
            over images, the number of images, and the run. `row` numbers the rows of panels.
        names: Names of the rows of panels.
        words: Words for the values of a setting without numbers, in the order of the sweep; empty for
            numbers.
    """

    setting: str
    tables: Tables
    table: pd.DataFrame
    names: dict[int, str]
    words: dict[Any, str]

    @property
    def values(self) -> list[Any]:
        """The values of the setting."""
        return list(self.words) or sorted(self.table[self.setting].unique())

    @property
    def slanted(self) -> float:
        """The additional height, in inches, that words below an axis need."""
        return _LETTER * max(map(len, self.words.values()), default=0) * math.sin(math.radians(_SLANT))

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The numbers behind the figure, which are written beside it."""
        return {"": self.table}


def load(overrides: list[str], runs: Path, *, partial: bool, setting: str) -> Dial:
    """Return the means over images of the experiment that these overrides name.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together; or one lacks the setting.
        StoreError: A run can't be read.
    """
    data = tables.load_tables(overrides, runs, points.ACTIVATIONS, partial=partial)
    if (without := data.runs[data.runs[setting].isna()]["network.name"]).size:
        remedy = "Leave it out of the sweep."
        raise CellsError("network", f"should have {setting}", ", ".join(without.unique()), remedy)
    beside = [setting.removesuffix(".name"), "weights.seed"]
    rows = tables.line_numbers(data.runs, beside)
    named = labels.label(data.runs, beside) if setting != "network.name" else _others(data.runs, beside)
    names = dict(zip(rows, named, strict=True))
    context = data.context(setting).assign(row=rows).rename_axis("cell").reset_index()
    table = context.merge(mean_over_images(points.by_image(data)), on="cell").drop(columns="cell")
    return Dial(setting, data, table, names, _words(data.runs, setting))


def _others(runs: pd.DataFrame, beside: list[str]) -> pd.Series[str]:
    """Return the other swept settings in words; empty texts if there are none."""
    columns = tables.swept(runs, beside)
    return labels.settings(runs, columns) if columns else pd.Series("", index=runs.index)


def _words(runs: pd.DataFrame, setting: str) -> dict[Any, str]:
    if is_numeric_dtype(runs[setting]):
        return {}
    return dict(zip(runs[setting], labels.values(runs, setting), strict=True))


def mean_over_images(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over images of each statistic of the activations, for each run separately.

    Args:
        rows: The rows of `analysis.points.by_image`.
    """
    shown = pd.MultiIndex.from_frame(rows[["statistic", "definition"]].fillna("")).isin(list(_PANELS))
    rows = rows[shown & (rows["quantity"] == "activation")].fillna({"definition": ""})
    values = rows.groupby(MEAN, dropna=False, sort=False)["value"]
    return values.agg(value="mean", images="size").reset_index()


def make(dial: Dial) -> Figure:
    """Draw a row of panels for each network, with a line for each layer and bands over seeds."""
    height = _WORDS + _ROW * len(dial.names) + dial.slanted
    with style.figure(height, caption=_caption(dial), data=dial) as (drawn, [part]):
        grid = part.subplots(len(dial.names), len(_PANELS), squeeze=False, sharex=True)
        for row, (number, name) in zip(grid, dial.names.items(), strict=True):
            of_network = dial.table[dial.table["row"] == number]
            for axis, (statistic, definition) in zip(row, _PANELS, strict=True):
                _draw_panel(axis, of_network, dial, (statistic, definition))
            row[0].set_ylabel(name, fontweight="bold")
        for axis, title in zip(grid[0], _PANELS.values(), strict=True):
            axis.set_title(title)
        for axis in grid[-1]:
            axis.set_xlabel(_AXES.get(dial.setting, ""))
        lines.add_legend(part, grid.flat, list(dial.table.sort_values("position")["layer"].unique()))
    return drawn


def _draw_panel(axis: Axes, table: pd.DataFrame, dial: Dial, panel: tuple[str, str]) -> None:
    statistic, _ = panel
    layers = list(table.sort_values("position")["layer"].unique())
    colors = sns.color_palette("crest", len(layers)).as_hex()
    styles = {
        layer: LineStyle(color, LAYER_MARKERS[index % len(LAYER_MARKERS)])
        for index, (layer, color) in enumerate(zip(layers, colors, strict=True))
    }
    table = table.assign(label=table["layer"], x=table[dial.setting].map(dial.values.index))
    lines.draw_seeds(axis, table, panel, styles, x="x")
    _name_values(axis, dial)
    axis.set(xlabel="", ylabel="")
    if statistic == "maximum":
        axis.set_yscale("log")
    elif statistic == _ENTROPY:
        axis.set_ylim(-0.04, 1.06)


def _name_values(axis: Axes, dial: Dial) -> None:
    if dial.words:
        words: dict[str, Any] = {"rotation": _SLANT, "ha": "right", "rotation_mode": "anchor", "fontsize": 6}
        axis.set_xticks(range(len(dial.words)), list(dial.words.values()), **words)
        return
    shown = range(0, len(dial.values), 1 if len(dial.values) <= FEW else 3)
    axis.set_xticks(list(shown), [f"{dial.values[index]:g}" for index in shown], fontsize=6.5)


def _caption(dial: Dial) -> str:
    runs = dial.tables.runs
    over = f"{dial.table['images'].max()} images ({labels.sizes(runs)})"
    seeds = labels.seeds(runs)
    modes = list(runs["batchnorm"].unique())
    normalised = f" batchnorm={modes[0]}." if len(modes) == 1 and modes != ["eval"] else ""
    several = len(runs["weights.seed"].unique()) > 1
    bands = f" and {seeds}; bands: lowest to highest seed" if several else f", {seeds}"
    marks = f" {smoothings}." if (smoothings := labels.smoothing_legend(runs)) else ""
    return style.caption_lines(f"Activations of each layer. Means over {over}{bands}.{normalised}{marks}")
