"""The three tables of an output folder, which are kept below it and updated before they are read.

    <output folder>/.collected/   runs.parquet  table.parquet  pairs.parquet  signs.json

Only runs that changed since the last time are read; a run's sign tells this. Digests of files are checked at
that time. Later damage is found by `explain`, and when a picture is drawn: a check of all digests at each
command would read all files each time. Run directories are the truth: `.collected` may be deleted at any time
except during a command. Missing or damaged tables, and those of another version, are made anew.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from analysis.tables.reading import Piece, concatenated, read_pieces, scan
from analysis.tables.runs import as_json, decoded
from experiments.asking import OUTPUT
from swag_repro.errors import StoreError
from swag_repro.runs.files import digest_of, is_folder
from swag_repro.runs.records import no_output
from swag_repro.runs.schema import (
    NUMBERS,
    PAIRS,
    RUNS,
    RUNS_VERSION,
    SCHEMA_VERSION,
    TABLES,
    check_table,
    holds_tables,
)

logger = logging.getLogger(__name__)

COLLECTED = ".collected"

FILES = (*(f"{name}.parquet" for name in TABLES), "signs.json")
"""All that is kept; the last file is replaced last."""

VERSION = f"3.{RUNS_VERSION}.{SCHEMA_VERSION}"
"""Version of all that is kept. Raise the first number if the same tables are made in another way."""

ORDER = (
    "experiment", "network", "weights", "smoothing", "loss", "seed", "content", "style", "position", "layer",
    "quantity", "statistic", "definition", "iteration", "run_id",
)  # fmt: skip
"""Columns by which numbers are sorted, so that one set of runs always gives the same bytes."""

GROUP, GROUP_OF_RUNS = 250_000, 10_000
"""Rows of a row group; only these are in memory at a time. Runs have more columns, so fewer rows."""

SORTING_MEMORY = "512MB"
"""Memory for sorting; larger data are sorted on the disk."""


@dataclass(frozen=True)
class Kept:
    """The three tables of an output folder.

    Attributes:
        root: The output folder.
        folder: The folder of the tables.
        signs: Signs of the runs in the tables, by id; a sign tells the state of a run.
        unbegun: Names of run directories without a status.
    """

    root: Path
    folder: Path
    signs: dict[str, str]
    unbegun: list[str]

    def file(self, name: str) -> Path:
        """Return the file of one of `TABLES`."""
        return self.folder / f"{name}.parquet"

    def columns(self, name: str) -> list[str]:
        """Return the names of the columns of one of `TABLES`."""
        names: list[str] = pq.read_schema(self.file(name)).names
        return names

    def read(
        self,
        name: str,
        column: str | None = None,
        among: Iterable[str] = (),
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return a table, or only its rows with one of some values in a column.

        Args:
            name: One of `TABLES`.
            column: The column, such as `run_id`; None for all rows.
            among: The values.
            columns: The columns that are read; None for all.
        """
        wanted = None if column is None else pc.field(column).isin(pa.array(sorted(set(among)), pa.string()))
        return pq.read_table(self.file(name), columns=columns, filters=wanted)


def check_output(root: Path, *, with_runs: bool = False) -> None:
    """Raise a `StoreError` if there is no such output folder, or if it has no runs and should have some.

    Before anything was computed, the default folder does not exist: it is one without runs.
    """
    there = is_folder(root) or (root == OUTPUT and not with_runs)
    if not there or (with_runs and not is_folder(root / "runs") and not holds_tables(root)):
        raise no_output(root / "runs" if is_folder(root) else root)


