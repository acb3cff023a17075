"""The finished pictures behind a figure: which arm made each, how it ended, and what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from analysis import labels
from analysis.cells import Cell, CellsError, check_complete, compose_cells, match, unique
from analysis.collect import read_records, tidy
from swag_repro.errors import StoreError
from swag_repro.store import RunRecord

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
OF_ARM = ["label", "network", "weights", "weights_used", "smoothing", "seed", "loss"]
OF_WEIGHTS = ["content_weight", "style_weight"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Arm:
    """One cell of the sweep, and its run.

    Attributes:
        label: SWAG's name: `r-ResNet-50*`.
        weights: What the network's weights are, for a caption.
        smoothing: As the rows have it.
        cell: What was to be computed.
        record: What was; None where it is missing.
    """

    label: str
    weights: str
    smoothing: str
    cell: Cell
    record: RunRecord | None

    @property
    def network(self) -> dict[str, Any]:
        """The network's part of the config."""
        return self.cell.config["network"]  # type: ignore[no-any-return]


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
    answer = match(cells, read_records(runs)[0])
    if not partial or not answer.found:
        check_complete(answer, overrides)
    found = {cell.key: (cell, record) for cell, record in unique(answer)}
    arms, marks = _arms({cell.key: cell for cell in cells}, {key: run for key, (_, run) in found.items()})
    table = pd.DataFrame(row for arm in arms if arm.record for row in _rows(arm, arm.record))
    table = table.astype(dict.fromkeys(MEASURES, float) | {"seed": "Int64"})
    pairs = list(dict.fromkeys(zip(table["content"], table["style"], strict=True)))
    if len(table) != len(pairs) * len(found):
        raise CellsError(
            "runs",
            "of one figure should have the same pairs",
            f"{len(pairs)} pairs, but {len(table)} pictures by {len(found)} runs",
            "Give content, style and pairing one value each.",
        )
    return Stylizations(arms, tuple(pairs), table, marks, len(answer.missing), answer.cells)


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
    runs = data.table.groupby(list(by), sort=False)["run_id"].unique()
    if not (mixed := runs[runs.map(len) > 1]).empty:
        raise CellsError(
            "overrides",
            f"should sweep only {swept} for this figure",
            "the same of these in: " + "; ".join(cells[run] for run in mixed.iloc[0]),
            "Give the other settings one value each.",
        )


def pixels(path: Path) -> Pixels:
    """An 8-bit picture of a run: `(H, W, 3)`.

    Raises:
        StoreError: It is missing or broken.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise _unreadable(path, error) from error


def input_path(record: RunRecord, role: str, name: str) -> Path:
    """Where a run keeps a picture that it was given, resized; `role` is content or style."""
    return record.path / "images" / role / f"{name.replace('/', '_')}.png"


def _arms(cells: dict[str, Cell], records: dict[str, RunRecord]) -> tuple[tuple[Arm, ...], dict[str, str]]:
    """An arm for each different cell; weights are named behind labels that would else be the same."""
    smoothings = _smoothings(cells, records)
    marks = labels.marks(dict.fromkeys(smoothings.values()))
    told = {key: labels.weights(cell.config["weights"]) for key, cell in cells.items()}
    plain = {
        key: labels.PREFIX[cell.config["weights"]["name"]]
        + cell.config["network"]["label"]
        + marks[smoothings[key]]
        for key, cell in cells.items()
    }
    weights_of: dict[str, set[str]] = {}
    for key, label in plain.items():
        weights_of.setdefault(label, set()).add(told[key])
    named = {
        key: f"{label} ({told[key]})" if len(weights_of[label]) > 1 else label for key, label in plain.items()
    }
    arms = (Arm(named[key], told[key], smoothings[key], cells[key], records.get(key)) for key in cells)
    return tuple(arms), marks


def _smoothings(cells: dict[str, Cell], records: dict[str, RunRecord]) -> dict[str, str]:
    """Each cell's smoothing in the words of the rows, a missing cell's in those of another's run."""
    rows = tidy(list(records.values())).to_pandas().groupby("run_id")["smoothing"].first()
    parts = {key: cell.config["smoothing"] for key, cell in cells.items()}
    settings = {key: labels.call(part["name"], part) for key, part in parts.items()}
    words = {settings[key]: rows[record.identity.run_id] for key, record in records.items()}
    return {key: words.get(told, told) for key, told in settings.items()}


