"""Pictures of pairs on a page: inputs at the left, results in rows, words above and below each picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from analysis import stylizations
from analysis.drawing import captions
from analysis.drawing.style import ALARM, PAD, WIDTH
from analysis.stylizations import Arm, Stylizations
from analysis.tables import PixelArray

BELOW = {
    "style": "sliced Wasserstein distance of luminance to the style (0: as the style)",
    "content": "CFSD (0) and SSIM (1: as the content)",
}
"""Measures of each side by a held-out network; those of a side without weight mean nothing."""


def of_pairs(data: Stylizations, most: int, columns: list[str] | None = None) -> list[PairPictures]:
    """Return the pictures of at most `most` pairs, evenly spread over all.

    Args:
        data: The stylisations.
        most: The largest number of pairs.
        columns: Titles above the arms instead of their labels; the roles of inputs then stand below the
            inputs.
    """
    shown = [data.pairs[index] for index in spread(len(data.pairs), most)]
    pairs = [of_pair(data, pair) for pair in shown]
    return pairs if columns is None else [in_columns(pair, columns) for pair in pairs]


def in_columns(pair: PairPictures, columns: Sequence[str]) -> PairPictures:
    """Return the pair with these titles above its results, and the inputs' roles below the inputs."""
    inputs = (replace(each, title="", below=f"{each.title}: {each.below}") for each in pair.inputs)
    results = (
        replace(picture, title=title, key=f"{picture.key}__{title}")
        for picture, title in zip(pair.results, columns, strict=True)
    )
    return PairPictures(tuple(inputs), tuple(results))


def of_pair(data: Stylizations, pair: tuple[str, str]) -> PairPictures:
    """Return a pair's inputs whose weights count, and its result in each arm."""
    return PairPictures(inputs(data, pair), tuple(result(data, arm, pair) for arm in data.arms))


def inputs(data: Stylizations, pair: tuple[str, str]) -> tuple[PageCell, ...]:
    """Return a pair's inputs whose weights count."""
    first = _of_pair(data, pair).iloc[0]
    return tuple(
        PageCell(role, role, data.tables.picture(first["cell"], first[f"{role}_image"]), name)
        for role, name in zip(stylizations.PICTURE_ROLES, pair, strict=True)
        if role in data.roles
    )


def result(data: Stylizations, arm: Arm, pair: tuple[str, str]) -> PageCell:
    """Return the picture of a pair by an arm that has this pair, or that is missing."""
    title, key = arm.label.replace(": ", "\n").replace(" (", "\n("), "__".join([*pair, arm.label])
    if arm.missing:
        return PageCell(title, key, None, status="missing")
    row: Any = _of_pair(data, pair).set_index("cell").loc[arm.index]
    below = "\n".join(measured(row, data.roles)) if data.judges or data.tables.unjudged else ""
    return PageCell(title, key, stylizations.picture(data, arm, row["image"]), below, row["status"])


def _of_pair(data: Stylizations, pair: tuple[str, str]) -> pd.DataFrame:
    return data.table[(data.table["content"] == pair[0]) & (data.table["style"] == pair[1])]


def measured(row: Mapping[Any, Any] | pd.Series[Any], roles: tuple[str, ...]) -> Iterator[str]:
    """Yield a picture's measures in words, of the sides whose weight counts."""
    if "style" in roles:
        yield f"style {_number(row['luminance_wasserstein'])}"
    if "content" in roles:
        yield f"CFSD {_number(row['cfsd'])}"
        yield f"SSIM {_number(row['ssim'])}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.3f}" if 0.0005 <= abs(value) < 100 or value == 0 else f"{value:.1e}"


