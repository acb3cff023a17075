"""Stylised pictures, one column for each arm, with measures below each: SWAG's Figures 1, 2, 6 and 7.

More arms than fit side by side stand in several bands; each pair then takes as many rows. Inputs on which
nothing depends are left out: the style of a content-only objective, the content of a style-only one.
"""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.figure import Figure

from analysis.drawing import captions, pictures, style
from analysis.drawing.page import Layout, draw, spread
from analysis.stylizations import Stylizations, load

__all__ = ["load", "make", "save"]

PAIRS = 4
COLUMNS = 7
"""At most so many pictures stand side by side, inputs included."""


def make(data: Stylizations, *, pairs: int = PAIRS) -> Figure:
    """The grid of at most so many pairs, evenly spread over all."""
    shown = [pictures.of_pair(data, data.pairs[index]) for index in spread(len(data.pairs), pairs)]
    caption = captions.lines(
        f"{pictures.told(data, len(shown))} {captions.arms(data)}", *pictures.explained(data)
    )
    with style.printed():
        drawn, _ = draw(shown, Layout(_bands(len(data.arms), len(data.roles))), caption)
        style.mark_partial(drawn, data.tables)
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
    paths = style.save(drawn, folder / name, title=name, description=data.tables.description, dpi=drawn.dpi)
    return [*paths, style.save_table(data.table, folder / f"{name}.csv")]


def _bands(arms: int, inputs: int) -> tuple[tuple[int, ...], ...]:
    """All side by side with the inputs; or several bands beside one column of these."""
    count = 1 if arms + inputs <= COLUMNS else max(2, math.ceil(arms / (COLUMNS - 1)))
    size = math.ceil(arms / count)
    return tuple(tuple(range(start, min(start + size, arms))) for start in range(0, arms, size))
