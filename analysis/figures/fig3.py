"""SWAG's Figure 3: peaks and entropies of activations and of their Gram matrices, layer by layer.

Beside the figure, a second page shows the entropies under both definitions: the paper's softmax definition
confounds peaks with scale, and is 1 by construction where a smoothing keeps values below 1. A third page
shows measures of shape, which do not depend on scale. If batch norm is swept, one page shows its modes side
by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import labels
from analysis.drawing import lines, style
from analysis.drawing.lines import LineStyle
from analysis.drawing.style import save
from analysis.points import POINT, Points
from analysis.points import load_points as load

__all__ = ["load", "make", "save"]

_HEIGHT = 2.2
"""Height of a row of panels with their titles, in inches."""

LONGEST_NAME = 9
"""Largest number of characters of a layer's name on one line."""


@dataclass(frozen=True)
class StatisticPanel:
    """The statistic that one panel shows."""

    title: str
    quantity: str
    statistic: str
    definition: str | None = None
    batchnorm: str | None = None

    def points(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return this panel's points."""
        wanted = (table["quantity"] == self.quantity) & (table["statistic"] == self.statistic)
        if self.definition is not None:
            wanted &= table["definition"] == self.definition
        if self.batchnorm is not None:
            wanted &= table["batchnorm"] == self.batchnorm
        return table[wanted]


@dataclass(frozen=True)
class Page:
    """Panels in two columns.

    Attributes:
        panels: The panels, from left to right, then down.
        note: A sentence on them for the caption.
        compared: Whether the two panels of a row show one quantity, and share its axis.
    """

    panels: tuple[StatisticPanel, ...]
    note: str = ""
    compared: bool = False

    @property
    def rows(self) -> int:
        """The number of rows of panels."""
        return len(self.panels) // 2


F, G = r"F^{\,l}", r"G^{\,l}/D_l M_l"
_ENTROPY = "normalized_entropy"
_AXES = {
    "maximum": "maximum (log scale)",
    _ENTROPY: "normalised entropy, 0–1",
    "max_over_rms": "max / RMS",
    "kurtosis": "kurtosis",
    "participation_ratio": "part of the values, 0–1",
    "effective_rank": "effective rank, 1 to $D_l$",
}
FIG3 = (
    StatisticPanel(f"(a) Maximum of ${F}$", "activation", "maximum"),
    StatisticPanel(f"(b) Normalised entropy of ${F}$ (softmax)", "activation", _ENTROPY, "softmax"),
    StatisticPanel(f"(c) Maximum of ${G}$", "gram_per_dm", "maximum"),
    StatisticPanel(f"(d) Normalised entropy of ${G}$ (softmax)", "gram_per_dm", _ENTROPY, "softmax"),
)
DEFINITIONS = (
    StatisticPanel(f"(a) Entropy of ${F}$, softmax (the paper's)", "activation", _ENTROPY, "softmax"),
    StatisticPanel(f"(b) Entropy of ${F}$, linear: $p = |F|/\\Sigma|F|$", "activation", _ENTROPY, "linear"),
    StatisticPanel(f"(c) Entropy of ${G}$, softmax", "gram_per_dm", _ENTROPY, "softmax"),
    StatisticPanel(f"(d) Entropy of ${G}$, linear: $p = |G|/\\Sigma|G|$", "gram_per_dm", _ENTROPY, "linear"),
)
SHAPE = (
    StatisticPanel(f"(a) max / RMS of ${F}$", "activation", "max_over_rms"),
    StatisticPanel(f"(b) Kurtosis of ${F}$ (a normal distribution has 3)", "activation", "kurtosis"),
    StatisticPanel(
        f"(c) Participation ratio of ${F}$: $(\\Sigma F^2)^2/N\\Sigma F^4$",
        "activation",
        "participation_ratio",
    ),
    StatisticPanel(
        "(d) Effective rank of $G^{\\,l}$: $(\\Sigma\\lambda)^2/\\Sigma\\lambda^2$", "gram", "effective_rank"
    ),
)
SCALE_FREE = "Before any smoothing."
BATCHNORM = "batchnorm=eval normalises nothing in a random network, batch each channel of an image by itself."


def make(points: Points) -> dict[str, Figure]:
    """Draw the figure (key: an empty string) and its other pages (keys: the ends of their names).

    The page of shape needs lines of networks without a smoothing.
    """
    modes = tuple(points.table["batchnorm"].unique())
    if len(modes) > 1:
        return {"": _draw(points, Page(_side_by_side(modes), BATCHNORM, compared=True))}
    pages = {"": _draw(points, Page(FIG3)), "_definitions": _draw(points, Page(DEFINITIONS))}
    # A saturated smoothing is so peaked that all other lines would coincide on its axes.
    plain = points.table[points.table["smoothing"] == 0]
    if not plain.empty:
        pages["_shape"] = _draw(replace(points, table=plain), Page(SHAPE, SCALE_FREE))
    return pages


def _side_by_side(modes: tuple[str, ...]) -> tuple[StatisticPanel, ...]:
    shown = (
        (f"Maximum of ${F}$", "maximum", None),
        (f"Entropy of ${F}$ (softmax)", _ENTROPY, "softmax"),
        (f"max / RMS of ${F}$", "max_over_rms", None),
    )
    letters = iter("abcdef")
    return tuple(
        StatisticPanel(
            f"({next(letters)}) {title}, batchnorm={mode}", "activation", statistic, definition, mode
        )
        for title, statistic, definition in shown
        for mode in modes
    )


def _draw(points: Points, page: Page) -> Figure:
    layers, styles = _layers(points.table), _styles(points.table)
    networks = points.table["network"].nunique()
    names = max(label.count("\n") for label in layers.values())
    height = _HEIGHT * page.rows + 0.13 * names + lines.legend_height(list(styles), networks) + 0.35
    with style.figure(height, caption=_caption(page, points), data=points) as (drawn, [part]):
        axes = part.subplots(page.rows, 2, sharex=True, sharey="row" if page.compared else "none")
        for axis, panel in zip(axes.flat, page.panels, strict=True):
            _draw_lines(axis, panel, points, styles)
        for axis, panel in zip(axes.flat, page.panels, strict=True):  # the panels of a row may share a scale
            _scale(axis, panel, points)
        for axis in axes[-1]:
            axis.set_xticks(list(layers), list(layers.values()))
            axis.set(xlim=(min(layers) - 0.45, max(layers) + 0.45), xlabel="layer used by the losses")
        for axis in axes[:, 1] if page.compared else ():
            axis.set_ylabel("")
        lines.add_legend(part, axes.flat, list(styles), networks)
    return drawn


def _styles(table: pd.DataFrame) -> dict[str, LineStyle]:
    """Return line styles by label, with a network's lines side by side."""
    of_networks = lines.line_styles(list(table.groupby("network")["network.name"].first()))
    ordered = table.sort_values("network", kind="stable").drop_duplicates("label")
    return {
        label: lines.smoothed_style(of_networks[network], smoothing)
        for label, network, smoothing in ordered[["label", "network", "smoothing"]].itertuples(index=False)
    }


def _draw_lines(axis: Axes, panel: StatisticPanel, points: Points, styles: dict[str, LineStyle]) -> None:
    known = panel.points(points.table).drop(columns=["mean", "low", "high", "images", "seeds"])
    seeds = known.merge(points.by_seed, on=POINT)
    lines.draw_lines(axis, seeds, styles, x="position", y="mean", errorbar=("pi", 100))
    axis.set(title=panel.title, xlabel="", ylabel=_AXES[panel.statistic])


def _scale(axis: Axes, panel: StatisticPanel, points: Points) -> None:
    if panel.statistic == _ENTROPY:
        axis.set_ylim(-0.04, 1.06)
    elif panel.statistic == "maximum":
        axis.set_yscale("log")
    else:
        style.set_scale(axis, "y", panel.points(points.table)["mean"])


def _layers(table: pd.DataFrame) -> dict[int, str]:
    """Return each position's label: its number, and below it the layer's names in the shown networks."""
    names = table.groupby("position")["layer"].unique()
    return {
        position: "\n".join([str(position), *map(_break_name, layers)])
        for position, layers in zip(names.index, names, strict=True)
    }


def _break_name(name: str) -> str:
    """Return a long name, such as Conv2d_2b_3x3, on two lines, so that it does not touch its neighbour."""
    return name.replace("_", "_\n", 1) if len(name) > LONGEST_NAME else name


def _caption(page: Page, points: Points) -> str:
    runs = points.tables.runs
    marked = points.table["label"].str.contains("*", regex=False).any()
    seeds, smoothings = labels.seeds(runs), labels.smoothing_legend(runs) if marked else ""
    over = f"Means over {points.table['images'].max()} images ({labels.sizes(runs)})"
    if points.table["seeds"].max() > 1:
        over += f" and {seeds}; bands: smallest to largest mean of one seed"
    elif seeds:
        over += f", {seeds}"
    first = "; ".join([over, *([smoothings] if smoothings else [])]) + "."
    return style.caption_lines(f"{first} {page.note}".strip())
