"""The contents that W&B shows of a run. They come from its directory, at its end and when it is rebuilt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from swag_repro.runs.files import digests, read_picture
from swag_repro.runs.identity import peak_memory
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.schema import SCHEMA_VERSION
from swag_repro.tracking.tracker import Tracker

CURVES = "curves.parquet"
"""File of a stylisation's losses: one row for each evaluation, with columns `<pair>/<term>`."""

ARTIFACT_FILES = ("config.yaml", "identity.json", "rows.parquet", "pairs.parquet", CURVES)
"""Files of a run that its artifact holds, beside its status: tables and figures read no others."""

COSTS = ("seconds", "peak_memory_bytes")
"""Fields of a run's status that stand in the summary."""

EVALUATION = "evaluation"
"""Name of the axis of a stylisation's losses."""

TRAINING_AXES = {"training": "epoch", "feedforward": "step"}
"""Quantity that a training measures on its way → axis of its curves."""

PLACES = ("depth", "position")
"""Columns that say where in a network a number was measured; the first that a run fills is its axis."""


def ending(path: Path) -> RunRecord:
    """Return a run whose files are all there, with the record that it will have once it is finished."""
    status = read_status(path)
    seconds = (datetime.now(UTC) - datetime.fromisoformat(status.started_at)).total_seconds()
    rows = int(pq.read_metadata(path / "rows.parquet").num_rows)
    ended = replace(status, state="finished", seconds=seconds, rows=rows, files=digests(path))
    return RunRecord(path, replace(ended, peak_memory_bytes=peak_memory()))


def show(tracker: Tracker, record: RunRecord) -> None:
    """Send the contents of a finished run: curves, summary, pictures; then tables and files.

    Tables and files come last because online they ask the server. If it is gone, all else is already in the
    log.

    Raises:
        StoreError: A file of the run is damaged.
    """
    numbers, pairs = record.rows().to_pandas(), record.pairs().to_pandas()
    _over_places(tracker, numbers)
    _over_training(tracker, numbers)
    _send_judgement(tracker, record, numbers)
    tracker.summary({name: getattr(record.status, name) for name in COSTS} | {"rows": len(numbers)})
    if len(pairs):
        tracker.images("result", _results(record, pairs))
        tracker.summary({**_counts(pairs), **final_losses(pairs)})
        tracker.table("pairs", pairs.drop(columns=["styles", "steps"]))
    tracker.table("numbers", numbers.dropna(axis="columns", how="all"))
    _files(tracker, record)


def replay(tracker: Tracker, record: RunRecord) -> None:
    """Send the points that a stylisation sends while it runs.

    Raises:
        StoreError: The run's curves are damaged.
    """
    if CURVES not in (record.status.files or {}):
        return
    loss_axis(tracker)
    rows = pd.read_parquet(BytesIO(record.read(CURVES)))
    curves = LossCurves(name.rpartition("/")[0] for name in rows.columns if "/" in name)
    for row in rows.to_dict("records"):
        tracker.log(curves.point({str(name): value for name, value in row.items()}))
    for point in curves.rest():
        tracker.log(point)


def loss_axis(tracker: Tracker) -> None:
    """Draw a stylisation's losses over its evaluations."""
    tracker.axis(EVALUATION, "loss/*", "pair/*")


