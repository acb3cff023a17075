"""The content of run directories, read in parallel; the row of an unreadable run says only that."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from yaml import YAMLError

from analysis.tables.runs import settings_of
from swag_repro.errors import StoreError
from swag_repro.runs.files import OtherVersionError, parse_yaml, parsed, unreadable
from swag_repro.runs.identity import content_key, leaves
from swag_repro.runs.records import RunRecord, read_status, run_names
from swag_repro.runs.schema import NUMBERS, PAIRS, RUNS

PIECE = 500
"""Number of runs that are read in one piece."""

READERS = 4
"""Number of threads, or largest number of processes."""

MANY = 2000
"""Number of runs from which processes pay: more than half of the reading is Python's own work."""

LOOK = "look"
"""Name of an identity's image by which some trainings prepare contents; others in a figure may lack it."""

UNKNOWN_EXPERIMENT = "?"
"""The experiment of a run whose status can't be read."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """The content of some runs; their numbers and pairs are in files.

    Attributes:
        runs: Rows of `RUNS`, one for each run.
        settings: The config of each of them, row by row: `run_id`, and a column for each setting. Its values
            are JSON, or null if a run lacks the setting. All columns are dictionaries.
        numbers: A Parquet file of the columns in `NUMBERS`, for finished runs.
        pairs: A Parquet file of the columns in `PAIRS`, for finished runs.
    """

    runs: pa.Table
    settings: pa.Table
    numbers: Path
    pairs: Path


def scan(root: Path) -> tuple[dict[str, str], list[str]]:
    """Find all run directories below an output folder without reading them.

    Returns:
        The sign of each run by id, in order (see `sign_of`), and the names of directories without a status,
        whose runs were killed at once.

    Raises:
        StoreError: The system can't list or inspect them.
    """
    folder = str(root / "runs")  # plain text, since paths for many runs take longer than the system's answer
    signs = {name: sign_of(f"{folder}/{name}") for name in run_names(root)}
    known = {name: sign for name, sign in signs.items() if sign is not None}
    return known, sorted(signs.keys() - known.keys())


def sign_of(path: Path | str) -> str | None:
    """Return a sign that differs between all states of a run, without reading it; None without a status.

    A run writes its status last, as a whole new file, at each change of its state. Files that come or go
    change the time of the directory.

    Raises:
        StoreError: The system can't inspect the directory.
    """
    try:
        status, folder = os.stat(f"{path}/status.json"), os.stat(path)  # noqa: PTH116  (of a text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(Path(path, "status.json"), error) from error
    return f"{status.st_ino}.{status.st_mtime_ns}.{status.st_size}.{folder.st_mtime_ns}"


def read_pieces(root: Path, signs: Mapping[str, str], aside: Path) -> Iterator[Piece]:
    """Read run directories in pieces of `PIECE` runs.

    Args:
        root: The output folder.
        signs: Signs of these runs, by id, from `scan`.
        aside: A folder for the files of numbers and pairs.
    """
    runs = list(signs.items())
    pieces = [dict(runs[start : start + PIECE]) for start in range(0, len(runs), PIECE)]
    read = partial(_read_piece, root, aside)
    with _readers(len(runs)) as pool:
        yield from pool.map(read, pieces)


def _readers(runs: int) -> Executor:
    if runs < MANY:
        return ThreadPoolExecutor(READERS)
    return ProcessPoolExecutor(min(READERS, os.cpu_count() or 1), mp_context=get_context("spawn"))


@dataclass(frozen=True)
class _Run:
    row: Row
    settings: Mapping[str, str]
    numbers: pa.Table
    pairs: pa.Table


def _read_piece(root: Path, aside: Path, signs: Mapping[str, str]) -> Piece:
    found = (_read_stable_run(root, run_id, sign) for run_id, sign in signs.items())
    runs = [run for run in found if run is not None]
    names = sorted({name for run in runs for name in run.settings})
    ids = {"run_id": [run.row["run_id"] for run in runs]}
    columns = ids | {name: [run.settings.get(name) for run in runs] for name in names}
    first = next(iter(signs))
    files = aside / f"{first}.table.parquet", aside / f"{first}.pairs.parquet"
    pq.write_table(pa.concat_tables([NUMBERS.empty_table(), *(run.numbers for run in runs)]), files[0])
    pq.write_table(pa.concat_tables([PAIRS.empty_table(), *(run.pairs for run in runs)]), files[1])
    return Piece(
        pa.Table.from_pylist([run.row for run in runs], schema=RUNS).cast(RUNS),
        pa.table({name: pa.array(each, pa.string()).dictionary_encode() for name, each in columns.items()}),
        *files,
    )


def _read_stable_run(root: Path, run_id: str, sign: str) -> _Run | None:
    """Read a run, again if it changed meanwhile; return None if it is gone."""
    now: str | None = sign
    while now is not None:
        before, run = now, _read_run(root / "runs" / run_id, root)
        if run.row["state"] != "damaged" or (now := sign_of(root / "runs" / run_id)) == before:
            return run
    return None


def _read_run(path: Path, root: Path) -> _Run:
    row: Row = {
        "run_id": path.name,
        "experiment": UNKNOWN_EXPERIMENT,
        "path": path.relative_to(root).as_posix(),
    }
    try:
        record = RunRecord(path, read_status(path))
        row |= row_of_status(record)
        if record.status.state != "finished":
            return _begun(record, row)
        row |= _row_of_identity(record)
        settings, rows, pairs = _settings_as_json(record), record.rows(), record.pairs()
        return _Run(row | _row_of_pictures(record, pairs), settings, rows, pairs)
    except StoreError as error:
        state = "other version" if isinstance(error, OtherVersionError) else "damaged"
        return _without_tables(row | {"state": state, "reason": str(error)}, {})


def _without_tables(row: Row, settings: Mapping[str, str]) -> _Run:
    return _Run(row, settings, NUMBERS.empty_table(), PAIRS.empty_table())


def _begun(record: RunRecord, row: Row) -> _Run:
    """Return what is known of an unfinished run; its identity is unknown if it ended before writing that."""
    try:
        return _without_tables(row | _row_of_identity(record), _settings_as_json(record))
    except StoreError:
        return _without_tables(row, {})


# --- Rows of runs -----------------------------------------------------------------------------------------


def row_of_status(record: RunRecord) -> Row:
    """Return the part of a run's row that comes from its status."""
    status = record.status
    return {
        **vars(status),
        **leaves({"versions": status.versions}, "."),
        "overrides": shlex.join(status.overrides),
        "result_digest": None if status.files is None else content_key(status.files),
    }


