"""SWAG's Figures 1, 2 and 6: stylised pictures, one column for each arm, with measures below each.

More arms than fit side by side stand in several bands; each pair then takes as many rows. Every pixel of a
result is a whole number of printed pixels wide: nothing is resampled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis import labels, style, stylizations
from analysis.stylizations import Arm, Pixels, Stylizations

__all__ = ["load", "make", "save"]

PAIRS = 4
COLUMNS = 7
"""At most so many pictures stand side by side, inputs included."""

MIN_DPI = 200
GAP, MARGIN = 0.05, 0.04
TITLE, BELOW, BETWEEN = 0.15, 0.26, 0.08
"""Inches: of a picture's name, of its measures, and between pairs."""

LINE = 0.117
"""Inches of one line of the caption."""

WRAPPED = 145
"""Letters of one line of the caption."""

ALARM = "#D00000"


def load(overrides: list[str], runs: Path, *, partial: bool) -> Stylizations:
    """The stylisations of an experiment; see `analysis.stylizations.load`."""
    data = stylizations.load(overrides, runs, partial=partial)
    stylizations.check_told_apart(data, ["label"], "networks, weights, smoothings and seeds")
    return data


def make(data: Stylizations, *, pairs: int = PAIRS) -> Figure:
    """The grid of at most so many pairs, evenly spread over all."""
    shown = [data.pairs[index] for index in _spread(len(data.pairs), pairs)]
    pictures = [_pictures(data, pair) for pair in shown]
    caption = _caption(data, len(shown))
    page = Page.of(pictures, _bands(data.arms), caption.count("\n") + 1)
    with style.printed():
        drawn = style.figure(width=page.width / page.dpi, height=page.height / page.dpi)
        drawn.set_dpi(page.dpi)
        for place, cell in _placed(page, pictures):
            _draw(drawn, page, place, cell)
        corner = page.inches(MARGIN) / page.width, page.inches(MARGIN) / page.height
        drawn.text(*corner, caption, va="bottom", fontsize=6.5)
        if data.missing:
            style.mark_partial(drawn, missing=data.missing, cells=data.cells)
    return drawn


def save(drawn: Figure, data: Stylizations, folder: Path, name: str) -> list[Path]:
    """Writes the figure (PNG and PDF), and what is known of each picture of each pair and arm (CSV).

    Args:
        drawn: From `make`.
        data: What it was made from.
        folder: Made where it is missing.
        name: The first part of each file's name.

    Raises:
        StoreError: The files can't be written.
    """
    paths = style.save(drawn, folder / name, title=name, description=data.description, dpi=drawn.dpi)
    return [*paths, style.save_table(data.table, folder / f"{name}.csv")]


@dataclass(frozen=True)
class Picture:
    """One cell of the grid.

    Attributes:
        title: Above it.
        key: `content__style__label`, or the role of an input.
        image: None where it is missing.
        below: Small, under it.
        status: How its optimisation ended.
    """

    title: str
    key: str
    image: Pixels | None
    below: str = ""
    status: str = "finished"


