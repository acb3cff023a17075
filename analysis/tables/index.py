"""All runs of an output folder, by what their status and identity tell: known again without reading them.

What was read of a run is kept in `.collected` below the output folder, one row a run. A row stands for its
run as long as `status.json` is the file it was: of the same inode, time and size. A run writes that file
whole, and last, at each change of its state, so that another attempt, or a forced one, has another file.

Run directories are the truth: rows of runs that are gone are dropped, and what is missing, damaged or of
another version in `.collected` is read from the runs again. What nobody notices here is a finished run's file
that was damaged after it had been read; who reads the run itself, as figures do, compares digests.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from analysis.tables.runs import RUNS, RUNS_VERSION, described, frame, status_of
from swag_repro.errors import StoreError
from swag_repro.runs.files import unreadable, whole_file
from swag_repro.runs.records import RunRecord, read_status, run_names
from swag_repro.runs.schema import SCHEMA_VERSION

logger = logging.getLogger(__name__)

FOLDER = ".collected"
"""Below the output folder: what was read of its runs. It may be deleted at any time but during a command."""

KEPT_KEY = b"swag_repro.collected"

KEPT_VERSION = f"1.{RUNS_VERSION}.{SCHEMA_VERSION}"
"""Of all that is kept: the first number is raised when other things are, or the same are made otherwise."""

INDEX = pa.schema(
    [
        *RUNS,
        pa.field("cell_key", pa.string()),
        pa.field("stylization", pa.string()),
        pa.field("sign", pa.string(), nullable=False),
    ],
    metadata={KEPT_KEY: KEPT_VERSION},
)
"""One row is one run: `RUNS`, the key of the cells it answers, the stylisation that it judged, and its sign.