def picture_notes(data: Stylizations) -> Iterator[str]:
    """Yield the meaning of the words below pictures, and the number of optimisations that did not finish."""
    if data.judges:
        measures = ", ".join(words for role, words in BELOW.items() if role in data.roles)
        yield f"{measures[0].upper()}{measures[1:]} by {captions.held_out(data)}."
    yield from captions.warnings(data)
    counts = data.table["status"].value_counts()
    if others := [f"{counts[status]} {status}" for status in counts.index if status != "finished"]:
        yield f"Of {len(data.table)} pictures of all {len(data.pairs)} pairs: {', '.join(others)}."


_TITLE, SMALL = 7.5, 6
"""Sizes in points of the words above a picture, and below it."""

_LINE, SPACE = 0.118, 0.03
"""Heights in inches: a line of words, and the space between words and their picture."""

_LETTER = 0.58 / 72
"""Width of a letter in inches, for each point of its size."""


@dataclass(frozen=True)
class PageCell:
    """One cell of the page.

    Attributes:
        title: Words above it.
        key: `content__style__label`, or the role of an input.
        image: The picture; None where it is missing.
        below: Small words under it.
        status: The status of its optimisation.
    """

    title: str
    key: str
    image: PixelArray | None
    below: str = ""
    status: str = "finished"


@dataclass(frozen=True)
class PairPictures:
    """A pair's shown inputs, and its results in the order of the arms."""

    inputs: tuple[PageCell, ...]
    results: tuple[PageCell, ...]

    @property
    def size(self) -> tuple[int, int]:
        """The height and width in pixels that hold each result, or each input if all results are missing."""
        known = [picture.image.shape for picture in self.results if picture.image is not None]
        sizes = known or [picture.image.shape for picture in self.inputs if picture.image is not None]
        return max(size[0] for size in sizes), max(size[1] for size in sizes)


@dataclass(frozen=True)
class PictureRow:
    """A row of pictures, side by side.

    Attributes:
        inputs: The inputs; None leaves a place empty.
        results: The results, at the right of the inputs.
        size: Height and width in pixels that hold each result.
        name: Name of the results.
        titled: Whether titles stand above.
    """

    inputs: tuple[PageCell | None, ...]
    results: tuple[PageCell, ...]
    size: tuple[int, int]
    name: str
    titled: bool

    @property
    def pictures(self) -> tuple[PageCell | None, ...]:
        """All pictures, from left to right."""
        return (*self.inputs, *self.results)

    def words(self, column: float) -> tuple[float, float]:
        """Return the heights of the words above and below pictures; all lengths are in inches."""
        shown = [picture for picture in self.pictures if picture is not None]
        above = [_wrapped(picture.title, _TITLE, column) for picture in shown if self.titled]
        below = [_wrapped(picture.below, SMALL, column) for picture in shown]
        return _height(above) * _TITLE / SMALL, _height(below)


