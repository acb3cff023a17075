"""Stylised pictures, one column for each arm, with measures below each: SWAG's Figures 1, 2, 6 and 7.

If more arms exist than fit side by side, they stand in several bands, and each pair takes as many rows.
Inputs without effect are left out: the style of a content-only objective, the content of a style-only one.
"""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from analysis.drawing import captions, page, style
from analysis.drawing.style import save
from analysis.stylizations import Stylizations
from analysis.stylizations import load_stylizations as load

__all__ = ["load", "make", "save"]

_PAIRS = 4
_COLUMNS = 7
"""Largest number of pictures side by side, inputs included."""


def make(data: Stylizations, *, pairs: int = _PAIRS) -> Figure:
    """Draw the grid of at most `pairs` pairs, evenly spread over all."""
    shown = page.of_pairs(data, pairs)
    rows = page.rows(shown, _bands(len(data.arms), len(data.roles)))
    caption = style.caption_lines(captions.arms(data, shown=len(shown)), *page.picture_notes(data))
    with style.figure(page.height(rows), caption=caption, data=data) as (drawn, [panel]):
        page.draw_rows(panel, rows)
    return drawn


def _bands(arms: int, inputs: int) -> list[range]:
    """Return one band of all arms beside the inputs, or several bands beside one column of inputs."""
    count = 1 if arms + inputs <= _COLUMNS else max(2, math.ceil(arms / (_COLUMNS - 1)))
    size = math.ceil(arms / count)
    return [range(start, min(start + size, arms)) for start in range(0, arms, size)]
