"""Run directories in the store's own formats, made quickly without computing anything."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import yaml

from experiments.config import checked
from experiments.science import scientific, settings_of_judge
from swag_repro.runs.files import digest
from swag_repro.runs.identity import Identity
from swag_repro.runs.records import RunStatus
from swag_repro.runs.schema import LOSSES, NUMBERS, PAIRS, encoded
from tests.benchmarks.timing import composed

OVERRIDES = ("network=resnet50", "smoothing=softmax", "smoothing.temperature=1.0", "tracking=disabled")
"""Of all runs; then each has a seed of its own, and one of ten temperatures."""

IMAGES = {"content/astronaut": "a" * 64, "style/waves": "b" * 64}

PICTURE = "images/astronaut__waves.png"

CHUNK = 1000
"""So many runs a process makes at a time."""

Row = dict[str, Any]


def synthesize(root: Path, runs: range, *, rows: int) -> None:
    """Makes run directories with all that the store writes but logs and pictures, and waits for no disk.

    Of eight runs five measure activations, two stylise a pair, and one judges the picture of the one before
    it; of two hundred one has failed, and one was killed.

    Args:
        root: The output folder.
        runs: Their numbers, of which each is another run.
        rows: How many numbers each of them measured.
    """
    (root / "runs").mkdir(parents=True, exist_ok=True)
    chunks = [runs[start : start + CHUNK] for start in range(0, len(runs), CHUNK)]
    with ProcessPoolExecutor(mp_context=get_context("forkserver")) as pool:
        list(pool.map(partial(_make, root / "runs", rows), chunks))


def _make(folder: Path, rows: int, runs: range) -> None:
    for number in runs:
        make_run(folder, number, rows)


def make_run(folder: Path, number: int, rows: int) -> Path:
    """Makes one run's directory."""
    who, config = _identified(number)
    state = _state(number)
    contents = {"identity.json": who.to_json().encode(), "config.yaml": _yaml(config)}
    if state == "finished":
        seed = config["weights"]["seed"]
        contents["rows.parquet"] = _encoded(_numbers(who.experiment, rows), run_id=who.run_id, seed=seed)
    if state == "finished" and who.experiment == "stylize":
        contents["pairs.parquet"] = _encoded(_pairs(), run_id=who.run_id)
    path = folder / who.run_id
    path.mkdir()
    for name, content in contents.items():
        (path / name).write_bytes(content)
    files = {name: digest(content) for name, content in contents.items()} | {PICTURE: "d" * 64}
    (path / "status.json").write_text(_status(who, state, rows, files).to_json(), encoding="utf-8")
    return path


# --- Who a run is -----------------------------------------------------------------------------------------


def _identified(number: int) -> tuple[Identity, Row]:
    entry = "stylize" if number % 8 in (5, 6, 7) else "measure_activations"
    judges = number % 8 == 7
    config = _config(entry, number - judges)
    who = Identity(entry, 1, scientific(config, entry), IMAGES)
    if not judges:
        return who, config
    settings = {"measures": settings_of_judge(config), "stylization": who.run_id}
    return Identity("judge", 1, settings, {PICTURE: "d" * 64}), config | {"stylization": who.run_id}


def _config(entry: str, number: int) -> Row:
    first = _first_config(entry)
    weights = first["weights"] | {"seed": number}
    smoothing = first["smoothing"] | {"temperature": 1 + (number % 10) / 10}
    return first | {"weights": weights, "smoothing": smoothing}


@cache
def _first_config(entry: str) -> Row:
    config: Row = checked(composed(entry, *OVERRIDES), entry).plain
    return config


def _state(number: int) -> Literal["running", "finished", "failed"]:
    match number % 200:
        case 0:
            return "failed"
        case 1:
            return "running"
    return "finished"


def _status(
    who: Identity, state: Literal["running", "finished", "failed"], rows: int, files: Row
) -> RunStatus:
    started = RunStatus.start(experiment=who.experiment, name="sweep", overrides=OVERRIDES, device="cpu")
    if state == "running":
        return started
    reason = "MemoryError: no memory left" if state == "failed" else None
    ended = replace(started, state=state, reason=reason, seconds=1.25, peak_memory_bytes=2**30)
    return replace(ended, rows=rows, files=files) if state == "finished" else ended


# --- What is in its files ---------------------------------------------------------------------------------


def _yaml(config: Row) -> bytes:
    """Return YAML as the store writes it; a group that runs have in common is dumped once."""
    return "".join(_dumped(json.dumps({name: part})) for name, part in config.items()).encode()


@lru_cache(maxsize=256)
def _dumped(part: str) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(json.loads(part), Dumper=dumper, sort_keys=False, allow_unicode=True))


def _encoded(table: pa.Table, **values: Any) -> bytes:
    """A run's file: the table with these values in all rows of a column."""
    for name, value in values.items():
        index = table.schema.get_field_index(name)
        column = pa.repeat(pa.scalar(value, table.schema.field(index).type), len(table))
        table = table.set_column(index, table.schema.field(index), column)
    content: bytes = encoded(table).to_pybytes()
    return content


@cache
def _numbers(experiment: str, rows: int) -> pa.Table:
    """Return the given number of rows, one layer after the other."""
    about = {"experiment": experiment, "run_id": "", "network": "resnet50", "weights": "random"}
    about |= {"smoothing": "softmax", "content": "astronaut", "style": "waves", "quantity": "activation"}
    numbers = [
        about | {
            "layer": f"conv{1 + index % 5}", "position": 1 + index % 5, "depth": 10 * (1 + index % 5),
            "statistic": f"statistic{index // 5}", "value": 1 / (1 + index),
        }
        for index in range(rows)
    ]  # fmt: skip
    return pa.Table.from_pylist(numbers, schema=NUMBERS)


@cache
def _pairs() -> pa.Table:
    """One stylised pair."""
    style = "images/style/waves.png"
    pair = {
        "run_id": "", "content": "astronaut", "style": "waves", "image": PICTURE,
        "content_image": "images/content/astronaut.png", "style_image": style,
        "styles": [{"name": "waves", "image": style, "weight": 1.0}], "steps": [], "status": "finished",
        "reason": "", "iterations": 150, "evaluations": 170, "recoveries": 0,
        **{f"{when}{column}": 1.0 for when in ("", "first_") for column in LOSSES.values()},
    }  # fmt: skip
    return pa.Table.from_pylist([pair], schema=PAIRS)
