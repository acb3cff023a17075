"""Style against content over a sweep of the style weight: compare whole curves, not single points.

Each held-out network that measured has a row of panels, so all lines of a panel share their unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from analysis import stylizations, tables
from analysis.drawing import captions, lines, style
from analysis.drawing.lines import LineStyle
from analysis.drawing.style import save
from analysis.stylizations import Stylizations
from analysis.tables import CellsError, Tables
from analysis.tables.runs import smoothing_numbers

__all__ = ["load", "make", "save"]

_PANEL = 2.6
"""Inches of a row of panels."""

WEIGHT = "objective.style_weight"

CONTENT_MEASURE = {"cfsd": "content: CFSD", "ssim": "content: SSIM (axis reversed)"}


@dataclass(frozen=True)
class Curves:
    """The data of the figure.

    Attributes:
        data: The stylisations.
        table: One row for each point; each line is sorted by its weight. See `mean_over_pairs`.
    """

    data: Stylizations
    table: pd.DataFrame

    @property
    def tables(self) -> Tables:
        """The tables behind the figure."""
        return self.data.tables

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The points and the pictures behind them, which are written beside the figure."""
        return {"": self.table, "_pairs": self.data.table}


def load(overrides: list[str], runs: Path, *, partial: bool) -> Curves:
    """Return the points of an experiment that sweeps the style weight; see `load_stylizations`."""
    data = stylizations.load_stylizations(overrides, runs, partial=partial, shown=[WEIGHT])
    if not data.judges:
        rule = "should have measures: they are its axes"
        raise CellsError("runs of this figure", rule, "none", f"This measures them: {data.tables.judging}")
    return Curves(data, stylizations.mean_over_pairs(data.table, along=WEIGHT))


def make(curves: Curves) -> Figure:
    """Draw a row of panels for each held-out network: style against CFSD, and against SSIM."""
    judges, styles = list(curves.table["judge"].dropna().unique()), _styles(curves)
    height = _PANEL * len(judges) + lines.legend_height(list(styles))
    with style.figure(height, caption=_caption(curves), data=curves) as (drawn, [part]):
        rows = part.subplots(len(judges), 2, squeeze=False, sharey="row")
        for row, judge in zip(rows, judges, strict=True):
            row[0].set(title=f"held-out network: {judge}", ylabel="style distance")
            for axis, measure in zip(row, CONTENT_MEASURE, strict=True):
                _draw_panel(axis, curves.table[curves.table["judge"] == judge], styles, measure)
        lines.add_legend(part, rows.flat, list(styles))
    return drawn


def _styles(curves: Curves) -> dict[str, LineStyle]:
    """Return line styles by label: colours for networks and losses, dashes for smoothings."""
    runs = curves.tables.runs
    dashes, kinds = smoothing_numbers(runs), tables.line_numbers(runs, [WEIGHT, "smoothing"])
    styles = lines.line_styles(list(runs["network.name"].groupby(kinds).first()))
    cells = curves.table.groupby("label", sort=False)["cell"].first()
    return {
        str(label): lines.smoothed_style(styles[kinds[cell]], dashes[cell]) for label, cell in cells.items()
    }


def _draw_panel(axis: Axes, table: pd.DataFrame, styles: dict[str, LineStyle], content: str) -> None:
    shown = table.dropna(subset=[content, "style_distance"])
    for number, (label, line) in enumerate(shown.groupby("label", sort=False)):
        lines.intervals(
            axis, line[content], line["style_distance"], styles[str(label)], label=label,
            xerr=line[f"{content}_error"].fillna(0), yerr=line["style_distance_error"].fillna(0),
        )  # fmt: skip
        _name_ends(axis, line, content, styles[str(label)].color, -1 if number % 2 else 1)
        marked = line[line["not_finished"] > 0]
        axis.scatter(
            marked[content], marked["style_distance"], s=70, facecolors="none", edgecolors=style.ALARM,
            linewidths=1, zorder=5,
        )  # fmt: skip
    _scale(axis, shown, content)
    axis.set_xlabel(CONTENT_MEASURE[content])


def _name_ends(axis: Axes, line: pd.DataFrame, content: str, color: str, side: int) -> None:
    """Write the style weight at both ends of a line: above it, or below if `side` is -1."""
    for end in (line.iloc[0], line.iloc[-1])[: len(line)]:
        axis.annotate(
            f"{end[WEIGHT]:g}", (end[content], end["style_distance"]), xytext=(side * 4, side * 4),
            textcoords="offset points", fontsize=5.5, color=color, ha="left" if side > 0 else "right",
            va="bottom" if side > 0 else "top", zorder=6,
            path_effects=[withStroke(linewidth=1.8, foreground="white")],
        )  # fmt: skip


def _scale(axis: Axes, shown: pd.DataFrame, content: str) -> None:
    """Make axes logarithmic if values are positive and span much; kept content is at the left."""
    axis.margins(x=0.13, y=0.09)
    style.set_scale(axis, "y", shown["style_distance"])
    if content == "ssim":
        axis.invert_xaxis()
    else:
        style.set_scale(axis, "x", shown[content])


def _caption(curves: Curves) -> str:
    data = curves.data
    said = [f"{captions.arms(data, varied=[WEIGHT])} Means over pairs and their standard errors."]
    said += captions.warnings(data)
    if others := curves.table["not_finished"].sum():
        said.append(f"Red rings: pairs of that point did not finish ({others} in all points, counted in).")
    return style.caption_lines(*said)
