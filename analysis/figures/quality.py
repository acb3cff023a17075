"""Time to a good picture: distances against seconds, and pictures, of `experiments/benchmark.py quality`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from analysis.drawing import lines, page, style
from analysis.drawing.page import PairPictures, Picture
from analysis.tables import Pixels
from swag_repro.errors import StoreError

__all__ = ["load", "make", "save"]

AUTHORS = "authors' settings"

LOOP = "authors' loop"

ONE = "one scale"
"""How the names of variants begin that stay at one scale."""

GRID = 16
"""Moments of which medians are taken, evenly spread over the logarithm of the seconds."""

BAND = 7
"""Results side by side on the page of pictures."""

PANEL = 2.6
"""Inches of a row of panels."""

DISTANCES = {"style": "style distance / target", "content": "content distance / authors' end"}


@dataclass(frozen=True)
class Curves:
    """What the benchmark wrote.

    Attributes:
        folder: where pictures lie.
        points: a row for each point of each curve: distances relative to where the authors' settings end.
        reached: a row for each variant and pair.
    """

    folder: Path
    points: pd.DataFrame
    reached: pd.DataFrame

    @property
    def variants(self) -> list[str]:
        """The textbook loop and the authors' settings first."""
        names = list(self.points["variant"].unique())
        return [name for name in (LOOP, AUTHORS) if name in names] + [
            name for name in names if name not in (LOOP, AUTHORS)
        ]


def load(folder: Path) -> Curves:
    """Reads the two tables of a benchmark's folder.

    Raises:
        StoreError: They aren't there.
    """
    try:
        points, reached = (pd.read_csv(folder / f"{name}.csv") for name in ("curves", "reached"))
    except OSError as error:
        rule, remedy = (
            "should hold curves.csv and reached.csv",
            "experiments/benchmark.py quality writes them.",
        )
        raise StoreError("folder", rule, f"{folder} ({error.strerror})", remedy) from error
    ends = points[points["variant"] == AUTHORS].groupby("pair")[list(DISTANCES)].last()
    for name in DISTANCES:
        points[f"relative_{name}"] = points[name] / points["pair"].map(ends[name])
    return Curves(folder, points, reached)


def make(curves: Curves) -> Iterator[tuple[str, Figure]]:
    """Distances against seconds, and the pictures where each variant first reached the style's target."""
    yield "", _drawn(curves)
    yield "_pictures", _pictures(curves)


def save(curves: Curves, out: Path) -> Iterator[Path]:
    """Writes the figures as PNG and PDF."""
    for end, figure in make(curves):
        for suffix in (".png", ".pdf"):
            yield style.write(figure, out / f"quality{end}{suffix}")


# --- Curves -----------------------------------------------------------------------------------------------


def medians(points: pd.DataFrame, column: str) -> pd.DataFrame:
    """Medians over pairs of a column at common moments: from the last pair's first point to the end of all.

    A curve that has ended stays where it is.
    """
    moments = np.geomspace(points["seconds"][points["seconds"] > 0].min(), points["seconds"].max(), GRID)
    rows = []
    for variant, of_variant in points.groupby("variant", sort=False):
        pairs = [curve for _, curve in of_variant.groupby("pair")]
        values = [np.interp(moments, curve["seconds"], curve[column]) for curve in pairs]
        first = max(curve["seconds"].iloc[1 if len(curve) > 1 else 0] for curve in pairs)
        last = max(curve["seconds"].iloc[-1] for curve in pairs)
        seen = (moments >= first) & (moments <= last)
        ends = np.append(moments[seen], last)
        at_end = np.median([curve[column].iloc[-1] for curve in pairs])
        middle = np.append(np.median(values, axis=0)[seen], at_end)
        rows.append(pd.DataFrame({"variant": variant, "seconds": ends, "value": middle}))
    return pd.concat(rows, ignore_index=True)


def _drawn(curves: Curves) -> Figure:
    families = _families(curves.variants)
    pairs = curves.points["pair"].nunique()
    caption = (
        f"Medians over pairs ({pairs}), by a network that was not optimised; 1: where the authors' settings "
        "end. Judging is not counted.\nPictures of coarse scales are judged enlarged. Authors' loop: their "
        "settings, each closure at what the textbook loop takes, timed in turn with all."
    )
    height = sum(PANEL + lines.legend_height(names) for names in families)
    with style.figure(height, caption=caption) as (drawn, [part]):
        rows = part.subfigures(len(families), 1, squeeze=False)[:, 0]
        for row, names in zip(rows, families, strict=True):
            axes = row.subplots(1, 2)
            for axis, name in zip(axes, DISTANCES, strict=True):
                _draw_panel(axis, curves.points, names, name)
            lines.add_legend(row, axes, names)
    return drawn


