"""Pictures of pairs on a page: inputs at the left, results in rows, words above and below each.

Every pixel of a result is a whole number of printed pixels wide: nothing is resampled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.drawing import style
from analysis.tables import Pixels

MIN_DPI = 200
GAP, MARGIN = 0.05, 0.04
TITLE, BETWEEN = 0.15, 0.08
"""Inches: of a line of a picture's name, and between pairs."""

BELOW, SMALL = 0.04, 0.11
"""Inches: of the space under a picture, and of each line in it."""

STRIP = 0.17
"""Inches: of the names of rows."""

LINE = 0.117
"""Inches of one line of the caption."""

ALARM = "#D00000"


@dataclass(frozen=True)
class Picture:
    """One cell of the page.

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
    """A pair's inputs that are shown, and its results in the order of the arms; not all are missing."""

    inputs: tuple[Picture, ...]
    results: tuple[Picture, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that hold each result."""
        sizes = [picture.image.shape for picture in self.results if picture.image is not None]
        return max(size[0] for size in sizes), max(size[1] for size in sizes)


@dataclass(frozen=True)
class Layout:
    """What stands where.

    Attributes:
        bands: The arms' indices, row by row of a pair.
        names: Of the bands, beside them: then titles are those of columns, above the first band only.
        panels: Inches left free above the caption.
    """

    bands: tuple[tuple[int, ...], ...]
    names: tuple[str, ...] = ()
    panels: float = 0.0

    @property
    def titled(self) -> bool:
        """Whether each band has titles of its own."""
        return not self.names and len(self.bands) > 1

    def beside(self, inputs: int) -> int:
        """Columns of the inputs: in several bands the style stands below the content."""
        return inputs if len(self.bands) == 1 else 1


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
        layout: What stands where.
        beside: Columns of the inputs.
        titles: Lines of the longest title.
        below: Lines under a picture.
        caption: Height of the caption.
    """

    dpi: int
    scale: int
    column: int
    rows: tuple[int, ...]
    layout: Layout
    beside: int
    titles: int
    below: int
    caption: int

    @classmethod
    def of(cls, pairs: Sequence[PairPictures], layout: Layout, caption: str) -> Page:
        """The page for these pairs, as wide as two printed columns."""
        beside = layout.beside(len(pairs[0].inputs))
        columns = beside + len(layout.bands[0])
        strip = STRIP if layout.names else 0
        inches = (style.WIDTH - 2 * MARGIN - strip - (columns - 1) * GAP) / columns
        widest = max(pair.size[1] for pair in pairs)
        scale = math.ceil(MIN_DPI * inches / widest)
        dpi = round(scale * widest / inches)
        shown = (*pairs[0].inputs, *pairs[0].results)
        return cls(
            dpi=dpi,
            scale=scale,
            column=scale * widest,
            rows=tuple(scale * pair.size[0] for pair in pairs),
            layout=layout,
            beside=beside,
            titles=max(_lines(picture.title) for picture in shown),
            below=max(_lines(picture.below) for picture in shown),
            caption=round((LINE * _lines(caption) + 3 * MARGIN) * dpi),
        )

    def inches(self, inches: float) -> int:
        """Printed pixels of a length."""
        return round(inches * self.dpi)

    @property
    def width(self) -> int:
        """Of the page."""
        return self.left(self.beside + len(self.layout.bands[0])) - self.inches(GAP - MARGIN)

    @property
    def bottom(self) -> int:
        """Lower edge of the last row, with what stands below its pictures."""
        return self.inches(MARGIN) + sum(map(self._block, range(len(self.rows))))

    @property
    def height(self) -> int:
        """Of the page."""
        return self.bottom + self.inches(self.layout.panels) + self.caption

    def left(self, column: int) -> int:
        """Left edge of a column."""
        strip = self.inches(STRIP) if self.layout.names and column >= self.beside else 0
        return self.inches(MARGIN) + strip + column * (self.column + self.inches(GAP))

    def title(self, pair: int, band: int) -> int:
        """Height of the names above a row."""
        named = self.layout.titled or pair == band == 0
        return self.inches(TITLE * self.titles) if named else 0

    def top(self, pair: int, band: int) -> int:
        """Upper edge of the pictures of one pair in one band."""
        above = sum(map(self._block, range(pair))) + sum(self._row(pair, index) for index in range(band))
        return self.inches(MARGIN) + above + self.title(pair, band)

    def _block(self, pair: int) -> int:
        rows = (self._row(pair, band) for band in range(len(self.layout.bands)))
        return sum(rows) + self.inches(BETWEEN)

    def _row(self, pair: int, band: int) -> int:
        return self.title(pair, band) + self.rows[pair] + self.inches(BELOW + SMALL * self.below)


def spread(count: int, most: int) -> list[int]:
    """At most so many indices, evenly spread: neighbours of a product share their content."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(most, count))})


def draw(pairs: Sequence[PairPictures], layout: Layout, caption: str) -> tuple[Figure, Page]:
    """The pictures with their words, and the caption at the bottom."""
    page = Page.of(pairs, layout, caption)
    drawn = style.figure(width=page.width / page.dpi, height=page.height / page.dpi)
    drawn.set_dpi(page.dpi)
    for place, picture, titled in _placed(page, pairs):
        _draw(drawn, page, place, picture)
        _write(drawn, page, place, picture, title=picture.title if titled else "")
    _name_rows(drawn, page)
    corner = page.inches(MARGIN) / page.width, page.inches(MARGIN) / page.height
    drawn.text(*corner, caption, va="bottom", fontsize=6.5)
    return drawn, page


def _lines(text: str) -> int:
    return text.count("\n") + 1


def _placed(page: Page, pairs: Sequence[PairPictures]) -> Iterator[tuple[Place, Picture, bool]]:
    """Each picture, the space for it, and whether its title stands above it."""
    for index, pair in enumerate(pairs):
        cells = []
        for number, picture in enumerate(pair.inputs):
            band, column = (0, number) if page.beside > 1 else (number, 0)
            cells.append((band, column, picture))
        for band, arms in enumerate(page.layout.bands):
            cells += [(band, column, pair.results[arm]) for column, arm in enumerate(arms, page.beside)]
        for band, column, picture in cells:
            place = Place(page.left(column), page.top(index, band), page.column, page.rows[index])
            yield place, picture, page.title(index, band) > 0


def _draw(drawn: Figure, page: Page, place: Place, picture: Picture) -> None:
    axis = _axes(drawn, page, place if picture.image is None else _fitted(page, place, picture.image))
    axis.set_label(picture.key)
    if picture.image is not None:
        axis.imshow(picture.image, interpolation="none", aspect="auto")
    if picture.status != "finished":
        _mark(axis, picture.status, missing=picture.image is None)


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


def _write(drawn: Figure, page: Page, place: Place, picture: Picture, *, title: str) -> None:
    """The name above a picture, and what stands below it."""
    middle, inches = (place.left + place.width / 2) / page.width, place.width / page.dpi
    above = 1 - (place.top - page.inches(0.03)) / page.height
    below = 1 - (place.top + place.height + page.inches(0.025)) / page.height
    for text, y, side, points in ((title, above, "bottom", 8), (picture.below, below, "top", 6)):
        if text:
            drawn.text(
                middle, y, text, ha="center", va=side, fontsize=_fitting(points, inches, text),
                linespacing=1.15, parse_math=False,
            )  # fmt: skip


def _name_rows(drawn: Figure, page: Page) -> None:
    middle = (page.left(page.beside) - page.inches(0.6 * STRIP)) / page.width
    for pair, height in enumerate(page.rows):
        for band, name in enumerate(page.layout.names):
            center = 1 - (page.top(pair, band) + height / 2) / page.height
            drawn.text(
                middle, center, name, rotation=90, ha="center", va="center",
                fontsize=_fitting(8, height / page.dpi, name),
            )  # fmt: skip


def _fitting(points: float, inches: float, text: str) -> float:
    """A font size of at most so many points in which no line of a text is longer than that."""
    longest = max(map(len, text.split("\n")))
    return min(points, 72 * inches / (0.6 * max(longest, 1)))
