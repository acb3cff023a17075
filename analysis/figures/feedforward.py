"""Trainings of networks that stylise in one pass: the terms of the objective over the training steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from string import ascii_lowercase

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import labels, tables
from analysis.drawing import captions, lines, style
from analysis.drawing.lines import LineStyle
from analysis.drawing.style import save
from analysis.tables import Tables

__all__ = ["load", "make", "save"]

_ENTRY = "train_feedforward"

_HEIGHT = 2.6
"""Height of the panels with their titles, in inches."""

_PANELS = {
    ("style_loss", "train"): "Style, training",
    ("style_loss", "pairs"): "Style, pairs shown",
    ("content_loss", "pairs"): "Content, pairs shown",
}
"""Titles by statistic and definition."""

SPLIT = 2
"""Number of these panels below each other if a setting has a column of panels for each of its values."""


@dataclass(frozen=True)
class FeedforwardTrainings:
    """The data of the figure.

    Attributes:
        tables: The tables behind the figure.
        table: One row for each training, step, statistic and definition, with the training's settings, label
            and run.
        split: The setting that has a column of panels for each of its values; None if there is none.
    """

    tables: Tables
    table: pd.DataFrame
    split: str | None

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The numbers behind the figure, which are written beside it."""
        return {"": self.table}

    @property
    def panels(self) -> list[list[TermPanel]]:
        """The panels, row by row."""
        if self.split is None:
            return [[TermPanel(title, panel, self.table) for panel, title in _PANELS.items()]]
        parts = self.table.groupby(self.split, sort=False)
        return [
            [TermPanel(f"{title}: {value}", panel, part) for value, part in parts]
            for panel, title in list(_PANELS.items())[:SPLIT]
        ]


@dataclass(frozen=True)
class TermPanel:
    """One panel.

    Attributes:
        title: Title after its letter.
        numbers: Statistic and definition of its numbers.
        table: The rows of `FeedforwardTrainings.table` that it draws from.
    """

    title: str
    numbers: tuple[str, str]
    table: pd.DataFrame


def load(
    overrides: list[str], runs: Path, *, partial: bool, split: str | None = None
) -> FeedforwardTrainings:
    """Return the trainings that these overrides name; for `split`, see `FeedforwardTrainings`.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read.
    """
    data = tables.load_tables(overrides, runs, _ENTRY, partial=partial)
    shown = [] if split is None else [split]
    names = labels.label(data.runs, ["seed", "weights", *shown])
    context = data.context("seed", *shown).assign(label=names)
    numbers = data.numbers[data.numbers["quantity"] == "feedforward"]
    columns = ["run_id", "iteration", "statistic", "definition", "value"]
    return FeedforwardTrainings(data, context.merge(numbers[columns], on="run_id"), split)


def make(trainings: FeedforwardTrainings) -> Figure:
    """Draw a panel for each term, with a line for each training and bands over seeds."""
    styles, panels = lines.styles_of(trainings.table), trainings.panels
    height = _HEIGHT * len(panels) + lines.legend_height(list(styles))
    with style.figure(height, caption=_caption(trainings), data=trainings) as (drawn, [part]):
        axes = part.subplots(
            len(panels), len(panels[0]), squeeze=False, sharey="none" if trainings.split is None else "row"
        )
        for axis, panel, letter in zip(axes.flat, chain(*panels), ascii_lowercase, strict=False):
            _draw(axis, panel, styles)
            axis.set_title(f"({letter}) {panel.title}")
        for axis in axes[:, 0]:
            axis.set_ylabel("term of the loss")
        lines.add_legend(part, axes.flat, list(styles))
    return drawn


def _draw(axis: Axes, panel: TermPanel, styles: Mapping[str, LineStyle]) -> None:
    lines.draw_seeds(axis, panel.table, panel.numbers, styles, x="iteration")
    axis.set(xlabel="step", ylabel="")
    statistic, definition = panel.numbers
    of_panel = (panel.table["statistic"] == statistic) & (panel.table["definition"] == definition)
    style.set_scale(axis, "y", panel.table[of_panel]["value"])


def _caption(trainings: FeedforwardTrainings) -> str:
    runs = trainings.tables.runs
    several = len(runs["seed"].unique()) > 1
    bands = " Bands: lowest to highest seed." if several else ""
    return captions.caption_lines(
        f"Units of the objective's balance ({', '.join(sorted(set(runs['objective.balance'])))}), "
        f"{labels.seeds(runs)}. Training: means since the point before, on images as they were drawn.{bands}"
    )
