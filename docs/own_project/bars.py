"""A figure of one's own: how near the pictures are to their style, by loss and smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.figure import Figure

from swag_repro import load_tables

MEASURE = "style_distance"
"""The measure that is drawn; `data.measures["statistic"].unique()` lists all."""


def load(overrides: Sequence[str], runs: Path, *, partial: bool) -> Any:
    """Return the tables of the experiment; runs that are missing are an error with the command."""
    return load_tables(overrides, runs, "stylize", partial=partial)


def make(data: Any) -> Figure:
    """Draw a group of bars for each loss, and a bar for each smoothing: means over pairs."""
    arms = data.runs[["objective.label", "smoothing.name"]]
    measured = data.measures.query("statistic == @MEASURE").join(arms, on="cell")
    figure = Figure(figsize=(5, 3), layout="constrained")
    axis = figure.subplots()
    sns.barplot(measured, x="objective.label", y="value", hue="smoothing.name", errorbar=None, ax=axis)
    axis.set(xlabel="loss", ylabel="distance to the style, by VGG-16")
    axis.legend(title="smoothing")
    return figure


def save(figure: Figure, data: Any, folder: Path, name: str) -> list[Path]:
    """Write the figure and the numbers behind it, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    picture, numbers = folder / f"{name}.png", folder / f"{name}.csv"
    figure.savefig(picture, dpi=200)
    data.measures.to_csv(numbers, index=False)
    return [picture, numbers]