def _rows(arm: Arm, record: RunRecord) -> Iterator[dict[str, Any]]:
    config, path = arm.cell.config, record.path / "pairs.json"
    versions = record.status.versions
    of_arm = {
        "label": arm.label,
        "network": arm.network["name"],
        "weights": config["weights"]["name"],
        "weights_used": arm.weights,
        "smoothing": arm.smoothing,
        "seed": config["weights"].get("seed"),
        "loss": config["objective"]["name"],
        **{weight: config["objective"][weight] for weight in OF_WEIGHTS},
    }
    origin = {"run_id": record.identity.run_id, "commit": record.status.commit or "unknown"}
    origin |= {name: versions.get(name, "unknown") for name in ORIGIN[2:]}
    try:
        for pair in json.loads(path.read_text(encoding="utf-8")):
            yield {**of_arm, **_row(pair), **origin}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from error


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


def _unreadable(path: Path, error: Exception) -> StoreError:
    found = f"{type(error).__name__}: {error}"
    return StoreError(
        str(path), "should be a complete file of a run", found, "Delete its folder and run again."
    )


def objective(arms: Sequence[Arm], *, weight: bool = True) -> str:
    """The objective and the optimisation in words for a caption; several where arms differ.

    Args:
        arms: At least one.
        weight: Whether to tell the style weight.
    """
    return " | ".join(dict.fromkeys(_objective(arm.cell.config, weight=weight) for arm in arms))


def _objective(config: dict[str, Any], *, weight: bool) -> str:
    told = config["objective"]
    parts = [f"{told['name'].capitalize()} loss ({told['style'].get('normalizer', 'default')} normaliser)"]
    weights = ["content"] + (["style"] if weight else [])
    weights += ["total_variation"] if told["total_variation_weight"] else []
    parts += [f"{name.replace('_', ' ')} weight {told[f'{name}_weight']:g}" for name in weights]
    parts += (
        ["each term divided by its distance from content to style"] if told["balance"] == "distance" else []
    )
    most = f"at most {config['steps']} steps"
    most += f" and {config['evaluations']} evaluations" if config["evaluations"] else ""
    most += f" at each of {len(config['scales'])} scales" if len(config["scales"]) > 1 else ""
    start = (
        config["start"] if config["start"] in ("content", "noise", "style") else Path(config["start"]).name
    )
    return f"{', '.join(parts)}; {most} of {_optimizer(config)} from the {start}"


def weights(arms: Sequence[Arm]) -> str:
    """What stands behind each prefix: one word where all networks have the same weights."""
    told: dict[str, dict[str, str]] = {}
    for arm in arms:
        prefix = labels.PREFIX[arm.cell.config["weights"]["name"]]
        told.setdefault(prefix, {})[arm.network["label"]] = arm.weights
    return "; ".join(
        f"{prefix}: {next(iter(used.values()))}"
        if len(set(used.values())) == 1
        else f"{prefix}: " + ", ".join(f"{weights} ({network})" for network, weights in used.items())
        for prefix, used in told.items()
    )


def _optimizer(config: dict[str, Any]) -> str:
    return str(config["optimizer"]["_target_"]).rsplit(".", 1)[-1].replace("LBFGS", "L-BFGS")


def held_out(data: Stylizations) -> str:
    """In words for a caption: which network measured, and where there are several, whose pictures."""
    names = {arm.label: str(arm.network["label"]) for arm in data.arms}
    judged = {
        labels.judge(one): dict.fromkeys(names[arm] for arm in told) for one, told in data.held_out.items()
    }
    if len(judged) == 1:
        return next(iter(judged))
    return "; ".join(f"{network} for {', '.join(told)}" for network, told in judged.items()) or "none"


def warnings(data: Stylizations) -> Iterator[str]:
    """What a reader of the measures must know, for a caption."""
    if len(data.held_out) > 1:
        yield "Numbers by different held-out networks do not compare."
    if any("(random)" in network for network in data.held_out):
        yield "Caution: a held-out network with random weights is a weak judge of style and content."
