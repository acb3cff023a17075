"""All runs of an output folder in three tables: numbers, runs and pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from analysis.tables.provenance import COLUMN, Provenance, column, stamped
from analysis.tables.runs import RUNS_VERSION, table_of_runs
from swag_repro.errors import StoreError
from swag_repro.runs.files import whole_file
from swag_repro.runs.records import RunRecord, all_runs
from swag_repro.runs.schema import NUMBERS, PAIRS, SCHEMA_VERSION, parse_table

ORDER = (
    "experiment", "network", "weights", "smoothing", "loss", "seed", "content", "style", "position", "layer",
    "quantity", "statistic", "definition", "iteration", "run_id",
)  # fmt: skip
"""The columns by which numbers are sorted: one set of runs always gives the same bytes."""

READERS = 8

FILES = {"table": SCHEMA_VERSION, "runs": RUNS_VERSION, "pairs": SCHEMA_VERSION}
"""The tables that `collect` writes, and their versions."""


@dataclass(frozen=True)
class Collected:
    """What `collect` found and wrote.

    Attributes:
        finished: How many runs are in the table of numbers.
        failed: Why the failed runs failed, and how many for each reason.
        unfinished: How many runs are running, or were killed.
        rows: How many rows the table of numbers has.
        files: The tables' files.
    """

    finished: int
    failed: dict[str, int]
    unfinished: int
    rows: int
    files: tuple[Path, ...]


def output_folder(root: Path) -> Path:
    """An output folder of experiments.

    Raises:
        StoreError: There is no such folder.
    """
    if not root.is_dir():
        raise StoreError("runs", "should be an output folder of experiments", f"no folder {root}", "Run one.")
    return root


def read_records(root: Path) -> tuple[list[RunRecord], int]:
    """All runs below an output folder, and how many directories were left before they had a status.

    Raises:
        StoreError: There is no such folder, or a status is malformed or of a later version: its run would
            be lost silently.
    """
    left: list[Path] = []

    def skipped(directory: Path, error: StoreError) -> None:
        if (directory / "status.json").exists():
            raise error
        left.append(directory)

    return list(all_runs(output_folder(root), skipped=skipped)), len(left)


def tidy(records: Sequence[RunRecord]) -> pa.Table:
    """The rows of finished runs, in `NUMBERS`, sorted.

    Raises:
        StoreError: A run's rows can't be read, or are not as many as its status says.
    """
    table = _concatenated(records, _checked_rows, NUMBERS)
    return table.sort_by([(column, "ascending") for column in ORDER])


def pairs_of(records: Sequence[RunRecord]) -> pa.Table:
    """The stylised pairs of finished runs, in `PAIRS`, run by run.

    Raises:
        StoreError: They can't be read.
    """
    return _concatenated(records, RunRecord.pairs, PAIRS)


def _concatenated(
    records: Sequence[RunRecord], read: Callable[[RunRecord], pa.Table], schema: pa.Schema
) -> pa.Table:
    with ThreadPoolExecutor(READERS) as pool:
        return pa.concat_tables([schema.empty_table(), *pool.map(read, records)])


def _checked_rows(record: RunRecord) -> pa.Table:
    rows = record.rows()
    if rows.num_rows != record.status.rows:
        raise StoreError(
            str(record.path / "rows.parquet"),
            f"should have the {record.status.rows} rows its status tells of",
            rows.num_rows,
            "The command that made it computes it anew; or delete its folder.",
        )
    return rows


def collect(root: Path, out: Path) -> Collected:
    """Writes `table.parquet`, `table.csv`, `runs.parquet` and `pairs.parquet`.

    Numbers and pairs are those of finished runs; `runs.parquet` has them all.

    Args:
        root: The output folder of the experiments.
        out: The folder of the tables.

    Raises:
        StoreError: A run can't be read, or the tables can't be written.
    """
    records, left = read_records(root)
    states = Counter(record.status.state for record in records)
    failed = Counter(record.status.reason or "?" for record in records if record.status.state == "failed")
    finished = [record for record in records if record.status.state == "finished"]
    numbers = tidy(finished)
    tables = {"table": numbers, "runs": table_of_runs(records, root), "pairs": pairs_of(finished)}
    origin = Provenance.of([], root, [], cells=len(finished), missing=0)
    files = [_written(stamped(table, origin), out / f"{name}.parquet") for name, table in tables.items()]
    files.insert(1, _written(_with_column(numbers, origin), out / "table.csv"))
    return Collected(states["finished"], dict(failed), states["running"] + left, len(numbers), tuple(files))


def _with_column(table: pa.Table, origin: Provenance) -> pa.Table:
    return table.append_column(COLUMN, column(origin, len(table)))


def _written(table: pa.Table, path: Path) -> Path:
    parquet = partial(pq.write_table, write_page_checksum=True)
    with whole_file(path) as file:
        (parquet if path.suffix == ".parquet" else pyarrow.csv.write_csv)(table, file)
    return path


def read_table(path: Path) -> pa.Table:
    """A table that `collect` wrote, by its file: `table`, `runs` or `pairs`.parquet.

    Raises:
        StoreError: It is missing, malformed, or of a later version.
    """
    return parse_table(path, path, lambda table, _: table, newest=FILES[path.stem])
