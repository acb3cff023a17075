"""Networks ranked by how much their maxima grow at initialisation, coloured by what they are made of.

`zoo.csv`, beside this module, says what each network is made of: a declared table, from torchvision's code.
Panels show the growth of the maximum from the first layer that is read to the last, and three measures of
the last. Tables beside the figure compare families (`contrasts`), and ask how much of the growth is that of
all values (`explained`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from statsmodels.stats.weightstats import CompareMeans

from analysis import labels, points, tables
from analysis.drawing import style
from analysis.drawing.style import save
from analysis.effects import CONFIDENCE
from analysis.tables import Tables

__all__ = ["load", "make", "save"]

_ROW, _WORDS = 0.15, 1.0
"""Heights in inches: a network, and the words above and below all of them."""

GROWTH = "growth"
PANELS = {
    GROWTH: "log₂ of the last layer's\nmaximum over the first's",
    "normalized_entropy": "last layer:\nsoftmax entropy",
    "max_over_rms": "last layer:\nmax / RMS",
    "kurtosis": "last layer:\nkurtosis",
}
"""Titles by measure."""

SCALE, PEAKS = "rms_growth", "peak_growth"
"""The two parts of the growth: that of the RMS, and that of maximum over RMS; all as log₂."""

UNKNOWN = "unknown"
COLORS = {
    "none": "#0072B2",
    "concatenation": "#009E73",
    "sum": "#E69F00",
    "sum, then ReLU": "#D55E00",
    UNKNOWN: "#7F7F7F",
}
"""Colours by shortcuts."""

SUMS, OTHERS = ("sum", "sum, then ReLU"), ("none", "concatenation")
CONTRASTS = [(SUMS, OTHERS), (SUMS[1:], OTHERS), (SUMS[:1], OTHERS), (SUMS[1:], SUMS[:1])]
"""Kinds of shortcuts that are compared; the first are the primary ones."""

MARKERS = {"none": "o", "batch": "s", "layer": "D", UNKNOWN: "x"}
"""Markers by normalisation."""

FACTORS = [
    *("family", "shortcut", "after_sum", "normalisation", "normalised"),
    *("activation", "branch_scale", "initial_weights"),
]
"""The columns of `zoo.csv` that describe a network."""


@dataclass(frozen=True)
class Zoo:
    """The data of the figure.

    Attributes:
        tables: The tables behind the figure.
        table: One row for each network, batch-norm mode, seed and measure: its value over images, the number
            of images, and the run.
        factors: What each network is made of, by its name; `made_of` is its kind of shortcuts.
    """

    tables: Tables
    table: pd.DataFrame
    factors: pd.DataFrame

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The numbers behind the figure, which are written beside it."""
        known = self.known
        return {
            "": known.drop(columns="made_of"),
            "_means": means(known),
            "_contrasts": contrasts(known),
            "_explained": explained(known),
        }

    @property
    def known(self) -> pd.DataFrame:
        """The rows of the table with the factors of their networks."""
        return self.table.merge(self.factors, left_on="network.name", right_index=True, how="left")


def load(overrides: list[str], runs: Path, *, partial: bool) -> Zoo:
    """Return the measures of the experiment that these overrides name.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read.
    """
    data = tables.load_tables(overrides, runs, points.ACTIVATIONS, partial=partial)
    context = data.context("network.name", "batchnorm").rename_axis("cell").reset_index()
    measured = measures(points.by_image(data))
    return Zoo(data, context.merge(measured, on="cell").drop(columns="cell"), read_factors(data.runs))


