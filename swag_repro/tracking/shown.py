"""What W&B shows of a run, from its directory: the same while it ends, and whenever it is made anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from swag_repro.runs.files import digests
from swag_repro.runs.pictures import read_picture
from swag_repro.runs.provenance import peak_memory
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.schema import SCHEMA_VERSION
from swag_repro.tracking.tracker import Tracker

CURVES = "curves.parquet"
"""A stylisation's losses: a row for each evaluation, with columns `<pair>/<term>`."""

TABLES = ("config.yaml", "identity.json", "rows.parquet", "pairs.parquet", CURVES)
"""The files of a run that its artifact holds, beside its status: all that tables and figures read."""

COSTS = ("seconds", "peak_memory_bytes")
"""Of a run's status, what stands in the summary."""

POINTS = "evaluation"
"""The axis of a stylisation's losses."""

TRAININGS = {"training": "epoch", "feedforward": "step"}
"""Quantities that a training measures on its way, and what their curves are drawn over."""

PLACES = ("depth", "position")
"""Columns that say where in a network a number was measured; the first that a run fills is its axis."""


def ending(path: Path) -> RunRecord:
    """A run whose files are all there, as its directory will say once it is finished."""
    status = read_status(path)
    seconds = (datetime.now(UTC) - datetime.fromisoformat(status.started_at)).total_seconds()
    rows = int(pq.read_metadata(path / "rows.parquet").num_rows)
    ended = replace(status, state="finished", seconds=seconds, rows=rows, files=digests(path))
    return RunRecord(path, replace(ended, peak_memory_bytes=peak_memory()))


def show(tracker: Tracker, record: RunRecord) -> None:
    """Sends what a finished run holds: curves, summary, pictures; tables and files last.

    Online, these ask the server first: where it is gone, all else is already in the log.

    Raises:
        StoreError: A file of it is damaged.
    """
    numbers, pairs = record.rows().to_pandas(), record.pairs().to_pandas()
    _over_places(tracker, numbers)
    _over_training(tracker, numbers)
    _judged(tracker, record, numbers)
    tracker.summary({name: getattr(record.status, name) for name in COSTS} | {"rows": len(numbers)})
    if len(pairs):
        tracker.images("result", _results(record, pairs))
        tracker.summary({**_counts(pairs), **final_losses(pairs)})
        tracker.table("pairs", pairs.drop(columns=["styles", "steps"]))
    tracker.table("numbers", numbers.dropna(axis="columns", how="all"))
    _files(tracker, record)


def replay(tracker: Tracker, record: RunRecord) -> None:
    """Sends the points that a stylisation sends while it goes on.

    Raises:
        StoreError: Its curves are damaged.
    """
    if CURVES not in (record.status.files or {}):
        return
    loss_axis(tracker)
    curves = pd.read_parquet(BytesIO(record.read(CURVES)))
    for point in curves.to_dict("records"):
        losses = {str(name): value for name, value in point.items() if "/" in str(name) and pd.notna(value)}
        tracker.log({POINTS: point[POINTS], "seconds": point["seconds"], **loss_point(losses)})


def loss_axis(tracker: Tracker) -> None:
    """Draws a stylisation's losses over its evaluations."""
    tracker.axis(POINTS, "loss/*", "status/*", "pair/*", "seconds", "pictures")


def loss_point(losses: Mapping[str, float]) -> dict[str, float]:
    """`<pair>/<term>` → what is drawn: means over pairs under names that all runs have, and pairs' totals."""
    by_term: dict[str, dict[str, float]] = defaultdict(dict)
    for name, value in losses.items():
        pair, _, term = name.rpartition("/")
        by_term[term][pair] = value
    means = {f"loss/{term}": sum(values.values()) / len(values) for term, values in by_term.items()}
    return {**means, **{f"pair/{pair}": value for pair, value in by_term["total"].items()}}


def final_losses(pairs: pd.DataFrame) -> dict[str, float]:
    """Means of the losses of pairs, in `PAIRS`."""
    means = pairs.filter(like="_loss").mean()
    return {f"final/{name}": value for name, value in means.items()}


def _counts(pairs: pd.DataFrame) -> dict[str, int]:
    return {f"status/{status}": int(count) for status, count in pairs["status"].value_counts().items()}


