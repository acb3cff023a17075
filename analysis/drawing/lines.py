"""Lines in panels, distinct for colour-blind eyes and on grey paper; one legend for all panels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.transforms import ScaledTranslation

from analysis.drawing.style import WIDTH


@dataclass(frozen=True)
class LineStyle:
    """The style of one line, in every panel.

    Attributes:
        color: Colour of the line and its marker.
        marker: One of matplotlib's filled markers.
        dash: Points on and off; none for a solid line.
        hollow: Whether the marker is a ring, which shows what lies below.
        width: Width of the line in points.
    """

    color: str
    marker: str
    dash: tuple[float, ...] = ()
    hollow: bool = False
    width: float = 1.2


# Okabe and Ito's colours: networks with shortcuts are warm, others cold. Markers tell them apart in grey.
NETWORK_STYLES = {
    "resnet50": LineStyle("#D55E00", "o"),
    "pseudo_resvgg": LineStyle("#E69F00", "s"),
    "noresnet50": LineStyle("#0072B2", "^"),
    "pseudo_vgg": LineStyle("#56B4E9", "v"),
    "vgg19": LineStyle("#000000", "D"),
}
OTHERS = (
    LineStyle("#009E73", "P"),
    LineStyle("#CC79A7", "X"),
    LineStyle("#7F7F7F", "p"),
    LineStyle("#8C6D31", "<"),
)

DASHES: tuple[tuple[float, ...], ...] = ((4, 2), (1, 1.2), (5, 1.5, 1, 1.5))
"""Dashes of smoothings, one each."""

THICK, THIN = 2.3, 0.9
"""Widths in points, first line to last, so that of coinciding lines the lower one shows on both sides."""

ASIDE = 3.5
"""Points by which lines at one place stand beside each other, so that all their markers are seen."""

SPREAD = 0.8
"""Share of the room at a place that its points of several colours take, as in seaborn."""

_LETTER, HANDLE, _ROW = 0.06, 0.63, 0.16
"""Inches in a legend: a letter, a line with the space around it, and a row."""


def line_styles(names: Sequence[str]) -> list[LineStyle]:
    """Return the style of each network, or of other kinds of lines; the paper's five networks keep theirs.

    Args:
        names: Names of the networks. The first of several equal names has the network's own style.
    """
    free = iter(
        [*OTHERS, *(style for name, style in NETWORK_STYLES.items() if name not in names)] * len(names)
    )
    step = (THICK - THIN) / max(len(names) - 1, 1)
    return [
        replace(
            NETWORK_STYLES[name] if name in NETWORK_STYLES and name not in names[:index] else next(free),
            width=THICK - step * index,
        )
        for index, name in enumerate(names)
    ]


def graded_styles(count: int) -> list[LineStyle]:
    """Return a number of line styles, from dark to light."""
    markers = [style.marker for style in (*NETWORK_STYLES.values(), *OTHERS)]
    colors = sns.color_palette("viridis", count + 1).as_hex()[:count]  # the last is too light for lines
    return [LineStyle(color, markers[index % len(markers)]) for index, color in enumerate(colors)]


def styles_of(table: pd.DataFrame) -> dict[str, LineStyle]:
    """Return the style of each `label` of a table, in its order, chosen by the `network.name` beside it."""
    first = table.drop_duplicates("label")
    return dict(zip(first["label"], line_styles(first["network.name"].tolist()), strict=True))


def smoothed_style(style: LineStyle, smoothing: int) -> LineStyle:
    """Return a line style for a smoothing: dashed, with rings as markers; smoothing 0 leaves it as it is."""
    if smoothing == 0:
        return style
    return replace(style, dash=DASHES[(smoothing - 1) % len(DASHES)], hollow=True, width=THIN)


def draw_lines(
    axis: Axes, table: pd.DataFrame, styles: Mapping[str, LineStyle], *, aside: float = ASIDE, **options: Any
) -> None:
    """Draw seaborn's lines of means, one for each `label` of the table.

    Set scales afterwards: on a logarithmic axis seaborn takes means of logarithms.

    Args:
        axis: The panel.
        table: One row for each value.
        styles: Line styles by label; the first is drawn first.
        aside: Points by which lines at one place stand beside each other; their x values tell where they
            belong.
        options: Options of `seaborn.lineplot`: `x`, `y` and `errorbar`.
    """
    names = [name for name in styles if (table["label"] == name).any()]
    sns.lineplot(
        table, hue="label", style="label", size="label", hue_order=names, style_order=names, size_order=names,
        palette={name: styles[name].color for name in names}, markers={n: styles[n].marker for n in names},
        dashes={name: styles[name].dash or "" for name in names},
        sizes={name: styles[name].width for name in names},
        legend=False, ax=axis, err_kws={"linewidth": 0}, **options,
    )  # fmt: skip
    places = list(dict.fromkeys((style.color, style.marker) for style in styles.values()))
    for name, line, band in zip(names, axis.get_lines(), axis.collections, strict=True):
        style = styles[name]
        line.set(label=name, markeredgecolor=style.color, markeredgewidth=0.8, markersize=4)
        if style.hollow:
            line.set(markerfacecolor="none", markersize=7.5)
        rank = places.index((style.color, style.marker)) - (len(places) - 1) / 2
        shift = ScaledTranslation(rank * aside / 72, 0, axis.figure.dpi_scale_trans)
        for artist in (line, band):
            artist.set_transform(axis.transData + shift)


def draw_points(
    axis: Axes, table: pd.DataFrame, styles: Mapping[str, LineStyle], *, order: Sequence[str], **options: Any
) -> None:
    """Draw seaborn's points of means with intervals, and the values behind them, a colour for each `label`.

    Args:
        axis: The panel. Set its scale afterwards, see `draw_lines`.
        table: One row for each value.
        styles: Line styles by label, side by side at each place.
        order: The places in order.
        options: Options of `seaborn.pointplot`: `x`, `y`, `errorbar` and `seed`.
    """
    names, apart = list(styles), SPREAD * (1 - 1 / len(styles))
    shared: dict[str, Any] = {"x": options["x"], "y": options["y"], "hue": "label", "hue_order": names}
    palette = {name: style.color for name, style in styles.items()}
    sns.stripplot(
        table, **shared, order=order, palette=palette, dodge=True, size=2.4, alpha=0.4, jitter=0.12,
        legend=False, ax=axis,
    )  # fmt: skip
    sns.pointplot(
        table, **(shared | options), order=order, palette=palette, dodge=apart or False, linestyle="none",
        markers=[style.marker for style in styles.values()], markersize=4.5, err_kws={"linewidth": 1.2},
        legend=False, ax=axis,
    )  # fmt: skip
    for name, style in styles.items():
        axis.plot(
            [], [], color=style.color, marker=style.marker, linestyle="none", markersize=4.5, label=name
        )


def draw_seeds(
    axis: Axes, table: pd.DataFrame, panel: tuple[str, str], styles: Mapping[str, LineStyle], *, x: str
) -> pd.DataFrame:
    """Draw lines of one statistic and definition, with bands from the lowest to the highest seed.

    Returns the rows of the table that are drawn.

    Args:
        axis: The panel.
        table: One row for each `label`, seed, x, `statistic` and `definition`, with its `value`.
        panel: The statistic and definition.
        styles: Line styles by label.
        x: The column of x.
    """
    statistic, definition = panel
    shown = table[(table["statistic"] == statistic) & (table["definition"] == definition)]
    draw_lines(axis, shown, styles, x=x, y="value", errorbar=("pi", 100), aside=0)
    return shown


def intervals(axis: Axes, x: Any, y: Any, style: LineStyle, **options: Any) -> None:
    """Draw points with error bars that were computed elsewhere, and a line through them.

    Args:
        axis: The panel.
        x: The x values of the points.
        y: The y values of the points.
        style: The style of the points.
        options: Options of matplotlib's `errorbar`: `xerr`, `yerr` and `label`.
    """
    dash = (0, style.dash) if style.dash else "-"
    defaults: dict[str, Any] = {"linestyle": dash, "markersize": 4, "linewidth": style.width}
    axis.errorbar(
        x, y, color=style.color, marker=style.marker, markeredgewidth=0.9,
        markerfacecolor="white" if style.hollow else style.color, elinewidth=0.9, **(defaults | options),
    )  # fmt: skip


def legend_columns(names: Sequence[str], width: float = WIDTH) -> int:
    """Return the number of columns in a legend of this width; names fill one column after the other."""
    for count in range(len(names), 1, -1):
        columns = np.array_split([len(name) for name in names], count)  # matplotlib fills columns so
        if sum(HANDLE + _LETTER * column.max() for column in columns) <= width:
            return count
    return 1


def legend_height(names: Sequence[str], columns: int = 0, width: float = WIDTH) -> float:
    """Return the height, in inches, of the legend of these names in at most that many columns."""
    most = legend_columns(names, width)
    return _ROW * math.ceil(len(names) / (min(columns, most) if columns else most))


def add_legend(
    drawn: FigureBase, axes: Iterable[Axes], order: Sequence[str], columns: int = 0, width: float = WIDTH
) -> None:
    """Add one legend below these panels, for all their lines.

    Args:
        drawn: The figure or part of it that holds the panels.
        axes: The panels.
        order: Order of the names; those without a line are left out.
        columns: The largest number of columns; 0 sets no limit.
        width: The figure's width in inches.
    """
    handles: dict[str, Any] = {}
    for axis in axes:
        handles.update({name: line for line, name in zip(*axis.get_legend_handles_labels(), strict=True)})
    names = [name for name in order if name in handles]
    most = legend_columns(names, width)
    drawn.legend(
        [handles[name] for name in names], names, loc="outside lower center", borderpad=0.3, labelspacing=0.3,
        ncols=min(columns, most) if columns else most,
    )  # fmt: skip
