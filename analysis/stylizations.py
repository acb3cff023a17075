"""The finished pictures behind a figure: which arm made each, how it ended, and what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from analysis.drawing import labels
from analysis.tables.cells import Cell, CellsError, answered, compose_cells, computing, unique
from analysis.tables.collect import read_records, tidy
from swag_repro.names import file_stem
from swag_repro.runs.files import unreadable
from swag_repro.runs.records import RunRecord

ENTRY = "stylize"

MEASURES = ("style_distance", "sliced_wasserstein", "sifid", "cfsd", "ssim", "lpips")
LOSSES = {
    "content": "content_loss",
    "style": "style_loss",
    "total_variation": "total_variation",
    "total": "total_loss",
}
"""The columns of the losses in `pairs.json`."""

ORIGIN = ["run_id", "commit", "torch", "torchvision", "swag_repro"]
OF_ARM = [
    "label", "network", "kind", "shortcut", "weights", "weights_used", "smoothing", "seed", "loss", "fusion",
    "first_weight", "layers", "content_layer", "start", "size", "resize",
]  # fmt: skip
"""Columns of what was computed, but for the weights of the objective."""

OF_WEIGHTS = ["content_weight", "style_weight"]
POINT = ["held_out", *OF_ARM, *OF_WEIGHTS]
"""What the pairs of one point of a line have in common."""

ROLES = ("content", "style")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Arm:
    """One cell of the sweep, and its run.

    Attributes:
        label: What tells it from others in the figure: `network`, the loss, or both: `BN: r-ResNet-50*`.
        network: SWAG's name: `r-ResNet-50*`.
        weights: What the network's weights are, for a caption.
        smoothing: As the rows have it.
        cell: What was to be computed.
        record: What was; None where it is missing.
    """

    label: str
    network: str
    weights: str
    smoothing: str
    cell: Cell
    record: RunRecord | None

    @property
    def config(self) -> dict[str, Any]:
        """Of its cell."""
        return self.cell.config


@dataclass(frozen=True)
class Stylizations:
    """What a figure of stylisations is drawn from.

    Attributes:
        arms: In the order of the sweep.
        pairs: Names of content and style, in the order of the runs.
        table: One row for each pair of each arm that is not missing, arm by arm.
        marks: The mark of each smoothing; that of `none` is empty.
        missing: How many cells are missing.
        cells: How many there should be.
    """

    arms: tuple[Arm, ...]
    pairs: tuple[tuple[str, str], ...]
    table: pd.DataFrame
    marks: dict[str, str]
    missing: int
    cells: int

    @property
    def found(self) -> list[tuple[Arm, RunRecord]]:
        """The arms that are not missing, and their runs."""
        return [(arm, arm.record) for arm in self.arms if arm.record is not None]

    @property
    def roles(self) -> tuple[str, ...]:
        """Content, style, or both: those whose weight is above 0 in some arm."""
        objectives = [arm.config["objective"] for arm in self.arms]
        return tuple(role for role in ROLES if any(told[f"{role}_weight"] > 0 for told in objectives))

    @property
    def held_out(self) -> dict[str, list[str]]:
        """The networks that measured, such as `vgg19(random)`, and the labels of the arms they judged."""
        judged = self.table[self.table["held_out"] != ""].groupby("held_out", sort=False)["label"].unique()
        return {str(network): list(told) for network, told in judged.items()}

    @property
    def description(self) -> str:
        """For the figure's metadata."""
        commits = ", ".join(sorted(self.table["commit"].unique()))
        return f"{self.table['run_id'].nunique()} runs; commit {commits}"


