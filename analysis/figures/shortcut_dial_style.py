"""Stylisation against λ of `ReLU(R(F) + λF)`, on the same weights: pictures, and their distance to the style.

Each arm has a row of pictures, each λ a column, by the weights of the first seed. The panels below show the
style distance of all pairs and seeds, and the deepest layer's share of the style loss at the start.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import labels, stylizations
from analysis.drawing import captions, lines, page, style
from analysis.drawing.style import save
from analysis.effects import Effect, crossed
from analysis.stylizations import Stylizations
from analysis.tables import Tables

__all__ = ["load", "make", "save"]

_PAIRS = 1

SCALE = "network.shortcut"

_HEIGHT = 1.95
"""Height of the panels with their words, in inches."""

_PANELS = {
    "style_distance": "held-out style distance",
    "deepest_share": "deepest layer's share of the style loss",
}


@dataclass(frozen=True)
class StyleDial:
    """The data of the figure.

    Attributes:
        data: The stylisations. Their table has two more columns: λ, and `deepest_share`, the deepest layer's
            share of the style loss between content and style image.
        means: One row for each arm, λ and panel: the mean over pairs and seeds, and its 95 % interval.
    """

    data: Stylizations
    means: pd.DataFrame

    @property
    def tables(self) -> Tables:
        """The tables behind the figure."""
        return self.data.tables

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The table of pictures, the means, and changes over all λ, which are written beside the figure."""
        return {"": self.data.table, "_means": self.means, "_changes": changes(self)}

    @property
    def names(self) -> dict[int, str]:
        """The names of the arms in the order of the sweep, by line."""
        return {arm.line: arm.label for arm in self.data.arms}

    @property
    def panels(self) -> dict[str, str]:
        """The entries of `_PANELS` that were measured."""
        return {key: title for key, title in _PANELS.items() if key in self.means["measure"].to_numpy()}

    @property
    def scales(self) -> list[float]:
        """All values of λ, from small to large."""
        return sorted(self.data.tables.runs[SCALE].unique())


def load(overrides: list[str], runs: Path, *, partial: bool) -> StyleDial:
    """Return the stylisations of an experiment that sweeps λ; see `load_stylizations`."""
    data = stylizations.load_stylizations(overrides, runs, partial=partial, shown=[SCALE, "weights.seed"])
    scales = data.table["cell"].map(data.tables.runs[SCALE])
    table = data.table.assign(**{SCALE: scales}).join(
        _deepest_shares(data), on=["run_id", "content", "style"]
    )
    return StyleDial(replace(data, table=table), aggregate(table))


def _deepest_shares(data: Stylizations) -> pd.Series:
    """Return the deepest layer's share of the style loss at the start, for each pair of each run."""
    rows, runs = data.tables.numbers, data.tables.runs
    deepest = runs.set_index("run_id")["network.style_taps"].map(lambda taps: json.loads(taps)[-1])
    shares = rows[(rows["statistic"] == "style_share") & (rows["definition"] == "loss")]
    shares = shares[shares["layer"] == shares["run_id"].map(deepest)]
    deepest_shares: pd.Series = shares.set_index(["run_id", "content", "style"])["value"]
    return deepest_shares.rename("deepest_share")


def aggregate(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of each panel's measure at each λ under each arm, with its interval."""
    points = _add_pairs(table).groupby(["line", "label", SCALE], sort=False)
    rows = (
        {"line": line, "label": label, SCALE: scale, "measure": measure, **vars(effect)}
        for (line, label, scale), point in points
        for measure in _PANELS
        if (effect := _mean(point.set_index(["pair", "seed"])[measure])) is not None
    )
    columns = ["line", "label", SCALE, "measure", *(field.name for field in fields(Effect))]
    return pd.DataFrame(rows, columns=columns)


def _mean(values: pd.Series) -> Effect | None:
    return None if values.isna().any() else crossed(values)


def changes(dial: StyleDial) -> pd.DataFrame:
    """Return the change of style distance from first to last λ in each arm, on the same pairs and seeds."""
    first, last = dial.scales[0], dial.scales[-1]
    by_scale = _add_pairs(dial.data.table).set_index(["line", SCALE, "pair", "seed"])["style_distance"]
    wide = by_scale.unstack(SCALE).reindex(columns=dial.scales).dropna()
    change = wide[last] - wide[first]
    rows = (
        {"label": name, "from": first, "to": last, **vars(crossed(change.loc[line]))}
        for line, name in dial.names.items()
        if line in wide.index.get_level_values("line")
    )
    return pd.DataFrame(rows, columns=["label", "from", "to", *(field.name for field in fields(Effect))])


def make(dial: StyleDial, *, pairs: int = _PAIRS) -> Figure:
    """Draw the rows of at most `pairs` pairs, evenly spread over all, and the panels."""
    names = list(dial.names.values())
    titles = [f"λ = {arm.config['network']['shortcut']:g}" for arm in dial.data.arms]
    shown = page.of_pairs(dial.data, pairs, titles)
    rows = page.rows(shown, _bands(dial), names)
    heights = [page.height(rows), *([_HEIGHT] if dial.panels else [])]
    with style.figure(*heights, caption=_caption(dial, len(shown)), data=dial) as (drawn, [above, *below]):
        page.draw_rows(above, rows)
        for part in below:
            axes = part.subplots(1, len(dial.panels), squeeze=False)[0]
            for axis, (measure, title) in zip(axes, dial.panels.items(), strict=True):
                axis.set(label=measure, title=title, xlabel="λ: 0 without shortcuts, 1 with")
                _draw_lines(axis, dial, measure)
            lines.add_legend(part, axes, names)
    return drawn


def _bands(dial: StyleDial) -> list[list[int]]:
    """Return the arms of each row, by λ; of several seeds only the first."""
    places: dict[tuple[int, float], int] = {}
    for arm, scale in zip(dial.data.arms, dial.tables.runs[SCALE], strict=True):
        places.setdefault((arm.line, scale), arm.index)
    return [[places[line, scale] for scale in dial.scales] for line in dial.names]


def _draw_lines(axis: Axes, dial: StyleDial, measure: str) -> None:
    styles = lines.line_styles(list(dial.names.values()))
    for (line, name), line_style in zip(dial.names.items(), styles, strict=True):
        points = dial.means[(dial.means["line"] == line) & (dial.means["measure"] == measure)]
        points = points.sort_values(SCALE)
        ends = [points["mean"] - points["low"], points["high"] - points["mean"]]
        lines.intervals(axis, points[SCALE], points["mean"], line_style, yerr=ends, label=name, capsize=2)
    axis.set_xticks(dial.scales)
    if measure == "deepest_share":
        axis.set_ylim(-0.04, 1.04)


def _caption(dial: StyleDial, shown: int) -> str:
    data = dial.data
    over = f"pairs and {labels.seeds(dial.tables.runs)}".removesuffix(" and ")
    return captions.caption_lines(
        f"ReLU(R(F) + λF), the same weights at every λ. {captions.arms(data, shown=shown)}",
        *page.picture_notes(data),
        f"Panels: means over {over}, and their 95 % intervals (Student, pairs and seeds).",
    )


def _add_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with names of pairs; pretrained weights count as one seed."""
    return table.assign(pair=table["content"] + " × " + table["style"], seed=table["weights.seed"].fillna(0))
