"""One pass against optimisation: AdaIN's loss over the iterations of Gatys's method (AdaIN, Figure 3).

The same network measures both sides, on the pictures as they were saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from hydra.core.override_parser.overrides_parser import OverridesParser
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import labels, tables
from analysis.drawing import captions, lines, style
from analysis.drawing.lines import LineStyle
from analysis.drawing.style import save
from analysis.tables import TERMS, CellsError, Tables
from experiments.asking import sweep_of
from experiments.config import types_of

__all__ = ["load", "make", "save"]

OPTIMIZED, ONE_PASS = "stylize", "transfer"

PASSES = "adain_pairs"
"""The experiment of the pictures in one pass."""

_HEIGHT = 2.5
"""Height of the panels with their titles, in inches."""

_NAMES = {OPTIMIZED: "Gatys et al., optimised", ONE_PASS: "AdaIN, one pass"}

_COLORS = {OPTIMIZED: "#0072B2", ONE_PASS: "#D55E00"}
"""Colours of Okabe and Ito."""

TERM = {
    "style_term": "style term (content image: 1)",
    "content_term": "content term (style image: 1)",
}
"""Labels of the terms that are drawn."""


@dataclass(frozen=True)
class Comparison:
    """The data of the figure.

    Attributes:
        parts: Tables of the optimisation, and of the pictures in one pass.
        table: One row for each picture and term: its `label`, entry point, cell, pair, `iteration`, the
            `seconds` it took, and `value`.
    """

    parts: tuple[Tables, Tables]
    table: pd.DataFrame

    @property
    def tables(self) -> Tables:
        """The tables behind the figure, as one."""
        return tables.together(self.parts)

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The numbers behind the figure, which are written beside it."""
        return {"": self.table}

    def of(self, entry: str, term: str) -> pd.DataFrame:
        """Return the numbers of one side."""
        return self.table[(self.table["entry"] == entry) & (self.table["statistic"] == term)]


def load(overrides: list[str], runs: Path, *, partial: bool) -> Comparison:
    """Return the pictures that these overrides name, on both sides; each side takes the overrides it knows.

    Raises:
        CellsError: Runs are missing, ambiguous, don't belong together, or were not measured.
        StoreError: A run can't be read.
    """
    sweep = sweep_of(overrides, runs)
    own = _overrides_of_side(OPTIMIZED, overrides) if sweep is None else overrides
    optimized = tables.load_tables(own, runs, OPTIMIZED, partial=partial)
    command = overrides if sweep is None else sweep.command
    passes = [f"experiment={PASSES}", *_overrides_of_side(ONE_PASS, command)]
    in_one = tables.load_tables(passes, runs, ONE_PASS, partial=partial)
    for data in (optimized, in_one):
        if not data.measures["statistic"].isin(TERMS).any():
            raise CellsError(
                "measures", "should be of AdaIN's terms", "none", f"This measures them: {data.judging}"
            )
    table = pd.concat([_on_the_way(optimized), _at_once(in_one)], ignore_index=True)
    _check_pairs(table)
    return Comparison((optimized, in_one), table)


def _check_pairs(table: pd.DataFrame) -> None:
    pairs = {
        str(entry): frozenset(zip(side["content"], side["style"], strict=True))
        for entry, side in table.groupby("entry")
    }
    if len(set(pairs.values())) > 1:
        found = ", ".join(f"{len(own)} by {entry}.py" for entry, own in pairs.items())
        raise CellsError("pairs", "should be the same on both sides", found, "Give both the same images.")


def _overrides_of_side(entry: str, overrides: Sequence[str]) -> list[str]:
    """Return the overrides that this side has; the optimisation also gets those that neither side has."""
    keys = {name: types_of(name).keys() for name in (OPTIMIZED, ONE_PASS)}
    roots = {override: _root(override) for override in overrides}
    if entry == ONE_PASS:
        return [override for override, root in roots.items() if root in keys[ONE_PASS]]
    others = keys[ONE_PASS] - keys[OPTIMIZED]
    return [override for override, root in roots.items() if root not in others]


def _root(override: str) -> str:
    """Return the first part of the key that an override sets."""
    parsed = OverridesParser.create().parse_override(override)
    return str(parsed.package or parsed.key_or_group).split(".")[0]


def _terms(data: Tables, entry: str) -> pd.DataFrame:
    measured = data.measures[data.measures["statistic"].isin(TERMS)]
    cells = labels.label(data.runs) if len(data.runs) > 1 else pd.Series("", index=data.runs.index)
    names = [_NAMES[entry] + (f", {cells[cell]}" if cells[cell] else "") for cell in measured["cell"]]
    kept = ["cell", "run_id", "content", "style", "iteration", "statistic", "definition", "value"]
    return measured[kept].assign(entry=entry, label=names)


def _on_the_way(data: Tables) -> pd.DataFrame:
    """Return the terms with the iterations and seconds of intermediate and finished pictures."""
    table = _terms(data, OPTIMIZED).reset_index(drop=True)
    last = data.pairs.set_index(["run_id", "content", "style"])["iterations"].rename("last")
    table = table.join(last, on=["run_id", "content", "style"])
    table["iteration"] = table["iteration"].fillna(table["last"]).astype(int)
    seconds = pd.concat({cell: _seconds(data, cell) for cell in table["cell"].unique()}, names=["cell"])
    return table.drop(columns="last").join(seconds.rename("seconds"), on=["cell", "iteration"])


