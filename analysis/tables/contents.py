"""What is in run directories, read side by side: status, identity and settings, numbers and pairs."""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from yaml import YAMLError

from analysis.tables.index import INDEX, KEPT_KEY, KEPT_VERSION, settled
from analysis.tables.runs import RUNS, described, settings_of
from swag_repro.errors import StoreError
from swag_repro.runs.files import parse_yaml, parsed
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.schema import NUMBERS, PAIRS

PIECE = 500
"""So many runs are read in one go."""

READERS = 4
"""Threads, or at most so many processes."""

MANY = 2000
"""Runs whose reading is worth the start of processes: more than half of it is Python's own work."""

_PLACE = (pa.field("run", pa.string(), nullable=False), pa.field("row", pa.int32(), nullable=False))


def _placed(schema: pa.Schema) -> pa.Schema:
    return pa.schema([*schema, *_PLACE], metadata={KEPT_KEY: KEPT_VERSION})


PLACED_NUMBERS, PLACED_PAIRS = _placed(NUMBERS), _placed(PAIRS)
"""`NUMBERS` and `PAIRS`, and where each row stands: in which run's file, and where in it."""


@dataclass(frozen=True)
class Contents:
    """What was read of some runs.

    Attributes:
        runs: In `INDEX`, one row a run.
        settings: The config of each of them, row by row: `run_id`, and a column for each setting, whose
            values are JSON, null where a run has it not. All columns are dictionaries.
        numbers: In `PLACED_NUMBERS`, those of finished runs.
        pairs: In `PLACED_PAIRS`, likewise.
    """

    runs: pa.Table
    settings: pa.Table
    numbers: pa.Table
    pairs: pa.Table

    @classmethod
    def concatenated(cls, parts: Sequence[Self]) -> Self:
        """Of all of them, in their order."""
        return cls(
            pa.concat_tables([INDEX.empty_table(), *(part.runs for part in parts)]),
            concatenated_settings(part.settings for part in parts),
            pa.concat_tables([PLACED_NUMBERS.empty_table(), *(part.numbers for part in parts)]),
            pa.concat_tables([PLACED_PAIRS.empty_table(), *(part.pairs for part in parts)]),
        )

    def of(self, chosen: Sequence[bool]) -> Contents:
        """Of those runs only, row by row, for which this is true."""
        mask = pa.array(chosen, pa.bool_())
        runs = self.runs.filter(mask)
        ids = runs["run_id"].combine_chunks()
        numbers, pairs = (table.filter(pc.is_in(table["run"], ids)) for table in (self.numbers, self.pairs))
        return Contents(runs, self.settings.filter(mask), numbers, pairs)


def concatenated_settings(tables: Iterable[pa.Table]) -> pa.Table:
    """Rows of settings one after the other, with nulls where a table lacks a column."""
    return pa.concat_tables([_settings([]), *tables], promote_options="default").unify_dictionaries()


def read_contents(root: Path, signs: Mapping[str, str]) -> Iterator[Contents]:
    """What is in run directories, in pieces of `PIECE` runs; some are read ahead.

    Args:
        root: The output folder.
        signs: Of these runs, by id, from `scan`.

    Raises:
        StoreError: A status, or a file of a finished run, can't be read, or a run has not as many rows as its
            status says.
    """
    runs, waiting = iter(signs.items()), deque[Future[Contents]]()
    with _readers(len(signs)) as pool:
        try:
            while piece := dict(islice(runs, PIECE)):
                waiting.append(pool.submit(_read, root, piece))
                if len(waiting) > READERS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _readers(runs: int) -> Executor:
    if runs < MANY:
        return ThreadPoolExecutor(READERS)
    return ProcessPoolExecutor(min(READERS, os.cpu_count() or 1), mp_context=get_context("spawn"))


@dataclass(frozen=True)
class _Run:
    row: dict[str, Any]
    settings: dict[str, str]
    numbers: pa.Table
    pairs: pa.Table


