"""The numbers of a sweep as small panels of curves: places, labels and lines, in the units of an SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.ticker import LogLocator, MaxNLocator
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from analysis import labels
from analysis.drawing.style import DECADES, LOG_FROM
from analysis.observations import MAIN, REST, Observations, PlotRequest, observe
from analysis.tables import Tables
from analysis.tables.runs import telling_settings
from experiments.programs import PICTURED
from swag_repro.errors import SettingError

WIDTH, LEFT, RIGHT, TOP, BOTTOM, FOOT = 340, 58, 10, 10, 196, 24
"""Sizes of a panel in units of the SVG: width, ends of the axes, and space for labels below them."""

LINES, PANELS = 12, 12
"""Most lines of a panel, and most panels."""

LETTERS, LETTER = 22, 6.2
"""Most letters of a label below an axis, and the width of one."""

ROOM = 0.06
"""Share of an axis that stays free at each of its ends."""

SLANT = 0.6
"""Height of a slanted label over its length."""

ITERATIONS = 3
"""Fewest steps at which pictures were measured that make a curve."""


@dataclass(frozen=True)
class Scale:
    """An axis: values to places between two ends, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float) -> Scale:
        """Return a scale for these values; positive ones that span much get a logarithmic one."""
        low, high = min(values), max(values)
        log = low > 0 and high >= LOG_FROM * low
        if log:
            low, high = low / (high / low) ** ROOM, high * (high / low) ** ROOM
        else:
            room = (high - low) * ROOM or abs(high) * ROOM or 1.0
            low, high = low - room, high + room
        return cls(low, high, start, end, log)

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        low, high, at = (
            math.log(one) if self.log else one for one in (self.low, self.high, max(value, self.low))
        )
        return round(self.start + (at - low) / ((high - low) or 1.0) * (self.end - self.start), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Return places and labels of a few round values."""
        many = self.high > 10**DECADES * self.low
        locator: Any = (
            LogLocator(subs=(1,) if many else (1, 2, 5), numticks=12) if self.log else MaxNLocator(4)
        )
        values = [float(one) for one in locator.tick_values(self.low, self.high)]
        return [(self(one), f"{one:g}") for one in values if self.low <= one <= self.high]


@dataclass(frozen=True)
class Point:
    """A mean with its standard error, at a place of the x axis."""

    place: int
    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Panel:
    """The curves of one number.

    Attributes:
        title: Its name.
        lines: The points of each line, in the order of the names; none where it has no values.
        ticks: Places and labels of its y axis.
    """

    title: str
    lines: tuple[tuple[Point, ...], ...]
    ticks: list[tuple[float, str]]

    @property
    def readings(self) -> list[dict[int, str]]:
        """The value of each line at each place, in words."""
        return [{point.place: point.text for point in line} for line in self.lines]


@dataclass(frozen=True)
class Curves:
    """Panels that share an x axis, and lines.

    Attributes:
        axis: Name of the x axis.
        places: Places along it, and their labels.
        ticks: The places that have room for a label.
        joined: Whether points are joined, as x is a number or a layer; other labels stand slanted.
        height: Height of a panel.
        names: Names of the lines.
        panels: One for each number.
        note: What the curves leave out or average, in words.
    """

    axis: str
    places: list[tuple[float, str]]
    ticks: list[tuple[float, str]]
    joined: bool
    height: float
    names: list[str]
    panels: list[Panel]
    note: str

    @property
    def to_plain(self) -> dict[str, Any]:
        """The plain values by which a script reads all panels at once."""
        return {"places": self.places, "readings": [panel.readings for panel in self.panels]}


def read_curves(data: Tables) -> tuple[Curves, pd.DataFrame] | None:
    """Return the curves of a sweep's main numbers, and their points as a table; None without any."""
    x = _x(data)
    statistics = _statistics(data, layered=x in ("layer", "position"))
    observed: list[Observations] = []
    hues = _hues(data, x)
    for name in statistics:
        found = _observe(data, PlotRequest(x=x, y=name), hues)
        if found is not None:
            observed, hues = [*observed, found], [None if found.asked.hue == REST else found.asked.hue]
    if not observed:
        return None
    table = pd.concat([one.means.assign(statistic=one.asked.y) for one in observed], ignore_index=True)
    return _curves(observed), table


def _statistics(data: Tables, *, layered: bool) -> list[str]:
    """Return the numbers that have a name for people and are not all alike, in the order of figures.

    Args:
        data: The tables.
        layered: Whether numbers of layers are meant, or those of whole pictures and networks.
    """
    numbers = pd.concat([data.numbers, data.measures])
    numbers = numbers[numbers["layer"].notna() == layered]
    differing = numbers.groupby("statistic")["value"].nunique()
    names = dict.fromkeys([*MAIN, *labels.STATISTIC_LABELS])
    return [name for name in names if differing.get(name, 0) > 1]


def _x(data: Tables) -> str:
    """Return the column along which curves run: layers or steps, else the first swept setting."""
    entry, runs = data.cells[0].entry, data.runs
    numbers = data.measures if entry in PICTURED else data.numbers
    if entry not in PICTURED and data.numbers["layer"].notna().any():
        layers = data.numbers.dropna(subset="layer").groupby("network")["layer"].unique().map(tuple)
        return "layer" if len(set(layers)) == 1 else "position"
    if numbers["iteration"].nunique() >= ITERATIONS:
        return "iteration"
    settings = sorted(telling_settings(runs), key=lambda column: column.endswith("seed"))
    return settings[0] if settings else "content"


def _hues(data: Tables, x: str) -> list[str | None]:
    """Return what lines may be for, the most telling first: all other settings, one of them, or nothing."""
    settings = telling_settings(data.runs, [x] if x in data.runs else [])
    return [None, *(one for one in settings if not one.endswith("seed")), x]  # x itself: one line


def _observe(data: Tables, asked: PlotRequest, hues: Sequence[str | None]) -> Observations | None:
    """Return a number along x, with the first of these hues that has few enough lines; None without an x."""
    for hue in hues:
        try:
            found = observe(replace(asked, hue=hue), data)
        except SettingError:  # the number is not of layers, or not of steps
            return None
        if len(found.replicates) and len(_names(found)) <= LINES:
            return found
    return None


def _curves(observed: Sequence[Observations]) -> Curves:
    x, column = str(observed[0].asked.x), observed[0].replicates[str(observed[0].asked.x)]
    values = {
        word: value for one in observed for word, value in zip(one.words(x), one.replicates[x], strict=True)
    }
    order = list(dict.fromkeys(word for one in observed for word in one.ordered(x)))
    is_number = is_numeric_dtype(column) and not is_bool_dtype(column)
    numbers = [float(values[word]) if is_number else float(index) for index, word in enumerate(order)]
    scale = Scale.of(numbers, LEFT, WIDTH - RIGHT)
    places = sorted((scale(number), word) for number, word in zip(numbers, order, strict=True))
    names = list(dict.fromkeys(name for one in observed for name in _names(one)))
    panels = [panel for one in observed for panel in _panels(one, places, names)]
    joined = is_number or x == "layer"
    ticks = _with_room(places, slanted=not joined)
    foot = FOOT if joined else FOOT + SLANT * LETTER * max(len(word) for _, word in ticks)
    note = _note(observed, panels)
    return Curves(labels.axis(x), places, ticks, joined, BOTTOM + foot, names, panels[:PANELS], note)


def _with_room(places: Sequence[tuple[float, str]], *, slanted: bool) -> list[tuple[float, str]]:
    """Return the places whose labels fit side by side; long ones are cut, as the table has them whole."""
    shown, until = [], -math.inf
    for at, word in places:
        short = word if len(word) <= LETTERS else f"{word[: LETTERS - 1]}…"
        half = LETTER if slanted else LETTER * len(short) / 2
        if at - half > until:
            shown.append((at, short))
            until = at + half
    return shown


def _names(one: Observations) -> list[str]:
    hue = one.asked.hue
    return [""] if hue is None or hue == one.asked.x else one.ordered(hue)


def _panels(one: Observations, places: Sequence[tuple[float, str]], names: Sequence[str]) -> Iterator[Panel]:
    """Yield a panel for each kind of a number that is not averaged."""
    asked, rows = one.asked, one.replicates
    kinds = [one.words(column) for column in (asked.col, asked.row) if column is not None]
    kind = pd.Series(map(", ".join, zip(*kinds, strict=True)) if kinds else "", index=rows.index)
    name = "" if _names(one) == [""] else one.words(str(asked.hue))
    shown = pd.DataFrame({"kind": kind, "name": name, "x": one.words(str(asked.x)), "value": rows["value"]})
    title = labels.STATISTIC_LABELS.get(str(asked.y), str(asked.y).replace("_", " "))
    for said, own in shown.groupby("kind", sort=False):
        points = own.groupby(["name", "x"], sort=False)["value"].agg(["mean", "sem"]).reset_index()
        points = points.fillna({"sem": 0.0}).dropna(subset="mean")
        yield _panel(", ".join(filter(None, [title, str(said)])), points, places, names)


def _panel(
    title: str, points: pd.DataFrame, places: Sequence[tuple[float, str]], names: Sequence[str]
) -> Panel:
    low, high = points["mean"] - points["sem"], points["mean"] + points["sem"]
    if (points["mean"] > 0).all():
        low = low.where(low > 0, points["mean"])  # a logarithmic axis has no room below 0
    scale = Scale.of([*low, *high], BOTTOM, TOP)
    index = {word: (place, x) for place, (x, word) in enumerate(places)}
    lines: dict[str, list[Point]] = {name: [] for name in names}
    for row, least, most in zip(points.to_dict("records"), low, high, strict=True):
        ends = (scale(row["mean"]), scale(least), scale(most))
        text = f"{row['mean']:.3g}" + (f" ± {row['sem']:.2g}" if row["sem"] else "")
        lines[row["name"]].append(Point(*index[row["x"]], *ends, text))
    ordered = tuple(tuple(sorted(line, key=lambda point: point.x)) for line in lines.values())
    return Panel(title, ordered, scale.ticks())


def _note(observed: Sequence[Observations], panels: Sequence[Panel]) -> str:
    said = ["Means with standard errors"]
    averaged = sorted({labels.axis(name) for one in observed for name in one.averaged})
    if averaged:
        said.append(f"averaged over {', '.join(averaged)}")
    if judges := dict.fromkeys(judge for one in observed for judge in one.judges):
        said.append(f"judged by {', '.join(judges)}")
    if len(panels) > PANELS:
        said.append(f"{len(panels) - PANELS} more numbers by swag plot")
    return "; ".join(said) + "."
