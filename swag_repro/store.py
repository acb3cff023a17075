"""Run directories: one folder a run, the truth about what was measured.

    <root>/runs/<run id>/   config.yaml  identity.json  status.json  rows.parquet  images/  wandb/  run.log
    <root>/locks/<run id>.lock

Every file appears whole or not at all, and the status says `finished` only once all others are there. A
finished run that is forced again stays as it is until the new one, computed in `<run id>.new`, is complete.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, TypeVar
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from filelock import FileLock, Timeout

from swag_repro import __version__
from swag_repro.errors import StoreError, UserError
from swag_repro.identity import Identity

SCHEMA_VERSION = 2
"""Of `status.json` and of the rows. A file of a later version is refused, never guessed at."""

SCHEMA_KEY = b"swag_repro.schema"

TIDY_SCHEMA = pa.schema(
    [
        pa.field("experiment", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("network", pa.string(), nullable=False),
        pa.field("weights", pa.string(), nullable=False),
        pa.field("smoothing", pa.string(), nullable=False),
        pa.field("loss", pa.string()),
        pa.field("seed", pa.int64()),
        pa.field("content", pa.string()),
        pa.field("style", pa.string()),
        pa.field("layer", pa.string()),
        pa.field("depth", pa.int32()),
        pa.field("position", pa.int32()),
        pa.field("quantity", pa.string()),
        pa.field("iteration", pa.int32()),
        pa.field("statistic", pa.string(), nullable=False),
        pa.field("definition", pa.string()),
        pa.field("value", pa.float64(), nullable=False),
    ],
    metadata={SCHEMA_KEY: str(SCHEMA_VERSION)},
)
"""One row is one measured number.

`depth` is the number of convolutions on the longest path from the input, `position` the 1-based rank among
the network's statistic taps, `quantity` one of activation, gram and gram_per_dm, `definition` (of an entropy)
one of softmax and linear, `iteration` that of a picture on its way, null for all else.
"""

MALFORMED = (OSError, ValueError, TypeError, yaml.YAMLError)

T = TypeVar("T")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file opened for writing that takes its place at `path` only once it is complete and on the disk.

    Raises:
        StoreError: The disk is full, or the folder can't be made or written to.
    """
    beside = path.with_name(f".{path.name}.{uuid4().hex}")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not the system's: a library that could not encode what it was given
            raise
        found, remedy = f"{path}: {error.strerror}", "Make room there, or choose another folder."
        raise StoreError("output", "should be a folder that can be written to", found, remedy) from error


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())


def _read(path: Path, parse: Callable[[str], T]) -> T:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except MALFORMED as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> StoreError:
    found = f"{type(error).__name__}: {error}"
    return StoreError(
        str(path), "should be a complete file of a run", found, "Delete its folder and run again."
    )


def _refuse_newer(name: str, version: int) -> None:
    if version > SCHEMA_VERSION:
        rule = f"should have schema {SCHEMA_VERSION} or older"
        raise StoreError(name, rule, version, "Use the newer swag-repro that wrote it.")


