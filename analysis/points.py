"""The numbers behind a figure: means over images, the range over seeds, and where each number comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis import labels, tables
from analysis.tables import Tables
from analysis.tables.runs import smoothing_numbers

POINT = ["line", "position", "layer", "depth", "quantity", "statistic", "definition"]
"""Columns that the images and seeds of one point have in common."""

ACTIVATIONS = "measure_activations"


@dataclass(frozen=True)
class Points:
    """The data of a figure.

    Attributes:
        tables: The tables behind the figure.
        table: One row for each point: its line's label and settings, `POINT`, mean, low, high, seeds, images,
            and its runs. Rows are in the order of the sweep, then by position. `network` and `smoothing`
            number the kinds of each, for colours and dashes.
        by_seed: One row for each seed of each point: `mean` over its images, and `POINT`.
    """

    tables: Tables
    table: pd.DataFrame
    by_seed: pd.DataFrame

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The numbers behind every point, which are written beside the figures."""
        return {"": self.table}


def load_points(overrides: list[str], runs: Path, *, partial: bool) -> Points:
    """Return the points of the experiment that these overrides name.

    Args:
        overrides: Hydra overrides, as given to the experiment.
        runs: The output folder of the experiments.
        partial: Whether cells may be missing.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read.
    """
    data = tables.load_tables(overrides, runs, ACTIVATIONS, partial=partial)
    rows = by_image(data).groupby([*POINT, "weights.seed"], dropna=False, sort=False)["value"]
    by_seed = rows.agg(mean="mean", images="size").reset_index()
    return Points(data, _of_lines(data).merge(_over_seeds(by_seed), on="line"), by_seed)


def _over_seeds(by_seed: pd.DataFrame) -> pd.DataFrame:
    """Return each point's mean, and its smallest and largest mean over one seed's images.

    Means over images are arithmetic, as in SWAG's Figure 3; so are means over seeds.
    """
    points = by_seed.groupby(POINT, dropna=False, sort=False)
    return points.agg(
        mean=("mean", "mean"), low=("mean", "min"), high=("mean", "max"), images=("images", "max"),
        seeds=("weights.seed", "nunique"),
    ).reset_index()  # fmt: skip


def by_image(data: Tables) -> pd.DataFrame:
    """Return the numbers of layers, one for each image, each with its `line`, settings and origin."""
    context = data.context().assign(line=tables.line_numbers(data.runs, ["weights.seed"]))
    numbers = data.numbers.dropna(subset="position").drop(columns=["network", "weights", "smoothing", "seed"])
    cells = context.rename_axis("cell").reset_index()
    return cells.merge(numbers, on="run_id").sort_values(["cell", "position"], kind="stable")


def _of_lines(data: Tables) -> pd.DataFrame:
    """Return one row for each line: its label, its settings, and all runs behind it."""
    runs, beside = data.runs, ["weights.seed", "batchnorm"]
    context = data.context("batchnorm").assign(
        line=tables.line_numbers(runs, ["weights.seed"]),
        network=tables.line_numbers(runs, [*beside, "smoothing"]),
        smoothing=smoothing_numbers(runs),
    )
    context.insert(0, "label", labels.label(runs, beside))
    known = context.dropna(subset="run_id").drop(columns="weights.seed").groupby("line", sort=False)
    return known.agg(_join).reset_index().rename(columns={"run_id": "run_ids"})


def _join(values: pd.Series) -> object:
    different = values.unique()
    return different[0] if len(different) == 1 else ";".join(map(str, different))
