"""Readers of what a figure shows."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def texts(drawn: Figure) -> list[Text]:
    """All that is to be read, but for ticks outside the limits of their axis."""
    of_ticks = {
        text
        for axis in drawn.axes
        for side in (axis.xaxis, axis.yaxis)
        for tick in [*side.get_major_ticks(), *side.get_minor_ticks()]
        if tick not in [*side._update_ticks()]
        for text in (tick.label1, tick.label2)
    }
    return [
        text
        for text in drawn.findobj(Text)
        if text.get_text() and text.get_visible() and text not in of_ticks
    ]


def words(drawn: Figure) -> list[str]:
    return [text.get_text() for text in texts(drawn)]


def caption(drawn: Figure) -> str:
    return " ".join(drawn.get_supxlabel().split())


def legend(drawn: Figure) -> list[str]:
    [one] = drawn.findobj(Legend)
    return [text.get_text() for text in one.get_texts()]


def by_label(drawn: Figure) -> dict[str, Axes]:
    """The axes of results of pairs."""
    return {str(axis.get_label()): axis for axis in drawn.axes if "__" in str(axis.get_label())}


def box(axis: Axes) -> Bbox:
    """Return where a panel or picture stands, in inches."""
    bounds = axis.get_window_extent().bounds
    return Bbox.from_bounds(*(length / axis.figure.dpi for length in bounds))


def assert_legible(drawn: Figure) -> None:
    """Nothing is clipped at an edge, and no words run into others: of captions, legends, titles and panels."""
    renderer = drawn.canvas.get_renderer()
    drawn.draw_without_rendering()
    width, height = drawn.bbox.size
    for text in texts(drawn):
        place = text.get_window_extent(renderer)
        inside = min(place.x0, place.y0) >= -1 and place.x1 <= width + 1 and place.y1 <= height + 1
        assert inside, f"{text.get_text()!r} at {place}"
    boxes = [drawn._supxlabel.get_window_extent(renderer)]
    boxes += [one.get_window_extent(renderer) for one in drawn.findobj(Legend)]
    boxes += [axis.get_tightbbox(renderer) for axis in drawn.axes if axis.get_lines()]
    pictures = [axis for axis in drawn.axes if not axis.get_lines()]
    boxes += [
        text.get_window_extent(renderer)
        for axis in pictures
        for text in (axis.title, axis.xaxis.label, axis.yaxis.label)
        if text.get_text()
    ]
    for index, place in enumerate(boxes):
        assert not any(place.padded(-1).overlaps(other) for other in boxes[:index])