def _over_places(tracker: Tracker, numbers: pd.DataFrame) -> None:
    """Means over images, as curves over depth, and their last values."""
    measured = numbers[numbers["quantity"].notna() & numbers["position"].notna()]
    if measured.empty:
        return
    axis = next(place for place in PLACES if measured[place].notna().all())
    name = measured["quantity"] + "/" + measured["statistic"] + ("/" + measured["definition"]).fillna("")
    means = measured.groupby(["position", axis, name] if axis != "position" else [axis, name])["value"].mean()
    points = means.unstack().reset_index(axis)
    tracker.axis(axis, *(f"{quantity}/*" for quantity in measured["quantity"].unique()))
    for point in points.to_dict("records"):
        tracker.log({str(name): value for name, value in point.items() if pd.notna(value)})
    last = points.drop(columns=axis).iloc[-1].dropna()
    tracker.summary({f"deepest/{name}": value for name, value in last.items()})


def _over_training(tracker: Tracker, numbers: pd.DataFrame) -> None:
    """The scores of a training on its way, and the last."""
    scores = numbers[numbers["quantity"].isin(TRAININGS) & (numbers["statistic"] != "seconds")]
    if scores.empty:
        return
    axis = TRAININGS[scores["quantity"].iloc[0]]
    name = scores["definition"] + "/" + scores["statistic"]
    points = scores.groupby(["iteration", name])["value"].first().unstack()
    tracker.axis(axis, *(f"{part}/*" for part in scores["definition"].unique()), "lr")
    for rank, point in enumerate(points.reset_index().to_dict("records"), start=1):
        step = point.pop("iteration")
        found = {str(key): value for key, value in point.items() if pd.notna(value)}
        tracker.log({axis: rank if axis == "epoch" else step, **found})
    last = scores.groupby(name.str.replace("/", "_"))["value"].last()
    tracker.summary({f"final/{key}": value for key, value in last.items()})


def _judged(tracker: Tracker, record: RunRecord, numbers: pd.DataFrame) -> None:
    """Of a judge: means over pairs, and each finished picture with its measures."""
    finished = numbers[numbers["of_run"].notna() & numbers["iteration"].isna()]
    if finished.empty:
        return
    means = finished.groupby("statistic")["value"].mean().dropna()
    tracker.summary({f"measures/{name}": value for name, value in means.items()})
    judged = record.path.with_name(finished["of_run"].iloc[0])
    if judged.is_dir():
        stylization = RunRecord(judged, read_status(judged))
        pairs = stylization.pairs().to_pandas()
        tracker.summary(final_losses(pairs))
        tracker.images("judged", _measured(stylization, pairs, finished))


def _results(record: RunRecord, pairs: pd.DataFrame) -> Iterator[tuple[Image.Image, str]]:
    for image, status, reason in zip(pairs["image"], pairs["status"], pairs["reason"], strict=True):
        yield _picture(record, image), f"{image}: {status}" + (f", {reason}" if pd.notna(reason) else "")


def _measured(
    stylization: RunRecord, pairs: pd.DataFrame, measures: pd.DataFrame
) -> Iterator[tuple[Image.Image, str]]:
    for image, content, style in zip(pairs["image"], pairs["content"], pairs["style"], strict=True):
        own = measures[(measures["content"] == content) & (measures["style"] == style)].dropna(subset="value")
        values = (f"{name} {value:.3g}" for name, value in zip(own["statistic"], own["value"], strict=True))
        yield _picture(stylization, image), f"{content} × {style}: {', '.join(values)}"


def _picture(record: RunRecord, name: str) -> Image.Image:
    return read_picture(record.path / name, record.read(name))


def _files(tracker: Tracker, record: RunRecord) -> None:
    """The run's tables as one artifact, from which its directory's numbers can be read again; and weights."""
    files = record.status.files or {}
    run_id = record.path.name.partition(".")[0]  # a forced run lies beside the one that it replaces
    about = {"schema": SCHEMA_VERSION, "run_id": run_id}
    tables = {name: files[name] for name in TABLES if name in files}
    weights = {name: sha256 for name, sha256 in files.items() if name.endswith(".safetensors")}
    # Of the same content, whenever it is sent.
    lasting = replace(record.status, seconds=None, peak_memory_bytes=None)
    status = {"status.json": lasting.to_json()}
    for name, kind, sha256, added in (("run", "run", tables, status), ("weights", "model", weights, {})):
        paths = {file: record.path / file for file in sha256}
        if paths:
            tracker.artifact(f"{name}-{run_id}", kind, paths, added, about | {"sha256": sha256})