def _seconds(data: Tables, cell: int) -> pd.Series[float]:
    """Return the mean seconds of a picture up to each iteration; pictures of a batch share its time."""
    curves = pd.read_parquet(BytesIO(data.file(cell, "curves.parquet")))
    own = curves.filter(like="/total")
    each = curves.assign(each=curves["seconds"] / own.notna().sum(axis=1), batch=own.notna().idxmax(axis=1))
    reached = each.groupby(["batch", "step"])["each"].max()
    return reached.groupby("step").mean().rename_axis("iteration")


def _at_once(data: Tables) -> pd.DataFrame:
    taken = data.numbers[data.numbers["statistic"] == "seconds"]
    seconds = taken.set_index(["run_id", "content", "style"])["value"].rename("seconds")
    return _terms(data, ONE_PASS).join(seconds, on=["run_id", "content", "style"])


def make(comparison: Comparison) -> Figure:
    """Draw both terms over iterations, and the style term over seconds."""
    styles = _styles(comparison)
    height = _HEIGHT + lines.legend_height(list(styles))
    with style.figure(height, caption=_caption(comparison), data=comparison) as (drawn, [part]):
        axes = part.subplots(1, 3)
        for axis, term, title in zip(axes, TERM, ("(a) Style", "(b) Content"), strict=False):
            _draw_iterations(axis, comparison, term, styles)
            axis.set(title=title, xlabel="iterations of the optimisation", ylabel=TERM[term])
        _draw_seconds(axes[2], comparison, styles)
        lines.add_legend(part, axes, list(styles))
    return drawn


def _styles(comparison: Comparison) -> dict[str, LineStyle]:
    """Return line styles by label: one colour for each side."""
    names = comparison.table.drop_duplicates("label")
    markers = {OPTIMIZED: "o", ONE_PASS: "D"}
    counts = names.groupby("entry").cumcount()
    return {
        label: LineStyle(_COLORS[entry], markers[entry], ((), *lines.DASHES)[place % 4])
        for label, entry, place in zip(names["label"], names["entry"], counts, strict=True)
    }


def _draw_iterations(axis: Axes, comparison: Comparison, term: str, styles: Mapping[str, LineStyle]) -> None:
    optimized = comparison.of(OPTIMIZED, term)
    own = {label: styles[label] for label in optimized["label"].unique()}
    lines.draw_lines(axis, optimized, own, x="iteration", y="value", errorbar="se", aside=0)
    for label, values in comparison.of(ONE_PASS, term).groupby("label", sort=False)["value"]:
        mean, error = float(values.mean()), float(values.std() / np.sqrt(len(values)))
        color, dash = styles[str(label)].color, styles[str(label)].dash
        axis.axhline(mean, color=color, linestyle=(0, dash) if dash else "-", linewidth=1.2)
        axis.axhspan(mean - error, mean + error, color=color, alpha=0.2, linewidth=0)
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xlim(left=-0.2)
    ticks = [0, *(10**power for power in range(int(np.log10(optimized["iteration"].max())) + 1))]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    style.set_scale(axis, "y", comparison.table[comparison.table["statistic"] == term]["value"])


def _draw_seconds(axis: Axes, comparison: Comparison, styles: Mapping[str, LineStyle]) -> None:
    both = comparison.table[comparison.table["statistic"] == "style_term"]
    points = both.groupby(["entry", "label", "iteration"], dropna=False, sort=False)
    means = points.agg(seconds=("seconds", "mean"), value=("value", "mean"), error=("value", "sem"))
    for label, line in means.groupby("label", sort=False):
        lines.intervals(
            axis, line["seconds"], line["value"], styles[str(label)], yerr=line["error"], label=label
        )
    axis.set(title="(c) Style, by time", xlabel="seconds a picture", ylabel=TERM["style_term"])
    style.set_scale(axis, "x", means["seconds"])
    style.set_scale(axis, "y", means["value"])


def reached(iterations: Sequence[float], terms: Sequence[float], term: float) -> float | None:
    """Return the iteration at which falling terms first reach `term`; None if they do not.

    Between two points the logarithms of the terms are interpolated linearly.
    """
    place = next((place for place, value in enumerate(terms) if value <= term), None)
    if not place:
        return None if place is None else float(iterations[0])
    between = slice(place - 1, place + 1)
    return float(np.interp(-np.log(term), -np.log(terms[between]), iterations[between]))


def _caption(comparison: Comparison) -> str:
    optimized = comparison.parts[0].runs
    pairs = comparison.table[["content", "style"]].drop_duplicates()
    judges = ", ".join(sorted(comparison.table["definition"].dropna().unique()))
    return style.caption_lines(
        f"{len(pairs)} pairs ({labels.sizes(optimized)}); {', '.join(captions.objective(optimized))}. Terms "
        f"of the saved pictures by {judges}; means over pairs and their standard errors. "
        f"{_break_even_sentence(comparison)}"
    )


def _break_even_sentence(comparison: Comparison) -> str:
    """Return a sentence with the iterations at which the optimisation's mean style term meets one pass's."""
    optimized = comparison.of(OPTIMIZED, "style_term")
    term = comparison.of(ONE_PASS, "style_term")["value"].mean()
    curve = optimized.groupby("iteration")["value"].mean()
    found = reached(list(curve.index), list(curve), term)
    if found is None:
        return f"No iteration had a mean style term as low as that of one pass, {term:.3g}."
    return f"The mean style term of one pass, {term:.3g}, is that of {found:.0f} iterations."
