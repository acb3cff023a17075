"""Stylisation against λ of `ReLU(R(F) + λF)`, on the same weights: pictures, and their distance to the style.

Each arm has a row of pictures, each λ a column, by the weights of the first seed. The panels below show the
style distance of all pairs and seeds, and the deepest layer's share of the style loss at the start.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis import labels, stylizations
from analysis.drawing import captions, lines, page
from analysis.drawing.style import save
from analysis.effects import Effect, crossed, pair_names
from analysis.figures.matrix import COLUMN_KINDS, Columns, Matrix, make
from analysis.stylizations import Stylizations

__all__ = ["load", "make", "save"]

SCALE = "network.shortcut"

_HEIGHT = 1.95
"""Height of the panels with their words, in inches."""

COLUMN_KINDS[SCALE] = Columns(
    lambda scale: f"λ = {scale:g}",
    axis="λ: 0 without shortcuts, 1 with",
    panels={
        "style_distance": "held-out style distance",
        "deepest_share": "deepest layer's share of the style loss",
    },
)


@dataclass(frozen=True)
class StyleDial(Matrix):
    """The data of the figure.

    The table of its stylisations has two more columns: λ, and `deepest_share`, the deepest layer's share of
    the style loss between content and style image. Its `points` have one row for each arm, λ and panel: the
    mean over pairs and seeds, and its 95 % interval.
    """

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The table of pictures, the means, and changes over all λ, which are written beside the figure."""
        return {"": self.data.table, "_means": self.points, "_changes": changes(self)}

    @property
    def panels(self) -> dict[str, str]:
        """The measures that were measured."""
        known = self.points["measure"].to_numpy()
        return {key: title for key, title in self.columns.panels.items() if key in known}

    @property
    def scales(self) -> list[float]:
        """All values of λ, from small to large."""
        return sorted(set(self.values))

    @property
    def height(self) -> float:
        """The height of the panels with their legend, in inches."""
        return _HEIGHT

    def draw(self, axis: Axes, measure: str) -> None:
        """Draw a line for each arm: means over pairs and seeds with their intervals."""
        styles = lines.line_styles(list(self.names.values()))
        for (line, name), line_style in zip(self.names.items(), styles, strict=True):
            points = self.points[(self.points["line"] == line) & (self.points["measure"] == measure)]
            points = points.sort_values(SCALE)
            ends = [points["mean"] - points["low"], points["high"] - points["mean"]]
            lines.intervals(axis, points[SCALE], points["mean"], line_style, yerr=ends, label=name, capsize=2)
        axis.set_xticks(self.scales)
        if measure == "deepest_share":
            axis.set_ylim(-0.04, 1.04)

    def said(self, shown: int) -> Iterator[str]:
        """Yield the parts of the caption; so many pairs are shown."""
        over = f"pairs and {labels.seeds(self.tables.runs)}".removesuffix(" and ")
        yield f"ReLU(R(F) + λF), the same weights at every λ. {captions.arms(self.data, shown=shown)}"
        yield from page.picture_notes(self.data)
        yield f"Panels: means over {over}, and 95 % intervals (Student over contents, styles and seeds)."


def load(overrides: list[str], runs: Path, *, partial: bool) -> StyleDial:
    """Return the stylisations of an experiment that sweeps λ; see `load_stylizations`."""
    data = stylizations.load_stylizations(overrides, runs, partial=partial, shown=[SCALE, "weights.seed"])
    scales = data.table["cell"].map(data.tables.runs[SCALE])
    table = data.table.assign(**{SCALE: scales}).join(
        _deepest_shares(data), on=["run_id", "content", "style"]
    )
    return StyleDial(replace(data, table=table), SCALE, aggregate(table))


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
        for measure in COLUMN_KINDS[SCALE].panels
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


def _add_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with names of pairs; pretrained weights count as one seed."""
    return table.assign(pair=pair_names(table), seed=table["weights.seed"].fillna(0))
