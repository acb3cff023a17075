"""All finished runs of an output folder in one tidy table."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from swag_repro.errors import StoreError
from swag_repro.runs.files import whole_file
from swag_repro.runs.records import RunRecord, all_runs
from swag_repro.runs.schema import NUMBERS

ORDER = (
    "experiment", "network", "weights", "smoothing", "loss", "seed", "content", "style", "position", "layer",
    "quantity", "statistic", "definition", "iteration", "run_id",
)  # fmt: skip
"""The columns by which a table is sorted: one set of runs always gives the same bytes."""

READERS = 8


@dataclass(frozen=True)
class Collected:
    """What `collect` found and wrote.

    Attributes:
        finished: How many runs are in the table.
        failed: Why the failed runs failed, and how many for each reason.
        unfinished: How many runs are running, or were killed.
        rows: How many rows the table has.
        files: The table's files.
    """

    finished: int
    failed: dict[str, int]
    unfinished: int
    rows: int
    files: tuple[Path, ...]


def read_records(root: Path) -> tuple[list[RunRecord], int]:
    """All runs below an output folder, and how many directories were left before they had a status.

    Raises:
        StoreError: There is no such folder, or a status is malformed or of a later version: its run would
            be lost silently.
    """
    if not root.is_dir():
        raise StoreError("runs", "should be an output folder of experiments", f"no folder {root}", "Run one.")
    left: list[Path] = []

    def skipped(directory: Path, error: StoreError) -> None:
        if (directory / "status.json").exists():
            raise error
        left.append(directory)

    return list(all_runs(root, skipped=skipped)), len(left)


def tidy(records: list[RunRecord]) -> pa.Table:
    """The rows of finished runs, in `NUMBERS`, sorted.

    Raises:
        StoreError: A run's rows can't be read, or are not as many as its status says.
    """
    with ThreadPoolExecutor(READERS) as pool:
        tables = list(pool.map(_checked_rows, records))
    return pa.concat_tables([NUMBERS.empty_table(), *tables]).sort_by(
        [(column, "ascending") for column in ORDER]
    )


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
    """Writes `table.parquet` and `table.csv` of all finished runs.

    Args:
        root: The output folder of the experiments.
        out: The folder of the tables.

    Raises:
        StoreError: A run can't be read, or the tables can't be written.
    """
    records, left = read_records(root)
    states = Counter(record.status.state for record in records)
    failed = Counter(record.status.reason or "?" for record in records if record.status.state == "failed")
    table = tidy([record for record in records if record.status.state == "finished"])
    files = (out / "table.parquet", out / "table.csv")
    writers = (partial(pq.write_table, write_page_checksum=True), pyarrow.csv.write_csv)
    for path, write in zip(files, writers, strict=True):
        with whole_file(path) as file:
            write(table, file)
    return Collected(states["finished"], dict(failed), states["running"] + left, table.num_rows, files)
