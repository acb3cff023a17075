"""Statistics of activations against λ of `ReLU(R(F) + λF)`: a row for each network, a line for each layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import points
from analysis.drawing import captions, style
from analysis.tables.cells import CellsError, answered, compose_cells, computing, unique
from analysis.tables.collect import read_records

__all__ = ["load", "make", "save"]

ROW, TOP, FOOT = 1.75, 0.22, 0.98
"""Inches: of a network's panels, of the titles above them, and of what stands below."""

ENTROPY = "normalized_entropy"
PANELS = {
    ("maximum", ""): "maximum of $F^{\\,l}$",
    (ENTROPY, "softmax"): "entropy of $F^{\\,l}$, softmax",
    (ENTROPY, "linear"): "entropy of $F^{\\,l}$, $p = |F|/\\Sigma|F|$",
}
"""By statistic and definition."""

BY_SEED = [
    "name", "network", "shortcut", "weights", "smoothing", "seed", "position", "layer", "statistic",
    "definition", "run_id", "commit",
]  # fmt: skip
"""What the images of one mean have in common."""


@dataclass(frozen=True)
class Dial:
    """What the figure is drawn from.

    Attributes:
        table: One row for each network, λ, seed, layer and statistic: the mean over images, how many there
            are, and the run; `name` is that of a row of panels.
        size: Of the images, in words.
        marks: The mark of each smoothing; that of `none` is empty.
        missing: How many cells are missing.
        cells: How many there should be.
    """

    table: pd.DataFrame
    size: str
    marks: dict[str, str]
    missing: int
    cells: int


def load(overrides: list[str], runs: Path, *, partial: bool) -> Dial:
    """The means over images of the experiment that these overrides name.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together; or a network has no shortcuts.
        StoreError: A run can't be read.
    """
    cells, command = compose_cells(overrides), computing(overrides, runs)
    answer = answered(cells, read_records(runs)[0], command, partial=partial)
    found = unique(answer)
    rows, marks = points.labelled(found)
    if rows["shortcut"].isna().any():
        without = ", ".join(rows.loc[rows["shortcut"].isna(), "network"].unique())
        raise CellsError("network", "should have shortcuts to scale", without, "Leave it out of the sweep.")
    images = found[0][0].config["images"]
    size = captions.SIZES[images["resize"]].format(images["size"])
    return Dial(by_seed(rows), size, marks, len(answer.missing), answer.cells)


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean over images of each statistic of the activations, for each seed by itself.

    Args:
        rows: From `analysis.points.labelled`.
    """
    shown = pd.MultiIndex.from_frame(rows[["statistic", "definition"]].fillna("")).isin(list(PANELS))
    rows = rows[shown & (rows["quantity"] == "activation")].fillna({"definition": ""})
    means = rows.groupby(BY_SEED, dropna=False, sort=False)["value"]
    return means.agg(value="mean", images="size").reset_index()


def make(dial: Dial) -> Figure:
    """A row of panels for each network, a line for each layer; bands from seed to seed."""
    names = list(dial.table["name"].unique())
    height = TOP + ROW * len(names) + FOOT
    with style.printed():
        drawn = style.figure(height=height)
        grid = drawn.subplots(len(names), len(PANELS), squeeze=False, sharex=True)
        for row, name in zip(grid, names, strict=True):
            of_network = dial.table[dial.table["name"] == name]
            for axis, (statistic, definition) in zip(row, PANELS, strict=True):
                wanted = (of_network["statistic"] == statistic) & (of_network["definition"] == definition)
                _draw_panel(axis, of_network[wanted], statistic)
            row[0].set_ylabel(name, fontweight="bold")
        for axis, title in zip(grid[0], PANELS.values(), strict=True):
            axis.set_title(title, loc="left")
        for axis in grid[-1]:
            axis.set_xlabel("λ: 0 without shortcuts, 1 with")
        drawn.subplots_adjust(
            left=0.085, right=0.985, top=1 - TOP / height, bottom=FOOT / height, hspace=0.12, wspace=0.22
        )
        _explain(drawn, dial)
        style.mark_partial(drawn, missing=dial.missing, cells=dial.cells)
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
    commits = ", ".join(sorted(dial.table["commit"].unique()))
    description = f"{dial.table['run_id'].nunique()} runs; commit {commits}"
    paths = style.save(drawn, folder / name, title=name, description=description)
    return [*paths, style.save_table(dial.table, folder / f"{name}.csv")]


def _draw_panel(axis: Axes, table: pd.DataFrame, statistic: str) -> None:
    layers = table.sort_values("position")["layer"].unique()
    sns.lineplot(
        table, x="shortcut", y="value", hue="layer", style="layer", hue_order=layers, style_order=layers,
        palette=sns.color_palette("crest", len(layers)), markers=True, dashes=False, markersize=4.5,
        errorbar=("pi", 100), legend="full", ax=axis,
    )  # fmt: skip
    if (legend := axis.get_legend()) is not None:
        legend.remove()
    scales = sorted(table["shortcut"].unique())
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
    seeds = dial.table["seed"].nunique()
    over = f"{dial.table['images'].max()} images ({dial.size})"
    bands = f" and {seeds} seeds; bands: lowest to highest seed" if seeds > 1 else ", one seed"
    marks = "".join(f" {mark} {told}." for told, mark in dial.marks.items() if mark)
    return captions.lines(
        f"ReLU(R(F) + λF), at each λ with the same weights. Means over {over}{bands}.{marks}",
        "Softmax entropy (the paper's) falls with scale as with peaks; the linear one does not see scale.",
    )