def _row_of_identity(record: RunRecord) -> Row:
    who = record.identity
    return {
        "version": who.version,
        "config_key": who.config_key,
        "weights_digest": who.weights,
        "images_digest": content_key({name: digest for name, digest in who.images.items() if name != LOOK}),
        "look_digest": who.images.get(LOOK),
    }


def _row_of_pictures(record: RunRecord, pairs: pa.Table) -> Row:
    files = record.status.files or {}
    steps = [step["image"] for steps in pairs["steps"].to_pylist() for step in steps or ()]
    names = [*pairs["image"].to_pylist(), *steps]
    return {"pictures_digest": content_key({name: files.get(name) for name in names}) if names else None}


# --- Settings ---------------------------------------------------------------------------------------------

GROUP_STARTS = re.compile(r"^(?=[^\s-])", re.MULTILINE)
"""Matches where a group of a config begins in a text that `yaml.safe_dump` wrote."""


def _settings_as_json(record: RunRecord) -> dict[str, str]:
    return parsed(record.path / "config.yaml", record.read("config.yaml"), parse_settings)


def parse_settings(text: str) -> dict[str, str]:
    """Return the settings of a whole config by dotted key, each as JSON.

    Runs have most of their groups in common, so each group is parsed once.

    Args:
        text: YAML.

    Raises:
        YAMLError, TypeError: The text is malformed, or not a mapping of plain values.
    """
    groups = GROUP_STARTS.split(text)
    if not all(re.match(r"\w+:", group) for group in groups if group):
        groups = [text]
    try:
        return {at: value for group in groups if group for at, value in _of_group(group).items()}
    except YAMLError:  # a group has an alias of another group, or a mistake
        return _of_group(text)


@lru_cache(maxsize=1024)
def _of_group(text: str) -> dict[str, str]:
    config = parse_yaml(text)
    if not isinstance(config, Mapping):
        raise TypeError("settings should have names")
    return {at: json.dumps(value) for at, value in settings_of(config).items() if at not in RUNS.names}


def concatenated(parts: Sequence[pa.Table]) -> pa.Table:
    """Return rows of settings, one table after another, with nulls where a table lacks a column."""
    return pa.concat_tables(parts, promote_options="default").unify_dictionaries()