@dataclass(frozen=True)
class PairPictures:
    """A pair's inputs, and its results in the order of the arms."""

    content: Picture
    style: Picture
    results: tuple[Picture, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that hold each result and the content."""
        sizes = [
            picture.image.shape for picture in (self.content, *self.results) if picture.image is not None
        ]
        return max(size[0] for size in sizes), max(size[1] for size in sizes)


@dataclass(frozen=True)
class Place:
    """Where a picture stands on the page: left and top edge, width and height, in printed pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Page:
    """Measures of the page, in printed pixels but for `dpi`.

    Attributes:
        dpi: Printed pixels in an inch.
        scale: Printed pixels along one side of a picture's pixel.
        column: Width of a column.
        rows: Height of the pictures of each pair.
        bands: The arms' indices, band by band.
        titles: Lines of the longest title.
        caption: Height of the caption.
    """

    dpi: int
    scale: int
    column: int
    rows: tuple[int, ...]
    bands: tuple[tuple[int, ...], ...]
    titles: int
    caption: int

    @classmethod
    def of(cls, pairs: Sequence[PairPictures], bands: tuple[tuple[int, ...], ...], lines: int) -> Page:
        """The page for these pairs, as wide as two printed columns, with so many lines of caption."""
        columns = _inputs_beside(bands) + len(bands[0])
        inches = (style.WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns
        widest = max(pair.size[1] for pair in pairs)
        scale = math.ceil(MIN_DPI * inches / widest)
        dpi = round(scale * widest / inches)
        return cls(
            dpi=dpi,
            scale=scale,
            column=scale * widest,
            rows=tuple(scale * pair.size[0] for pair in pairs),
            bands=bands,
            titles=max(picture.title.count("\n") + 1 for picture in pairs[0].results),
            caption=round((LINE * lines + 3 * MARGIN) * dpi),
        )

    def inches(self, inches: float) -> int:
        """Printed pixels of a length."""
        return round(inches * self.dpi)

    @property
    def width(self) -> int:
        """Of the page."""
        return self.left(_inputs_beside(self.bands) + len(self.bands[0])) - self.inches(GAP - MARGIN)

    @property
    def height(self) -> int:
        """Of the page."""
        return self.top(len(self.rows), 0) - self.title(len(self.rows)) + self.caption

    def left(self, column: int) -> int:
        """Left edge of a column."""
        return self.inches(MARGIN) + column * (self.column + self.inches(GAP))

    def title(self, pair: int) -> int:
        """Height of the names above a row: one band's stand only above the first pair."""
        return self.inches(TITLE * self.titles) if pair == 0 or len(self.bands) > 1 else 0

    def top(self, pair: int, band: int) -> int:
        """Upper edge of the pictures of one pair in one band."""
        above = sum(len(self.bands) * self._row(index) + self.inches(BETWEEN) for index in range(pair))
        return self.inches(MARGIN) + above + (band * self._row(pair) if band else 0) + self.title(pair)

    def _row(self, pair: int) -> int:
        return self.title(pair) + self.rows[pair] + self.inches(BELOW)


def _spread(count: int, most: int) -> list[int]:
    """At most so many indices, evenly spread: neighbours of a product share their content."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(most, count))})


def _bands(arms: Sequence[Arm]) -> tuple[tuple[int, ...], ...]:
    count = 1 if len(arms) + 2 <= COLUMNS else max(2, math.ceil(len(arms) / (COLUMNS - 1)))
    size = math.ceil(len(arms) / count)
    return tuple(tuple(range(start, min(start + size, len(arms)))) for start in range(0, len(arms), size))


def _inputs_beside(bands: tuple[tuple[int, ...], ...]) -> int:
    """Columns of the inputs: in several bands the style stands below the content."""
    return 2 if len(bands) == 1 else 1


def _pictures(data: Stylizations, pair: tuple[str, str]) -> PairPictures:
    _, first = data.found[0]
    content, painting = (
        Picture(role, role, stylizations.pixels(stylizations.input_path(first, role, name)), name)
        for role, name in zip(("content", "style"), pair, strict=True)
    )
    return PairPictures(content, painting, tuple(_result(data.table, arm, pair) for arm in data.arms))


def _result(table: pd.DataFrame, arm: Arm, pair: tuple[str, str]) -> Picture:
    title, key = arm.label.replace(" (", "\n("), "__".join([*pair, arm.label])
    if arm.record is None:
        return Picture(title, key, None, status="missing")
    of_pair = (table["content"] == pair[0]) & (table["style"] == pair[1])
    row = table[of_pair & (table["run_id"] == arm.record.identity.run_id)].iloc[0]
    below = (
        f"style {_number(row['style_distance'])}\nCFSD {_number(row['cfsd'])}  SSIM {_number(row['ssim'])}"
    )
    return Picture(title, key, stylizations.pixels(arm.record.path / row["image"]), below, row["status"])


def _number(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.3f}" if 0.0005 <= abs(value) < 100 or value == 0 else f"{value:.1e}"


def _placed(page: Page, pairs: Sequence[PairPictures]) -> Iterator[tuple[Place, Picture]]:
    """Each picture, and the space for it."""
    beside = _inputs_beside(page.bands)
    for index, pair in enumerate(pairs):
        for number, picture in enumerate((pair.content, pair.style)):
            band, column = (0, number) if beside == 2 else (number, 0)
            yield Place(page.left(column), page.top(index, band), page.column, page.rows[index]), picture
        for band, arms in enumerate(page.bands):
            for column, arm in enumerate(arms, start=beside):
                place = Place(page.left(column), page.top(index, band), page.column, page.rows[index])
                yield place, pair.results[arm]


def _draw(drawn: Figure, page: Page, place: Place, picture: Picture) -> None:
    axis = _axes(drawn, page, place if picture.image is None else _fitted(page, place, picture.image))
    axis.set_label(picture.key)
    if picture.image is not None:
        axis.imshow(picture.image, interpolation="none", aspect="auto")
    if picture.status != "finished":
        _mark(axis, picture.status, missing=picture.image is None)
    _write(drawn, page, place, picture)


def _fitted(page: Page, place: Place, image: Pixels) -> Place:
    """In the middle of a place; only a style of another ratio may have to shrink."""
    height, width = (page.scale * side for side in image.shape[:2])
    shrunk = min(1.0, place.height / height, place.width / width)
    height, width = round(height * shrunk), round(width * shrunk)
    return Place(
        place.left + (place.width - width) // 2, place.top + (place.height - height) // 2, width, height
    )


def _axes(drawn: Figure, page: Page, place: Place) -> Axes:
    bottom = page.height - place.top - place.height
    axis = drawn.add_axes(
        (
            place.left / page.width,
            bottom / page.height,
            place.width / page.width,
            place.height / page.height,
        ),
        xticks=[],
        yticks=[],
    )
    axis.spines[:].set_visible(False)
    return axis


def _mark(axis: Axes, word: str, *, missing: bool) -> None:
    """A frame behind the picture, of which the outer half shows, and a word on it; grey where missing."""
    color = "0.6" if missing else ALARM
    frame = Rectangle(
        (0, 0),
        1,
        1,
        transform=axis.transAxes,
        fill=False,
        edgecolor=color,
        linewidth=1 if missing else 3,
        zorder=-1,
    )
    frame.set_clip_on(False)
    axis.add_patch(frame)
    if missing:
        axis.text(0.5, 0.5, word, transform=axis.transAxes, ha="center", va="center", color=color, fontsize=7)
        return
    box = {"facecolor": color, "edgecolor": "none", "boxstyle": "square,pad=0.25"}
    axis.text(
        0.03, 0.03, word, transform=axis.transAxes, ha="left", va="bottom", color="white", fontsize=6,
        fontweight="bold", bbox=box,
    )  # fmt: skip


def _write(drawn: Figure, page: Page, place: Place, picture: Picture) -> None:
    """The name above a picture, where there is space for names, and what stands below it."""
    middle, inches = (place.left + place.width / 2) / page.width, place.width / page.dpi
    titled = len(page.bands) > 1 or place.top == page.top(0, 0)
    if titled:
        longest = max(map(len, picture.title.split("\n")))
        above = 1 - (place.top - page.inches(0.03)) / page.height
        drawn.text(
            middle, above, picture.title, ha="center", va="bottom", fontsize=_fitting(8, inches, longest)
        )
    below = 1 - (place.top + place.height + page.inches(0.025)) / page.height
    longest = max(map(len, picture.below.split("\n")))
    drawn.text(
        middle, below, picture.below, ha="center", va="top", fontsize=_fitting(6, inches, longest),
        linespacing=1.15,
    )  # fmt: skip


def _fitting(points: float, inches: float, letters: int) -> float:
    """A font size of at most so many points in which a line of so many letters is no wider than that."""
    return min(points, 72 * inches / (0.6 * max(letters, 1)))


def _caption(data: Stylizations, shown: int) -> str:
    count = len(data.pairs)
    marks = "".join(f" {mark} {labels.described(told)};" for told, mark in data.marks.items() if mark)
    said = [
        f"{shown} of {count} pairs of images{', evenly spread' if shown < count else ''}."
        f" {stylizations.weights(data.arms)};{marks} {stylizations.objective(data.arms)}.",
        "Below each picture: style distance (0: as the style) and CFSD (0: as the content) in a held-out "
        f"network: {stylizations.held_out(data)}. SSIM with the content image (1: the same).",
        *stylizations.warnings(data),
        *_marked(data),
    ]
    return "\n".join(fill(text, WRAPPED) for text in said)


def _marked(data: Stylizations) -> Iterator[str]:
    counts = data.table["status"].value_counts()
    if others := [f"{counts[status]} {status}" for status in counts.index if status != "finished"]:
        yield f"Red frames: not finished ({', '.join(others)} of {len(data.table)} pictures of all pairs)."
