"""Pictures of one pair, a row for each arm and a column for each value of a setting: Demystifying's figures.

Panels below them draw means over all pairs along numeric values of that setting, a line for each row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import stylizations
from analysis.drawing import captions, lines, page, style
from analysis.drawing.style import save
from analysis.mechanism import BESIDE
from analysis.stylizations import Stylizations
from analysis.tables import Tables

__all__ = ["load", "make", "save"]

_PAIRS = 1

_HEIGHT, TICKS = 1.75, 4
"""Height of the panels with their words in inches, and the largest number of ticks of a panel."""


@dataclass(frozen=True)
class Columns:
    """A setting with a column for each of its values.

    Attributes:
        title: Returns the title of the column of a value.
        number: Returns the number of a value, along which lines are drawn.
        axis: Label of the axis of these numbers.
        panels: Measures that are drawn along them, and their names.
        others: Settings, or groups of them, that change with it.
    """

    title: Callable[[Any], str]
    number: Callable[[Any], float] = float
    axis: str = ""
    panels: dict[str, str] = field(default_factory=dict)
    others: Sequence[str] = ()


def _layers(number: Any) -> str:
    if pd.isna(number):
        return "all layers"
    return "layer 1" if number == 1 else f"layers 1–{number}"


def _taps(number: Any) -> str:
    named = {"1": "the last layer", "style": "its style taps", "all": "all layers"}
    return named.get(str(number), f"{number} layers")


COLUMN_KINDS = {
    "arm.label": Columns(str, others=BESIDE),
    "objective.layers": Columns(_layers),
    "objective.taps": Columns(
        _taps,
        lambda taps: float(taps) if str(taps).isdigit() else math.nan,
        axis="layers, evenly spaced",
        panels={
            "luminance_wasserstein": "luminance",
            "style_distance": "style distance",
            "sifid": "SIFID",
        },
    ),
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
"""The columns by their setting."""


@dataclass(frozen=True)
class Matrix:
    """The data of the figure.

    Attributes:
        data: The stylisations.
        by: The setting of the columns, a key of `COLUMN_KINDS`.
        points: Means over pairs; see `analysis.stylizations.mean_over_pairs`.
    """

    data: Stylizations
    by: str
    points: pd.DataFrame

    @property
    def tables(self) -> Tables:
        """The tables behind the figure."""
        return self.data.tables

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The table of pictures and the means over pairs, which are written beside the figure."""
        return {"": self.data.table, "_means": self.points}

    @property
    def columns(self) -> Columns:
        """The columns' setting in `COLUMN_KINDS`."""
        return COLUMN_KINDS[self.by]

    @property
    def names(self) -> dict[int, str]:
        """The names of its rows, by line."""
        return {arm.line: arm.label for arm in self.data.arms}

    @property
    def values(self) -> list[Any]:
        """The values of the columns' setting, for each arm."""
        return list(self.data.tables.runs[self.by])

    @property
    def panels(self) -> dict[str, str]:
        """The measures that are drawn along several values and are known for some."""
        several = len(set(self.values)) > 1
        return {
            measure: name
            for measure, name in self.columns.panels.items()
            if several and self.points[measure].notna().any()
        }

    @property
    def height(self) -> float:
        """The height of the panels with their legend, in inches."""
        return _HEIGHT + lines.legend_height(list(self.names.values()))

    def draw(self, axis: Axes, measure: str) -> None:
        """Draw a line for each row: means over pairs with standard errors."""
        names, along = list(self.names.values()), self.points["along"]
        styles = dict(zip(names, lines.line_styles(names), strict=True))
        table = self.data.table.assign(
            along=self.data.table["cell"].map(self.points.set_index("cell")["along"])
        )
        lines.draw_lines(axis, table, styles, x="along", y=measure, errorbar="se")
        axis.locator_params(nbins=TICKS)
        axis.margins(x=0.1)
        style.set_scale(axis, "x", along)
        style.set_scale(axis, "y", self.points[measure])
        if along.iloc[0] > along.iloc[-1]:
            axis.invert_xaxis()  # the same order as the pictures' columns

    def said(self, shown: int) -> Iterator[str]:
        """Yield the parts of the caption; so many pairs are shown."""
        yield captions.arms(self.data, varied=[self.by], shown=shown)
        yield from page.picture_notes(self.data)
        if self.panels:
            yield "Bands: standard errors of means over pairs."


def load(overrides: list[str], runs: Path, *, partial: bool, columns: str) -> Matrix:
    """Return an experiment's stylisations, a column for each value of a setting; see `load_stylizations`."""
    shown = [columns, *COLUMN_KINDS[columns].others]
    data = stylizations.load_stylizations(overrides, runs, partial=partial, shown=shown)
    points = stylizations.mean_over_pairs(data.table)
    values = data.tables.runs[columns]
    along = (
        [COLUMN_KINDS[columns].number(values[cell]) for cell in points["cell"]]
        if COLUMN_KINDS[columns].panels
        else 0
    )
    return Matrix(data, columns, points.assign(**{columns: points["cell"].map(values), "along": along}))


def make(matrix: Matrix, *, pairs: int = _PAIRS) -> Figure:
    """Draw the rows of at most `pairs` pairs, evenly spread over all, and the panels."""
    names = list(matrix.names.values())
    titles = [matrix.columns.title(value) for value in matrix.values]
    shown = page.of_pairs(matrix.data, pairs, titles)
    rows = page.rows(shown, _bands(matrix), names)
    heights = [page.height(rows), *([matrix.height] if matrix.panels else [])]
    caption = style.caption_lines(*matrix.said(len(shown)))
    with style.figure(*heights, caption=caption, data=matrix) as (drawn, [above, *below]):
        page.draw_rows(above, rows)
        for part in below:
            axes = part.subplots(1, len(matrix.panels), squeeze=False)[0]
            for axis, (measure, title) in zip(axes, matrix.panels.items(), strict=True):
                matrix.draw(axis, measure)
                axis.set(label=measure, title=title, xlabel=matrix.columns.axis, ylabel="")
            lines.add_legend(part, axes, names)
    return drawn


def _bands(matrix: Matrix) -> list[list[int]]:
    """Return the arms of each row, in the order of the columns; of several seeds only the first."""
    places: dict[tuple[int, Any], int] = {}
    for arm, value in zip(matrix.data.arms, matrix.values, strict=True):
        places.setdefault((arm.line, value), arm.index)
    return [[places[line, value] for value in dict.fromkeys(matrix.values)] for line in matrix.names]
