"""A contact sheet of any sweep's pictures: a row for each pair, a column for each cell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from matplotlib.figure import Figure

from analysis import labels, stylizations
from analysis.drawing import captions, page, pictures, style
from analysis.drawing.page import PairPictures
from analysis.drawing.style import save
from analysis.stylizations import Arm, Stylizations
from analysis.tables import CellsError
from analysis.tables.runs import telling_settings

__all__ = ["SHEET_ENTRIES", "load", "make", "save"]

SHEET_ENTRIES = ("stylize", "train_feedforward")
"""Experiments whose runs have pictures, each run of one network."""

PAGE_COLUMNS, PAGE_HEIGHT = 7, 9.0
"""Limits of a page: columns, inputs included, and inches of pictures, unless one row needs more."""


def load(overrides: Sequence[str], runs: Path, entry: str, *, partial: bool) -> Stylizations:
    """Return the pictures of the sweep that these overrides name; see `stylizations.load_stylizations`.

    Raises:
        CellsError: `stylizations.load_stylizations` raises it, or the sweep has no pictures.
    """
    if entry not in SHEET_ENTRIES:
        scripts = " or ".join(f"{one}.py" for one in SHEET_ENTRIES)
        rule, remedy = f"should be computed by {scripts}, to have pictures", "`plot` draws its numbers."
        raise CellsError("experiment", rule, f"{entry}.py", remedy)
    return stylizations.load_stylizations(list(overrides), runs, entry=entry, partial=partial)


def make(data: Stylizations, *, pairs: int | None = None) -> Iterator[tuple[str, Figure]]:
    """Yield the pages with the ends of their names; each page is made when it is asked for.

    Args:
        data: The pictures.
        pairs: The largest number of pairs, evenly spread over all; None for all.
    """
    shown = [data.pairs[index] for index in page.spread(len(data.pairs), pairs or len(data.pairs))]
    pages = _pages(data, shown)
    first, second = next(pages), next(pages, None)
    if second is None:
        yield "", _draw(data, *first)
        return
    for number, one in enumerate(chain([first, second], pages), start=1):
        yield f"_{number}", _draw(data, *one)


def _pages(
    data: Stylizations, pairs: Sequence[tuple[str, str]]
) -> Iterator[tuple[Sequence[Arm], list[PairPictures]]]:
    """Yield cells side by side, and pairs below each other, as many as have room."""
    titles = _titles(data)
    most = PAGE_COLUMNS - len(data.roles)
    across = math.ceil(len(data.arms) / math.ceil(len(data.arms) / most))
    for start in range(0, len(data.arms), across):
        arms = data.arms[start : start + across]
        rows: list[PairPictures] = []
        for pair in pairs:
            made = pictures.in_columns(pictures.of_pair(data, pair, arms), titles[start : start + across])
            if rows and page.height(_rows([*rows, made])) > PAGE_HEIGHT:
                yield arms, rows
                rows = []
            rows.append(made)
        yield arms, rows


def _titles(data: Stylizations) -> list[str]:
    """Return the swept settings of each cell, one on each line; its network if nothing was swept."""
    runs = data.tables.runs
    return list(labels.settings(runs, telling_settings(runs) or ["network.name"], "\n"))


def _rows(pairs: Sequence[PairPictures]) -> list[page.PictureRow]:
    return page.rows(pairs, [range(len(pairs[0].results))])


def _draw(data: Stylizations, arms: Sequence[Arm], pairs: list[PairPictures]) -> Figure:
    rows = _rows(pairs)
    caption = captions.caption_lines(_where(data, arms, pairs), *pictures.picture_notes(data))
    with style.figure(page.height(rows), caption=caption, data=data) as (drawn, [panel]):
        page.draw_rows(panel, rows)
    return drawn


def _where(data: Stylizations, arms: Sequence[Arm], pairs: Sequence[PairPictures]) -> str:
    """Return the part of the sweep that a page shows, in words."""
    runs, first, last = data.tables.runs, arms[0].index + 1, arms[-1].index + 1
    columns = ", ".join(map(labels.axis, telling_settings(runs))) or "nothing"
    name = arms[0].config["name"]
    return (
        f"{name}, which swept {columns}: cells {first} to {last} of {len(data.arms)}; "
        f"{len(pairs)} of {len(data.pairs)} pairs ({labels.sizes(runs)})."
    )
