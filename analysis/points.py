"""The numbers behind a figure: means over images, spread over seeds, and where each came from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.drawing import labels
from analysis.tables.cells import Cell, CellsError, answered, compose_cells, computing, unique
from analysis.tables.collect import read_records, tidy
from swag_repro.runs.records import RunRecord

LINE = ["network", "kind", "shortcut", "label", "weights", "smoothing", "batchnorm"]
POINT = [*LINE, "position", "layer", "depth", "quantity", "statistic", "definition"]
PROVENANCE = ["run_ids", "commit", "torch", "torchvision", "swag_repro"]


@dataclass(frozen=True)
class Points:
    """What a figure is drawn from.

    Attributes:
        table: One row a point, with the columns `POINT`, mean, low, high, seeds, images and `PROVENANCE`;
            in the order of the sweep, then by position.
        marks: The mark of each smoothing; the empty string is that of `none`.
        missing: How many cells are missing.
        cells: How many there should be.
    """

    table: pd.DataFrame
    marks: dict[str, str]
    missing: int
    cells: int


def load(overrides: list[str], runs: Path, *, partial: bool) -> Points:
    """The points of the experiment that these overrides name.

    Args:
        overrides: Hydra's, the same as given to the experiment.
        runs: The output folder of the experiments.
        partial: Whether cells may be missing.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read.
    """
    cells, command = compose_cells(overrides), computing(overrides, runs)
    answer = answered(cells, read_records(runs)[0], command, partial=partial)
    table, marks = aggregate(unique(answer))
    return Points(table, marks, len(answer.missing), answer.cells)


def aggregate(found: list[tuple[Cell, RunRecord]]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Each point's mean, and its smallest and largest mean over one seed's images; and the smoothings' marks.

    The mean over images is arithmetic, as in SWAG's Figure 3; that over seeds too.

    Args:
        found: Cells and their runs, each run once.

    Raises:
        CellsError: The sweep has a dimension that a line can't show.
        StoreError: A run's rows can't be read.
    """
    rows, marks = labelled(found)
    by_seed = rows.groupby([*POINT, "seed"], dropna=False, sort=False)["value"].agg(["mean", "size"])
    points = by_seed.groupby(POINT, dropna=False, sort=False).agg(
        mean=("mean", "mean"), low=("mean", "min"), high=("mean", "max"), images=("size", "max")
    )
    points["seeds"] = rows.groupby(POINT, dropna=False, sort=False)["seed"].nunique()
    points = points.reset_index().merge(_provenance(rows), on=LINE)
    return points[[*POINT, "mean", "low", "high", "seeds", "images", *PROVENANCE]], marks


def labelled(found: list[tuple[Cell, RunRecord]]) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of these runs, one for each image and number, with what a figure calls them; and the marks.

    Returns:
        The runs' rows of layers with `PROVENANCE`, and: label, the name of a line; name, the same without λ;
        kind, the network with λ where that is not the network's own; shortcut, λ. The marks as in `Points`.

    Raises:
        CellsError: The sweep has a dimension that a line can't show.
        StoreError: A run's rows can't be read.
    """
    rows = tidy([record for _, record in found]).to_pandas().dropna(subset="position")
    rows = rows.merge(_origins(found), on="run_id").sort_values(["order", "position"], kind="stable")
    rows["kind"] = rows["network"] + rows["scale"]
    _check_one_run_each(rows)
    marks = labels.marks(rows["smoothing"].unique())
    rows["name"] = rows["weights"].map(labels.PREFIX) + rows["name"] + rows["smoothing"].map(marks)
    rows["label"] = rows["name"] + rows["scale"]
    return rows, marks


def _origins(found: Iterable[tuple[Cell, RunRecord]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run_id": record.identity.run_id,
            "name": cell.config["network"]["label"],
            "scale": labels.scale(cell.config["network"]),
            "shortcut": _number(cell.config["network"].get("shortcut")),
            "batchnorm": cell.config["batchnorm"],
            "cell": str(cell),
            "order": order,
            "commit": record.status.commit or "unknown",
            **{name: record.status.versions.get(name, "unknown") for name in PROVENANCE[2:]},
        }
        for order, (cell, record) in enumerate(found)
    )


def _number(scale: float | None) -> float:
    return math.nan if scale is None else float(scale)


def _provenance(rows: pd.DataFrame) -> pd.DataFrame:
    def joined(values: pd.Series) -> str:
        return ";".join(values.unique())

    lines = rows.rename(columns={"run_id": "run_ids"}).groupby(LINE, dropna=False, sort=False)
    return lines[PROVENANCE].agg(joined).reset_index()


def _check_one_run_each(rows: pd.DataFrame) -> None:
    line = ["kind", "weights", "smoothing", "batchnorm", "seed"]
    runs = rows.groupby(line, dropna=False)["cell"].unique()
    if (mixed := runs[runs.map(len) > 1]).empty:
        return
    raise CellsError(
        "overrides",
        "should sweep only networks, shortcuts, weights, smoothings, batchnorm and seeds for this figure",
        "the same of these in: " + "; ".join(mixed.iloc[0]),
        "Give the other settings one value each.",
    )
