"""Lines of runs with bands over seeds: trainings over their epochs or steps, and residual units in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from string import ascii_lowercase

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import labels, tables
from analysis.drawing import lines, style
from analysis.drawing.style import save
from analysis.tables import Tables

__all__ = ["load", "make", "save"]

_HEIGHT, _COLUMNS = 2.6, 3
"""Height of a row of panels with their titles, in inches, and the number of panels in it."""

REACHED = 0.7
"""An accuracy in training; the table of ends says when it was first reached."""

_ENDS = {
    "test_accuracy": ("accuracy", "test"),
    "test_loss": ("loss", "test"),
    "train_accuracy": ("accuracy", "fitted"),
    "train_loss": ("loss", "fitted"),
}
"""Columns of the table of ends; `fitted` is the finished network on the images that it was trained on."""


@dataclass(frozen=True)
class LineKind:
    """The way in which the runs of one entry point are drawn.

    Attributes:
        panels: Titles by statistic and definition, row by row.
        x: Column of the table along which lines are drawn.
        xlabel: The name of x.
        ylabels: Names of y by statistic.
        said: Returns the sentence before the caption's bands, given the figure's data.
        finish: Sets a panel's axes, given its statistic and the values in it.
        beside: Settings that lines are not named by.
        context: Settings that stand beside the numbers, as well as those that stand beside all numbers.
        quantity: The quantity whose numbers are drawn; None for all of the runs' numbers.
    """

    panels: dict[tuple[str, str], str]
    x: str
    xlabel: str
    ylabels: dict[str, str]
    said: Callable[[Lines], str]
    finish: Callable[[Axes, str, pd.Series], object] = lambda *_: None
    beside: tuple[str, ...] = ("seed", "weights")
    context: tuple[str, ...] = ("seed",)
    quantity: str | None = None


@dataclass(frozen=True)
class SeedsPanel:
    """One panel.

    Attributes:
        title: Title after its letter.
        numbers: Statistic and definition of its numbers.
        table: The rows of `Lines.table` that it draws from.
    """

    title: str
    numbers: tuple[str, str]
    table: pd.DataFrame


@dataclass(frozen=True)
class Lines:
    """The data of the figure.

    Attributes:
        tables: The tables behind the figure.
        kind: How it is drawn.
        table: One row for each run, x, statistic and definition: the run's settings and label, the mean over
            images or of the one value, and how many `images`.
        split: The setting that has a column of panels for each of its values; None if there is none.
        ends: For trainings of classifiers, one row for each label: seeds, and mean and standard deviation of
            the columns in `_ENDS`; else None.
    """

    tables: Tables
    kind: LineKind
    table: pd.DataFrame
    split: str | None
    ends: pd.DataFrame | None

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The numbers behind the figure and the table of ends, which are written beside it."""
        return {"": self.table} | ({} if self.ends is None else {"_ends": self.ends})

    @property
    def panels(self) -> list[list[SeedsPanel]]:
        """The panels, row by row; a split figure has no room for the last ones."""
        titles = list(self.kind.panels.items())
        if self.split is None:
            each = [SeedsPanel(title, numbers, self.table) for numbers, title in titles]
            return [each[start : start + _COLUMNS] for start in range(0, len(each), _COLUMNS)]
        parts = self.table.groupby(self.split, sort=False)
        return [
            [SeedsPanel(f"{title}: {value}", numbers, part) for value, part in parts]
            for numbers, title in titles[: _COLUMNS - 1]
        ]


def _said_of_classifiers(data: Lines) -> str:
    trained = ", ".join(sorted({_data(run) for _, run in data.tables.runs.iterrows()}))
    return f"(b, c): as images were drawn. Trained on {trained}, {labels.seeds(data.tables.runs)}"


def _data(run: pd.Series) -> str:
    """Return the common name of a run's data."""
    return Path(run["data.path"]).name if run["data.name"] == "folder" else str(run["data.name"])


def _said_of_generators(data: Lines) -> str:
    runs = data.tables.runs
    return (
        "Training: means since the point before, on images as they were drawn. Units of the objective's "
        f"balance ({', '.join(sorted(set(runs['objective.balance'])))}), {labels.seeds(runs)}"
    )


def _said_of_units(data: Lines) -> str:
    runs = data.tables.runs
    return (
        "(a) The residual branch's largest value is below the shortcut's, its peak; (b) the sum is, where "
        "that peak stood; (c) the sum's largest value is. (d) Branch by shortcut, largest values; (e) sum by "
        f"shortcut; (f) of all channels. Means over {data.table['images'].max()} images "
        f"({labels.sizes(runs)}), {labels.seeds(runs)}"
    )


def _finish_units(axis: Axes, statistic: str, _: pd.Series) -> None:
    if statistic == "peaks_shrunk":
        axis.set_ylim(-0.04, 1.04)
    else:
        axis.axhline(0, color="0.6", linewidth=0.7, zorder=0)