class LossCurves:
    """Curves of the losses of a run's pairs, whose batches run one after the other; no curve turns back.

    A pair's total is drawn as it comes. The means over all pairs begin once the last batch has begun: before
    that, each batch would give means over other pairs. Means are drawn over the evaluations since the start
    of each pair's batch, through all scales. A pair that has ended keeps its last losses.

    Args:
        pairs: Names of all pairs of the run.
    """

    def __init__(self, pairs: Iterable[str]) -> None:
        self._curves: dict[str, list[dict[str, float]]] = {pair: [] for pair in pairs}
        self._place: tuple[float, float] = (0, 0)
        self._evaluation = 0

    def point(self, row: Mapping[str, float]) -> dict[str, float]:
        """Return the point to draw for one evaluation of a batch, from a row of `CURVES`, without NaN."""
        place = (row["scale"], row[EVALUATION])
        self._evaluation = 1 if place <= self._place else self._evaluation + 1
        self._place = place
        losses = _by_pair(row)
        for pair, terms in losses.items():
            self._add(self._curves[pair], terms)
        totals = {f"pair/{pair}": terms["total"] for pair, terms in losses.items() if "total" in terms}
        return {EVALUATION: self._evaluation, **totals, **self._means(self._evaluation)}

    def rest(self) -> Iterator[dict[str, float]]:
        """Yield the means at evaluations that earlier batches made, but the last did not."""
        longest = max(map(len, self._curves.values()), default=0)
        for evaluation in range(self._evaluation + 1, longest + 1):
            yield {EVALUATION: evaluation, **self._means(evaluation)}

    def _add(self, curve: list[dict[str, float]], terms: Mapping[str, float]) -> None:
        before = self._evaluation - 1
        del curve[before:]  # those of a batch that began again
        curve += curve[-1:] * (before - len(curve))
        curve.append({**(curve[-1] if curve else {}), **terms})

    def _means(self, evaluation: int) -> dict[str, float]:
        if not all(self._curves.values()):
            return {}
        last = [curve[min(evaluation, len(curve)) - 1] for curve in self._curves.values()]
        return {f"loss/{term}": sum(one.get(term, math.nan) for one in last) / len(last) for term in last[0]}


def _by_pair(row: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return pair → term → loss, from columns `<pair>/<term>`."""
    losses: dict[str, dict[str, float]] = {}
    for name, loss in row.items():
        pair, _, term = name.rpartition("/")
        if pair and not math.isnan(loss):
            losses.setdefault(pair, {})[term] = loss
    return losses


def final_losses(pairs: pd.DataFrame) -> dict[str, float]:
    """Return the means of the losses over pairs, in `PAIRS`."""
    means = pairs.filter(like="_loss").mean()
    return {f"final/{name}": value for name, value in means.items()}


def _counts(pairs: pd.DataFrame) -> dict[str, int]:
    return {f"status/{status}": int(count) for status, count in pairs["status"].value_counts().items()}


def _over_places(tracker: Tracker, numbers: pd.DataFrame) -> None:
    """Send means over images, as curves over depth, and their last values."""
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
    """Send the scores of a training on its way, and the last scores."""
    scores = numbers[numbers["quantity"].isin(TRAINING_AXES) & (numbers["statistic"] != "seconds")]
    if scores.empty:
        return
    axis = TRAINING_AXES[scores["quantity"].iloc[0]]
    name = scores["definition"] + "/" + scores["statistic"]
    points = scores.groupby(["iteration", name])["value"].first().unstack()
    tracker.axis(axis, *(f"{part}/*" for part in scores["definition"].unique()), "lr")
    for rank, point in enumerate(points.reset_index().to_dict("records"), start=1):
        step = point.pop("iteration")
        found = {str(key): value for key, value in point.items() if pd.notna(value)}
        tracker.log({axis: rank if axis == "epoch" else step, **found})
    last = scores.groupby(name.str.replace("/", "_"))["value"].last()
    tracker.summary({f"final/{key}": value for key, value in last.items()})


def _send_judgement(tracker: Tracker, record: RunRecord, numbers: pd.DataFrame) -> None:
    """Send a judge's means over pairs, and each finished picture with its measures."""
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
    """Send the run's tables as one artifact, from which its directory can be made again, and its weights."""
    files = record.status.files or {}
    run_id = record.path.name.partition(".")[0]  # a forced run lies beside the one it replaces
    about = {"schema": SCHEMA_VERSION, "run_id": run_id}
    tables = {name: files[name] for name in ARTIFACT_FILES if name in files}
    weights = {name: sha256 for name, sha256 in files.items() if name.endswith(".safetensors")}
    # These fields are left out so that the content is the same, whenever it is sent.
    lasting = replace(record.status, seconds=None, peak_memory_bytes=None)
    status = {"status.json": lasting.to_json()}
    for name, kind, sha256, added in (("run", "run", tables, status), ("weights", "model", weights, {})):
        paths = {file: record.path / file for file in sha256}
        if paths:
            tracker.artifact(f"{name}-{run_id}", kind, paths, added, about | {"sha256": sha256})