def load(overrides: list[str], runs: Path, *, partial: bool) -> Stylizations:
    """The stylisations of the experiment that these overrides name.

    Args:
        overrides: Hydra's, the same as given to the experiment.
        runs: The output folder of the experiments.
        partial: Whether cells may be missing.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read.
    """
    cells = compose_cells(overrides, ENTRY)
    answer = answered(cells, read_records(runs)[0], computing(overrides, runs, ENTRY), partial=partial)
    found = {cell.key: (cell, record) for cell, record in unique(answer)}
    arms, marks = _arms({cell.key: cell for cell in cells}, {key: run for key, (_, run) in found.items()})
    table = pd.DataFrame(row for arm in arms if arm.record for row in _rows(arm, arm.record))
    numbers = dict.fromkeys([*MEASURES, "first_weight", "shortcut"], float)
    table = table.astype(numbers | dict.fromkeys(["seed", "layers", "content_layer"], "Int64"))
    pairs = list(dict.fromkeys(zip(table["content"], table["style"], strict=True)))
    if len(table) != len(pairs) * len(found):
        raise CellsError(
            "runs",
            "of one figure should have the same pairs",
            f"{len(pairs)} pairs, but {len(table)} pictures by {len(found)} runs",
            "Give content, style and pairing one value each.",
        )
    return Stylizations(arms, tuple(pairs), table, marks, len(answer.missing), answer.cells)


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over all pairs, however they ended, and their standard errors: one row a point.

    Args:
        table: Of `Stylizations`.

    Returns:
        `POINT`, mean and standard error of each loss and measure, how many pairs, how many of them did not
        finish, and the run; in the order of the sweep.
    """
    points = table.assign(not_finished=table["status"] != "finished").groupby(POINT, dropna=False, sort=False)
    made = points.agg(pairs=("status", "size"), not_finished=("not_finished", "sum"))
    for column in (*LOSSES.values(), *MEASURES):
        numbers = points[column]
        made[column], made[f"{column}_error"] = numbers.mean(), numbers.sem()
    return made.join(points[ORIGIN].first()).reset_index()


def check_told_apart(data: Stylizations, by: Sequence[str], swept: str) -> None:
    """Refuses a sweep with a dimension that the figure can't show.

    Args:
        data: All of it.
        by: Columns by which the figure tells its arms apart.
        swept: These columns in words.

    Raises:
        CellsError: Two arms are equal in all of them.
    """
    cells = {arm.record.identity.run_id: str(arm.cell) for arm in data.arms if arm.record}
    runs = data.table.groupby(list(by), dropna=False, sort=False)["run_id"].unique()
    if not (mixed := runs[runs.map(len) > 1]).empty:
        raise CellsError(
            "overrides",
            f"should sweep only {swept} for this figure",
            "the same of these in: " + "; ".join(cells[run] for run in mixed.iloc[0]),
            "Give the other settings one value each.",
        )


def pixels(record: RunRecord, name: str) -> Pixels:
    """An 8-bit picture of a run, such as `images/a.png`: `(H, W, 3)`.

    Raises:
        StoreError: It is missing or broken.
    """
    try:
        with Image.open(BytesIO(record.read(name))) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise unreadable(record.path / name, error) from error


def input_name(role: str, name: str) -> str:
    """The name of the file of a picture that a run was given, resized; `role` is content or style."""
    return f"images/{role}/{file_stem(name)}.png"


def _arms(cells: dict[str, Cell], records: dict[str, RunRecord]) -> tuple[tuple[Arm, ...], dict[str, str]]:
    """An arm for each different cell, and the marks of smoothings in the arms' names."""
    smoothings = _smoothings(cells, records)
    marks = labels.marks(dict.fromkeys(smoothings.values()))
    told = {key: labels.weights(cell.config["weights"]) for key, cell in cells.items()}
    networks = _networks(cells, told, {key: marks[smoothing] for key, smoothing in smoothings.items()})
    named = {key: cell.config.get("arm") or cell.config["objective"] for key, cell in cells.items()}
    names = _labels(networks, {key: part["label"] for key, part in named.items()})
    arms = (
        Arm(names[key], networks[key], told[key], smoothings[key], cells[key], records.get(key))
        for key in cells
    )
    return tuple(arms), marks


