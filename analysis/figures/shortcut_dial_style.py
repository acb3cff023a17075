"""Stylisation against λ of `ReLU(R(F) + λF)`, on one and the same weights: pictures, and how near they come.

A row of pictures for each arm, a column for each λ, by the weights of the first seed. Below them: the style
distance of all pairs and seeds, and the deepest layer's share of the style loss at the start.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import stylizations
from analysis.drawing import captions, labels, pictures, style
from analysis.drawing.page import MARGIN, Layout, Page, PairPictures, draw, spread
from analysis.effects import Effect, bootstrap
from analysis.stylizations import Stylizations

__all__ = ["load", "make", "save"]

PAIRS = 1

SCALE = "network.shortcut"

HEIGHT, LEGEND, TITLE, LABELS = 1.35, 0.2, 0.25, 0.45
"""Inches: of the panels, the legend above them, their titles, and the labels under them."""

LEFT, APART = 0.45, 0.5
"""Inches: at the left of the panels, and between them."""

PANELS = {
    "style_distance": "held-out style distance",
    "deepest_share": "deepest layer's share of the style loss",
}


@dataclass(frozen=True)
class Dial:
    """What the figure is drawn from.

    Attributes:
        data: The stylisations behind it; its table has two more columns: arm, and deepest_share, of the
            deepest layer in the style loss between content and style image.
        means: One row for each arm, λ and panel: the mean over pairs and seeds, and its 95 % interval.
    """

    data: Stylizations
    means: pd.DataFrame

    @property
    def names(self) -> dict[int, str]:
        """Of the arms, in the order of the sweep, by the lines that they are."""
        return {arm.line: arm.label for arm in self.data.arms}

    @property
    def panels(self) -> dict[str, str]:
        """Those of `PANELS` that were measured."""
        return {key: title for key, title in PANELS.items() if key in self.means["measure"].to_numpy()}

    @property
    def scales(self) -> list[float]:
        """All λ, from small to large."""
        return sorted(self.data.tables.runs[SCALE].unique())


def load(overrides: list[str], runs: Path, *, partial: bool) -> Dial:
    """The stylisations of an experiment that sweeps λ; see `analysis.stylizations.load`."""
    data = stylizations.load(overrides, runs, partial=partial, shown=[SCALE, "weights.seed"])
    scales = data.table["cell"].map(data.tables.runs[SCALE])
    table = data.table.assign(**{SCALE: scales}).join(
        _deepest_shares(data), on=["run_id", "content", "style"]
    )
    return Dial(replace(data, table=table), aggregate(table))


def _deepest_shares(data: Stylizations) -> pd.Series:
    """Of each pair of each run: the deepest layer's share of the style loss at the start."""
    rows, runs = data.tables.numbers, data.tables.runs
    deepest = runs.set_index("run_id")["network.style_taps"].map(lambda taps: json.loads(taps)[-1])
    shares = rows[(rows["statistic"] == "style_share") & (rows["definition"] == "loss")]
    shares = shares[shares["layer"] == shares["run_id"].map(deepest)]
    deepest_shares: pd.Series = shares.set_index(["run_id", "content", "style"])["value"]
    return deepest_shares.rename("deepest_share")


def aggregate(table: pd.DataFrame) -> pd.DataFrame:
    """The mean of each panel's measure at each λ under each arm, with its interval."""
    points = _paired(table).groupby(["line", "label", SCALE], sort=False)
    rows = (
        {"line": line, "label": label, SCALE: scale, "measure": measure, **vars(effect)}
        for (line, label, scale), point in points
        for measure in PANELS
        if (effect := _mean(point.set_index(["pair", "seed"])[measure])) is not None
    )
    columns = ["line", "label", SCALE, "measure", *(field.name for field in fields(Effect))]
    return pd.DataFrame(rows, columns=columns)


def _mean(values: pd.Series) -> Effect | None:
    return None if values.isna().any() else bootstrap(values)


def make(dial: Dial, *, pairs: int = PAIRS) -> Figure:
    """The rows of at most so many pairs, evenly spread over all, and the panels."""
    data = dial.data
    shown = [_pictures(dial, data.pairs[index]) for index in spread(len(data.pairs), pairs)]
    with style.printed():
        drawn, page = draw(shown, _layout(dial), _caption(dial, len(shown)))
        _draw_panels(drawn, page, dial)
        style.mark_partial(drawn, data.tables)
    return drawn


def save(drawn: Figure, dial: Dial, folder: Path, name: str) -> list[Path]:
    """Writes the figure (PNG and PDF), what is known of each picture, and the means (CSV).

    Args:
        drawn: From `make`.
        dial: What it was made from.
        folder: Made where it is missing.
        name: The first part of each file's name.

    Raises:
        StoreError: The files can't be written.
    """
    paths = style.save(
        drawn, folder / name, title=name, description=dial.data.tables.description, dpi=drawn.dpi
    )
    tables = {"": dial.data.table, "_means": dial.means}
    return [*paths, *(style.save_table(table, folder / f"{name}{end}.csv") for end, table in tables.items())]


