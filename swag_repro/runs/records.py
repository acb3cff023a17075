"""Records of runs: the status of a run, and its directory to read from."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

import pyarrow as pa

from swag_repro.errors import StoreError, UserError
from swag_repro.names import printable
from swag_repro.runs.files import MALFORMED, T, digest, ignore, parse_yaml, parsed, refuse_other, unreadable
from swag_repro.runs.identity import Identity, commit, versions
from swag_repro.runs.schema import NUMBERS, PAIRS, parse_table

STATUS_VERSION = 3
"""Version of `status.json`, which holds checksums of all files of a result, and its own `sha256`."""

INTERRUPTED = "interrupted"
"""The reason of a run that a signal ended."""

KILLED = "killed in the sweep"
"""The start of a failure, before the sweep's name, if the attempt's process ended without a word."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """The status of a run, as `status.json` holds it.

    Attributes:
        schema: `STATUS_VERSION` of its writer.
        state: The state of the run. `running` also stands in a directory whose process was killed.
        reason: Why it failed.
        experiment: The experiment's name.
        name: The group that it was first computed for, such as `fig3`.
        overrides: The overrides of the command line.
        started_at: Its start, as ISO 8601, in UTC.
        seconds: Its time from start to end.
        peak_memory_bytes: The value of `peak_memory` at the end.
        versions: The versions of Python and of the packages that decide numbers.
        commit: The commit of this package's checkout, with `-dirty` if tracked files differ from it.
        device: The device that computed it.
        rows: How many rows it holds.
        files: SHA-256 of each file of its result, by its path; None before it is finished.
        host: The host that computes or computed it.
        failures: Why earlier attempts at it failed, oldest first; empty once it is finished.
        sweep: The folder name of the sweep that computes or computed it; None outside a sweep.
    """

    schema: int
    state: Literal["running", "finished", "failed"]
    reason: str | None = None
    experiment: str
    name: str
    overrides: list[str]
    started_at: str
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    versions: dict[str, str]
    commit: str | None
    device: str
    rows: int | None = None
    files: dict[str, str] | None = None
    host: str | None = None
    failures: list[str] = field(default_factory=list)
    sweep: str | None = None

    @classmethod
    def start(
        cls,
        *,
        experiment: str,
        name: str,
        overrides: Sequence[str],
        device: str,
        failures: Sequence[str] = (),
        sweep: str | None = None,
    ) -> Self:
        """Return the status of a run that starts now."""
        return cls(
            schema=STATUS_VERSION,
            state="running",
            experiment=experiment,
            name=name,
            overrides=list(overrides),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions(),
            commit=commit(),
            device=device,
            host=socket.gethostname(),
            failures=list(failures),
            sweep=sweep,
        )

    @property
    def all_failures(self) -> list[str]:
        """The failures of attempts since the last success, the last one's included; an interruption is none.

        The run should be at rest. Then `running` means that a kill ended it.
        """
        if self.state == "finished":
            return []
        if self.state == "running":
            last = None if self.sweep is None else f"{KILLED} {self.sweep}"
        else:
            last = None if self.reason == INTERRUPTED else self.reason
        return [*self.failures, *([last] if last is not None else [])]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the status that `to_json` wrote.

        Raises:
            OtherVersionError: Another version wrote it.
            ValueError: The text is not JSON, or not as it was written.
            TypeError: The JSON is not a status.
        """
        fields = dict(json.loads(text))
        checksum = fields.pop("sha256", None)
        if checksum not in (None, _checksum(fields)):
            raise ValueError("its checksum is of another text")
        if not isinstance(version := fields.get("schema"), int):
            raise ValueError("its schema is missing")
        refuse_other("status.json", version, STATUS_VERSION)
        if checksum is None:
            raise ValueError("its checksum is missing")
        if not all(map(_is_inside, fields.get("files") or ())):
            raise ValueError("it names files outside of its run")
        status = cls(**fields)
        return replace(status, name=printable(str(status.name)))

    def to_json(self) -> str:
        """Return this status as JSON for people to read, with a checksum of itself."""
        fields = asdict(self)
        return json.dumps(fields | {"sha256": _checksum(fields)}, indent=2) + "\n"


def _is_inside(name: str) -> bool:
    """Return whether a file's path in a run directory stays in it."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _checksum(fields: Mapping[str, Any]) -> str:
    return digest(json.dumps(fields, sort_keys=True).encode())


def reason_of(error: BaseException) -> str:
    """Return why a run failed, in one line."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def is_finished(directory: Path) -> bool:
    """Return whether a directory holds a finished run, whole."""
    return damage_of(directory) == []