@contextmanager
def tables_of(root: Path) -> Iterator[Kept]:
    """Yield the tables of an output folder, updated to its runs; no other process changes them meanwhile.

    A folder of tables that `swag collect` wrote is an output folder, too: one without pictures.

    Raises:
        StoreError: The folder does not exist, or the system refuses to list its runs.
        OtherVersionError: Another version wrote the tables.
    """
    check_output(root)
    if holds_tables(root):
        for name, version in TABLES.items():
            check_table(root / f"{name}.parquet", version)
        yield Kept(root, root, {}, [])
        return
    with _place(root / COLLECTED) if is_folder(root) else TemporaryDirectory() as folder:
        yield _up_to_date(root, Path(folder))


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """Yield the folder of kept tables, locked for this process; a copy if it can't be written to."""
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(exist_ok=True)
        with suppress(Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            logger.warning("Another process collects these runs: this one waits for it.")
            lock.acquire()
    except OSError as error:
        logger.warning("What was read of runs can't be kept, and is read again the next time: %s", error)
        with TemporaryDirectory() as copy:
            for name in FILES:
                with suppress(OSError):
                    shutil.copy(folder / name, copy)
            yield Path(copy)
        return
    try:
        yield folder
    finally:
        lock.release()


def _up_to_date(root: Path, folder: Path) -> Kept:
    signs, unbegun = scan(root)
    now = Kept(root, folder, signs, unbegun)
    known = _signs_kept(folder)
    if known != signs:
        _update(now, known)
    return now


def _signs_kept(folder: Path) -> dict[str, str] | None:
    """Return the signs of the runs in kept tables; None if one is missing, damaged or of another version."""
    try:
        kept = json.loads((folder / FILES[-1]).read_text())
        whole = (kept["version"], kept["digests"]) == (VERSION, _digests(folder))
        return dict(kept["signs"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _digests(folder: Path) -> dict[str, str]:
    return {name: digest_of(folder / name) for name in FILES[:-1]}


def _update(now: Kept, known: Mapping[str, str] | None) -> None:
    """Replace the kept tables with those of today's runs, once all new ones are complete."""
    kept = {run_id for run_id, sign in (known or {}).items() if now.signs.get(run_id) == sign}
    missing = {run_id: sign for run_id, sign in now.signs.items() if run_id not in kept}
    for torn in now.folder.glob(".[!.]*"):
        shutil.rmtree(torn, ignore_errors=True)
    try:
        with TemporaryDirectory(prefix=".", dir=now.folder) as aside:
            pieces, made = list(read_pieces(now.root, missing, Path(aside))), Path(aside)
            _write_runs(now, kept, pieces, made / "runs.parquet")
            for name, schema, order in (("table", NUMBERS, ORDER), ("pairs", PAIRS, ["run_id"])):
                files = [piece.numbers if name == "table" else piece.pairs for piece in pieces]
                _write_sorted(
                    now.file(name) if kept else None, kept, files, made / f"{name}.parquet", schema, order
                )
            damaged = _damaged(pieces)
            signs = {name: sign for name, sign in now.signs.items() if name not in damaged}
            said = {"version": VERSION, "digests": _digests(made), "signs": signs}
            (made / FILES[-1]).write_text(json.dumps(said))
            for name in FILES:
                (made / name).replace(now.folder / name)
    except OSError as error:
        rule, remedy = "should be a folder that can be written to", "Make room there, or delete it."
        raise StoreError("collected", rule, f"{now.folder}: {error}", remedy) from error


def _damaged(pieces: Sequence[Piece]) -> set[str]:
    """Return the runs that could not be read; they are read again the next time."""
    rows = (row for piece in pieces for row in piece.runs.select(["run_id", "state"]).to_pylist())
    return {row["run_id"] for row in rows if row["state"] == "damaged"}


def _write_runs(now: Kept, kept: Iterable[str], pieces: Sequence[Piece], path: Path) -> None:
    """Write `RUNS`, sorted by id, followed by a column for each setting that has a value in some run."""
    old = now.read("runs", "run_id", kept) if kept else RUNS.empty_table()
    settings = {name: as_json(old[name]) for name in old.column_names if name not in RUNS.names}
    ids = old["run_id"].combine_chunks().dictionary_encode()
    table = concatenated([pa.table({"run_id": ids, **settings}), *(piece.settings for piece in pieces)])
    runs = pa.concat_tables([old.select(RUNS.names).cast(RUNS), *(piece.runs for piece in pieces)])
    order = pc.sort_indices(runs["run_id"])
    columns = {name: decoded(table[name]).take(order) for name in sorted({*table.column_names} - {"run_id"})}
    columns = {
        name: column
        for name, column in columns.items()
        if column.dictionary.null_count < len(column.dictionary)
    }
    types = [pa.field(name, column.type.value_type) for name, column in columns.items()]
    schema = pa.schema([*RUNS, *types], metadata=RUNS.metadata)
    table = pa.Table.from_arrays([*runs.take(order).columns, *columns.values()], names=schema.names)
    groups = (table[start : start + GROUP_OF_RUNS] for start in range(0, len(table), GROUP_OF_RUNS))
    _write((group.cast(schema) for group in groups), schema, path)  # plain values instead of dictionaries


def _write_sorted(
    old: Path | None,
    kept: Iterable[str],
    new: Sequence[Path],
    path: Path,
    schema: pa.Schema,
    order: Sequence[str],
) -> None:
    """Write the rows of all runs, sorted, nulls last; ties are ordered by run and row in the file.

    Args:
        old: The earlier table; None if there is none.
        kept: Ids of the runs whose rows in it are still valid.
        new: Files whose rows are all valid.
        path: The new file.
        schema: Schema of the rows.
        order: Columns by which they are sorted.
    """
    import duckdb  # imported here, since most commands find their tables up to date

    columns = ", ".join(f'"{column}"' for column in schema.names)
    keys = ", ".join(f'"{column}" NULLS LAST' for column in (*order, "run_id", "file_row_number"))
    files = {"old": [] if old is None else [str(old)], "new": list(map(str, new))}
    parts = [
        f"SELECT * FROM read_parquet(${name}, file_row_number = true)" + count
        for name, count in (("old", " SEMI JOIN kept USING (run_id)"), ("new", ""))
        if files[name]
    ]
    if not parts:
        _write([], schema, path)
        return
    config: dict[str, Any] = {"memory_limit": SORTING_MEMORY, "temp_directory": str(path.parent)}
    try:
        with duckdb.connect(config=config) as database:
            with suppress(duckdb.InvalidInputException):  # Jupyter without ipywidgets has none
                database.execute("SET enable_progress_bar = false")
            database.register("kept", pa.table({"run_id": pa.array(sorted(kept), pa.string())}))
            rows = database.sql(
                f"SELECT {columns} FROM ({' UNION ALL '.join(parts)}) ORDER BY {keys}",
                params={name: paths for name, paths in files.items() if paths},
            )
            groups = pa.RecordBatchReader.from_stream(rows)
            _write((pa.Table.from_batches([group]).cast(schema) for group in groups), schema, path)
    except duckdb.Error as error:
        raise OSError(str(error)) from error


def _write(groups: Iterable[pa.Table], schema: pa.Schema, path: Path) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for group in groups:
            file.write_table(group.combine_chunks(), row_group_size=GROUP)  # pages end where chunks do
