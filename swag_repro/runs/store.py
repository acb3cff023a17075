"""Run directories, one for each run: they are the truth about what was measured.

    <root>/runs/<run id>/   config.yaml  identity.json  status.json  rows.parquet  images/  wandb/  run.log
    <root>/locks/<run id>.lock

Every file appears whole or not at all. The status says `finished` only once all other files are there. It
then holds their digests and its own, so a file that is damaged later is no result. When a finished run is
forced again, the new run is computed in `<run id>.new`, and the old one stays until the new one is complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import yaml
from filelock import FileLock, Timeout

from swag_repro.errors import StoreError
from swag_repro.runs.files import (
    BEAT,
    SafeDumper,
    beating,
    beside_of,
    clear,
    clear_but,
    digests,
    ignore,
    is_locked,
    make_folder,
    whole_file,
    write_text,
    writing,
)
from swag_repro.runs.identity import Identity, peak_memory
from swag_repro.runs.records import RunStatus, damage_of, is_finished, read_status, reason_of
from swag_repro.runs.schema import NUMBERS, PAIRS, encoded

ABANDONED = 60 * BEAT
"""Seconds without a heartbeat after which the holder of a lock is taken for dead."""


class BusyError(Exception):
    """An error: another process computes the run of this directory."""


@dataclass
class Run:
    """One run's directory, as `Store.claim` hands it out.

    Attributes:
        path: Its place; a forced run is moved to its final place at the end.
        identity: What is computed.
        finished: Whether its result is already there; then nothing may be written.
        rows: How many rows were written.
    """

    path: Path
    identity: Identity
    finished: bool
    rows: int | None = None

    @contextmanager
    def write_file(self, name: str) -> Iterator[BinaryIO]:
        """Yield a `whole_file` of this run, such as `images/astronaut.png`, opened for writing.

        Raises:
            StoreError: The file can't be written.
            RuntimeError: The run is finished.
        """
        if self.finished:
            raise RuntimeError(f"Run {self.path.name} is finished: nothing may be written to it")
        with whole_file(self.path / name, below=self.path) as file:
            yield file

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write all rows of this run, in `NUMBERS`; `experiment` and `run_id` are filled in.

        Raises:
            StoreError: The rows can't be written.
            RuntimeError: The run is finished.
            ValueError: A column is unknown, or a value is missing from a column that needs one.
            pyarrow.ArrowException: A value is of another type than its column.
        """
        origin = {"experiment": self.identity.experiment, "run_id": self.identity.run_id}
        self.rows = self._write_table("rows.parquet", NUMBERS, rows, origin)

    def write_pairs(self, pairs: Sequence[Mapping[str, Any]]) -> None:
        """Write all stylised pairs of this run, in `PAIRS`; `run_id` is filled in.

        Raises:
            As for `write_rows`.
        """
        self._write_table("pairs.parquet", PAIRS, pairs, {"run_id": self.identity.run_id})

    def _write_table(
        self, name: str, schema: pa.Schema, rows: Sequence[Mapping[str, Any]], origin: Mapping[str, str]
    ) -> int:
        if unknown := {column for row in rows for column in row} - set(schema.names):
            raise ValueError(f"rows have unknown columns: {sorted(unknown)}")
        table = pa.Table.from_pylist([{**row, **origin} for row in rows], schema=schema)
        # `from_pylist` lets nulls into any column; a cast does not.
        content = encoded(table.cast(schema))
        with self.write_file(name) as file:
            file.write(content)
        return int(table.num_rows)