def read_factors(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what the networks of these runs are made of, by their names; unknown ones say so."""
    with files(__package__).joinpath("zoo.csv").open(encoding="utf-8") as file:
        known = pd.read_csv(file, index_col="network", keep_default_na=False)
    found = known.reindex(runs["network.name"].unique(), fill_value=UNKNOWN)
    return found.assign(made_of=found["shortcut"].where(found["after_sum"] != "ReLU", "sum, then ReLU"))


def measures(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the measures of each cell, as columns `measure`, `value` and `images`.

    A maximum that is not positive has no growth.

    Args:
        rows: The rows of `analysis.points.by_image`.
    """
    rows = rows[(rows["quantity"] == "activation") & (rows["definition"].fillna("softmax") == "softmax")]
    layers = rows.groupby(["cell", "statistic", "position"])["value"].agg(["mean", "size"]).reset_index()
    ends = layers.groupby(["cell", "statistic"]).agg(
        first=("mean", "first"), value=("mean", "last"), images=("size", "last")
    )
    ends = ends.reset_index().rename(columns={"statistic": "measure"})
    ratio = (ends["value"] / ends["first"]).where((ends["value"] > 0) & (ends["first"] > 0))
    grown = ends.assign(value=np.log2(ratio)).set_index("cell")
    growth, peaks = (grown[grown["measure"] == name] for name in ("maximum", "max_over_rms"))
    scale = growth.assign(measure=SCALE, value=growth["value"] - peaks["value"])
    growths = [growth.assign(measure=GROWTH), scale, peaks.assign(measure=PEAKS)]
    shown = ends[ends["measure"].isin(list(PANELS))]
    return pd.concat([*(part.reset_index() for part in growths), shown]).drop(columns="first")


def means(known: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of each network and measure over seeds, and the lowest and the highest seed.

    Args:
        known: The rows of `Zoo.table`, with the factors.
    """
    by = ["batchnorm", "network.name", *FACTORS, "measure"]
    return known.groupby(by, dropna=False)["value"].agg(["mean", "min", "max"]).reset_index()


def contrasts(known: pd.DataFrame) -> pd.DataFrame:
    """Return the differences between families of networks, with Welch's 95 % intervals.

    Families are the units: a value is the mean over the networks of a family that have the same kind of
    shortcuts, and over seeds. What has fewer than two families on a side, or no variance, is left out.

    Args:
        known: The rows of `Zoo.table`, with the factors.

    Returns:
        `batchnorm`, `measure`, `these` and `against` (kinds of shortcuts), `mean` (of the difference), `low`,
        `high`, `p`, `families` and `families_against`.
    """
    of_network = known[known["made_of"] != UNKNOWN].groupby(
        ["batchnorm", "measure", "family", "made_of", "network.name"]
    )
    of_family = of_network["value"].mean().groupby(["batchnorm", "measure", "family", "made_of"]).mean()
    found = []
    for (mode, measure), values in of_family.dropna().groupby(["batchnorm", "measure"]):
        kinds = values.index.get_level_values("made_of")
        for these, against in CONTRASTS:
            one, other = values[kinds.isin(these)], values[kinds.isin(against)]
            if min(len(one), len(other)) > 1 and one.var() + other.var() > 0:
                row = {"batchnorm": mode, "measure": measure, **_welch(one, other)}
                found.append({**row, "these": "; ".join(these), "against": "; ".join(against)})
    return pd.DataFrame(found)


def _welch(one: pd.Series[float], other: pd.Series[float]) -> dict[str, float]:
    both = CompareMeans.from_data(one, other)
    low, high = both.tconfint_diff(1 - CONFIDENCE, usevar="unequal")
    p = both.ttest_ind(usevar="unequal")[1]
    ends = {"mean": one.mean() - other.mean(), "low": low, "high": high, "p": p}
    return {**ends, "families": len(one), "families_against": len(other)}


def explained(known: pd.DataFrame) -> pd.DataFrame:
    """Return how much of the growth of maxima is that of all values: correlations over networks.

    Args:
        known: The rows of `Zoo.table`.

    Returns:
        `batchnorm`, `part` (`rms_growth` or `peak_growth`), `correlation` (Pearson's, with the growth of the
        maximum), `networks`.
    """
    values = known.groupby(["batchnorm", "measure", "network.name"])["value"].mean().unstack("measure")
    found = []
    for mode, of_mode in values.dropna(subset=[GROWTH]).groupby("batchnorm"):
        for part in (SCALE, PEAKS):
            row = {"batchnorm": mode, "part": part, "correlation": of_mode[GROWTH].corr(of_mode[part])}
            found.append({**row, "networks": len(of_mode)})
    return pd.DataFrame(found)


def make(zoo: Zoo) -> dict[str, Figure]:
    """Draw a page for each mode of batch norm (key: an empty string for the first, else `_` and its name)."""
    modes = list(zoo.table["batchnorm"].unique())
    return {f"_{mode}" if mode != modes[0] else "": _page(zoo, mode) for mode in modes}


def _page(zoo: Zoo, mode: str) -> Figure:
    of_mode = zoo.table[zoo.table["batchnorm"] == mode]
    by_growth = of_mode[of_mode["measure"] == GROWTH].groupby("network.name")["value"].mean()
    names = by_growth.sort_values(na_position="first").index
    height = _WORDS + _ROW * len(names)
    with style.figure(height, caption=_caption(zoo, mode), data=zoo) as (drawn, [part]):
        axes = part.subplots(1, len(PANELS), sharey=True)
        for axis, (measure, title) in zip(axes, PANELS.items(), strict=True):
            _draw(axis, of_mode[of_mode["measure"] == measure], zoo.factors, list(names))
            axis.set_title(title, fontsize=7.5)
        axes[1].set_xlim(-0.04, 1.06)
        for axis, measure in zip(axes[2:], list(PANELS)[2:], strict=True):
            style.set_scale(axis, "x", of_mode[of_mode["measure"] == measure]["value"])
        axes[0].axvline(0, color="0.5", linewidth=0.7, zorder=0)
        known = dict(zip(zoo.tables.runs["network.name"], zoo.tables.runs["network.label"], strict=True))
        axes[0].set_yticks(range(len(names)), [known[name] for name in names], fontsize=6)
        axes[0].set_ylim(-0.7, len(names) - 0.3)
        part.legend(handles=_legend(zoo.factors), loc="outside lower center", ncols=3)
    return drawn


def _draw(axis: Axes, table: pd.DataFrame, factors: pd.DataFrame, names: list[str]) -> None:
    """Draw each network's mean over seeds, and a line from its lowest to its highest seed."""
    seeds = table.groupby("network.name")["value"].agg(["mean", "min", "max"]).reindex(names)
    kinds = factors.loc[names, ["made_of", "normalisation"]].to_numpy()
    for row, ((mean, low, high), (made_of, normalisation)) in enumerate(
        zip(seeds.to_numpy(), kinds, strict=True)
    ):
        color = COLORS[made_of]
        axis.plot([low, high], [row, row], color=color, linewidth=1.2)
        axis.plot(mean, row, MARKERS[normalisation], color=color, markersize=3.5)
    sns.despine(ax=axis)


def _legend(factors: pd.DataFrame) -> list[Line2D]:
    """Return marks of the kinds of shortcuts and of normalisation that occur."""

    def mark(color: str, marker: str, label: str) -> Line2D:
        return Line2D([], [], color=color, marker=marker, linestyle="", markersize=4, label=label)

    colors = [(color, kind) for kind, color in COLORS.items() if kind in set(factors["made_of"])]
    markers = [(marker, kind) for kind, marker in MARKERS.items() if kind in set(factors["normalisation"])]
    return [
        *(mark(color, "o", f"shortcuts: {kind}") for color, kind in colors),
        *(mark("black", marker, f"normalisation: {kind}") for marker, kind in markers),
    ]


def _caption(zoo: Zoo, mode: str) -> str:
    runs = zoo.tables.runs
    over = f"{zoo.table['images'].max()} images ({labels.sizes(runs)})"
    seeds = labels.seeds(runs)
    several = len(runs["weights.seed"].unique()) > 1
    bands = f" and {seeds}; lines: lowest to highest seed" if several else f", {seeds}"
    own = set(runs["weights.name"]) == {"random"} and set(runs["weights.init"]) == {"torchvision"}
    weights = " Random weights, as the constructor of each network's library draws them." if own else ""
    said = f"Activations, batchnorm={mode}. Means over {over}{bands}.{weights}{_answers(zoo.known, mode)}"
    return style.caption_lines(said)


def _answers(known: pd.DataFrame, mode: str) -> str:
    """Return what the first panel says of shortcuts and of scale, in words."""
    of_mode = known[known["batchnorm"] == mode]
    said, differences = "", contrasts(of_mode[of_mode["measure"] == GROWTH])
    if len(differences):
        mean, low, high = differences[["mean", "low", "high"]].iloc[0]
        said = f" First panel, families with sums less the others: {mean:.2f} [{low:.2f}, {high:.2f}]."
    of_scale = explained(of_mode)["correlation"].iloc[0]
    return (
        said if np.isnan(of_scale) else f"{said} Its correlation with the growth of the RMS: {of_scale:.3f}."
    )