What an identity tells is null where there is none, or none that can be read. The sign is empty where not all
was there to read yet: such a run is read each time.
"""

STATUSES = (
    "run_id", "experiment", "name", "state", "reason", "started_at", "seconds", "device", "path",
    "config_key", "cell_key",
)  # fmt: skip

T = TypeVar("T")


def check_output(root: Path) -> None:
    """Raises a `StoreError` if there is no such output folder."""
    if not root.is_dir():
        raise StoreError("runs", "should be an output folder of experiments", f"no folder {root}", "Run one.")


def scan(root: Path) -> tuple[dict[str, str], int]:
    """Looks for all run directories below an output folder, and reads none.

    Returns:
        The sign of each run's `status.json`, by id, in order: another where it is another file. And how many
        directories have none: their run was killed at once.

    Raises:
        StoreError: There is no such folder, or it can't be read.
    """
    check_output(root)
    names = run_names(root)
    folder = str(root / "runs")  # as text: a path for each of many runs takes longer than the system's answer
    signs = {name: sign_of(f"{folder}/{name}") for name in names}
    known = {name: sign for name, sign in signs.items() if sign is not None}
    return known, len(names) - len(known)


def sign_of(path: Path | str) -> str | None:
    """What tells a run's status from any other it has had, without reading it; None where there is none.

    Raises:
        StoreError: The system does not say.
    """
    try:
        found = os.stat(f"{path}/status.json")  # noqa: PTH116  (of a text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(Path(path, "status.json"), error) from error
    return f"{found.st_ino}.{found.st_mtime_ns}.{found.st_size}"


def settled(path: Path, sign: str, read: Callable[[Path], T]) -> T | None:
    """What is read of a run; again where that failed because the run changed meanwhile, None if it is gone.

    Raises:
        StoreError: It can't be read.
    """
    now: str | None = sign
    while now is not None:
        before = now
        try:
            return read(path)
        except StoreError:
            now = sign_of(path)
            if now == before:
                raise
    return None


@dataclass(frozen=True)
class Index:
    """All runs of an output folder.

    Attributes:
        root: The output folder.
        rows: In `INDEX`, by id.
    """

    root: Path
    rows: pa.Table

    def by_cell(self, experiments: Collection[str], keys: Collection[str]) -> dict[str, list[RunRecord]]:
        """Runs of these experiments, whatever their state, by the `cell_key` that is one of these.

        Raises:
            StoreError: The identity of a finished one of these experiments can't be read.
        """
        runs = self._identified(_among(self.rows, "experiment", experiments))
        return self._grouped(_among(runs, "cell_key", keys), "cell_key")

    def judgements(self, judge: str, stylizations: Collection[str]) -> list[RunRecord]:
        """The finished runs of the experiment `judge` that judged one of these stylisations.

        Raises:
            StoreError: The identity of a finished judgement can't be read.
        """
        runs = self._identified(_among(self.rows, "experiment", [judge]))
        finished = _among(runs, "state", ["finished"])
        return [self.record(name) for name in _names(_among(finished, "stylization", stylizations))]

    def finished(self, experiment: str) -> list[RunRecord]:
        """The finished runs of an experiment."""
        runs = _among(_among(self.rows, "experiment", [experiment]), "state", ["finished"])
        return [self.record(name) for name in _names(runs)]

    def record(self, run_id: str) -> RunRecord:
        """A run, to read from."""
        path = self.root / "runs" / run_id
        return RunRecord(path, read_status(path))

    def _grouped(self, runs: pa.Table, column: str) -> dict[str, list[RunRecord]]:
        found = defaultdict(list)
        for key, name in zip(runs[column].to_pylist(), _names(runs), strict=True):
            found[key].append(self.record(name))
        return found

    def _identified(self, runs: pa.Table) -> pa.Table:
        nameless = runs.filter(pc.is_null(runs["cell_key"]))
        for name in _names(_among(nameless, "state", ["finished"])):
            _ = self.record(name).identity  # says why it can't be read
        return runs


def _among(runs: pa.Table, column: str, values: Collection[str]) -> pa.Table:
    return runs.filter(pc.is_in(runs[column], pa.array(sorted(values), pa.string())))


def _names(runs: pa.Table) -> list[str]:
    names: list[str] = runs["run_id"].to_pylist()
    return names


def read_index(root: Path) -> Index:
    """All runs below an output folder; only those are read that changed since the last time.

    Raises:
        StoreError: There is no such folder, or a status is malformed or of a later version: its run would
            be lost silently.
    """
    signs, _ = scan(root)
    kept = read_kept(root / FOLDER / "index.parquet", INDEX)
    known = kept.filter(pa.array(current(kept, signs), pa.bool_()))
    unknown = sorted(signs.keys() - _names(known))
    read = [settled(root / "runs" / name, signs[name], lambda path: _row(path, root)) for name in unknown]
    rows = [row for row in read if row is not None]
    signed = [row | {"sign": signs[row["run_id"]] if "cell_key" in row else ""} for row in rows]
    table = pa.concat_tables([known, pa.Table.from_pylist(signed, schema=INDEX)]).sort_by("run_id")
    if unknown or len(known) < len(kept):
        keep_index(table, root)
    return Index(root, table)


def _row(path: Path, root: Path) -> dict[str, Any]:
    record = RunRecord(path, read_status(path))
    try:
        return described(record, root)
    except StoreError:  # whoever needs its identity reads it, and fails
        return status_of(record, root)


def statuses(root: Path) -> pd.DataFrame:
    """What became of each run below an output folder: one row a run, by id, with the columns of `STATUSES`.

    `config_key` and `cell_key` are null for a run that was killed before it wrote who it is.

    Raises:
        StoreError: As `read_index`.
    """
    return frame(read_index(root).rows.select(list(STATUSES)))


# --- What is kept -----------------------------------------------------------------------------------------


def current(runs: pa.Table, signs: Mapping[str, str]) -> list[bool]:
    """Whether each row still stands for its run."""
    rows = zip(_names(runs), runs["sign"].to_pylist(), strict=True)
    return [signs.get(name) == sign for name, sign in rows]


def read_kept(path: Path, schema: pa.Schema) -> pa.Table:
    """A kept table, or an empty one where it is missing, damaged, or of another version."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            version = (file.schema_arrow.metadata or {}).get(KEPT_KEY)
            if version == schema.metadata[KEPT_KEY] and file.schema_arrow.equals(schema):
                return file.read()
    except (OSError, ValueError, pa.ArrowException):
        pass
    return schema.empty_table()


def keep_index(rows: pa.Table, root: Path) -> None:
    """Replaces the kept index.

    Not where another process does so at this moment; and where nothing can be written, a warning says so.
    """
    folder, signed = root / FOLDER, rows.filter(pc.not_equal(rows["sign"], ""))
    try:
        folder.mkdir(exist_ok=True)
        with FileLock(folder / "index.lock", timeout=0):
            for torn in folder.glob(".index.parquet.*"):
                torn.unlink()
            with whole_file(folder / "index.parquet") as file:
                pq.write_table(signed, file, write_page_checksum=True)
    except Timeout:
        return
    except (OSError, StoreError) as error:
        warn_unkept(error)


def warn_unkept(error: Exception) -> None:
    """Says that the next command reads again what this one read."""
    logger.warning("What was read of runs can't be kept, and is read again the next time: %s", error)