_KINDS = {
    "train_classifier": LineKind(
        {
            ("accuracy", "test"): "Accuracy, held out",
            ("accuracy", "train"): "Accuracy, training",
            ("loss", "train"): "Loss, training",
        },
        x="epoch",
        xlabel="epoch",
        ylabels={"accuracy": "share of right answers", "loss": "cross entropy, nats"},
        said=_said_of_classifiers,
        context=("seed", "recipe.epochs"),
    ),
    "train_feedforward": LineKind(
        {
            ("style_loss", "train"): "Style, training",
            ("style_loss", "pairs"): "Style, pairs shown",
            ("content_loss", "pairs"): "Content, pairs shown",
        },
        x="iteration",
        xlabel="step",
        ylabels=dict.fromkeys(("style_loss", "content_loss"), "term of the loss"),
        said=_said_of_generators,
        finish=lambda axis, _, values: style.set_scale(axis, "y", values),
        quantity="feedforward",
    ),
    # SWAG's Figure 4: the effect of residual units on the peaks that their shortcuts bring, unit by unit.
    "measure_units": LineKind(
        {
            ("peaks_shrunk", "branch"): "peaks lower in the branch",
            ("peaks_shrunk", "there"): "lower at their place",
            ("peaks_shrunk", "sum"): "channels lower after",
            ("log2_peak", "branch"): "branch against peak",
            ("log2_peak", "sum"): "channel, after the sum",
            ("log2_highest", "sum"): "highest of the layer",
        },
        x="position",
        xlabel="residual unit",
        ylabels={
            "peaks_shrunk": "share of channels",
            **dict.fromkeys(("log2_peak", "log2_highest"), "log₂ of after / before"),
        },
        said=_said_of_units,
        finish=_finish_units,
        beside=("weights.seed",),
        context=("weights.seed",),
    ),
}
"""The kinds by entry point."""


def load(overrides: list[str], runs: Path, *, partial: bool, entry: str, split: str | None = None) -> Lines:
    """Return the numbers of the experiment that these overrides name; for `split`, see `Lines`.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read.
    """
    kind, shown = _KINDS[entry], [] if split is None else [split]
    data = tables.load_tables(overrides, runs, entry, partial=partial)
    names = labels.label(data.runs, [*kind.beside, *shown])
    context = data.context(*kind.context, *shown).assign(label=names)
    points = ["run_id", "iteration", "position", "layer", "statistic", "definition"]
    numbers = (
        data.numbers if kind.quantity is None else data.numbers[data.numbers["quantity"] == kind.quantity]
    )
    means = numbers.groupby(points, sort=False, dropna=False)["value"]
    table = context.merge(means.agg(value="mean", images="size").reset_index(), on="run_id")
    if entry != "train_classifier":
        return Lines(data, kind, table, split, None)
    steps = table.groupby("run_id")["iteration"].transform("max")
    table["epoch"] = table["iteration"] / steps * table["recipe.epochs"].astype(float)
    return Lines(data, kind, table, split, _ends(table))


def _ends(table: pd.DataFrame) -> pd.DataFrame:
    last = table.groupby(["label", "seed", "statistic", "definition"], sort=False)["value"].last()
    wide = last.unstack(["statistic", "definition"])
    ends = pd.DataFrame({name: wide[column] for name, column in _ENDS.items()})
    learned = table[(table["statistic"] == "accuracy") & (table["definition"] == "train")]
    reached = learned[learned["value"] >= REACHED].groupby(["label", "seed"])["epoch"].min()
    ends[f"epochs_to_{REACHED:g}"] = reached
    groups = ends.groupby("label", sort=False)
    parts = {f"{name}_{part}": groups[name].agg(part) for name in ends.columns for part in ("mean", "std")}
    together = pd.DataFrame({"seeds": groups.size(), **parts})
    return together.loc[table["label"].unique()].reset_index()


def make(data: Lines) -> Figure:
    """Draw a panel for each quantity, with a line for each label and bands over seeds."""
    styles, panels, kind = lines.styles_of(data.table), data.panels, data.kind
    height = _HEIGHT * len(panels) + lines.legend_height(list(styles))
    with style.figure(height, caption=_caption(data), data=data) as (drawn, [part]):
        axes = part.subplots(
            len(panels), len(panels[0]), squeeze=False, sharex=True,
            sharey="none" if data.split is None else "row",
        )  # fmt: skip
        for axis, panel, letter in zip(axes.flat, chain(*panels), ascii_lowercase, strict=False):
            statistic, _ = panel.numbers
            shown = lines.draw_seeds(axis, panel.table, panel.numbers, styles, x=kind.x)
            axis.set(title=f"({letter}) {panel.title}", xlabel="", ylabel=kind.ylabels[statistic])
            kind.finish(axis, statistic, shown["value"])
        for axis in axes[-1]:
            axis.set_xlabel(kind.xlabel)
        for axis in axes[:, 1:].flat if len(set(kind.ylabels.values())) == 1 else ():
            axis.set_ylabel("")
        lines.add_legend(part, axes.flat, list(styles))
    return drawn


def _caption(data: Lines) -> str:
    seed = "seed" if "seed" in data.kind.beside else "weights.seed"
    several = len(data.table[seed].unique()) > 1
    return style.caption_lines(
        data.kind.said(data) + ("; bands: lowest to highest seed." if several else ".")
    )
