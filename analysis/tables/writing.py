"""Tables larger than memory, sorted and written a row group at a time: the same rows give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from analysis.tables.parts import Parts, UnkeptError
from analysis.tables.provenance import COLUMN, Provenance, column, stamped
from analysis.tables.runs import RUNS, decoded
from swag_repro.runs.files import whole_file
from swag_repro.spreadsheets import neutral_table

GROUP = 250_000
"""Rows of a row group: so many are in memory at a time."""

GROUP_OF_RUNS = 10_000
"""Likewise of the table of runs, which is wider."""

SORTING_MEMORY = "512MB"
"""What does not fit is sorted on the disk."""


def sorted_rows(parts: Parts, name: str, schema: pa.Schema, order: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of all runs, nulls last; what the order leaves open is decided by run, and row of its file.

    Args:
        parts: With all runs.
        name: Of the parts' files: `numbers` or `pairs`.
        schema: Of the rows.
        order: Columns by which they are sorted.

    Raises:
        UnkeptError: They don't fit into memory, nor beside the parts.
    """
    files = [str(part.file(name)) for part in parts.parts]
    if not files:
        return
    counted = pa.table(
        {
            "file": [file for file, part in zip(files, parts.parts, strict=True) for _ in part.ids],
            "run": [run_id for part in parts.parts for run_id in part.ids],
        }
    )
    columns = ", ".join(f'"{column}"' for column in schema.names)
    keys = ", ".join(f'"{column}" NULLS LAST' for column in (*order, "run", "row"))
    rows = "read_parquet($files, filename = 'file') SEMI JOIN counted USING (file, run)"
    try:
        with TemporaryDirectory(prefix=".", dir=parts.folder) as spill, _database(spill) as database:
            database.register("counted", counted)
            query = database.sql(f"SELECT {columns} FROM {rows} ORDER BY {keys}", params={"files": files})
            yield from pa.RecordBatchReader.from_stream(query)
    except duckdb.Error as error:
        rule, remedy = "should have room to be sorted", "Make room there."
        raise UnkeptError("tables", rule, f"{parts.folder}: {error}", remedy) from error


def _database(spill: str) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(config={"memory_limit": SORTING_MEMORY, "temp_directory": spill})
    database.execute("SET enable_progress_bar = false")
    return database


def write_rows(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, paths: Sequence[Path], origin: Provenance
) -> int:
    """Writes rows to Parquet and CSV files, by their suffix, and returns how many; files say their origin.

    Raises:
        StoreError: A file can't be written.
    """
    return _write(_grouped(batches, schema), schema, paths, origin)


def _grouped(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    waiting = schema.empty_table()
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch]).cast(schema)])
        while len(waiting) >= GROUP:
            yield waiting[:GROUP]
            waiting = waiting[GROUP:]
    if len(waiting) > 0:
        yield waiting


def write_runs(runs: pa.Table, settings: pa.Table, path: Path, origin: Provenance) -> None:
    """Writes `RUNS`, sorted by id, and behind them a column for each setting that one of the runs has.

    Args:
        runs: In `INDEX`.
        settings: Of the same runs, row by row, see `Contents`; in dictionaries.
        path: A Parquet file.
        origin: What the file says of where it comes from.

    Raises:
        StoreError: It can't be written.
    """
    order = pc.sort_indices(runs["run_id"])
    names = [name for name in settings.column_names if name != "run_id"]
    columns = {name: decoded(settings[name]).take(order) for name in sorted(names)}
    types = [pa.field(name, column.type.value_type) for name, column in columns.items()]
    schema = pa.schema([*RUNS, *types], metadata=RUNS.metadata)
    core = runs.select(RUNS.names).take(order)
    table = pa.Table.from_arrays([*core.columns, *columns.values()], names=schema.names)
    groups = (table[start : start + GROUP_OF_RUNS] for start in range(0, len(table), GROUP_OF_RUNS))
    _write((group.cast(schema) for group in groups), schema, [path], origin)  # values, not dictionaries


def _write(groups: Iterable[pa.Table], schema: pa.Schema, paths: Sequence[Path], origin: Provenance) -> int:
    rows = 0
    with ExitStack() as files:
        writers = [
            files.enter_context(_Writer(files.enter_context(whole_file(path)), path.suffix, schema, origin))
            for path in paths
        ]
        for group in groups:
            rows += len(group)
            for writer in writers:
                writer.write(group.combine_chunks())  # pages end where chunks do
    return rows


class _Writer(ExitStack):
    """Of a Parquet file, whose metadata say where it comes from, or of a CSV file, whose first row does."""

    def __init__(self, file: BinaryIO, suffix: str, schema: pa.Schema, origin: Provenance) -> None:
        super().__init__()
        self._origin: Provenance | None = origin if suffix == ".csv" else None
        self._is_csv = suffix == ".csv"
        self._to: Any = self.enter_context(
            pyarrow.csv.CSVWriter(file, schema.append(pa.field(COLUMN, pa.string())))
            if self._is_csv
            else pq.ParquetWriter(file, stamped(schema, origin), write_page_checksum=True)
        )

    def write(self, group: pa.Table) -> None:
        """Adds rows."""
        if self._is_csv:
            group = neutral_table(group)
            origin, self._origin = self._origin, None
            told = pa.nulls(len(group), pa.string()) if origin is None else column(origin, len(group))
            group = group.append_column(COLUMN, told)
        self._to.write_table(group)
