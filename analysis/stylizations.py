"""The finished pictures behind a figure: the arm of each, how its optimisation ended, and its measures."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import labels, tables
from analysis.tables import MEASURES, Cell, CellsError, PixelArray, Tables
from experiments.asking import Wanted
from swag_repro.runs.schema import LOSSES

OBJECTIVE = ["objective.name", "objective.content_weight", "objective.style_weight", "start"]
"""Settings that stand beside every picture."""

PICTURE_ROLES = ("content", "style")


@dataclass(frozen=True)
class Arm:
    """One cell of the sweep.

    Attributes:
        index: Index of its row in `Tables.runs`.
        line: Number of its line; arms share it if they differ only in what the figure shows in another way.
        label: Name of its line in the figure, for people: `BN: r-ResNet-50*`.
        network: SWAG's name of its network, for people: `r-ResNet-50*`.
        cell: The cell itself.
        missing: Whether it has no run.
    """

    index: int
    line: int
    label: str
    network: str
    cell: Cell
    missing: bool

    @property
    def config(self) -> dict[str, Any]:
        """The config of its cell."""
        return self.cell.config

    @property
    def weights(self) -> str:
        """The weights of its network, in a caption's words."""
        return labels.weights_text(self.config["weights"])


@dataclass(frozen=True)
class Stylizations:
    """The data of a figure of stylisations.

    Attributes:
        tables: The tables behind the figure.
        arms: The arms in the order of the sweep.
        pairs: Names of content and style that some arm has, in the order of the runs.
        table: One row for each pair of each arm that is not missing, arm by arm: the numbers of its `cell`
            and of its `line`, the line's label, settings, `PAIRS`, measures, the judge and whether that judge
            is `random`, which measures failed, and its run.
    """

    tables: Tables
    arms: tuple[Arm, ...]
    pairs: tuple[tuple[str, str], ...]
    table: pd.DataFrame

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The table of pictures, which is written beside the figures."""
        return {"": self.table}

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles, content and style, whose weight is above 0 in some arm."""
        objectives = [arm.config["objective"] for arm in self.arms]
        return tuple(role for role in PICTURE_ROLES if any(part[f"{role}_weight"] > 0 for part in objectives))

    @property
    def judges(self) -> dict[str, list[str]]:
        """The judges, and the networks that each judged, in words."""
        networks = {arm.index: str(arm.config["network"]["label"]) for arm in self.arms}
        judged = self.table.assign(judged=self.table["cell"].map(networks)).dropna(subset="judge")
        return {
            str(judge): list(rows["judged"].unique()) for judge, rows in judged.groupby("judge", sort=False)
        }


def load_stylizations(
    overrides: list[str], runs: Path, *, partial: bool, shown: Collection[str] = (), entry: str = "stylize"
) -> Stylizations:
    """Return the stylisations of the experiment that these overrides name.

    Args:
        overrides: Hydra overrides, as given to the experiment.
        runs: The output folder of the experiments.
        partial: Whether cells may be missing.
        shown: Settings that the figure shows in another way than by the names of arms.
        entry: The entry point that computes it.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read.
    """
    made = _of_tables(tables.load_tables(overrides, runs, entry, partial=partial), shown)
    found = len(made.arms) - made.tables.missing
    if len(made.table) != len(made.pairs) * found:
        raise CellsError(
            "runs",
            "of one figure should have the same pairs",
            f"{len(made.pairs)} pairs, but {len(made.table)} pictures by {found} runs",
            "Give content, style and pairing one value each.",
        )
    return made


def read_stylizations(wanted: Wanted, *, partial: bool) -> Stylizations:
    """Return the stylisations of these cells, each of which may have pairs of its own.

    Raises:
        CellsError, StoreError: The same as for `load`.
    """
    return _of_tables(tables.read_tables(wanted, partial=partial), ())