@dataclass(frozen=True)
class Status:
    """What `status.json` says of a run.

    Attributes:
        schema: `SCHEMA_VERSION` of its writer.
        state: `running` also stands in a directory whose process was killed.
        reason: Why it failed.
        experiment: The experiment's name.
        name: The group it was first computed for, such as `fig3`.
        overrides: The command line's.
        started_at: ISO 8601, in UTC.
        seconds: From start to end.
        peak_memory_bytes: What `peak_memory` says at the end.
        versions: Of Python and of the packages that decide numbers.
        commit: Of this package's checkout, with the suffix `-dirty` where tracked files differ from it.
        device: Where it was computed.
        rows: How many rows it holds.
    """

    schema: int
    state: Literal["running", "finished", "failed"]
    reason: str | None
    experiment: str
    name: str
    overrides: list[str]
    started_at: str
    seconds: float | None
    peak_memory_bytes: int | None
    versions: dict[str, str]
    commit: str | None
    device: str
    rows: int | None

    @classmethod
    def start(cls, *, experiment: str, name: str, overrides: Sequence[str], device: str) -> Self:
        """The status of a run that starts now."""
        return cls(
            schema=SCHEMA_VERSION,
            state="running",
            reason=None,
            experiment=experiment,
            name=name,
            overrides=list(overrides),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=None,
            peak_memory_bytes=None,
            versions=versions(),
            commit=commit(),
            device=device,
            rows=None,
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The status that `to_json` wrote.

        Raises:
            StoreError: A later version wrote it.
            ValueError: The text is not JSON.
            TypeError: The JSON is not a status.
        """
        fields = json.loads(text)
        if isinstance(fields, dict):
            _refuse_newer("status.json", fields.get("schema", SCHEMA_VERSION))
        return cls(**fields)

    def to_json(self) -> str:
        """This status as JSON for people to read."""
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass
class Run:
    """One run's directory, as `Store.claim` hands it out.

    Attributes:
        path: Where it lies; a forced run is moved to its final place at the end.
        identity: What is computed.
        finished: Its result is already there: there is nothing to compute, and nothing may be written.
        rows: How many rows were written.
    """

    path: Path
    identity: Identity
    finished: bool
    rows: int | None = None

    @contextmanager
    def write_file(self, name: str) -> Iterator[BinaryIO]:
        """A `whole_file` of this run, such as `images/astronaut.png`, opened for writing.

        Raises:
            StoreError: It can't be written.
            RuntimeError: The run is finished.
        """
        if self.finished:
            raise RuntimeError(f"Run {self.path.name} is finished: nothing may be written to it")
        with whole_file(self.path / name) as file:
            yield file

    def write_rows(self, rows: pa.Table | Sequence[Mapping[str, Any]]) -> None:
        """Writes all rows of this run, in `TIDY_SCHEMA`; `experiment` and `run_id` are filled in.

        Raises:
            StoreError: They can't be written.
            RuntimeError: The run is finished.
            ValueError: A column is unknown, or a value is missing from a column that needs one.
            pyarrow.ArrowException: A value is of another type than its column.
        """
        table = self._tidy(rows.to_pylist() if isinstance(rows, pa.Table) else rows)
        whole = pa.BufferOutputStream()
        pq.write_table(table, whole, compression="zstd")
        with self.write_file("rows.parquet") as file:
            file.write(whole.getvalue())
        self.rows = table.num_rows

    def _tidy(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        if unknown := {column for row in rows for column in row} - set(TIDY_SCHEMA.names):
            raise ValueError(f"rows have unknown columns: {sorted(unknown)}")
        origin = {"experiment": self.identity.experiment, "run_id": self.identity.run_id}
        table = pa.Table.from_pylist([{**row, **origin} for row in rows], schema=TIDY_SCHEMA)
        return table.cast(TIDY_SCHEMA)  # from_pylist lets nulls into any column; a cast does not


def _ignore(*_: object) -> None:
    pass


class Store:
    """The run directories below one output folder, which any number of processes may share."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()

    def directory(self, run_id: str) -> Path:
        """Where the run with this id lies, or will lie."""
        return self.root / "runs" / run_id

    @contextmanager
    def claim(
        self,
        identity: Identity,
        *,
        config: Mapping[str, Any],
        name: str,
        overrides: Sequence[str] = (),
        device: str,
        force: bool = False,
        resumable: Collection[str] = (),
        waiting: Callable[[Path], None] = _ignore,
    ) -> Iterator[Run]:
        """The run with this identity: already finished, or this process's alone to compute.

        The status becomes `finished` when the block ends, and `failed`, with the reason, when it raises. What
        an earlier attempt left half-written is cleared first; a finished run is replaced only if `force` asks
        for it, and only by a finished one.

        Args:
            identity: What decides the result.
            config: The whole resolved config, plain, as it will stand in `config.yaml`.
            name: The group of the run, such as `fig3`.
            overrides: The command line's.
            device: Where it is computed.
            force: Whether to compute a finished run again.
            resumable: Names of files and folders that an unfinished attempt may leave to the next one.
            waiting: Called with the run's directory before waiting for another process that computes it.

        Raises:
            StoreError: The output folder can't be written to, or a later version wrote the run that is there.
        """
        target = self.directory(identity.run_id)
        if _is_finished(target) and not force:
            yield Run(target, identity, finished=True)
            return
        with self._locked(target, waiting):
            _settle(target)
            replaces = _is_finished(target)
            if replaces and not force:  # by the process we waited for
                yield Run(target, identity, finished=True)
                return
            run = Run(_beside(target, "new") if replaces else target, identity, finished=False)
            status = Status.start(
                experiment=identity.experiment, name=name, overrides=overrides, device=device
            )
            with _computing(run, config, status, resumable):
                yield run
            if replaces:
                run.path = _replace(target)

    @contextmanager
    def _locked(self, target: Path, waiting: Callable[[Path], None]) -> Iterator[None]:
        path = self.root / "locks" / f"{target.name}.lock"
        lock = FileLock(path)
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                waiting(target)
                lock.acquire()
        try:
            yield
        finally:
            lock.release()


@contextmanager
def _computing(
    run: Run, config: Mapping[str, Any], status: Status, resumable: Collection[str]
) -> Iterator[None]:
    start = time.monotonic()

    def end(state: Literal["finished", "failed"], reason: str | None = None) -> None:
        seconds = round(time.monotonic() - start, 3)
        ended = replace(status, state=state, reason=reason, seconds=seconds, rows=run.rows)
        _write_text(run.path / "status.json", replace(ended, peak_memory_bytes=peak_memory()).to_json())

    _clear_but(run.path, resumable)
    _write_text(run.path / "status.json", status.to_json())
    try:
        _write_text(run.path / "identity.json", run.identity.to_json())
        _write_text(
            run.path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        )
        yield
        end("finished")
    except BaseException as error:
        with suppress(
            StoreError
        ):  # a full disk must not hide why the run failed; `running` is done again as well
            end("failed", _reason(error))
        raise


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _is_finished(directory: Path) -> bool:
    try:
        status = Status.from_json((directory / "status.json").read_text(encoding="utf-8"))
    except MALFORMED:
        return False
    return status.state == "finished" and status.rows == _count_rows(directory / "rows.parquet")


def _count_rows(path: Path) -> int | None:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):
        return None