def spread(count: int, most: int) -> list[int]:
    """Return at most `most` indices, evenly spread, since neighbours in a product share their content."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(most, count))})


def rows(
    pairs: Sequence[PairPictures], bands: Sequence[Sequence[int]], names: Sequence[str] = ()
) -> list[PictureRow]:
    """Return the rows of a page.

    Args:
        pairs: The pairs of the pictures.
        bands: The arms' indices; each band is a row of each pair. Of several bands the first stands beside
            the content, the second beside the style.
        names: Names of the bands. With names, titles are those of columns and stand above the first row only.
    """
    made = []
    for number, pair in enumerate(pairs):
        beside = [pair.inputs] if len(bands) == 1 else [(picture,) for picture in pair.inputs]
        for index, band in enumerate(bands):
            inputs = beside[index] if index < len(beside) else (None,)
            titled = number == index == 0 or (not names and len(bands) > 1)
            results = tuple(pair.results[arm] for arm in band)
            made.append(PictureRow(inputs, results, pair.size, names[index] if names else "", titled))
    return made


def height(rows: Sequence[PictureRow]) -> float:
    """Return the height of these rows in inches."""
    return sum(_heights(rows))


def draw_rows(panel: SubFigure, rows: Sequence[PictureRow]) -> None:
    """Draw the pictures with their words; the pixels of all results have one size."""
    column, heights = _column(rows), _heights(rows)
    widths = [column] * _columns(rows)
    widths.insert(len(rows[0].inputs), _names(rows))
    grid = panel.add_gridspec(
        len(heights), len(widths), height_ratios=heights, width_ratios=widths, left=PAD / WIDTH,
        right=1 - PAD / WIDTH, bottom=0, top=1, hspace=0, wspace=2 * PAD * len(widths) / sum(widths),
    )  # fmt: skip
    for number, row in enumerate(rows):
        for place, picture in enumerate(row.pictures):
            if picture is not None:
                cell = grid[3 * number + 1, place + (place >= len(row.inputs))]
                _draw(panel.add_subplot(cell, label=picture.key), picture, row, column)
        if row.name:
            panel.axes[-len(row.results)].set_ylabel(
                _wrapped(row.name, _TITLE, heights[3 * number + 1]), fontsize=_TITLE, parse_math=False
            )


def _columns(rows: Sequence[PictureRow]) -> int:
    return max(len(row.pictures) for row in rows)


def _names(rows: Sequence[PictureRow]) -> float:
    """Return the space between inputs and results in inches."""
    return 2 * _LINE if any(row.name for row in rows) else 0.01


def _column(rows: Sequence[PictureRow]) -> float:
    """Return the width of a column in inches."""
    columns = _columns(rows)
    return (WIDTH - _names(rows) - 2 * PAD * (columns + 1)) / columns


def _heights(rows: Sequence[PictureRow]) -> list[float]:
    """Return, row by row, the heights in inches of the words above, the pictures, and the words below."""
    column, widest = _column(rows), max(row.size[1] for row in rows)
    heights = []
    for row in rows:
        above, below = row.words(column)
        heights += [above, column * row.size[0] / widest, below]
    return heights


def _height(texts: Sequence[str]) -> float:
    most = max((text.count("\n") + 1 for text in texts if text), default=0)
    return _LINE * most + SPACE


def _draw(axis: Axes, picture: PageCell, row: PictureRow, column: float) -> None:
    axis.set(xticks=[], yticks=[])
    axis.set_in_layout(False)  # words have rows of their own
    axis.spines[:].set_visible(False)
    title, below = _wrapped(picture.title, _TITLE, column), _wrapped(picture.below, SMALL, column)
    axis.set_title(
        title if row.titled else "", loc="center", fontsize=_TITLE, pad=2, linespacing=1.1, parse_math=False
    )
    axis.set_xlabel(below, fontsize=SMALL, labelpad=2, linespacing=1.1, parse_math=False)
    if picture.image is None:
        axis.set_box_aspect(row.size[0] / row.size[1])
    else:
        axis.imshow(picture.image, interpolation="none")
    if picture.status != "finished":
        _mark(axis, picture.status, missing=picture.image is None)


def _mark(axis: Axes, word: str, *, missing: bool) -> None:
    """Draw a frame around a picture and a word on it, grey if the picture is missing."""
    color, width = ("0.6", 1) if missing else (ALARM, 3)
    axis.spines[:].set(visible=True, color=color, linewidth=width, zorder=-1)
    if missing:
        axis.text(0.5, 0.5, word, transform=axis.transAxes, ha="center", va="center", color=color, fontsize=7)
    else:
        axis.text(
            0.03, 0.03, word, transform=axis.transAxes, va="bottom", color="white", fontsize=6,
            fontweight="bold", bbox={"facecolor": color, "edgecolor": "none", "boxstyle": "square,pad=0.25"},
        )  # fmt: skip


def _wrapped(text: str, points: float, inches: float) -> str:
    """Return the text in lines of at most that length."""
    letters = max(1, int(inches / (_LETTER * points)))
    return "\n".join(fill(line, letters) for line in text.split("\n"))
