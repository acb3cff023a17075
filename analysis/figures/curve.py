"""Style against content over a sweep of the style weight: whole curves compare, single points do not.

One row of panels for each held-out network that measured, so that all lines of a panel share their unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from analysis import stylizations, tables
from analysis.drawing import captions, style
from analysis.stylizations import Stylizations
from analysis.tables import CellsError
from analysis.tables.runs import smoothings

__all__ = ["load", "make", "save"]

PANEL = 2.7
"""Inches of a row of panels."""

ALARM = "#D00000"

WEIGHT = "objective.style_weight"

CONTENT = {"cfsd": "content: CFSD", "ssim": "content: SSIM (axis reversed)"}


@dataclass(frozen=True)
class Curves:
    """What the figure is drawn from.

    Attributes:
        data: The stylisations behind it.
        table: One row a point, along each line by its weight; see `analysis.stylizations.means`.
    """

    data: Stylizations
    table: pd.DataFrame


def load(overrides: list[str], runs: Path, *, partial: bool) -> Curves:
    """The points of an experiment that sweeps the style weight; see `analysis.stylizations.load`."""
    data = stylizations.load(overrides, runs, partial=partial, shown=[WEIGHT])
    if not data.judges:
        rule = "should have measures: they are its axes"
        raise CellsError("runs of this figure", rule, "none", f"This measures them: {data.tables.judging}")
    return Curves(data, stylizations.means(data.table, along=WEIGHT))


def make(curves: Curves) -> Figure:
    """One row of panels for each held-out network: against CFSD, and against SSIM."""
    caption = _caption(curves)
    judges, names = (list(curves.table[column].dropna().unique()) for column in ("judge", "label"))
    rows_of_names = math.ceil(len(names) / style.legend_columns(names))
    foot = 0.41 + 0.14 * rows_of_names + 0.12 * (caption.count("\n") + 1)  # inches
    height = PANEL * len(judges) + foot
    with style.printed():
        drawn = style.figure(height=height)
        rows = drawn.subplots(len(judges), 2, squeeze=False, sharey="row")
        for row, judge in zip(rows, judges, strict=True):
            for axis, measure in zip(row, CONTENT, strict=True):
                _draw_panel(axis, curves, judge, measure)
        drawn.subplots_adjust(
            left=0.08, right=0.985, top=1 - 0.23 / height, bottom=(foot + 0.32) / height,
            hspace=0.42, wspace=0.1,
        )  # fmt: skip
        _explain(drawn, caption)
        style.mark_partial(drawn, curves.data.tables)
    return drawn


def save(drawn: Figure, curves: Curves, folder: Path, name: str) -> list[Path]:
    """Writes the figure (PNG and PDF), its points, and the pictures behind them (CSV).

    Args:
        drawn: From `make`.
        curves: What it was made from.
        folder: Made where it is missing.
        name: The first part of each file's name.

    Raises:
        StoreError: The files can't be written.
    """
    paths = style.save(drawn, folder / name, title=name, description=curves.data.tables.description)
    tables = {"": curves.table, "_pairs": curves.data.table}
    return [*paths, *(style.save_table(table, folder / f"{name}{end}.csv") for end, table in tables.items())]


def _draw_panel(axis: Axes, curves: Curves, judge: str, content: str) -> None:
    runs = curves.data.tables.runs
    dashes, kinds = smoothings(runs), tables.lines(runs, [WEIGHT, "smoothing"])
    looks = style.looks(list(runs["network.name"].groupby(kinds).first()))
    table = curves.table
    shown = table[table["judge"] == judge].dropna(subset=[content, "style_distance"])
    for _, line in shown.groupby("line", sort=False):
        cell = line["cell"].iloc[0]
        _draw_line(axis, line, content, looks[kinds[cell]], dashes[cell])
    _scale(axis, shown, content)
    axis.set_xlabel(CONTENT[content])
    if content == "cfsd":
        axis.set_ylabel("style distance")
        axis.set_title(f"held-out network: {judge}", loc="left")


def _draw_line(axis: Axes, line: pd.DataFrame, content: str, look: style.Look, smoothing: int) -> None:
    x, y = line[content], line["style_distance"]
    axis.errorbar(
        x,
        y,
        xerr=line[f"{content}_error"].fillna(0),
        yerr=line["style_distance_error"].fillna(0),
        label=line["label"].iloc[0],
        color=look.color,
        linestyle=style.DASHES[smoothing % len(style.DASHES)],
        linewidth=1.2,
        elinewidth=0.6,
        marker=look.marker,
        markersize=4.5,
        markerfacecolor=look.color if smoothing == 0 else "white",
        markeredgewidth=0.9,
    )
    _name_ends(axis, line, content, look.color, 1 if smoothing % 2 == 0 else -1)
    marked = line["not_finished"] > 0
    axis.scatter(x[marked], y[marked], s=70, facecolors="none", edgecolors=ALARM, linewidths=1, zorder=5)


def _name_ends(axis: Axes, line: pd.DataFrame, content: str, color: str, side: int) -> None:
    """The style weight at both ends of a line; above it, or below where `side` is -1."""
    for end in (line.iloc[0], line.iloc[-1])[: len(line)]:
        axis.annotate(
            f"{end[WEIGHT]:g}", (end[content], end["style_distance"]), xytext=(side * 4, side * 4),
            textcoords="offset points", fontsize=5.5, color=color, ha="left" if side > 0 else "right",
            va="bottom" if side > 0 else "top", zorder=6,
            path_effects=[withStroke(linewidth=1.8, foreground="white")],
        )  # fmt: skip


def _scale(axis: Axes, shown: pd.DataFrame, content: str) -> None:
    """Logarithmic axes where values are positive and span much; content kept stands at the left."""
    axis.margins(x=0.13, y=0.09)
    style.scale(axis, "y", shown["style_distance"])
    if content == "ssim":
        axis.invert_xaxis()
    else:
        style.scale(axis, "x", shown[content])


def _explain(drawn: Figure, caption: str) -> None:
    handles = {}
    for axis in drawn.axes:
        handles.update({told: handle for handle, told in zip(*axis.get_legend_handles_labels(), strict=True)})
    above = (0.1 + 0.12 * (caption.count("\n") + 1)) / drawn.get_figheight()
    drawn.legend(
        list(handles.values()),
        list(handles),
        loc="lower center",
        bbox_to_anchor=(0.5, above),
        ncols=style.legend_columns(list(handles)),
        frameon=False,
        handlelength=3.2,
    )
    drawn.text(0.012, 0.05 / drawn.get_figheight(), caption, va="bottom", fontsize=6.5)


def _caption(curves: Curves) -> str:
    data = curves.data
    swept = [f"{weight:g}" for weight in sorted(curves.table[WEIGHT].unique())]
    said = [
        f"Means over {curves.table['pairs'].max()} pairs of images, and their standard errors, along style "
        f"weights {', '.join(swept)}; nearer to the lower left corner is better. "
        + captions.arms(data, varied=[WEIGHT]),
        *captions.warnings(data),
    ]
    if others := curves.table["not_finished"].sum():
        said.append(
            f"Red rings: some pairs of that point did not finish ({others} in all points, counted in)."
        )
    return captions.lines(*said)