def _beside(target: Path, suffix: Literal["new", "old"]) -> Path:
    return target.with_name(f"{target.name}.{suffix}")


def _replace(target: Path) -> Path:
    with _writing(target):
        target.rename(_beside(target, "old"))
        _beside(target, "new").rename(target)
        # `wandb sync` looks for an offline run's tables at the absolute paths they were written to.
        _beside(target, "new").symlink_to(target.name)
    _clear(_beside(target, "old"))
    return target


def _settle(target: Path) -> None:
    """Ends a replacement that a kill cut short, and clears what else killed attempts left."""
    if not target.exists() and _is_finished(_beside(target, "new")):
        with _writing(target):
            _beside(target, "new").rename(target)
    _clear(_beside(target, "new"))
    _clear(_beside(target, "old"))


def _clear_but(directory: Path, kept: Collection[str]) -> None:
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name not in kept:
            with _writing(path):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _clear(directory: Path) -> None:
    with _writing(directory), suppress(FileNotFoundError):
        if directory.is_symlink():
            directory.unlink()
        else:
            shutil.rmtree(directory)


@dataclass(frozen=True)
class RunRecord:
    """A run directory to read from; its files are opened when they are asked for."""

    path: Path
    status: Status

    @cached_property
    def identity(self) -> Identity:
        """What decided the result.

        Raises:
            StoreError: `identity.json` is missing or malformed.
        """
        return _read(self.path / "identity.json", Identity.from_json)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The whole resolved config.

        Raises:
            StoreError: `config.yaml` is missing or malformed.
        """
        return _read(self.path / "config.yaml", yaml.safe_load)

    def rows(self) -> pa.Table:
        """The measured rows, in `TIDY_SCHEMA`.

        Raises:
            StoreError: `rows.parquet` is missing, malformed or of a later schema.
        """
        return read_rows(self.path / "rows.parquet")


def read_status(directory: Path) -> Status:
    """The status of the run in this directory.

    Raises:
        StoreError: It is missing, malformed or of a later schema.
    """
    return _read(directory / "status.json", Status.from_json)


def read_rows(path: Path) -> pa.Table:
    """The rows of one Parquet file, in `TIDY_SCHEMA`.

    Raises:
        StoreError: The file is missing, malformed or of a later schema.
    """
    try:
        with pq.ParquetFile(path) as file:
            _refuse_newer(str(path), int((file.schema_arrow.metadata or {})[SCHEMA_KEY]))
            return _migrated(file.read()).cast(TIDY_SCHEMA)
    except (*MALFORMED, KeyError) as error:
        raise _unreadable(path, error) from error


def _migrated(rows: pa.Table) -> pa.Table:
    """Rows of schema 1, which had no `iteration`, in the columns of schema 2."""
    if "iteration" in rows.column_names:
        return rows
    rows = rows.append_column("iteration", pa.nulls(len(rows), pa.int32()))
    return rows.select(TIDY_SCHEMA.names)


def runs(root: Path | str, *, skipped: Callable[[Path, StoreError], None] = _ignore) -> Iterator[RunRecord]:
    """All run directories below an output folder, by id, whatever their state.

    Args:
        root: The output folder; without any run in it, nothing is yielded.
        skipped: Called with each directory that this version can't read as a run's, and with why.
    """
    # A dot marks an attempt that is about to replace a finished run, or what it replaced.
    for directory in sorted(path for path in Path(root, "runs").glob("*") if "." not in path.name):
        try:
            record = RunRecord(directory, read_status(directory))
        except StoreError as error:
            skipped(directory, error)
        else:
            yield record


def peak_memory() -> int | None:
    """The most memory this process has had so far, in bytes: allocated by CUDA if in use, otherwise resident.

    None where the system does not say.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@cache
def versions() -> dict[str, str]:
    """Of Python, this package, torch and torchvision, without importing them."""
    installed = {name: metadata.version(name) for name in ("torch", "torchvision")}
    return {"python": platform.python_version(), "swag_repro": __version__, **installed}


@cache
def commit() -> str | None:
    """The commit of this package's checkout, with the suffix `-dirty` where tracked files differ from it.

    None outside a checkout, also where the package is installed inside another project's.
    """
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
    return tracked and _git("describe", "--always", "--exclude=*", "--abbrev=40", "--dirty")


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
