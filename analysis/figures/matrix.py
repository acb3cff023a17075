"""Pictures of one pair, a row for each arm and a column for each value of a setting: Demystifying's figures.

Below them, where numbers along that setting tell more: means over all pairs, a line for each row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from analysis import stylizations
from analysis.drawing import captions, pictures, style
from analysis.drawing.page import Layout, Page, PairPictures, draw, spread
from analysis.stylizations import Stylizations

__all__ = ["load", "make", "save"]

PAIRS = 1

HEIGHT, NAMES, TITLE, LABELS = 1.2, 0.15, 0.32, 0.45
"""Inches: of the panels, and of each row of the legend, their titles and the labels under them."""

APART, TICKS = 0.12, 4
"""Inches between the words of two panels, and how many ticks a panel has at most."""

ASIDE = 2.2
"""Points by which a line stands beside the one before, so that their error bars do not cover each other."""


TRENDS = {
    (True, False): "rises",
    (False, True): "falls",
    (True, True): "stays",
    (False, False): "goes up and down",
}
"""Of a line that never falls, or never rises."""


@dataclass(frozen=True)
class Columns:
    """A setting with a column for each of its values.

    Attributes:
        title: Of the column of a value.
        number: Makes a number of a value, along which lines are drawn.
        axis: What these are.
        panels: What is drawn along them, and its name.
        note: What a reader of these must know.
    """

    title: Callable[[Any], str]
    number: Callable[[Any], float] = float
    axis: str = ""
    panels: dict[str, str] = field(default_factory=dict)
    note: str = ""


def _layers(number: Any) -> str:
    if pd.isna(number):
        return "all layers"
    return "layer 1" if number == 1 else f"layers 1–{number}"


COLUMNS = {
    "objective.layers": Columns(_layers),
    "objective.style_weight": Columns(
        lambda weight: f"γ = {weight:g}",
        axis="style weight γ",
        panels={"content_loss": "content loss", "style_loss": "style loss"},
        note=" The losses are without their weights.",
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

    def lines(self, measure: str) -> Iterator[tuple[str, pd.DataFrame]]:
        """The points of each row along the columns."""
        for _, line in self.points.dropna(subset=[measure]).groupby("line", sort=False):
            yield str(line["label"].iloc[0]), line.sort_values("along")


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
    data = matrix.data
    shown = [_pictures(matrix, data.pairs[index]) for index in spread(len(data.pairs), pairs)]
    with style.printed():
        drawn, page = draw(shown, _layout(matrix), _caption(matrix, len(shown)))
        _draw_panels(drawn, page, matrix)
        style.mark_partial(drawn, data.tables)
    return drawn


def save(drawn: Figure, matrix: Matrix, folder: Path, name: str) -> list[Path]:
    """Writes the figure (PNG and PDF), what is known of each picture, and the means over pairs (CSV).

    Args:
        drawn: From `make`.
        matrix: What it was made from.
        folder: Made where it is missing.
        name: The first part of each file's name.

    Raises:
        StoreError: The files can't be written.
    """
    described = matrix.data.tables.description
    paths = style.save(drawn, folder / name, title=name, description=described, dpi=drawn.dpi)
    tables = {"": matrix.data.table, "_means": matrix.points}
    return [*paths, *(style.save_table(table, folder / f"{name}{end}.csv") for end, table in tables.items())]


def _layout(matrix: Matrix) -> Layout:
    rows = [arm.line for arm in matrix.data.arms]
    places = {place: index for index, place in enumerate(zip(rows, matrix.values, strict=True))}
    columns = dict.fromkeys(matrix.values)
    bands = tuple(tuple(places[line, value] for value in columns) for line in matrix.names)
    panels = _legend(matrix) + TITLE + HEIGHT + LABELS if matrix.panels else 0
    return Layout(bands, tuple(matrix.names.values()), panels)


def _legend(matrix: Matrix) -> float:
    """Inches of it."""
    return NAMES * math.ceil(len(matrix.names) / style.legend_columns(list(matrix.names.values())))


def _pictures(matrix: Matrix, pair: tuple[str, str]) -> PairPictures:
    """With the names of the columns above, and the roles of the inputs below."""
    made = pictures.of_pair(matrix.data, pair)
    titles = [matrix.columns.title(value) for value in matrix.values]
    results = (
        replace(picture, title=title, key=f"{picture.key}__{title}")
        for picture, title in zip(made.results, titles, strict=True)
    )
    inputs = (replace(each, title="", below=f"{each.title}: {each.below}") for each in made.inputs)
    return PairPictures(tuple(inputs), tuple(results))


def _draw_panels(drawn: Figure, page: Page, matrix: Matrix) -> None:
    """Side by side between the pictures and the caption, under one legend."""
    if not (panels := matrix.panels):
        return
    height = drawn.get_figheight()
    bottom = page.caption / page.dpi + LABELS
    axes = []
    for number, (measure, name) in enumerate(panels.items()):
        box = number / len(panels), bottom / height, 1 / len(panels), HEIGHT / height
        axis = drawn.add_axes(box, label=measure, title=name, xlabel=matrix.columns.axis)
        _draw_lines(drawn, axis, matrix, measure)
        axes.append(axis)
    _set_apart(drawn, axes)
    above = bottom + HEIGHT + TITLE + _legend(matrix)
    drawn.legend(
        *axis.get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, above / height),
        ncols=style.legend_columns(list(matrix.names.values())), frameon=False, handlelength=3.2, borderpad=0,
        borderaxespad=0, labelspacing=0.3,
    )  # fmt: skip


def _set_apart(drawn: Figure, axes: Sequence[Axes]) -> None:
    """Panels of one width, with as much room at the left of each as the words of its ticks take."""
    width = drawn.bbox.width
    gap = APART * drawn.dpi / width
    boxes = [axis.get_tightbbox() or axis.bbox for axis in axes]
    words = [(axis.bbox.x0 - box.x0) / width + gap for axis, box in zip(axes, boxes, strict=True)]
    wide = (1 - gap - sum(words)) / len(axes)
    for number, axis in enumerate(axes):
        box = axis.get_position()
        left = sum(words[: number + 1]) + number * wide
        axis.set_position((left, box.y0, wide, box.height))


def _draw_lines(drawn: Figure, axis: Axes, matrix: Matrix, measure: str) -> None:
    points = matrix.points
    looks = dict(zip(matrix.names.values(), style.looks(list(matrix.names.values())), strict=True))
    lines = dict(matrix.lines(measure))
    for number, (label, line) in enumerate(lines.items()):
        aside = ScaledTranslation((number - (len(lines) - 1) / 2) * ASIDE / 72, 0, drawn.dpi_scale_trans)
        error = line[f"{measure}_error"].fillna(0)
        axis.errorbar(
            line["along"], line[measure], yerr=error, label=label, transform=axis.transData + aside,
            color=looks[label].color, marker=looks[label].marker, markersize=3.5, linewidth=1.0,
            elinewidth=0.6,
        )  # fmt: skip
        for end in (-error, error):  # an axis takes no note of what is set aside
            axis.update_datalim(np.column_stack([line["along"], line[measure] + end]))
    axis.autoscale_view()
    axis.locator_params(nbins=TICKS)
    axis.tick_params(labelsize=7)
    style.scale(axis, "x", points["along"])
    style.scale(axis, "y", points[measure])
    if points["along"].iloc[0] > points["along"].iloc[-1]:
        axis.invert_xaxis()  # as the pictures' columns


def _caption(matrix: Matrix, shown: int) -> str:
    told = f"{pictures.told(matrix.data, shown)} {captions.arms(matrix.data, varied=[matrix.by])}"
    return captions.lines(told, *pictures.explained(matrix.data), *_trends(matrix))


def _trends(matrix: Matrix) -> Iterator[str]:
    """What the panels show, and whether it goes one way."""
    if not matrix.panels:
        return
    yield (
        f"Panels: means over {matrix.points['pairs'].max()} pairs of images, and their standard errors."
        f"{matrix.columns.note} With growing {matrix.columns.axis}: "
        + "; ".join(f"{name} {_trend(matrix, measure)}" for measure, name in matrix.panels.items())
        + "."
    )


def _trend(matrix: Matrix, measure: str) -> str:
    """Such as `rises for BN / Gram, falls for STROTSS`."""
    lines = dict(matrix.lines(measure))
    names: dict[str, list[str]] = {}
    for name, line in lines.items():
        values = line[measure]
        trend = TRENDS[values.is_monotonic_increasing, values.is_monotonic_decreasing]
        names.setdefault(trend, []).append(name)
    return ", ".join(
        f"{trend} for {'all' if len(told) == len(lines) else ' / '.join(told)}"
        for trend, told in names.items()
    )