def _layout(dial: Dial) -> Layout:
    """A row for each arm, a column for each λ; of several seeds the first."""
    places: dict[tuple[int, float], int] = {}
    for arm, scale in zip(dial.data.arms, dial.data.tables.runs[SCALE], strict=True):
        places.setdefault((arm.line, scale), arm.index)
    bands = tuple(tuple(places[line, scale] for scale in dial.scales) for line in dial.names)
    panels = LEGEND + TITLE + HEIGHT + LABELS if dial.panels else 0
    return Layout(bands, tuple(dial.names.values()), panels)


def _pictures(dial: Dial, pair: tuple[str, str]) -> PairPictures:
    """With λ above, and the roles of the inputs below."""
    made = pictures.of_pair(dial.data, pair)
    results = (
        replace(
            picture,
            title=f"λ = {arm.config['network']['shortcut']:g}",
            key="__".join([*pair, arm.label, f"{arm.config['network']['shortcut']:g}"]),
        )
        for arm, picture in zip(dial.data.arms, made.results, strict=True)
    )
    inputs = (replace(each, title="", below=f"{each.title}: {each.below}") for each in made.inputs)
    return PairPictures(tuple(inputs), tuple(results))


def _draw_panels(drawn: Figure, page: Page, dial: Dial) -> None:
    """Side by side between the pictures and the caption, under one legend."""
    if not (panels := dial.panels):
        return
    width, height = drawn.get_size_inches()
    bottom = page.caption / page.dpi + LABELS
    wide = (width - LEFT - MARGIN - APART * (len(panels) - 1)) / len(panels)
    for number, (measure, title) in enumerate(panels.items()):
        left = LEFT + number * (wide + APART)
        box = left / width, bottom / height, wide / width, HEIGHT / height
        axis = drawn.add_axes(box, label=measure, title=title, xlabel="λ: 0 without shortcuts, 1 with")
        _draw_lines(axis, dial, measure)
    drawn.legend(
        *axis.get_legend_handles_labels(), loc="upper center", frameon=False, ncols=len(dial.names),
        bbox_to_anchor=(0.5, (bottom + HEIGHT + TITLE + LEGEND) / height), borderpad=0, borderaxespad=0,
    )  # fmt: skip


def _draw_lines(axis: Axes, dial: Dial, measure: str) -> None:
    looks = style.looks(list(dial.names.values()))
    for (line, name), look in zip(dial.names.items(), looks, strict=True):
        points = dial.means[(dial.means["line"] == line) & (dial.means["measure"] == measure)]
        points = points.sort_values(SCALE)
        ends = [points["mean"] - points["low"], points["high"] - points["mean"]]
        axis.errorbar(
            points[SCALE], points["mean"], yerr=ends,
            label=name, color=look.color, marker=look.marker, markersize=4, linewidth=1.2, elinewidth=0.8,
            capsize=2,
        )  # fmt: skip
    axis.set_xticks(dial.scales)
    if measure == "deepest_share":
        axis.set_ylim(-0.04, 1.04)


def _caption(dial: Dial, shown: int) -> str:
    data = dial.data
    seeds = labels.seeds(data.tables.runs)
    over = f"{len(data.pairs)} pairs of images" + (f" and {seeds}" if seeds else "")
    first = data.arms[0]
    return captions.lines(
        f"{pictures.told(data, shown)} {first.config['network']['label']} with "
        f"ReLU(R(F) + λF), the same weights ({first.weights}) at every λ. {captions.objective(data.arms)}. "
        f"{captions.size(data)}",
        *pictures.explained(data),
        f"Panels: means over {over}, with 95 % intervals over pairs and seeds (crossed bootstrap)."
        + _changes(dial),
    )


def _changes(dial: Dial) -> str:
    """What the whole way of the dial does to the style distance, on the same pairs and seeds."""
    by_scale = _paired(dial.data.table).set_index(["line", SCALE, "pair", "seed"])["style_distance"]
    wide = by_scale.unstack(SCALE).dropna()
    if len(dial.scales) == 1 or wide.empty:
        return ""
    first, last = dial.scales[0], dial.scales[-1]
    changes = wide[last] - wide[first]
    known = [line for line in dial.names if line in changes.index.get_level_values("line")]
    effects = {dial.names[line]: bootstrap(changes.loc[line]) for line in known}
    said = (f"{one.mean:+.2g} [{one.low:.2g}, {one.high:.2g}] for {arm}" for arm, one in effects.items())
    return f" From λ = {first:g} to {last:g} the style distance changes by {', '.join(said)}."


def _paired(table: pd.DataFrame) -> pd.DataFrame:
    """With names of pairs; pretrained weights count as one seed."""
    return table.assign(pair=table["content"] + " × " + table["style"], seed=table["weights.seed"].fillna(0))
