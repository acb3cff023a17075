"""Any number of the tables against any setting: lines if the setting is a number, points if it is not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from analysis import labels
from analysis.drawing import lines, style
from analysis.drawing.lines import LineStyle
from analysis.drawing.style import PAPER, Layout, save
from analysis.observations import AXIS_COLUMNS as OF_NUMBERS
from analysis.observations import KINDS, REST, Observations
from analysis.observations import load_observations as load
from swag_repro.errors import SettingError

__all__ = ["INTERVALS", "load", "make", "save"]

_PANEL, _WORDS = 1.9, 0.5
"""Heights in inches: a row of panels, and the words around it."""

_COLUMNS, MOST = 3, 30
"""Panels side by side if nothing else sets their number, and the largest number of panels."""

_Y_LETTERS = 28
"""Letters of a line beside an axis."""

_LETTER, _SLANT = 0.062, 35
"""Width of a letter below an axis in inches, and slant in degrees of words that would touch each other."""

FRACTIONS = ("normalized_entropy", "style_share", "largest_entries", "peaks_shrunk", "accuracy", "ssim")
"""Numbers of at most 1, which a logarithm would not make plainer."""

INTERVALS: dict[str, tuple[Any, str]] = {
    "se": ("se", "standard errors"),
    "sd": ("sd", "standard deviations"),
    "ci": (("ci", 95), "95 % bootstrap intervals"),
    "range": (("pi", 100), "lowest to highest"),
}
"""The interval's name in seaborn and in a caption, by its name in the command."""


@dataclass(frozen=True)
class Drawing:
    """What all panels have in common.

    Attributes:
        data: The observations.
        points: The replicates, with the words of their `label`, `col` and `row`, and of x if it is no number.
        styles: The line styles by label.
        places: The words of x in order; empty if x is a number.
        interval: A key of `INTERVALS`.
    """

    data: Observations
    points: pd.DataFrame
    styles: dict[str, LineStyle]
    places: list[str]
    interval: str

    @property
    def names(self) -> list[str]:
        """The names of the legend."""
        return [name for name in self.styles if name]

    @property
    def shared(self) -> bool:
        """True if the panels show one quantity, and share its axis."""
        return not any(self.data.asked.shown.get(side) in KINDS for side in ("col", "row"))

    def words(self, side: str) -> list[str]:
        """Return the words of the panels of `col` or `row`, in order; one empty word if not asked for."""
        return self.data.ordered(self.data.asked.shown[side]) if side in self.data.asked.shown else [""]


@dataclass(frozen=True)
class PointsPanel:
    """One panel: its title and its points."""

    title: str
    points: pd.DataFrame


def make(data: Observations, *, interval: str = "se", layout: Layout = PAPER) -> Figure:
    """Draw a panel for each value of `col` and `row`, with lines or colours by `hue`.

    Args:
        data: The observations.
        interval: A key of `INTERVALS`.
        layout: What the user chooses.

    Raises:
        SettingError: There are too many panels.
    """
    drawing = _drawing(data, interval)
    grid = _grid(drawing)
    slant = _is_crowded(drawing.places, len(grid[0]), layout.width)
    height = (_PANEL + _WORDS) * len(grid)
    if slant:
        height += _LETTER * max(map(len, drawing.places)) * math.sin(math.radians(_SLANT)) * len(grid)
    if drawing.names:
        height += lines.legend_height(drawing.names, width=layout.width)
    caption = style.caption_lines(" ".join(_sentences(drawing)), width=layout.width)
    with style.figure(height, caption=caption, data=data, layout=layout) as (drawn, [part]):
        axes = part.subplots(len(grid), len(grid[0]), squeeze=False, sharex=True, sharey=drawing.shared)
        for axis in axes.flat[sum(map(len, grid)) :]:
            axis.set_axis_off()
        for number, panels in enumerate(grid):
            for place, (axis, panel) in enumerate(zip(axes[number], panels, strict=False)):
                _draw(axis, panel, drawing)
                _finish(axis, panel, drawing, slant=slant)
                axis.set_ylabel(fill(_y(data), _Y_LETTERS) if place == 0 else "")
                if number + 1 == len(grid) or place >= len(grid[number + 1]):
                    axis.set_xlabel(labels.axis(data.asked.shown["x"]), visible=True, parse_math=False)
                    axis.tick_params(labelbottom=True)
        if drawing.names:
            lines.add_legend(part, axes.flat, drawing.names, width=layout.width)
    return drawn


def _drawing(data: Observations, interval: str) -> Drawing:
    shown = data.asked.shown
    parts = (("hue", "label"), ("col", "col"), ("row", "row"))
    words = {name: data.words(shown[part]) if part in shown else "" for part, name in parts}
    x = data.replicates[shown["x"]]
    if _is_number(x) and len(x.unique()) > 1:
        return Drawing(data, data.replicates.assign(**words, x=x.astype(float)), _styles(data), [], interval)
    points = data.replicates.assign(**words, x=data.words(shown["x"]))
    return Drawing(data, points, _styles(data), data.ordered(shown["x"]), interval)


def _is_number(values: pd.Series) -> bool:
    return is_numeric_dtype(values) and not is_bool_dtype(values)


