"""The origin of files of results, which a `NAME.provenance.json` beside them tells."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from analysis.tables.kept import Kept
from analysis.tables.reading import Row
from experiments.programs import words
from swag_repro.errors import UserError
from swag_repro.runs.files import MALFORMED, digest_of, refuse_other, write_text
from swag_repro.runs.identity import commit, content_key, versions
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.schema import PACKAGES, RUNS

SCHEMA = 2
"""Version of the written schema. Other versions are refused."""

SUFFIX = ".provenance.json"

DIGITS = 16
"""Length of a digest, as in a run's id."""

TRAINING = "train_classifier"
"""The experiment whose runs hold weights."""

LIBRARIES = ("pandas", "matplotlib", "seaborn")
"""Libraries whose versions affect how results look; others affect the numbers."""


RENAMED = {"--runs": "--output", "--out": "--results"}
"""Options of `swag` that had another name when older files were made."""

_command: ContextVar[tuple[str, ...]] = ContextVar("command", default=())
"""The running command of `swag`; empty in calls from Python."""


@contextmanager
def made_by(arguments: Sequence[str]) -> Iterator[None]:
    """Record these arguments of `swag`, within the context, as the command that makes files of results."""
    token = _command.set(tuple(arguments))
    try:
        yield
    finally:
        _command.reset(token)


class ProvenanceError(UserError):
    """The error of a file that does not say where it comes from."""


@dataclass(frozen=True)
class Origin:
    """The code that computed or drew something.

    Attributes:
        commit: The commit, with the suffix `-dirty` if tracked files differed from it; None outside a
            checkout.
        versions: Versions of Python and of packages.
    """

    commit: str | None
    versions: dict[str, str]

    @classmethod
    def here(cls) -> Self:
        """Return the origin of what this process draws."""
        return cls(_commit(), versions() | {name: metadata.version(name) for name in LIBRARIES})


_commit = cache(commit)


@dataclass(frozen=True)
class RunSource:
    """One run behind a file.

    Attributes:
        experiment: The entry point that computed it.
        config: The start of its `config_key`.
        result: The start of the digest of its result.
        origin: The code that computed it.
    """

    experiment: str
    config: str
    result: str
    origin: Origin

    @classmethod
    def of(cls, run: Row) -> Self:
        """Return the source of a finished run, given its row of `RUNS`."""
        known = {
            name: str(run[f"versions.{name}"]) for name in PACKAGES if run[f"versions.{name}"] is not None
        }
        return cls(
            run["experiment"],
            run["config_key"][:DIGITS],
            run["result_digest"][:DIGITS],
            Origin(run["commit"], known),
        )


@dataclass(frozen=True)
class Provenance:
    """The provenance of files of results.

    Attributes:
        command: The arguments of `swag` that made them; none if they were made from Python.
        steps: The commands that compute the runs behind it, in order.
        root: The output folder of the runs, as it was given.
        cells: Number of cells that were asked for.
        missing: Number of cells that had no run.
        runs: The runs behind the files, by id; empty if the files' own rows name them.
        drawn: The code that made the files.
        files: The SHA-256 of each file, by its name.
    """

    command: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]
    root: str
    cells: int
    missing: int
    runs: dict[str, RunSource]
    drawn: Origin
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, runs: Iterable[Row], root: Path, steps: Iterable[Sequence[str]], *, cells: int, missing: int
    ) -> Self:
        """Return the provenance of files that are made now.

        Args:
            runs: The finished runs behind the files, rows of `RUNS`.
            root: The output folder.
            steps: The commands that compute the runs.
            cells: Number of cells that were asked for.
            missing: Number of cells that have no run.
        """
        sources = {run["run_id"]: RunSource.of(run) for run in runs}
        return cls(
            _command.get(), tuple(map(tuple, steps)), str(root), cells, missing, sources, Origin.here()
        )

    @property
    def config(self) -> str:
        """The digest of the scientific configs of all runs."""
        return content_key(sorted(source.config for source in self.runs.values()))[:DIGITS]

    @classmethod
    def from_plain(cls, fields: Mapping[str, Any]) -> Self:
        """Return the provenance of fields that `write_provenance` wrote.

        Raises:
            KeyError, TypeError: Fields are missing or unknown.
        """
        known = {name: fields[name] for name in ("root", "cells", "missing", "files")}
        runs = {
            run_id: RunSource(**{**source, "origin": Origin(**source["origin"])})
            for run_id, source in fields["runs"].items()
        }
        steps, drawn = tuple(map(tuple, fields["steps"])), Origin(**fields["drawn"])
        command = tuple(RENAMED.get(word, word) for word in fields["command"])
        return cls(command, steps, runs=runs, drawn=drawn, **known)


def merged(parts: Sequence[Provenance]) -> Provenance:
    """Return the provenance of one file that is made from several of one output folder."""
    steps = dict.fromkeys(step for part in parts for step in part.steps)
    runs = {run_id: source for part in parts for run_id, source in part.runs.items()}
    cells, missing = sum(part.cells for part in parts), sum(part.missing for part in parts)
    return replace(parts[0], steps=tuple(steps), cells=cells, missing=missing, runs=runs)


def rerun_command(run: Row) -> list[str]:
    """Return the command that computes this run."""
    return words(run["experiment"], shlex.split(run["overrides"]))


def trainings_of(runs: Iterable[Row], kept: Kept) -> list[Row]:
    """Return the runs that trained the weights behind these runs: their files have the weights' digests."""
    used = {digest for run in runs for digest in (run["weights_digest"] or "").split()} - {"None"}
    if not used:
        return []
    trained = kept.read("runs", "experiment", [TRAINING], RUNS.names).to_pylist()
    finished = [run for run in trained if run["state"] == "finished" and run["run_id"] in kept.signs]
    return [run for run in finished if not used.isdisjoint(_digests(kept.root / run["path"]))]


def _digests(path: Path) -> Iterable[str]:
    return (RunRecord(path, read_status(path)).status.files or {}).values()


def write_provenance(stem: Path, provenance: Provenance, files: Iterable[Path]) -> Path:
    """Write where the files of one folder come from, and return the path of the written file.

    Args:
        stem: The folder, and a common name for the files.
        provenance: The provenance of the files.
        files: The files; their digests are recorded.

    Raises:
        StoreError: The provenance can't be written.
    """
    known = replace(provenance, files={path.name: digest_of(path) for path in files})
    path = stem.with_name(stem.name + SUFFIX)
    write_text(path, json.dumps({"schema": SCHEMA, **asdict(known), "config": known.config}, indent=1) + "\n")
    return path


def read_provenance(path: Path) -> Provenance:
    """Return the provenance of a file of results.

    Raises:
        ProvenanceError: The file is missing, or no provenance beside it lists it.
        OtherVersionError: Another version wrote the provenance.
    """
    if not path.is_file():
        raise _unknown(path, "no such file")
    for beside in sorted(path.parent.glob(f"*{SUFFIX}")):
        try:
            fields = json.loads(beside.read_text(encoding="utf-8"))
            if path.name in fields["files"]:
                refuse_other(str(beside), fields["schema"], SCHEMA)
                return Provenance.from_plain(fields)
        except (*MALFORMED, KeyError) as error:
            raise _unknown(
                path, f"{beside.name}, which can't be read ({type(error).__name__}: {error})"
            ) from error
    raise _unknown(path, "none that does")


def _unknown(path: Path, found: str) -> ProvenanceError:
    rule = f"should be a file of a run, or of results with a NAME{SUFFIX} beside it that lists it"
    return ProvenanceError(str(path), rule, found, "`swag figure` and others write them.")
