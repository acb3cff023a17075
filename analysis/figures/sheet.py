"""A contact sheet of any sweep's pictures, by default with a row for each pair and a column for each cell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import labels, stylizations
from analysis.drawing import page, style
from analysis.drawing.page import PageCell, PairPictures
from analysis.drawing.style import save
from analysis.stylizations import PICTURE_ROLES, Stylizations
from analysis.tables import CellsError
from analysis.tables.runs import telling_settings
from experiments.asking import Wanted
from experiments.programs import NAMES, PICTURED
from swag_repro.errors import SettingError

__all__ = ["load", "make", "save"]

PAGE_COLUMNS, PAGE_HEIGHT = 7, 9.0
"""Limits of a page: columns, inputs included, and inches of pictures, unless one row needs more."""


def load(wanted: Wanted, *, partial: bool) -> Stylizations:
    """Return the pictures of these cells; see `stylizations.read_stylizations`.

    Raises:
        CellsError: `stylizations.read_stylizations` raises it, or the cells have no pictures.
    """
    if wanted.entry not in PICTURED:
        names = " or ".join(f"swag {NAMES[entry]}" for entry in PICTURED)
        rule, found = f"should be computed by {names}, to have pictures", f"swag {NAMES[wanted.entry]}"
        raise CellsError("experiment", rule, found, "`swag plot` draws its numbers.")
    return stylizations.read_stylizations(wanted, partial=partial)


def make(
    data: Stylizations, *, pairs: int | None = None, row: str | None = None, col: str | None = None
) -> Iterator[tuple[str, Figure]]:
    """Yield the pages with the ends of their names; each page is made when it is asked for.

    Args:
        data: The pictures.
        pairs: The largest number of pairs, evenly spread over all; None for all.
        row: Swept settings, `content` or `style`, separated by commas, whose values are rows.
        col: The same for columns; None for all settings that are no rows. All others are rows.

    Raises:
        SettingError: A setting was not swept.
    """
    shown = [data.pairs[index] for index in page.spread(len(data.pairs), pairs or len(data.pairs))]
    down, across = _sides(data.tables.runs, row, col)
    beside = [role for role in data.roles if role in down]
    pages = _pages(data, _place(data, shown, down, across), beside)
    first, second = next(pages), next(pages, None)
    if second is None:
        yield "", _draw(data, *first)
        return
    for number, one in enumerate(chain([first, second], pages), start=1):
        yield f"_{number}", _draw(data, *one)


def _sides(runs: pd.DataFrame, row: str | None, col: str | None) -> tuple[list[str], list[str]]:
    """Return what rows tell apart, and what columns do: swept settings, content and style, each once."""
    settings = [column for column in telling_settings(runs) if column not in PICTURE_ROLES]
    down = _columns("row", row, [*settings, *PICTURE_ROLES])
    left = [column for column in (*settings, *PICTURE_ROLES) if column not in down]
    across = [one for one in left if one not in PICTURE_ROLES] if col is None else _columns("col", col, left)
    return [*down, *(one for one in left if one not in across)], across


def _columns(side: str, named: str | None, known: Sequence[str]) -> list[str]:
    """Return the whole names of settings, such as `network.name` for `network`."""
    columns = {one.removesuffix(".name"): one for one in known} | {one: one for one in known}
    names = [] if named is None else named.split(",")
    if unknown := [name for name in names if name not in columns]:
        there = ", ".join(one.removesuffix(".name") for one in known)
        raise SettingError(
            side, "should be settings that were swept", ", ".join(unknown), f"There are {there}."
        )
    return [columns[name] for name in names]


def _place(
    data: Stylizations, pairs: Sequence[tuple[str, str]], down: Sequence[str], across: Sequence[str]
) -> pd.DataFrame:
    """Return one row for each picture: its `cell`, inputs, the words of its `column`, and those of its `row`.

    A missing cell has a place for each pair, where no other cell has a picture.
    """
    order = {pair: number for number, pair in enumerate(pairs)}
    lost = [(arm.index, *pair) for arm in data.arms if arm.missing for pair in pairs]
    known = ["cell", *PICTURE_ROLES]
    placed = pd.concat([data.table[known], pd.DataFrame(lost, columns=known)], ignore_index=True)
    placed["pair"] = list(map(order.get, zip(placed["content"], placed["style"], strict=True)))
    placed = placed.dropna(subset="pair")
    placed["column"] = _words(data, placed, across or ["network.name"], "\n")
    placed["name"] = _words(data, placed, [one for one in down if one not in PICTURE_ROLES], ", ")
    beside = [role for role in PICTURE_ROLES if role in down]
    placed["row"] = list(zip(*(placed[one] for one in (*beside, "name")), strict=True))
    return placed.drop_duplicates(["column", "row"])


def _words(data: Stylizations, placed: pd.DataFrame, columns: Sequence[str], between: str) -> list[str]:
    """Return the values of these columns, in words, for each picture."""
    settings = [column for column in columns if column not in PICTURE_ROLES]
    words: list[Any] = [placed[role] for role in columns if role in PICTURE_ROLES]
    if settings:
        words.append(labels.settings(data.tables.runs, settings, between)[placed["cell"]])
    return list(map(between.join, zip(*words, strict=True))) if words else [""] * len(placed)


def _pages(
    data: Stylizations, placed: pd.DataFrame, beside: Sequence[str]
) -> Iterator[tuple[pd.DataFrame, list[page.PictureRow]]]:
    """Yield columns with these inputs at their left, and rows below each other, as many as have room."""
    columns = list(placed.sort_values("cell", kind="stable")["column"].unique())
    most = PAGE_COLUMNS - len(beside)
    across = math.ceil(len(columns) / math.ceil(len(columns) / most))
    ordered = [part for _, part in placed.sort_values(["pair", "cell"]).groupby("row", sort=False)]
    for start in range(0, len(columns), across):
        shown, parts, rows = columns[start : start + across], list[pd.DataFrame](), list[page.PictureRow]()
        for part in ordered:
            made = _row(data, part, shown, beside, titled=not rows)
            if rows and page.height([*rows, made]) > PAGE_HEIGHT:
                yield pd.concat(parts), rows
                parts, rows, made = [], [], replace(made, titled=True)
            parts.append(part[part["column"].isin(shown)])
            rows.append(made)
        yield pd.concat(parts), rows


def _row(
    data: Stylizations, part: pd.DataFrame, columns: Sequence[str], beside: Sequence[str], *, titled: bool
) -> page.PictureRow:
    """Return one row of pictures, with these inputs at their left."""
    pairs = list(zip(part["content"], part["style"], strict=True))
    at = dict(zip(part["column"], zip(part["cell"], pairs, strict=True), strict=True))
    nothing = PageCell("", "", None, status="–")
    made = [page.result(data, data.arms[at[one][0]], at[one][1]) if one in at else nothing for one in columns]
    inputs = [one for one in page.inputs(data, pairs[0]) if one.title in beside]
    shown = page.in_columns(PairPictures(tuple(inputs), tuple(made)), columns)
    return page.PictureRow(shown.inputs, shown.results, shown.size, part["name"].iloc[0], titled)


def _draw(data: Stylizations, placed: pd.DataFrame, rows: list[page.PictureRow]) -> Figure:
    caption = style.caption_lines(_where(data, placed), *page.picture_notes(data))
    with style.figure(page.height(rows), caption=caption, data=data) as (drawn, [panel]):
        page.draw_rows(panel, rows)
    return drawn


def _where(data: Stylizations, placed: pd.DataFrame) -> str:
    """Return the part of the sweep that a page shows, in words."""
    runs = data.tables.runs
    columns = ", ".join(map(labels.axis, telling_settings(runs))) or "nothing"
    name = data.arms[0].config["name"]
    return (
        f"{name}, which swept {columns}: {placed['cell'].nunique()} of {len(data.arms)} cells; "
        f"{placed['pair'].nunique()} of {len(data.pairs)} pairs ({labels.sizes(runs)})."
    )