def _of_tables(data: Tables, shown: Collection[str]) -> Stylizations:
    arms = _arms(data, shown)
    table = _pictures(data, arms)
    pairs = dict.fromkeys(zip(table["content"], table["style"], strict=True))
    return Stylizations(data, arms, tuple(pairs), table)


def _arms(data: Tables, shown: Collection[str]) -> tuple[Arm, ...]:
    runs = data.runs
    columns = (
        runs.index, tables.line_numbers(runs, shown), labels.label(runs, shown), labels.network(runs, shown),
        data.cells, runs["run_id"].isna(),
    )  # fmt: skip
    return tuple(Arm(*values) for values in zip(*columns, strict=True))


def _pictures(data: Tables, arms: tuple[Arm, ...]) -> pd.DataFrame:
    """Return `Stylizations.table`."""
    context = data.context(*OBJECTIVE).drop(columns=list(PICTURE_ROLES), errors="ignore")
    context = context.assign(cell=context.index, line=[arm.line for arm in arms])
    context.insert(0, "label", [arm.label for arm in arms])
    pairs = data.pairs.drop(columns=["styles", "steps"])
    table = context.merge(pairs, on="run_id", suffixes=("", "_taken")).join(
        _measured(data), on=["cell", "content", "style"]
    )
    table["random"] = table["random"].fillna(value=False).astype(bool)
    return table.astype(dict.fromkeys(MEASURES, float))


def _measured(data: Tables) -> pd.DataFrame:
    """Return one row for each finished, judged picture: its measures, the judge, and what is unknown."""
    finished = data.measures[data.measures["iteration"].isna()]
    by_picture = finished.groupby(["cell", "content", "style"], sort=False)
    values = finished.pivot(index=["cell", "content", "style"], columns="statistic", values="value")
    rows = finished[finished["statistic"] != "lpips"].dropna(
        subset="definition"
    )  # LPIPS has a network of its own
    judges = rows.groupby(["cell", "content", "style"], sort=False)["definition"].first()
    reasons = finished.dropna(subset="reason").assign(
        reason=lambda rows: rows["statistic"] + ": " + rows["reason"]
    )
    return values.reindex(columns=list(MEASURES)).assign(
        judge=judges,
        random=by_picture["random"].first(),
        not_measured=reasons.groupby(["cell", "content", "style"])["reason"].agg("; ".join),
    )


def mean_over_pairs(table: pd.DataFrame, along: str | None = None) -> pd.DataFrame:
    """Return means and standard errors over all pairs, however they ended, in one row for each cell.

    Args:
        table: Table of `Stylizations`.
        along: A column by which the points of each line are sorted.

    Returns:
        The settings of the cell, its line and judge, mean and standard error of each loss and measure, how
        many pairs, and how many of them did not finish; in the order of the sweep.
    """
    points = table.assign(not_finished=table["status"] != "finished").groupby("cell", sort=False)
    about = points[_alike(table)].first()
    numbers = [*LOSSES.values(), *MEASURES]
    errors = points[numbers].sem().add_suffix("_error")
    made = about.assign(pairs=points.size(), not_finished=points["not_finished"].sum())
    made = made.join([points[numbers].mean(), errors]).reset_index()
    return made if along is None else made.sort_values(["line", along], kind="stable")


def _alike(table: pd.DataFrame) -> list[str]:
    """Return the columns that belong to a cell, not to one of its pictures: settings, and its judge."""
    context = table.columns[: table.columns.get_loc("content")]
    return [column for column in [*context, "judge", "random"] if column != "cell"]


def picture(data: Stylizations, arm: Arm, name: Any) -> PixelArray:
    """Return an arm's 8-bit picture `(H, W, 3)`; see `Tables.picture`."""
    return data.tables.picture(arm.index, name)


def first_weight(weights: str) -> float:
    """Return the first loss's share of the weights of a fusion, which a column of settings holds as JSON."""
    values: list[float] = json.loads(weights)
    return values[0] / sum(values)
