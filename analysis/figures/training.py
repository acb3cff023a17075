"""Trainings of classifiers: accuracy and loss over the epochs, and a table of their final values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import labels, tables
from analysis.drawing import captions, lines, style
from analysis.drawing.style import save
from analysis.tables import Tables

__all__ = ["load", "make", "save"]

_ENTRY = "train_classifier"

_HEIGHT = 2.6
"""Height of the panels with their titles, in inches."""

_PANELS = {
    ("accuracy", "test"): "(a) Accuracy, held out",
    ("accuracy", "train"): "(b) Accuracy, training",
    ("loss", "train"): "(c) Loss, training",
}
"""Titles by statistic and definition."""

_AXES = {"accuracy": "share of right answers", "loss": "cross entropy, nats"}

_ENDS = {
    "test_accuracy": ("accuracy", "test"),
    "test_loss": ("loss", "test"),
    "train_accuracy": ("accuracy", "fitted"),
    "train_loss": ("loss", "fitted"),
}
"""Columns of the table of ends; `fitted` is the finished network on the images that it was trained on."""

REACHED = 0.7
"""An accuracy in training; the table says when it was first reached."""


@dataclass(frozen=True)
class ClassifierTrainings:
    """The data of the figure.

    Attributes:
        tables: The tables behind the figure.
        table: One row for each training, epoch, statistic and definition, with the training's settings, label
            and run.
        ends: One row for each label: seeds, and mean and standard deviation of the columns in `_ENDS`.
    """

    tables: Tables
    table: pd.DataFrame
    ends: pd.DataFrame

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The numbers behind the figure and the table of ends, which are written beside it."""
        return {"": self.table, "_ends": self.ends}


def load(overrides: list[str], runs: Path, *, partial: bool) -> ClassifierTrainings:
    """Return the trainings that these overrides name.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read.
    """
    data = tables.load_tables(overrides, runs, _ENTRY, partial=partial)
    beside = ["seed", "weights"]
    context = data.context("seed", "recipe.epochs").assign(label=labels.label(data.runs, beside))
    numbers = data.numbers[["run_id", "iteration", "statistic", "definition", "value"]]
    table = context.merge(numbers, on="run_id")
    steps = table.groupby("run_id")["iteration"].transform("max")
    table["epoch"] = table["iteration"] / steps * table["recipe.epochs"].astype(float)
    return ClassifierTrainings(data, table, _ends(table))


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


def make(trainings: ClassifierTrainings) -> Figure:
    """Draw a panel for each quantity, with a line for each network and bands over seeds."""
    styles = lines.styles_of(trainings.table)
    height = _HEIGHT + lines.legend_height(list(styles))
    with style.figure(height, caption=_caption(trainings), data=trainings) as (drawn, [part]):
        axes = part.subplots(1, len(_PANELS))
        for axis, (panel, title) in zip(axes, _PANELS.items(), strict=True):
            lines.draw_seeds(axis, trainings.table, panel, styles, x="epoch")
            axis.set(title=title, xlabel="epoch", ylabel=_AXES[panel[0]])
        lines.add_legend(part, axes, list(styles))
    return drawn


def _caption(trainings: ClassifierTrainings) -> str:
    runs = trainings.tables.runs
    several = len(runs["seed"].unique()) > 1
    bands = "; bands: lowest to highest seed" if several else ""
    data = ", ".join(sorted({_data(row) for _, row in runs.iterrows()}))
    return captions.caption_lines(
        f"Trained on {data}, {labels.seeds(runs)}{bands}. (b, c): as images were drawn."
    )


def _data(run: pd.Series) -> str:
    """Return the common name of a run's data."""
    return Path(run["data.path"]).name if run["data.name"] == "folder" else str(run["data.name"])