def damage_of(directory: Path) -> list[str] | None:
    """Return the files of a finished run that are not as they were written; None for an unfinished run."""
    try:
        status = RunStatus.from_json((directory / "status.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except MALFORMED:
        return ["status.json"]
    return RunRecord(directory, status).damage() if status.state == "finished" else None


@cache
def _no_pairs() -> pa.Table:
    return PAIRS.empty_table()  # this imports pandas


@dataclass(frozen=True)
class RunRecord:
    """A run directory to read from; its files are opened when they are asked for."""

    path: Path
    status: RunStatus

    @cached_property
    def identity(self) -> Identity:
        """The identity that decided the result.

        Raises:
            StoreError: `identity.json` is missing or malformed, or names another run, as in a copy.
        """
        identity = self._parsed("identity.json", Identity.from_json)
        if identity.run_id != self.path.name.partition(".")[0]:
            raise unreadable(self.path, f"the identity of run {identity.run_id}; two can't claim one id")
        return identity

    @cached_property
    def config(self) -> dict[str, Any]:
        """The whole resolved config.

        Raises:
            StoreError: `config.yaml` is missing or malformed.
        """
        return self._parsed("config.yaml", parse_yaml)

    def rows(self) -> pa.Table:
        """Return the measured rows, in `NUMBERS`.

        Raises:
            StoreError: `rows.parquet` is missing or malformed, of another schema, or has not as many rows as
                the status says.
        """
        rows = self._table("rows.parquet", NUMBERS)
        if rows.num_rows != self.status.rows:
            raise unreadable(
                self.path / "rows.parquet",
                f"{rows.num_rows} rows instead of the {self.status.rows} its status tells of",
            )
        return rows

    def pairs(self) -> pa.Table:
        """Return the stylised pairs, in `PAIRS`; no rows for a run that stylises nothing.

        Raises:
            StoreError: The file is malformed or of another schema, or was changed.
        """
        return self._table("pairs.parquet", PAIRS) if self._has("pairs.parquet") else _no_pairs()

    def _has(self, name: str) -> bool:
        files = self.status.files
        return name in files if files is not None else (self.path / name).exists()

    def _table(self, name: str, schema: pa.Schema) -> pa.Table:
        table = parse_table(self.path / name, pa.BufferReader(self.read(name)))
        if table.column_names != schema.names:
            raise unreadable(self.path / name, "other columns than its schema has")
        # Parquet renames the items of lists.
        return table if table.schema.equals(schema) else table.cast(schema)

    def read(self, name: str) -> bytes:
        """Return a file of the result, such as `images/astronaut.png`, as it was written.

        Raises:
            StoreError: The file is missing, or was changed after the run was finished.
        """
        path, files = self.path / name, self.status.files
        if not _is_inside(name):
            raise unreadable(path, "a file outside of its run")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise unreadable(path, error) from error
        if files is not None and files.get(name) != digest(content):
            raise unreadable(path, "a checksum other than that of what was written")
        return content

    def damage(self) -> list[str]:
        """Return the files of a finished run that are missing, or not as they were written."""
        return [name for name in self.status.files or () if not self._is_whole(name)]

    def _is_whole(self, name: str) -> bool:
        try:
            self.read(name)
        except StoreError:
            return False
        return True

    def _parsed(self, name: str, parse: Callable[[str], T]) -> T:
        return parsed(self.path / name, self.read(name), parse)


def read_status(directory: Path) -> RunStatus:
    """Return the status of the run in this directory.

    Raises:
        StoreError: The status is missing, malformed or of another schema.
    """
    path = directory / "status.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    return parsed(path, content, RunStatus.from_json)


def no_output(folder: Path) -> StoreError:
    """Return the error that an output folder of experiments does not exist, or holds no runs."""
    remedy = "Nothing was computed into it yet: `swag experiments` lists what can be."
    return StoreError("--output", "should be an output folder of experiments", f"no folder {folder}", remedy)


def run_names(root: Path | str) -> list[str]:
    """Return the names of all run directories below an output folder, in order.

    Raises:
        StoreError: The system refuses to list them.
    """
    folder = Path(root, "runs")
    try:
        # A dot marks an attempt that is about to replace a finished run, or the run that was replaced.
        return sorted(path.name for path in folder.iterdir() if "." not in path.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(folder, error) from error


def all_runs(
    root: Path | str, *, skipped: Callable[[Path, StoreError], None] = ignore
) -> Iterator[RunRecord]:
    """Yield all run directories below an output folder, by id, whatever their state.

    Args:
        root: The output folder; nothing is yielded if it has no runs.
        skipped: Called with each directory that this version can't read as a run's, and with the error.

    Raises:
        StoreError: The system refuses to list the directories.
    """
    for directory in (Path(root, "runs", name) for name in run_names(root)):
        try:
            record = RunRecord(directory, read_status(directory))
        except StoreError as error:
            skipped(directory, error)
        else:
            yield record
