"""Statistics of activations against λ of `ReLU(R(F) + λF)`: a row for each network, a line for each layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import points, tables
from analysis.drawing import captions, labels, style
from analysis.tables import CellsError, Tables

__all__ = ["load", "make", "save"]

ROW, TOP, FOOT, LABELS = 1.75, 0.22, 0.98, 0.35
"""Inches: of a network's panels, of the titles above them, of what stands below, and there of the ticks."""

ENTROPY = "normalized_entropy"
PANELS = {
    ("maximum", ""): "maximum of $F^{\\,l}$",
    (ENTROPY, "softmax"): "entropy of $F^{\\,l}$, softmax",
    (ENTROPY, "linear"): "entropy of $F^{\\,l}$, $p = |F|/\\Sigma|F|$",
}
"""By statistic and definition."""

SCALE = "network.shortcut"

MEAN = ["cell", "position", "layer", "statistic", "definition"]
"""What the images of one mean have in common."""


@dataclass(frozen=True)
class Dial:
    """What the figure is drawn from.

    Attributes:
        tables: Those behind it.
        table: One row for each network, λ, seed, layer and statistic: settings, the mean over images, how
            many there are, and the run; `row` is that of panels.
        names: Of the rows of panels.
    """

    tables: Tables
    table: pd.DataFrame
    names: dict[int, str]


def load(overrides: list[str], runs: Path, *, partial: bool) -> Dial:
    """The means over images of the experiment that these overrides name.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together, or a network has no shortcuts.
        StoreError: A run can't be read.
    """
    data = tables.load(overrides, runs, points.ACTIVATIONS, partial=partial)
    if (without := data.runs[data.runs[SCALE].isna()]["network.name"]).size:
        rule, remedy = "should have shortcuts to scale", "Leave it out of the sweep."
        raise CellsError("network", rule, ", ".join(without.unique()), remedy)
    beside = [SCALE, "weights.seed"]
    rows = tables.lines(data.runs, beside)
    names = dict(zip(rows, labels.label(data.runs, beside), strict=True))
    context = data.context(SCALE).assign(row=rows).rename_axis("cell").reset_index()
    return Dial(data, context.merge(means(points.by_image(data)), on="cell").drop(columns="cell"), names)


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean over images of each statistic of the activations, for each run by itself.

    Args:
        rows: From `analysis.points.by_image`.
    """
    shown = pd.MultiIndex.from_frame(rows[["statistic", "definition"]].fillna("")).isin(list(PANELS))
    rows = rows[shown & (rows["quantity"] == "activation")].fillna({"definition": ""})
    values = rows.groupby(MEAN, dropna=False, sort=False)["value"]
    return values.agg(value="mean", images="size").reset_index()


def make(dial: Dial) -> Figure:
    """A row of panels for each network, a line for each layer; bands from seed to seed."""
    height = TOP + ROW * len(dial.names) + FOOT
    with style.printed():
        drawn = style.figure(height=height)
        grid = drawn.subplots(len(dial.names), len(PANELS), squeeze=False, sharex=True)
        for row, (number, name) in zip(grid, dial.names.items(), strict=True):
            of_network = dial.table[dial.table["row"] == number]
            for axis, (statistic, definition) in zip(row, PANELS, strict=True):
                wanted = (of_network["statistic"] == statistic) & (of_network["definition"] == definition)
                _draw_panel(axis, of_network[wanted], statistic)
            row[0].set_ylabel(name, fontweight="bold")
        for axis, title in zip(grid[0], PANELS.values(), strict=True):
            axis.set_title(title, loc="left")
        for axis in grid[-1]:
            axis.set_xlabel("λ: 0 without shortcuts, 1 with")
        foot = (FOOT - LABELS) / height
        drawn.set_layout_engine("constrained", rect=(0, foot, 1, 1 - foot))
        _explain(drawn, dial)
        style.mark_partial(drawn, dial.tables)
    return drawn


def save(drawn: Figure, dial: Dial, folder: Path, name: str) -> list[Path]:
    """Writes the figure (PNG and PDF), and the numbers behind it (CSV).

    Args:
        drawn: From `make`.
        dial: What it was made from.
        folder: Made where it is missing.
        name: The first part of each file's name.

    Raises:
        StoreError: The files can't be written.
    """
    paths = style.save(drawn, folder / name, title=name, description=dial.tables.description)
    return [*paths, style.save_table(dial.table, folder / f"{name}.csv")]


def _draw_panel(axis: Axes, table: pd.DataFrame, statistic: str) -> None:
    layers = table.sort_values("position")["layer"].unique()
    sns.lineplot(
        table, x=SCALE, y="value", hue="layer", style="layer", hue_order=layers, style_order=layers,
        palette=sns.color_palette("crest", len(layers)), markers=True, dashes=False, markersize=4.5,
        errorbar=("pi", 100), legend="full", ax=axis,
    )  # fmt: skip
    if (legend := axis.get_legend()) is not None:
        legend.remove()
    scales = sorted(table[SCALE].unique())
    axis.set_xticks(scales, [f"{scale:g}" for scale in scales])
    axis.set(xlabel="", ylabel="")
    if statistic == "maximum":
        axis.set_yscale("log")  # only now: seaborn takes means of logarithms on a logarithmic axis
    else:
        axis.set_ylim(-0.04, 1.06)


def _explain(drawn: Figure, dial: Dial) -> None:
    """One legend for all panels, and the caption."""
    handles, names = drawn.axes[0].get_legend_handles_labels()
    caption = _caption(dial)
    above = (0.07 + 0.12 * (caption.count("\n") + 1)) / drawn.get_figheight()
    drawn.legend(
        handles, names, loc="lower center", bbox_to_anchor=(0.5, above), ncols=len(names), frameon=False
    )
    drawn.text(0.012, 0.05 / drawn.get_figheight(), caption, va="bottom", fontsize=6.5)


def _caption(dial: Dial) -> str:
    runs = dial.tables.runs
    over = f"{dial.table['images'].max()} images ({labels.sizes(runs)})"
    seeds = labels.seeds(runs)
    several = len(runs["weights.seed"].unique()) > 1
    bands = f" and {seeds}; bands: lowest to highest seed" if several else f", {seeds}"
    marks = f" {smoothings}." if (smoothings := labels.smoothings(runs)) else ""
    return captions.lines(
        f"ReLU(R(F) + λF), at each λ with the same weights. Means over {over}{bands}.{marks}",
        "Softmax entropy (the paper's) falls with scale as with peaks; the linear one does not see scale.",
    )
