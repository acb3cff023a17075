"""Run directories made again from W&B. The files of each run are those of its artifact, bit for bit.

Nothing is taken from W&B's own histories, because they may be sampled and have no schema of ours.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swag_repro.errors import StoreError, TrackingError
from swag_repro.runs.files import digest_of, refuse_other, unreadable, write_text
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.schema import SCHEMA_VERSION
from swag_repro.runs.store import Store
from swag_repro.tracking.environment import environment
from swag_repro.tracking.server import Server, line_of
from swag_repro.tracking.shown import COSTS

if TYPE_CHECKING:
    import wandb

DOWNLOADS_AT_ONCE = 8
"""Number of runs that are fetched side by side."""

SERVER_TIMEOUT = 60.0
"""Seconds in which W&B's server has to answer."""


@dataclass(frozen=True)
class Fetched:
    """The numbers of a project's runs that were fetched or not.

    Attributes:
        new: Number of runs that were fetched.
        there: Number of runs that were already there, and are the same.
        without: Number of runs that have no tables in W&B, by their state there.
    """

    new: int
    there: int
    without: Counter[str]


def fetch(project: str, entity: str | None, folder: Path) -> Fetched:
    """Write `<folder>/runs/<run id>/` for all runs of a W&B project that have sent their tables.

    Args:
        project: W&B's project.
        entity: W&B's team or user; the user's default if None.
        folder: The output folder; runs that it already has, and that are the same, are kept.

    Raises:
        TrackingError: W&B's server does not answer, or has no such project.
        StoreError: An artifact has no schema, or that of a later version, or was changed.
    """
    with tempfile.TemporaryDirectory() as place, environment(Path(place)):
        server = Server(timeout=SERVER_TIMEOUT)
        path = f"{entity or server.entity}/{project}"
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        with _answered(path), ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            runs = list(server.api.runs(path, lazy=False))
            states = list(pool.map(partial(_fetch_run, server=server, path=path, folder=folder), runs))
    without = Counter(run.state for run, state in zip(runs, states, strict=True) if state == "without")
    return Fetched(states.count("new"), states.count("there"), without)


@contextmanager
def _answered(path: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except Exception as error:  # W&B passes on errors of any kind from its parts
        remedy = "Check --project and --entity."
        raise TrackingError(path, "should be read from W&B", line_of(error), remedy) from error


def _fetch_run(run: Any, *, server: Server, path: str, folder: Path) -> str:
    """Fetch a run; return `new`, `there` or `without`."""
    import wandb

    name = f"{path}/run-{run.id}:latest"
    try:
        artifact = server.api.artifact(name)
    except wandb.errors.CommError as error:
        if "not found" in str(error):
            return "without"
        raise
    expected = _artifact_digests(artifact, name)
    target = Store(folder).directory(run.id)
    if _has(target, expected):
        return "there"
    with tempfile.TemporaryDirectory(dir=folder) as place:
        artifact.download(root=place, skip_cache=True)
        made = Path(place)
        _check(made, expected)
        status = replace(read_status(made), **{cost: run.summary.get(cost) for cost in COSTS})
        write_text(made / "status.json", status.to_json())
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
        made.mkdir()  # the temporary directory deletes it at its end
    return "new"


def _artifact_digests(artifact: wandb.Artifact, name: str) -> dict[str, str]:
    """Return the SHA-256 of an artifact's files, by their names."""
    about = artifact.metadata
    if not {"schema", "sha256"} <= about.keys():
        found, remedy = "none", "Rebuild and sync the run with this version."
        raise StoreError(name, "should have a schema", found, remedy)
    refuse_other(name, int(about["schema"]), SCHEMA_VERSION)
    return dict(about["sha256"])


def _has(target: Path, expected: dict[str, str]) -> bool:
    try:
        files = RunRecord(target, read_status(target)).status.files or {}
    except StoreError:
        return False
    return expected.items() <= files.items()


def _check(directory: Path, expected: dict[str, str]) -> None:
    for name, sha256 in expected.items():
        path = directory / name
        if not path.exists() or digest_of(path) != sha256:
            raise unreadable(path, "a checksum other than that of what was sent")