def _styles(data: Observations) -> dict[str, LineStyle]:
    """Return line styles by label: dark to light for numbers, the paper's own for networks."""
    hue = data.asked.shown.get("hue")
    if hue is None:
        return {"": lines.line_styles(["vgg19"])[0]}
    first = data.replicates[hue].groupby(data.words(hue)).first()
    if _is_number(data.replicates[hue]):
        return dict(zip(first.sort_values().index, lines.graded_styles(len(first)), strict=True))
    names = data.ordered(hue)
    networks = [str(first[name]) if hue == "network.name" else "" for name in names]
    solid = lines.line_styles(networks)
    kinds = len({one.marker for one in solid})
    dashed = [lines.smoothed_style(one, index // kinds) for index, one in enumerate(solid)]
    return dict(zip(names, dashed, strict=True))


def _grid(drawing: Drawing) -> list[list[PointsPanel]]:
    """Return panels row by row: by `row` and `col`, or those of one of them in as many rows as they need."""
    points, rows, cols = drawing.points, drawing.words("row"), drawing.words("col")
    if (count := len(rows) * len(cols)) > MOST:
        rule = f"should have at most {MOST} panels together"
        raise SettingError(
            "col and row", rule, count, "Choose some by overrides, or show one of them as hue."
        )
    panels = [
        PointsPanel(_title(drawing, row, col), points[(points["row"] == row) & (points["col"] == col)])
        for row in rows
        for col in cols
    ]
    across = len(cols) if len(rows) > 1 and len(cols) > 1 else min(_COLUMNS, len(panels))
    return [panels[start : start + across] for start in range(0, len(panels), across)]


def _title(drawing: Drawing, row: str, col: str) -> str:
    shown = drawing.data.asked.shown
    return "; ".join(_panel_word(shown[side], word) for side, word in (("row", row), ("col", col)) if word)


def _panel_word(column: str, word: str) -> str:
    """Return a value with its setting, unless the value speaks for itself."""
    return word if column in KINDS or column.endswith(".name") else f"{labels.axis(column)}: {word}"


def _draw(axis: Axes, panel: PointsPanel, drawing: Drawing) -> None:
    if panel.points.empty:
        return
    options: dict[str, Any] = {"x": "x", "y": "value", "errorbar": INTERVALS[drawing.interval][0], "seed": 0}
    if drawing.places:
        lines.draw_points(axis, panel.points, drawing.styles, order=drawing.places, **options)
    else:
        lines.draw_lines(axis, panel.points, drawing.styles, aside=0, **options)


def _is_crowded(places: list[str], panels: int, width: float) -> bool:
    """Return whether words below an axis would touch each other, in a figure of this width in inches."""
    room = (width - 0.7) / panels / max(len(places), 1)
    return any(_LETTER * len(word) > room for word in places)


def _finish(axis: Axes, panel: PointsPanel, drawing: Drawing, *, slant: bool) -> None:
    axis.set_title(panel.title, parse_math=False)
    axis.set_xlabel("")
    asked = drawing.data.asked
    words: dict[str, Any] = {"rotation": _SLANT, "ha": "right", "rotation_mode": "anchor"} if slant else {}
    if asked.y not in FRACTIONS:
        style.set_scale(axis, "y", (drawing.points if drawing.shared else panel.points)["value"])
    if not drawing.places:
        if asked.x not in OF_NUMBERS:
            style.set_scale(axis, "x", drawing.points["x"])
        return
    axis.set_xticks(range(len(drawing.places)), drawing.places, parse_math=False, **words)
    axis.set_xlim(-0.6, len(drawing.places) - 0.4)


def _y(data: Observations) -> str:
    name = str(data.asked.y)
    return labels.STATISTIC_LABELS.get(name, name.replace("_", " "))


def _sentences(drawing: Drawing) -> Iterator[str]:
    data, kind = drawing.data, "points with bars" if drawing.places else "bands"
    shown, runs = data.asked.shown, data.tables.runs
    several = data.replicates.groupby([*dict.fromkeys(shown.values())], dropna=False).size().max() > 1
    over = f"Means over {_replicate_counts(data)} ({kind}: {INTERVALS[drawing.interval][1]})."
    yield over if several else "One number a point."
    if "hue" in shown:
        columns = data.rest if shown["hue"] == REST else [shown["hue"]]
        yield f"Colours: {', '.join(map(labels.axis, columns))}."
    if data.averaged:
        inside = ", ".join(f"{labels.axis(name)} ({count})" for name, count in data.averaged.items())
        yield f"Each is first averaged over {inside}."
    if data.without_x:
        yield f"{data.without_x} without {labels.axis(shown['x'])} are left out."
    if chosen := [f"{name} {' / '.join(values)}" for name, values in data.asked.chosen.items()]:
        yield f"Only {', '.join(chosen)}."
    if judges := data.judges:
        yield f"Measured by {', '.join(judges)}."
    images = f", images of {labels.sizes(runs)}" if "images.size" in runs else ""
    yield f"{data.group}: {runs['run_id'].nunique()} runs{images}."


def _replicate_counts(data: Observations) -> str:
    """Return what is shown several times at each point."""
    pictures = data.replicates[["content", "style"]].drop_duplicates().dropna(how="all")
    kind = "pair" if pictures.notna().all(axis=None) else "image"
    seeds = int(data.replicates[data.seeds].drop_duplicates().shape[0]) if data.seeds else 0
    counts = {kind: len(pictures), "seed": seeds}
    return " and ".join(f"{n} {noun}{'s' * (n > 1)}" for noun, n in counts.items() if n)
