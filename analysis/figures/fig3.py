"""SWAG's Figure 3: peaks and entropies of activations and of their Gram matrices, layer by layer.

Beside the figure, a second page shows the entropies under both definitions: the paper's softmax reading
confounds peaks with scale, and is 1 by construction where a smoothing keeps values below 1. A third shows
measures of shape, which don't see scale. Where batch norm is swept, one page shows its modes side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing import labels, style
from analysis.points import Points, load

__all__ = ["load", "make", "save"]

HEIGHT = 2.35
"""Inches, of a row of panels with their titles."""

LONG = 9
"""Characters of a layer's name that stand on one line."""

NEAR_ONE = 0.99
DODGE = 0.1
"""Between the markers of two networks at one layer: lines may coincide, their markers never do."""

THICK, THIN = 2.3, 0.9
"""Line widths in points, first network to last: of lines that coincide, the one below shows on both sides."""


@dataclass(frozen=True)
class Panel:
    """What one panel shows."""

    title: str
    quantity: str
    statistic: str
    definition: str | None = None
    batchnorm: str | None = None

    def points(self, table: pd.DataFrame) -> pd.DataFrame:
        """This panel's points."""
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
        panels: From left to right, then down.
        note: What the caption says of them.
        compared: Whether the two panels of a row show one quantity, and share its axis.
    """

    panels: tuple[Panel, ...]
    note: str = ""
    compared: bool = False

    @property
    def rows(self) -> int:
        """Of panels."""
        return len(self.panels) // 2


F, G = r"F^{\,l}", r"G^{\,l}/D_l M_l"
ENTROPY = "normalized_entropy"
AXES = {
    "maximum": "maximum (log scale)",
    ENTROPY: "normalised entropy, 0–1",
    "max_over_rms": "max / RMS",
    "kurtosis": "kurtosis",
    "participation_ratio": "part of the values, 0–1",
    "effective_rank": "effective rank, 1 to $D_l$",
}
FIG3 = (
    Panel(f"(a) Maximum of ${F}$", "activation", "maximum"),
    Panel(f"(b) Normalised entropy of ${F}$ (softmax)", "activation", ENTROPY, "softmax"),
    Panel(f"(c) Maximum of ${G}$", "gram_per_dm", "maximum"),
    Panel(f"(d) Normalised entropy of ${G}$ (softmax)", "gram_per_dm", ENTROPY, "softmax"),
)
DEFINITIONS = (
    Panel(f"(a) Entropy of ${F}$, softmax (the paper's)", "activation", ENTROPY, "softmax"),
    Panel(f"(b) Entropy of ${F}$, linear: $p = |F|/\\Sigma|F|$", "activation", ENTROPY, "linear"),
    Panel(f"(c) Entropy of ${G}$, softmax", "gram_per_dm", ENTROPY, "softmax"),
    Panel(f"(d) Entropy of ${G}$, linear: $p = |G|/\\Sigma|G|$", "gram_per_dm", ENTROPY, "linear"),
)
SHAPE = (
    Panel(f"(a) max / RMS of ${F}$", "activation", "max_over_rms"),
    Panel(f"(b) Kurtosis of ${F}$ (a normal distribution has 3)", "activation", "kurtosis"),
    Panel(
        f"(c) Participation ratio of ${F}$: $(\\Sigma F^2)^2/N\\Sigma F^4$",
        "activation",
        "participation_ratio",
    ),
    Panel(
        "(d) Effective rank of $G^{\\,l}$: $(\\Sigma\\lambda)^2/\\Sigma\\lambda^2$", "gram", "effective_rank"
    ),
)
SCALE_FREE = "Before any smoothing. None of these changes when activations are multiplied by a number."
BATCHNORM = (
    "batchnorm=eval: running statistics, which in a random network are 0 and 1, so nothing is normalised; "
    "batchnorm=batch: each channel of an image by its own mean and deviation."
)


def make(points: Points) -> dict[str, Figure]:
    """The figure, under the key of an empty string, and other pages, under the ends of their names.

    The page of shape needs lines of networks without a smoothing.
    """
    modes = tuple(points.table["batchnorm"].unique())
    if len(modes) > 1:
        return {"": _draw(points, Page(_side_by_side(modes), BATCHNORM, compared=True))}
    pages = {"": _draw(points, Page(FIG3)), "_definitions": _draw(points, Page(DEFINITIONS))}
    # A saturated smoothing is so peaked that on its axes all others would lie on one line.
    plain = points.table[points.table["smoothing"] == 0]
    if not plain.empty:
        pages["_shape"] = _draw(replace(points, table=plain), Page(SHAPE, SCALE_FREE))
    return pages


def _side_by_side(modes: tuple[str, ...]) -> tuple[Panel, ...]:
    shown = (
        (f"Maximum of ${F}$", "maximum", None),
        (f"Entropy of ${F}$ (softmax)", ENTROPY, "softmax"),
        (f"max / RMS of ${F}$", "max_over_rms", None),
    )
    letters = iter("abcdef")
    return tuple(
        Panel(f"({next(letters)}) {title}, batchnorm={mode}", "activation", statistic, definition, mode)
        for title, statistic, definition in shown
        for mode in modes
    )


def save(figures: dict[str, Figure], points: Points, folder: Path, name: str) -> list[Path]:
    """Writes the figures (PNG and PDF) and the numbers behind every point (CSV).

    Args:
        figures: From `make`.
        points: What they were made from.
        folder: Made where it is missing.
        name: The first part of each file's name.

    Raises:
        StoreError: The files can't be written.
    """
    description = points.tables.description
    paths = [
        path
        for suffix, drawn in figures.items()
        for path in style.save(
            drawn, folder / f"{name}{suffix}", title=name + suffix, description=description
        )
    ]
    return [*paths, style.save_table(points.table, folder / f"{name}.csv")]


def _draw(points: Points, page: Page) -> Figure:
    layers = _layers(points.table)
    caption = _caption(page, points)
    height = HEIGHT * page.rows
    names = max(label.count("\n") for label in layers.values())
    foot = 0.93 + 0.13 * (names + points.table["smoothing"].nunique() + caption.count("\n"))  # inches
    with style.printed():
        drawn = style.figure(height=height + foot)
        axes = drawn.subplots(page.rows, 2, sharex=True, sharey="row" if page.compared else "none")
        for axis, panel in zip(axes.flat, page.panels, strict=True):
            _draw_panel(axis, panel, points)
        for axis in axes[-1]:
            axis.set_xticks(list(layers), list(layers.values()))
            axis.set_xlim(min(layers) - 0.45, max(layers) + 0.45)
            axis.set_xlabel("layer used by the losses")
        for axis in axes[:, 1] if page.compared else ():
            axis.set_ylabel("")
        top, bottom = 1 - 0.24 / (height + foot), foot / (height + foot)
        drawn.subplots_adjust(left=0.085, right=0.985, top=top, bottom=bottom, hspace=0.17, wspace=0.2)
        _explain(drawn, points, caption)
        style.mark_partial(drawn, points.tables)
    return drawn


def _draw_panel(axis: Axes, panel: Panel, points: Points) -> None:
    networks = points.table.groupby("network")["network.name"].first()
    looks = style.looks(list(networks))
    for _, line in panel.points(points.table).groupby("line", sort=False):
        network, smoothing = line[["network", "smoothing"]].iloc[0]
        _draw_line(axis, line, looks[network], Place(network, len(networks), smoothing))
    axis.set_title(panel.title, loc="left")
    axis.set_ylabel(AXES[panel.statistic])
    if panel.statistic == ENTROPY:
        axis.set_ylim(-0.04, 1.06)
    elif panel.statistic == "maximum":
        axis.set_yscale("log")
    else:
        style.scale(axis, "y", panel.points(points.table)["mean"])


@dataclass(frozen=True)
class Place:
    """Which of all lines a line is: the rank of its network among so many, and of its smoothing."""

    network: int
    networks: int
    smoothing: int

    @property
    def shift(self) -> float:
        """Of the markers, along the layers."""
        return DODGE * (self.network - (self.networks - 1) / 2)

    @property
    def width(self) -> float:
        """Of the line, in points."""
        return THICK - (THICK - THIN) * self.network / max(self.networks - 1, 1)


def _draw_line(axis: Axes, line: pd.DataFrame, look: style.Look, place: Place) -> None:
    plain = place.smoothing == 0
    x = line["position"] + place.shift
    axis.plot(
        x,
        line["mean"],
        label=line["label"].iloc[0],
        color=look.color,
        linestyle=style.DASHES[place.smoothing % len(style.DASHES)],
        linewidth=place.width if plain else THIN,
        marker=look.marker,
        markersize=4
        if plain
        else 7.5,  # of one network, the ring of a smoothing lies around the plain marker
        markerfacecolor=look.color if plain else "none",
        markeredgewidth=0.8,
        zorder=3 + place.network / 10 + (0 if plain else 1),
    )
    if (line["low"] < line["high"]).any():
        axis.fill_between(x, line["low"], line["high"], color=look.color, alpha=0.2, linewidth=0, zorder=2)


def _layers(table: pd.DataFrame) -> dict[int, str]:
    """Each position's label: its number, and below it the layer's names in the networks shown."""
    names = table.groupby("position")["layer"].unique()
    return {
        position: "\n".join([str(position), *map(_broken, layers)])
        for position, layers in zip(names.index, names, strict=True)
    }


def _broken(name: str) -> str:
    """A long name, such as Conv2d_2b_3x3, on two lines: it must not run into its neighbour's."""
    return name.replace("_", "_\n", 1) if len(name) > LONG else name