def _read(root: Path, signs: Mapping[str, str]) -> Contents:
    found = (
        settled(root / "runs" / run_id, sign, lambda path: _run(path, root)) for run_id, sign in signs.items()
    )
    runs = {run.row["run_id"]: run for run in found if run is not None}
    rows = [run.row | {"sign": signs[run_id] if run.settings else ""} for run_id, run in runs.items()]
    return Contents(
        pa.Table.from_pylist(rows, schema=INDEX),
        _settings([{"run_id": run_id} | run.settings for run_id, run in runs.items()]),
        _placed_rows({run_id: run.numbers for run_id, run in runs.items()}, NUMBERS, PLACED_NUMBERS),
        _placed_rows({run_id: run.pairs for run_id, run in runs.items()}, PAIRS, PLACED_PAIRS),
    )


def _settings(rows: Sequence[Mapping[str, str]]) -> pa.Table:
    names = sorted({name for row in rows for name in row} | {"run_id"})
    values = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}
    return pa.table({name: column.dictionary_encode() for name, column in values.items()})


def _placed_rows(tables: Mapping[str, pa.Table], schema: pa.Schema, placed: pa.Schema) -> pa.Table:
    lengths = [len(table) for table in tables.values()]
    rows = np.concatenate([np.arange(0), *map(np.arange, lengths)])
    table = pa.concat_tables([schema.empty_table(), *tables.values()])
    places = (np.repeat(np.array(list(tables), dtype=object), lengths), rows)
    columns = [pa.array(values, field.type) for field, values in zip(_PLACE, places, strict=True)]
    return pa.Table.from_arrays([*table.columns, *columns], schema=placed).combine_chunks()


def _run(path: Path, root: Path) -> _Run:
    record = RunRecord(path, read_status(path))
    row = described(record, root)
    if record.status.state == "finished":
        return _Run(row, settings_as_json(record), checked_rows(record), record.pairs())
    settings = {}
    with suppress(StoreError):  # killed before it wrote them
        settings = settings_as_json(record)
    return _Run(row, settings, NUMBERS.empty_table(), PAIRS.empty_table())


def checked_rows(record: RunRecord) -> pa.Table:
    """The measured rows of a finished run, in `NUMBERS`.

    Raises:
        StoreError: They can't be read, or are not as many as its status says.
    """
    rows = record.rows()
    if rows.num_rows != record.status.rows:
        raise StoreError(
            str(record.path / "rows.parquet"),
            f"should have the {record.status.rows} rows its status tells of",
            rows.num_rows,
            "The command that made it computes it anew; or delete its folder.",
        )
    return rows


# --- Settings ---------------------------------------------------------------------------------------------

GROUP = re.compile(r"^(?=[^\s-])", re.MULTILINE)
"""Where a group of a config begins, in a text that `yaml.safe_dump` wrote."""


def settings_as_json(record: RunRecord) -> dict[str, str]:
    """The settings of a run by dotted key, each as JSON.

    Raises:
        StoreError: `config.yaml` is missing or malformed.
    """
    return parsed(record.path / "config.yaml", record.read("config.yaml"), parse_settings)


def parse_settings(text: str) -> dict[str, str]:
    """Settings of a whole config as YAML. Runs have most of their groups in common: each is parsed once.

    Raises:
        YAMLError, TypeError: It is malformed, or no mapping of plain values.
    """
    groups = GROUP.split(text)
    if not all(re.match(r"\w+:", group) for group in groups if group):
        groups = [text]
    try:
        return {at: value for group in groups if group for at, value in _of_group(group).items()}
    except YAMLError:  # an alias of another group, or a mistake
        return _of_group(text)


@lru_cache(maxsize=1024)
def _of_group(text: str) -> dict[str, str]:
    config = parse_yaml(text)
    if not isinstance(config, Mapping):
        raise TypeError("settings should have names")
    return {at: json.dumps(value) for at, value in settings_of(config).items() if at not in RUNS.names}