class Store:
    """The run directories below one output folder, which any number of processes may share.

    Args:
        root: The output folder.
        there: Whether it was made before, and isn't made anew.
    """

    def __init__(self, root: Path | str, *, there: bool = False) -> None:
        self.root = Path(root).absolute()
        self._made = self.root if there else None

    def directory(self, run_id: str) -> Path:
        """Return the place of the run with this id, which need not be there yet."""
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
        sweep: str | None = None,
        resumable: Collection[str] = (),
        waiting: Callable[[Path], None] | None = ignore,
        damaged: Callable[[Path, list[str]], None] = ignore,
    ) -> Iterator[Run]:
        """Yield the run with this identity: either it is finished, or this process alone computes it.

        The status becomes `finished` when the block ends, and `failed`, with the reason, when it raises.
        Half-written files of an earlier attempt are cleared first. A finished run is replaced only if `force`
        asks for it, and only by a finished one. A finished run with a file that is not as it was written is
        no result: it is computed again.

        Args:
            identity: What decides the result.
            config: The whole resolved config, plain, as it will stand in `config.yaml`.
            name: The group of the run, such as `fig3`.
            overrides: The overrides of the command line.
            device: The device that computes it.
            force: Whether to compute a finished run again.
            sweep: The folder name of the sweep that computes it.
            resumable: Files and folders, such as `images/steps`, that an unfinished attempt may leave to the
                next one.
            waiting: Called with the run's directory before waiting for another process that computes it; None
                to raise instead.
            damaged: Called with the run's directory and the files that are not as they were written.

        Raises:
            BusyError: Another process computes the run, and `waiting` is None.
            StoreError: The output folder can't be written to, or a later version wrote the run that is there.
        """
        target = self.directory(identity.run_id)
        if is_finished(target) and not force:
            self._clear_leftovers(target)
            yield Run(target, identity, finished=True)
            return
        with self._locked(target, waiting):
            _settle(target)
            if lost := damage_of(target):
                damaged(target, lost)
            replaces = lost == []
            if replaces and not force:  # another process computed it while this one waited
                yield Run(target, identity, finished=True)
                return
            run = Run(beside_of(target, "new") if replaces else target, identity, finished=False)
            make_folder(run.path, below=self._made)
            status = RunStatus.start(
                experiment=identity.experiment,
                name=name,
                overrides=overrides,
                device=device,
                failures=self.failures(identity.run_id),
                sweep=sweep,
            )
            with _computing(run, config, status, resumable):
                yield run
            if replaces:
                run.path = _replace(target)

    @contextmanager
    def at_rest(self, run_id: str) -> Iterator[bool]:
        """Yield whether no process computes this run; if so, none begins to within the block.

        Raises:
            StoreError: The output folder can't be written to.
        """
        with ExitStack() as held:
            rests = True
            try:
                held.enter_context(self._locked(self.directory(run_id), None))
            except BusyError:
                rests = False
            yield rests

    def _clear_leftovers(self, target: Path) -> None:
        """Delete what a killed forced attempt left beside a finished run, unless an attempt is under way."""
        beside = (beside_of(target, "new"), beside_of(target, "old"))
        if any(path.is_dir() and not path.is_symlink() for path in beside):
            with suppress(BusyError, StoreError), self._locked(target, None):
                _settle(target)

    def failures(self, run_id: str) -> list[str]:
        """Return why each attempt at a run at rest failed since the last success, oldest first."""
        try:
            return read_status(self.directory(run_id)).all_failures
        except StoreError:
            return []

    def is_held(self, run_id: str) -> bool:
        """Return whether a process with a recent heartbeat computes a run."""
        path = self.lock(run_id)
        return is_locked(path) and not _is_abandoned(path)

    def lock(self, run_id: str) -> Path:
        """Return the file that the process which computes a run locks, and touches every few seconds."""
        return self.root / "locks" / f"{run_id}.lock"

    @contextmanager
    def _locked(self, target: Path, waiting: Callable[[Path], None] | None) -> Iterator[None]:
        path = self.lock(target.name)
        lock = FileLock(path)
        make_folder(path.parent, below=self._made)
        with writing(path):
            if not _acquired(lock, path):
                if waiting is None:
                    raise BusyError(target)
                waiting(target)
                while not _acquired(lock, path, seconds=1.0):
                    pass
        try:
            with beating(path):
                yield
        finally:
            lock.release()


def _acquired(lock: FileLock, path: Path, seconds: float = 0.1) -> bool:
    """Take a lock if it becomes free in time, or its holder is dead; return whether this worked.

    Wait at least some time, because a process that looks whether a lock is held holds it for a moment, too.
    """
    with suppress(Timeout):
        lock.acquire(timeout=seconds)
        return True
    if not _is_abandoned(path):
        return False
    path.unlink(missing_ok=True)  # the dead holder's lock is on a file that no longer has this name
    return _acquired(lock, path)


_heard: dict[Path, tuple[int, float]] = {}
"""Locks that others hold: the last heartbeat, and the time when this process first saw it."""


def _is_abandoned(path: Path) -> bool:
    """Return whether a lock's holder has had no heartbeat for long, because its host died.

    Only this process's own clock is read: hosts' clocks differ, and a machine that slept beats again.
    """
    try:
        beat = path.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    now = time.monotonic()
    last, since = _heard.setdefault(path, (beat, now))
    if last != beat:
        _heard[path] = beat, now
        return False
    return now - since > ABANDONED


@contextmanager
def _computing(
    run: Run, config: Mapping[str, Any], status: RunStatus, resumable: Collection[str]
) -> Iterator[None]:
    start = time.monotonic()

    def write(name: str, text: str) -> None:
        write_text(run.path / name, text, below=run.path)

    def end(state: Literal["finished", "failed"], reason: str | None = None) -> None:
        seconds = round(time.monotonic() - start, 3)
        ended = replace(status, state=state, reason=reason, seconds=seconds, rows=run.rows)
        if state == "finished":
            ended = replace(ended, files=digests(run.path), failures=[])
        write("status.json", replace(ended, peak_memory_bytes=peak_memory()).to_json())

    try:
        clear_but(run.path, [PurePath(path) for path in resumable])
        write("status.json", status.to_json())
        write("identity.json", run.identity.to_json())
        write("config.yaml", yaml.dump(dict(config), Dumper=SafeDumper, sort_keys=False, allow_unicode=True))
        yield
        end("finished")
    except BaseException as error:
        with suppress(
            StoreError
        ):  # a full disk must not hide why the run failed; a run left `running` is computed again, too
            end("failed", reason_of(error))
        raise


def _replace(target: Path) -> Path:
    with writing(target):
        target.rename(beside_of(target, "old"))
        beside_of(target, "new").rename(target)
        # `wandb sync` looks for an offline run's tables at the absolute paths they were written to.
        beside_of(target, "new").symlink_to(target.name)
    clear(beside_of(target, "old"))
    return target


def _settle(target: Path) -> None:
    """Finish a replacement that a kill cut short, and delete what else killed attempts left."""
    if not target.exists() and is_finished(beside_of(target, "new")):
        with writing(target):
            beside_of(target, "new").rename(target)
    clear(beside_of(target, "new"))
    clear(beside_of(target, "old"))