def _explain(drawn: Figure, points: Points, caption: str) -> None:
    lines = {str(line.get_label()): line for axis in drawn.axes for line in axis.get_lines()}
    columns = points.table.sort_values("network", kind="stable")  # a network's lines in one column
    shown = [label for label in columns["label"].unique() if label in lines]  # a page may leave lines out
    drawn.legend(
        [lines[label] for label in shown],
        shown,
        loc="lower center",
        bbox_to_anchor=(0.5, (0.24 + 0.15 * caption.count("\n")) / drawn.get_figheight()),
        ncols=min(points.table["network"].nunique(), 5),
        frameon=False,
        handlelength=3.2,
    )
    drawn.text(0.5, 0.01, caption, ha="center", va="bottom", fontsize=7, linespacing=1.35)


def _caption(page: Page, points: Points) -> str:
    runs = points.tables.runs
    seeds, smoothings = labels.seeds(runs), labels.smoothings(runs)
    over = f"Means over {points.table['images'].max()} images ({labels.sizes(runs)})"
    if points.table["seeds"].max() > 1:
        over += f" and {seeds}; bands: smallest to largest mean of one seed"
    elif seeds:
        over += f", {seeds}"
    first = "; ".join([over, *([smoothings] if smoothings else [])]) + "."
    sentences = (first, _coinciding(page.panels, points), page.note)
    return "\n".join(fill(text, 130) for text in sentences if text)


def _coinciding(panels: tuple[Panel, ...], points: Points) -> str:
    """Which lines lie on each other at the top of the panels of entropies."""
    notes = {
        panel.title[:3]: _at_one(panel.points(points.table)) for panel in panels if panel.statistic == ENTROPY
    }
    if not any(notes.values()):
        return ""
    said = "; ".join(f"{panel} {', '.join(names) or 'none'}" for panel, names in notes.items())
    return f"At {NEAR_ONE} or above in every layer: {said}."


def _at_one(table: pd.DataFrame) -> list[str]:
    lowest = table.groupby("line", sort=False).agg(label=("label", "first"), mean=("mean", "min"))
    return list(lowest["label"][lowest["mean"] >= NEAR_ONE])
