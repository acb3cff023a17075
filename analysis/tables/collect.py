"""All runs of an output folder in three tables: numbers, runs and pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc

from analysis.tables.contents import (
    PIECE,
    READERS,
    Contents,
    checked_rows,
    concatenated_settings,
    read_contents,
)
from analysis.tables.index import FOLDER, check_output, keep_index, scan, warn_unkept
from analysis.tables.parts import RUNS_OF_PART, Parts, UnkeptError, parts_folder
from analysis.tables.provenance import Provenance
from analysis.tables.runs import RUNS_VERSION
from analysis.tables.writing import sorted_rows, write_rows, write_runs
from swag_repro.runs.records import RunRecord
from swag_repro.runs.schema import NUMBERS, PAIRS, SCHEMA_VERSION, parse_table

ORDER = (
    "experiment", "network", "weights", "smoothing", "loss", "seed", "content", "style", "position", "layer",
    "quantity", "statistic", "definition", "iteration", "run_id",
)  # fmt: skip
"""The columns by which numbers are sorted: one set of runs always gives the same bytes."""

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


def tidy(records: Sequence[RunRecord]) -> pa.Table:
    """The rows of finished runs, in `NUMBERS`, sorted.

    Raises:
        StoreError: A run's rows can't be read, or are not as many as its status says.
    """
    table = _concatenated(records, checked_rows, NUMBERS)
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


def collect(root: Path, out: Path) -> Collected:
    """Writes `table.parquet`, `table.csv`, `runs.parquet` and `pairs.parquet`.

    Numbers and pairs are those of finished runs; `runs.parquet` has them all. Only runs that changed since
    the last collection are read: `analysis.tables.index` says how they are told.

    Args:
        root: The output folder of the experiments.
        out: The folder of the tables.

    Raises:
        StoreError: A run can't be read, or the tables can't be written.
    """
    check_output(root)
    try:
        with parts_folder(root / FOLDER) as folder:
            return _collect(root, folder, out)
    except UnkeptError as error:
        warn_unkept(error)
    with TemporaryDirectory() as folder:
        return _collect(root, Path(folder), out)


def _collect(root: Path, folder: Path, out: Path) -> Collected:
    signs, left = scan(root)
    parts = Parts(folder, signs)
    rest = _read_missing(root, signs, parts)
    runs = pa.concat_tables([*(part.counted for part in parts.parts), rest.runs]).combine_chunks()
    numbers, csv, of_runs, pairs = files = tuple(
        out / name for name in ("table.parquet", "table.csv", "runs.parquet", "pairs.parquet")
    )
    states = Counter(runs["state"].to_pylist())
    origin = Provenance.of([], root, [], cells=states["finished"], missing=0)

    def write_about_runs() -> None:
        settings = concatenated_settings([*(part.settings() for part in parts.parts), rest.settings])
        write_runs(runs, settings, of_runs, origin)
        keep_index(runs.sort_by("run_id"), root)

    with ThreadPoolExecutor() as pool:
        about_runs = pool.submit(write_about_runs)
        rows = write_rows(sorted_rows(parts, "numbers", NUMBERS, ORDER), NUMBERS, [numbers, csv], origin)
        write_rows(sorted_rows(parts, "pairs", PAIRS, ["run_id"]), PAIRS, [pairs], origin)
        about_runs.result()
    return Collected(states["finished"], _reasons(runs), states["running"] + left, rows, files)


def _read_missing(root: Path, signs: Mapping[str, str], parts: Parts) -> Contents:
    """Reads the runs that are in no part, and keeps them there; returns those that can't be kept.

    These are the ones that have yet to write who they are.
    """
    rest: list[Contents] = []

    def kept(read: Contents) -> Contents:
        signed = [sign != "" for sign in read.runs["sign"].to_pylist()]
        rest.append(read.of([not there for there in signed]))
        return read.of(signed)

    missing = {run_id: signs[run_id] for run_id in sorted(signs.keys() - parts.ids)}
    pieces = map(kept, read_contents(root, missing))
    for first in pieces:
        parts.add(chain([first], islice(pieces, RUNS_OF_PART // PIECE - 1)))
    parts.compact()
    return Contents.concatenated(rest)


def _reasons(runs: pa.Table) -> dict[str, int]:
    """Why runs failed, and how many, in the order of their ids."""
    failed = runs.filter(pc.equal(runs["state"], "failed")).sort_by("run_id")
    return dict(Counter(reason or "?" for reason in failed["reason"].to_pylist()))


def read_table(path: Path) -> pa.Table:
    """A table that `collect` wrote, by its file: `table`, `runs` or `pairs`.parquet.

    Raises:
        StoreError: It is missing, malformed, or of a later version.
    """
    return parse_table(path, path, FILES[path.stem])
