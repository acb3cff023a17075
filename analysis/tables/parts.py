"""What was read of runs, kept from one collection to the next: files of many runs each, none of them final.

    <output folder>/.collected/parts/000001/   runs.parquet  settings.parquet  numbers.parquet  pairs.parquet

A part appears whole, and `runs.parquet` holds digests of the others: a part that is damaged, or of another
version, is thrown away, and its runs are read again. Rows of runs that changed since stay where they are, and
count no more; small parts, and those of which little still counts, are written together into larger ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from analysis.tables.contents import PLACED_NUMBERS, PLACED_PAIRS, Contents, concatenated_settings
from analysis.tables.index import INDEX, current, read_kept
from swag_repro.errors import StoreError
from swag_repro.runs.files import digest_of

RUNS_OF_PART = 10_000
"""At most; less than half of it is small."""

SMALL_PARTS = 8
"""More of them are written together."""

DIGESTS_KEY = b"swag_repro.digests"

OTHERS = ("settings", "numbers", "pairs")


class UnkeptError(StoreError):
    """Nothing can be kept where it should be."""


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """Within, a refusal of the system is an `UnkeptError`."""
    try:
        yield
    except OSError as error:
        rule, remedy = "should be a folder that can be written to", "Make room there."
        raise UnkeptError("collected", rule, f"{folder}: {error}", remedy) from error


@dataclass(frozen=True)
class Part:
    """Kept runs.

    Attributes:
        path: Its folder.
        runs: In `INDEX`, also those that count no more.
        counts: Whether each of them still does.
    """

    path: Path
    runs: pa.Table
    counts: list[bool]

    @property
    def ids(self) -> list[str]:
        """Of the runs that count."""
        names: list[str] = self.counted["run_id"].to_pylist()
        return names

    def file(self, name: str) -> Path:
        """`settings`, `numbers` or `pairs`, with all of its runs."""
        return self.path / f"{name}.parquet"

    @property
    def counted(self) -> pa.Table:
        """The runs that count, in `INDEX`."""
        return self._counting(self.runs)

    def settings(self) -> pa.Table:
        """Of the runs that count, row by row; see `Contents`."""
        return self._counting(pq.read_table(self.file("settings")))

    def _counting(self, rows: pa.Table) -> pa.Table:
        return rows if all(self.counts) else rows.filter(pa.array(self.counts, pa.bool_()))

    def contents(self) -> Contents:
        """All of the runs that count."""
        others = (pq.read_table(self.file(name)) for name in OTHERS)
        return Contents(self.runs, *others).of(self.counts)


class Parts:
    """All parts of one output folder, for one process at a time: see `parts_of`."""

    def __init__(self, folder: Path, signs: Mapping[str, str]) -> None:
        self.folder = folder
        self.parts: list[Part] = []
        taken: set[str] = set()
        for path in sorted(folder.iterdir(), reverse=True):  # two have one run where a kill left both
            runs = INDEX.empty_table() if path.name.startswith(".") else _opened(path)
            ids = runs["run_id"].to_pylist()
            counts = [
                right and name not in taken for name, right in zip(ids, current(runs, signs), strict=True)
            ]
            if any(counts):
                self.parts.insert(0, Part(path, runs, counts))
                taken.update(self.parts[0].ids)
            else:
                shutil.rmtree(path)

    @property
    def ids(self) -> set[str]:
        """Of all runs that count."""
        return {run_id for part in self.parts for run_id in part.ids}

    def add(self, read: Iterable[Contents]) -> None:
        """Keeps as one part what was read of runs that are in none, a piece in memory at a time.

        Raises:
            UnkeptError: It can't be written.
        """
        last = max((int(part.path.name) for part in self.parts), default=0)
        path, beside = self.folder / f"{last + 1:06}", self.folder / f".{uuid4().hex}"
        try:
            with keeping(self.folder):
                beside.mkdir()
                runs = _write_part(beside, read)
                if len(runs) > 0:
                    beside.rename(path)
                    self.parts.append(Part(path, runs, [True] * len(runs)))
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def compact(self) -> None:
        """Writes small parts together where there are many.

        Raises:
            UnkeptError: They can't be written.
        """
        small = [part for part in self.parts if len(part.ids) < RUNS_OF_PART / 2]
        if len(small) <= SMALL_PARTS:
            return
        while small:
            together, runs = [], 0
            while small and runs + len(small[-1].ids) <= RUNS_OF_PART:
                together.append(small.pop())
                runs += len(together[-1].ids)
            self.add(part.contents() for part in together)
            for part in together:
                self.parts.remove(part)
                shutil.rmtree(part.path)


def _opened(path: Path) -> pa.Table:
    """The runs of a part; none if it is damaged, or of another version."""
    runs = read_kept(path / "runs.parquet", INDEX)
    digests = json.loads((runs.schema.metadata or {}).get(DIGESTS_KEY, "{}"))
    try:
        whole = all(digest_of(path / f"{name}.parquet") == digests[name] for name in OTHERS)
    except (OSError, KeyError):
        whole = False
    return runs if whole else INDEX.empty_table()


def _write_part(folder: Path, read: Iterable[Contents]) -> pa.Table:
    """Writes a part's files, and returns its runs."""
    runs, settings = [INDEX.empty_table()], []
    with (
        _writer(folder / "numbers.parquet", PLACED_NUMBERS) as numbers,
        _writer(folder / "pairs.parquet", PLACED_PAIRS) as pairs,
    ):
        for piece in read:
            runs.append(piece.runs)
            settings.append(piece.settings)
            numbers.write_table(piece.numbers)
            pairs.write_table(piece.pairs)
    _write(concatenated_settings(settings), folder / "settings.parquet")
    digests = {name: digest_of(folder / f"{name}.parquet") for name in OTHERS}
    table = pa.concat_tables(runs)
    _write(
        table.replace_schema_metadata(INDEX.metadata | {DIGESTS_KEY: json.dumps(digests)}),
        folder / "runs.parquet",
    )
    return table


_writer = partial(pq.ParquetWriter, compression="zstd", write_page_checksum=True)


def _write(table: pa.Table, path: Path) -> None:
    with _writer(path, table.schema) as file:
        file.write_table(table)


@contextmanager
def parts_folder(kept: Path) -> Iterator[Path]:
    """The folder of the parts, this process's alone; waits for another one.

    Raises:
        UnkeptError: It can't be written to.
    """
    with keeping(kept):
        (kept / "parts").mkdir(parents=True, exist_ok=True)
        lock = FileLock(kept / "parts.lock")
        lock.acquire()
    try:
        yield kept / "parts"
    finally:
        lock.release()
