"""All runs of an output folder in three tables, and a dictionary of their columns."""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from analysis.tables import provenance
from analysis.tables.answers import bullet_list
from analysis.tables.kept import Kept, check_output, tables_of
from analysis.tables.provenance import Provenance, rerun_command
from analysis.tables.reading import Row
from experiments.settings import comment_of
from swag_repro.errors import StoreError
from swag_repro.runs.files import OtherVersionError, whole_file
from swag_repro.runs.schema import (
    MEANINGS,
    STATISTICS,
    TABLES,
    neutral_table,
    parse_table,
)


@dataclass(frozen=True)
class Collected:
    """The findings of `collect`, and the files that it wrote.

    Attributes:
        finished: Number of runs in the table of numbers.
        failed: Reasons of failed runs, and the number of runs for each.
        unfinished: Number of runs that are running, or were killed.
        others: Directories of runs of another version, which are left alone.
        rows: Number of rows in the table of numbers.
        files: The tables' files.
    """

    finished: int
    failed: dict[str, int]
    unfinished: int
    others: list[str]
    rows: int
    files: tuple[Path, ...]


def collect(root: Path, out: Path) -> Collected:
    """Write `table.parquet`, `table.csv`, `runs.parquet`, `pairs.parquet` and `columns.csv`.

    The tables of numbers and pairs hold finished runs only; `runs.parquet` holds all runs. If anything fails,
    the earlier files stay as they were.

    Args:
        root: The output folder of the experiments.
        out: The folder of the tables.

    Raises:
        StoreError: A finished run is damaged, or the tables can't be written.
    """
    check_output(root, with_runs=True)
    with tables_of(root) as kept:
        runs = kept.read("runs", columns=["state", "reason", "path", "experiment", "overrides"]).to_pylist()
        _check_whole(root, [row for row in runs if row["state"] == "damaged"])
        files = _write(kept, out)
        rows = pq.read_metadata(kept.file("table")).num_rows
        unbegun = len(kept.unbegun)
    states = Counter(row["state"] for row in runs)
    origin = Provenance.of([], root, [], cells=states["finished"], missing=0)
    provenance.write_provenance(out / "tables", origin, files)
    reasons = Counter(row["reason"] or "?" for row in runs if row["state"] == "failed")
    others = [row["path"] for row in runs if row["state"] == "other version"]
    return Collected(states["finished"], dict(reasons), states["running"] + unbegun, others, rows, files)


def _check_whole(root: Path, damaged: list[Row]) -> None:
    if damaged:
        rule, remedy = "should be whole", "Compute them anew, or delete their folders:"
        reasons = bullet_list(f"{row['reason']} {_remedy(root, row)}" for row in damaged)
        raise StoreError("runs", rule, f"{len(damaged)} damaged", f"{remedy}{reasons}")


def _remedy(root: Path, run: Row) -> str:
    """Return the command that computes a damaged run anew; if nothing tells it, the folder to delete."""
    if run["overrides"] is None:
        return f"Delete {root / run['path']}"
    return f"Type: {shlex.join(rerun_command(run))}"


def _write(kept: Kept, out: Path) -> tuple[Path, ...]:
    """Write all files beside the earlier ones, and then put them in their places."""
    with ExitStack() as opened:

        def new(name: str) -> BinaryIO:
            return opened.enter_context(whole_file(out / name))

        for name in TABLES:
            with kept.file(name).open("rb") as table:
                shutil.copyfileobj(table, new(f"{name}.parquet"))
        _write_csv(kept, new("table.csv"))
        new("columns.csv").write(dictionary(kept).to_csv(index=False, lineterminator="\n").encode())
    names = ("table.parquet", "table.csv", "runs.parquet", "pairs.parquet", "columns.csv")
    return tuple(out / name for name in names)


def _write_csv(kept: Kept, file: BinaryIO) -> None:
    with (
        pq.ParquetFile(kept.file("table")) as table,
        pyarrow.csv.CSVWriter(file, table.schema_arrow) as writer,
    ):
        for batch in table.iter_batches():
            writer.write_table(neutral_table(pa.Table.from_batches([batch])))


def dictionary(kept: Kept) -> pd.DataFrame:
    """Return what is known of the columns: from their schema and from the comments in `conf/`.

    It has one row for each column of each table, and one for each statistic of the table of numbers.

    The columns are `table`; `column`, or `statistic: NAME`; `type`; `meaning`, which is empty if it is
    unknown.

    Args:
        kept: The tables.
    """
    return pd.DataFrame([*_columns(kept), *_statistics(kept)], columns=["table", "column", "type", "meaning"])


def _columns(kept: Kept) -> Iterator[tuple[str, str, str, str]]:
    for name in TABLES:
        for column in pq.read_schema(kept.file(name)):
            meaning = MEANINGS[name].get(column.name)
            yield name, column.name, str(column.type), comment_of(column.name) if meaning is None else meaning


def _statistics(kept: Kept) -> Iterator[tuple[str, str, str, str]]:
    names = kept.read("table", columns=["statistic"])["statistic"].unique().to_pylist()
    for name in sorted(names):
        yield "table", f"statistic: {name}", "double", STATISTICS.get(name, "")


def read_table(path: Path) -> pa.Table:
    """Return a table that `collect` wrote, by its file: `table`, `runs` or `pairs`.parquet.

    Raises:
        StoreError: The file is missing, malformed, or of another version.
    """
    try:
        return parse_table(path, path, TABLES[path.stem])
    except OtherVersionError as error:
        name, rule, found, _ = error.args
        raise StoreError(name, rule, found, "Collect again: swag collect") from None
