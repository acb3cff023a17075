"""How networks came to stylise in one pass: the terms of their objective over the steps of their training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import tables
from analysis.drawing import captions, labels, lines, style
from analysis.drawing.style import save
from analysis.tables import Tables

__all__ = ["load", "make", "save"]

TRAININGS = "train_feedforward"

HEIGHT = 2.6
"""Inches of the panels with their titles."""

PANELS = {
    ("style_loss", "train"): "(a) Style, training",
    ("style_loss", "pairs"): "(b) Style, pairs shown",
    ("content_loss", "pairs"): "(c) Content, pairs shown",
}
"""By statistic and definition."""


@dataclass(frozen=True)
class Trainings:
    """What the figure is drawn from.

    Attributes:
        tables: Those behind it.
        table: One row for each training, step, statistic and definition, with the training's settings, label
            and run.
    """

    tables: Tables
    table: pd.DataFrame

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """What stands beside it: the numbers behind it."""
        return {"": self.table}


def load(overrides: list[str], runs: Path, *, partial: bool) -> Trainings:
    """The trainings that these overrides name.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read.
    """
    data = tables.load(overrides, runs, TRAININGS, partial=partial)
    context = data.context("seed").assign(label=labels.label(data.runs, ["seed", "weights"]))
    numbers = data.numbers[data.numbers["quantity"] == "feedforward"]
    columns = ["run_id", "iteration", "statistic", "definition", "value"]
    return Trainings(data, context.merge(numbers[columns], on="run_id"))


def make(trainings: Trainings) -> Figure:
    """A panel for each term, a line for each training; bands from seed to seed."""
    looks = lines.looks_of(trainings.table)
    height = HEIGHT + lines.legend_height(list(looks))
    with style.figure(height, caption=_caption(trainings), data=trainings) as (drawn, [part]):
        axes = part.subplots(1, len(PANELS))
        for axis, (panel, title) in zip(axes, PANELS.items(), strict=True):
            lines.draw_seeds(axis, trainings.table, panel, looks, x="iteration")
            axis.set(title=title, xlabel="step", ylabel="term of the loss", yscale="log")
        lines.add_legend(part, axes, list(looks))
    return drawn


def _caption(trainings: Trainings) -> str:
    runs = trainings.tables.runs
    several = len(runs["seed"].unique()) > 1
    bands = " Bands: lowest to highest seed." if several else ""
    return captions.lines(
        f"Units of the objective's balance ({', '.join(sorted(set(runs['objective.balance'])))}), "
        f"{labels.seeds(runs)}. (a): means since the point before, on images as they were drawn.{bands}"
    )
