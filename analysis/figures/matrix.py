"""Pictures of one pair, a row for each arm and a column for each value of a setting: Demystifying's figures.

Below them, where numbers along that setting tell more: means over all pairs, a line for each row.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from analysis import stylizations
from analysis.drawing import captions, lines, page, pictures, style
from analysis.drawing.style import save
from analysis.stylizations import Stylizations
from analysis.tables import Tables

__all__ = ["load", "make", "save"]

PAIRS = 1

HEIGHT, TICKS = 1.75, 4
"""Inches of the panels with their words, and how many ticks a panel has at most."""


@dataclass(frozen=True)
class Columns:
    """A setting with a column for each of its values.

    Attributes:
        title: Of the column of a value.
        number: Makes a number of a value, along which lines are drawn.
        axis: What these are.
        panels: What is drawn along them, and its name.
    """

    title: Callable[[Any], str]
    number: Callable[[Any], float] = float
    axis: str = ""
    panels: dict[str, str] = field(default_factory=dict)


def _layers(number: Any) -> str:
    if pd.isna(number):
        return "all layers"
    return "layer 1" if number == 1 else f"layers 1–{number}"


COLUMNS = {
    "objective.layers": Columns(_layers),
    "objective.style_weight": Columns(
        lambda weight: f"γ = {weight:g}",
        axis="style weight γ",
        panels={"content_loss": "content loss, unweighted", "style_loss": "style loss, unweighted"},
    ),
    "objective.style.weights": Columns(
        lambda weights: "/".join(f"{weight:g}" for weight in json.loads(weights)),
        stylizations.first_weight,
        axis="weight of the first loss",
        panels={
            "style_distance": "style distance",
            "sliced_wasserstein": "sliced Wasserstein",
            "sifid": "SIFID",
            "cfsd": "CFSD",
        },
    ),
}
"""By the setting whose values they are."""


@dataclass(frozen=True)
class Matrix:
    """What the figure is drawn from.

    Attributes:
        data: The stylisations behind it.
        by: The key of its columns in `COLUMNS`.
        points: See `analysis.stylizations.means`.
    """

    data: Stylizations
    by: str
    points: pd.DataFrame

    @property
    def tables(self) -> Tables:
        """Those behind it."""
        return self.data.tables

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """What stands beside it: what is known of each picture, and the means over pairs."""
        return {"": self.data.table, "_means": self.points}

    @property
    def columns(self) -> Columns:
        """The setting of its columns."""
        return COLUMNS[self.by]

    @property
    def names(self) -> dict[int, str]:
        """Of its rows, by the lines that they are."""
        return {arm.line: arm.label for arm in self.data.arms}

    @property
    def values(self) -> list[Any]:
        """Of the columns' setting, for each arm."""
        return list(self.data.tables.runs[self.by])

    @property
    def panels(self) -> dict[str, str]:
        """What is known and drawn along several values."""
        several = len(set(self.values)) > 1
        return {
            measure: name
            for measure, name in self.columns.panels.items()
            if several and self.points[measure].notna().any()
        }


def load(overrides: list[str], runs: Path, *, partial: bool, columns: str) -> Matrix:
    """The stylisations of an experiment, a column for each value of a setting; see `stylizations.load`."""
    data = stylizations.load(overrides, runs, partial=partial, shown=[columns])
    points = stylizations.means(data.table)
    values = data.tables.runs[columns]
    along = (
        [COLUMNS[columns].number(values[cell]) for cell in points["cell"]] if COLUMNS[columns].panels else 0
    )
    return Matrix(data, columns, points.assign(**{columns: points["cell"].map(values), "along": along}))


def make(matrix: Matrix, *, pairs: int = PAIRS) -> Figure:
    """The rows of at most so many pairs, evenly spread over all, and the panels."""
    titles = [matrix.columns.title(value) for value in matrix.values]
    shown = pictures.of_pairs(matrix.data, pairs, titles)
    rows = page.rows(shown, _bands(matrix), list(matrix.names.values()))
    heights = [page.height(rows)]
    if matrix.panels:
        heights.append(HEIGHT + lines.legend_height(list(matrix.names.values())))
    with style.figure(*heights, caption=_caption(matrix, len(shown)), data=matrix) as (
        drawn,
        [above, *below],
    ):
        page.draw(above, rows)
        if below:
            _draw_panels(below[0], matrix)
    return drawn


def _bands(matrix: Matrix) -> list[list[int]]:
    """The arms of each row, in the order of the columns."""
    arms = [arm.line for arm in matrix.data.arms]
    places = {place: index for index, place in enumerate(zip(arms, matrix.values, strict=True))}
    return [[places[line, value] for value in dict.fromkeys(matrix.values)] for line in matrix.names]


def _draw_panels(part: SubFigure, matrix: Matrix) -> None:
    """Side by side, with one legend."""
    names = list(matrix.names.values())
    looks = dict(zip(names, lines.looks(names), strict=True))
    along = matrix.data.table["cell"].map(matrix.points.set_index("cell")["along"])
    axes = part.subplots(1, len(matrix.panels), squeeze=False)[0]
    for axis, (measure, name) in zip(axes, matrix.panels.items(), strict=True):
        lines.draw(axis, matrix.data.table.assign(along=along), looks, x="along", y=measure, errorbar="se")
        axis.set(label=measure, title=name, xlabel=matrix.columns.axis, ylabel="")
        _scale(axis, matrix, measure)
    lines.add_legend(part, axes, names)


def _scale(axis: Axes, matrix: Matrix, measure: str) -> None:
    along = matrix.points["along"]
    axis.locator_params(nbins=TICKS)
    axis.margins(x=0.1)
    style.scale(axis, "x", along)
    style.scale(axis, "y", matrix.points[measure])
    if along.iloc[0] > along.iloc[-1]:
        axis.invert_xaxis()  # as the pictures' columns


def _caption(matrix: Matrix, shown: int) -> str:
    panels = ["Bands: standard errors of means over pairs."] if matrix.panels else []
    return captions.lines(
        captions.arms(matrix.data, varied=[matrix.by], shown=shown), *pictures.explained(matrix.data), *panels
    )