def _families(variants: Sequence[str]) -> list[list[str]]:
    """A row of panels for those at one scale, and one for the others; the authors' are in both."""
    authors = [name for name in variants if name in (LOOP, AUTHORS)]
    one = [name for name in variants if name.startswith(ONE)]
    others = [name for name in variants if name not in (*authors, *one)]
    return [[*authors, *names] for names in (one, others) if names] or [authors]


def _looks(names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Colour, marker and dash of each: the authors' in black and grey, dashes where a colour comes again."""
    known = {LOOP: ("#7F7F7F", "o", "--"), AUTHORS: ("#000000", "o", "-")}
    grey = {color for color, _, _ in known.values()}
    free = [look for look in (*lines.KNOWN.values(), *lines.OTHERS) if look.color not in grey]
    others = [name for name in names if name not in known]
    found = dict(known)
    for index, name in enumerate(others):
        look = free[index % len(free)]
        found[name] = (look.color, look.marker, "-" if index < len(free) else "--")
    return found


def _draw_panel(axis: Axes, points: pd.DataFrame, names: Sequence[str], distance: str) -> None:
    looks = _looks(names)
    shown = points[points["variant"].isin(names)]
    table = medians(shown, f"relative_{distance}")
    for name in names:
        color, marker, dash = looks[name]
        line = table[table["variant"] == name]
        sns.lineplot(
            line, x="seconds", y="value", color=color, linestyle=dash, label=name, legend=False, ax=axis,
            linewidth=1.2, marker=marker, markersize=4, markeredgewidth=0,
        )  # fmt: skip
    axis.axhline(1, color="0.5", linewidth=0.8, linestyle=":")
    axis.set(xlabel="seconds of computing", ylabel=DISTANCES[distance])
    style.scale(axis, "x", table["seconds"])
    style.scale(axis, "y", table["value"])


# --- Pictures ---------------------------------------------------------------------------------------------


def _pictures(curves: Curves) -> Figure:
    variants = [name for name in curves.variants if name != LOOP]
    pairs = [_pair(curves, str(pair), variants) for pair in curves.points["pair"].unique()]
    rows = page.rows(
        pairs, [range(first, min(first + BAND, len(variants))) for first in range(0, len(variants), BAND)]
    )
    caption = (
        "Where the authors' settings end; of each other variant the first picture of the whole size that is "
        "as near to the style (its last, with a dash, if none is).\nBelow: seconds of computing; style and "
        "content distance by a network that was not optimised."
    )
    with style.figure(page.height(rows), caption=caption) as (drawn, [part]):
        page.draw(part, rows)
    return drawn


def _pair(curves: Curves, pair: str, variants: Sequence[str]) -> PairPictures:
    of_pair = curves.points[curves.points["pair"] == pair]
    first = of_pair[of_pair["variant"] == AUTHORS].iloc[0]
    inputs = [("content", first["image"]), ("style", first["style_image"])]
    results = [_result(curves, of_pair[of_pair["variant"] == name], pair, name) for name in variants]
    return PairPictures(
        tuple(Picture(title, title, _read(curves.folder / image)) for title, image in inputs), tuple(results)
    )


def _result(curves: Curves, curve: pd.DataFrame, pair: str, name: str) -> Picture:
    if curve.empty:
        return Picture(name, f"{pair}__{name}", None, status="missing")
    near = curve[(curve["relative_style"] <= 1) & (curve["scale"] == 1) & (curve["closures"] > 0)]
    point = curve.iloc[-1] if near.empty or name == AUTHORS else near.iloc[0]
    mark = "– " if near.empty else ""
    seconds = f"{point['seconds']:.3g}" if point["seconds"] < 100 else f"{point['seconds']:.0f}"
    below = f"{mark}{seconds} s\n{point['style']:.3g}, {point['content']:.2g}"
    return Picture(name, f"{pair}__{name}", _read(curves.folder / point["image"]), below)


def _read(path: Path) -> Pixels:
    with Image.open(path, formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB"))