def _networks(cells: dict[str, Cell], told: dict[str, str], marks: dict[str, str]) -> dict[str, str]:
    """SWAG's name of each cell's network; weights are named behind names that would else be the same."""
    plain = {
        key: labels.PREFIX[cell.config["weights"]["name"]]
        + cell.config["network"]["label"]
        + marks[key]
        + labels.scale(cell.config["network"])
        for key, cell in cells.items()
    }
    weights_of: dict[str, set[str]] = {}
    for key, name in plain.items():
        weights_of.setdefault(name, set()).add(told[key])
    return {
        key: f"{name} ({told[key]})" if len(weights_of[name]) > 1 else name for key, name in plain.items()
    }


def _labels(networks: dict[str, str], losses: dict[str, str]) -> dict[str, str]:
    """Losses, or arms, are named where they are several; and networks unless that tells the arms apart."""
    if len(set(losses.values())) == 1:
        return networks
    if len(set(networks.values())) == 1:
        return losses
    return {key: f"{losses[key]}: {network}" for key, network in networks.items()}


def _smoothings(cells: dict[str, Cell], records: dict[str, RunRecord]) -> dict[str, str]:
    """Each cell's smoothing in the words of the rows, a missing cell's in those of another's run."""
    rows = tidy(list(records.values())).to_pandas().groupby("run_id")["smoothing"].first()
    parts = {key: cell.config["smoothing"] for key, cell in cells.items()}
    settings = {key: labels.call(part["name"], part) for key, part in parts.items()}
    words = {settings[key]: rows[record.identity.run_id] for key, record in records.items()}
    return {key: words.get(told, told) for key, told in settings.items()}


def _rows(arm: Arm, record: RunRecord) -> Iterator[dict[str, Any]]:
    versions = record.status.versions
    origin = {"run_id": record.identity.run_id, "commit": record.status.commit or "unknown"}
    origin |= {name: versions.get(name, "unknown") for name in ORIGIN[2:]}
    try:
        for pair in json.loads(record.read("pairs.json")):
            yield {**of_arm(arm), **_row(pair), **origin}
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(record.path / "pairs.json", error) from error


def of_arm(arm: Arm) -> dict[str, Any]:
    """What of it stands in the table: `OF_ARM` and `OF_WEIGHTS`."""
    config, objective = arm.config, arm.config["objective"]
    fused = fused_weights(objective)
    return {
        "label": arm.label,
        "network": config["network"]["name"],
        "kind": config["network"]["name"] + labels.scale(config["network"]),
        "shortcut": config["network"].get("shortcut"),
        "weights": config["weights"]["name"],
        "weights_used": arm.weights,
        "smoothing": arm.smoothing,
        "seed": config["weights"].get("seed"),
        "loss": objective["name"],
        "fusion": "/".join(f"{weight:g}" for weight in fused),
        "first_weight": fused[0] / sum(fused) if fused else None,
        "layers": objective["layers"],
        "content_layer": objective["content_layer"],
        "start": Path(config["start"]).name,
        "size": config["images"]["size"],
        "resize": config["images"]["resize"],
        **{weight: objective[weight] for weight in OF_WEIGHTS},
    }


def fused_weights(objective: Mapping[str, Any]) -> list[float]:
    """The weights of the losses that an objective's style loss fuses; none where it is a single loss."""
    return list(objective["style"]["weights"]) if "losses" in objective["style"] else []


def _row(pair: dict[str, Any]) -> dict[str, Any]:
    measures = {told["statistic"]: told for told in pair["measures"]}
    why = (f"{name}: {told['reason']}" for name, told in measures.items() if told["value"] is None)
    return {
        **{key: pair[key] for key in ("content", "style", "image", "status", "reason")},
        **{key: pair[key] for key in ("iterations", "evaluations", "recoveries")},
        **{column: pair["losses"][loss] for loss, column in LOSSES.items()},
        **{f"first_{column}": pair["first"][loss] for loss, column in LOSSES.items()},
        "held_out": measures.get("style_distance", {}).get("definition")
        or "",  # LPIPS has a network of its own
        **{name: measures[name]["value"] if name in measures else None for name in MEASURES},
        "not_measured": "; ".join(why),
    }
