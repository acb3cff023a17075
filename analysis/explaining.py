"""The origin of a file: its runs, whether they have changed, and the commands that make it again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from analysis.tables.answers import MOST_LISTED
from analysis.tables.collect import read_table
from analysis.tables.kept import tables_of
from analysis.tables.provenance import (
    DIGITS,
    Origin,
    Provenance,
    RunSource,
    read_provenance,
    rerun_command,
    trainings_of,
)
from analysis.tables.reading import row_of_status
from experiments.asking import OUTPUT
from experiments.sweeps.sweep import SWEEPS
from swag_repro.errors import StoreError
from swag_repro.runs.files import digest_of
from swag_repro.runs.identity import content_key
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.schema import RUNS

RUN_ID = "run_id"
"""Name of the run id in a picture's metadata and in collected tables."""

RUNS_TABLE = "runs.parquet"
"""The file that describes the runs, among the files that `collect` writes together."""

DIRTY = "-dirty"


@dataclass(frozen=True)
class Checked:
    """A run behind a file, as it is found today.

    Attributes:
        run_id: Id of the run.
        experiment: The entry point that computed it; empty where it is not known.
        state: `unchanged`; `changed`, if it was computed anew with another result; `damaged`; `missing`; or
            the state in its status, if it is not finished.
        found: The damage or the reason in words; empty if there is none.
    """

    run_id: str
    experiment: str
    state: str
    found: str = ""


@dataclass(frozen=True)
class Explanation:
    """The facts that are known of a file.

    Attributes:
        file: Path of the file.
        what: What a file of a run is, in words; for other files, whether they have changed since.
        provenance: Where it comes from.
        runs: The runs behind it.
        commands: Commands that make it again from nothing, in order.
    """

    file: Path
    what: str
    provenance: Provenance
    runs: tuple[Checked, ...]
    commands: tuple[tuple[str, ...], ...]

    def to_plain(self) -> dict[str, Any]:
        """Return the explanation as plain values, for JSON."""
        known, sources = self.provenance, self.provenance.runs
        runs = [asdict(run) | _plain(sources.get(run.run_id)) for run in self.runs]
        return {
            "file": str(self.file),
            "what": self.what,
            "made_by": known.command,
            "root": known.root,
            "cells": known.cells,
            "missing_cells": known.missing,
            "config": known.config,
            "runs": runs,
            "drawn": asdict(known.drawn),
            "commands": self.commands,
        }

    def lines(self, *, every_run: bool) -> Iterator[str]:
        """Yield lines for people; in a long list of runs, those that are not unchanged come first.

        Args:
            every_run: Whether to list all runs.
        """
        yield str(self.file)
        for name, said in self._lines():
            yield f"  {name:<12}{said}"
        yield from self._run_lines(every_run=every_run)
        yield "To make it again from nothing:"
        commits = {source.origin.commit or "" for source in self.provenance.runs.values()}
        if any(commit.endswith(DIRTY) for commit in commits):
            yield "  (some code was not committed: its commit is the nearest there is)"
        if len(commits) > 1:
            yield "  (several commits computed the runs: see above, and choose one)"
        for command in self.commands:
            yield f"  {shlex.join(command)}"

    def _lines(self) -> Iterator[tuple[str, str]]:
        known = self.provenance
        if self.what:
            yield "what", self.what
        if known.command:
            yield "made by", shlex.join(["swag", *known.command])
        elif not self.what:
            yield "made by", "Python code, no command"
        if known.steps:
            yield "experiment", shlex.join(known.steps[-1][1:])
        if known.files:
            yield "drawn with", _code(known.drawn)
        computed = Counter(_code(source.origin) for source in known.runs.values())
        for code, count in computed.most_common():
            yield "computed by", f"{code} ({count} run{'s' * (count > 1)})"
        yield "config", known.config
        if known.missing:
            yield "partial", f"{known.missing} of {known.cells} cells had no run"
        states = Counter(run.state for run in self.runs)
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        yield "runs", f"{len(self.runs)} in {known.root}: {counts or 'none'}"

    def _run_lines(self, *, every_run: bool) -> Iterator[str]:
        ordered = sorted(self.runs, key=lambda run: run.state == "unchanged")
        shown = ordered if every_run else ordered[:MOST_LISTED]
        for run in shown:
            yield f"    {run.run_id}  {run.experiment:<20}{run.state}{run.found and f': {run.found}'}"
        if len(shown) < len(ordered):
            yield f"    ... and {len(ordered) - len(shown)} more: --all lists them"


def _code(origin: Origin) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in origin.versions.items())
    return f"commit {origin.commit or 'unknown'}; {versions}"


def _plain(source: RunSource | None) -> dict[str, Any]:
    if source is None:
        return {}
    return {"config": source.config, "result": source.result, **asdict(source.origin)}


def explain(path: Path, root: Path | None) -> Explanation:
    """Return what is known of a figure, a table, or a file of a run.

    Args:
        path: The file, or a run's directory.
        root: The output folder of the runs; None for the one that the file names.

    Raises:
        ProvenanceError: Nothing says where the file comes from.
        StoreError: A later version wrote the file, or it belongs to a run that can't be read.
    """
    directory = _run_of(path, root)
    if directory is not None:
        return _of_run(path, directory)
    known = read_provenance(path)
    known = known if root is None else replace(known, root=str(root))
    sources = _collected(path) if RUNS_TABLE in known.files else known.runs
    what = "" if known.files[path.name] == digest_of(path) else "changed since it was written"
    checked = tuple(_check_run(Path(known.root), run_id, source) for run_id, source in sources.items())
    commands = [*_checkout(known), *known.steps, *_anew(known.command)]
    return Explanation(path, what, known, checked, tuple(map(tuple, commands)))


def _collected(path: Path) -> dict[str, RunSource]:
    """Return the finished runs of a collected table, as listed in the table of runs beside it."""
    rows = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    named = set(rows.get(RUN_ID, ()))
    runs = read_table(path.with_name(RUNS_TABLE)).to_pylist()
    return {
        run[RUN_ID]: RunSource.of(run) for run in runs if run[RUN_ID] in named and run["state"] == "finished"
    }


def _checkout(known: Provenance) -> list[list[str]]:
    """Return the commands that check out the code of the runs, if they have one commit."""
    commits = {source.origin.commit for source in known.runs.values()}
    commit = commits.pop() if len(commits) == 1 else None
    return [["git", "checkout", commit.removesuffix(DIRTY)]] if commit else []


def _anew(command: Sequence[str]) -> list[list[str]]:
    """Return the command that made a file, for the sweep that the commands before it begin anew."""
    words = ["swag"] if command else []
    for item in command:
        output, folder = Path(item).parent.parent, Path(item).parent.name
        elsewhere = output != OUTPUT and "--output" not in command
        again = ["last", *(["--output", str(output)] if elsewhere else [])]
        words += again if folder == SWEEPS and "=" not in item else [item]
    return [words] if words else []


def _check_run(root: Path, run_id: str, source: RunSource | None) -> Checked:
    directory, experiment = root / "runs" / run_id, source.experiment if source else ""
    if not directory.is_dir():
        return Checked(run_id, experiment, "missing")
    try:
        record = RunRecord(directory, read_status(directory))
    except StoreError:
        return Checked(run_id, experiment, "damaged", "status.json")
    status, experiment = record.status, record.status.experiment
    if status.state != "finished":
        return Checked(run_id, experiment, status.state, status.reason or "")
    if damage := record.damage():
        return Checked(run_id, experiment, "damaged", ", ".join(damage))
    if source is not None and content_key(status.files)[:DIGITS] != source.result:
        return Checked(run_id, experiment, "changed", f"computed anew at {status.started_at}")
    return Checked(run_id, experiment, "unchanged")


# --- Files of runs ----------------------------------------------------------------------------------------


def _run_of(path: Path, root: Path | None) -> Path | None:
    """Return the directory of the run that a file belongs to, also for a picture copied out of it."""
    inside = path.absolute()
    for directory in (inside, *inside.parents):
        if directory.parent.name == "runs" and (directory / "status.json").is_file():
            return directory
    run_id = _named_in(path)
    return None if run_id is None else (root or OUTPUT) / "runs" / run_id


def _named_in(path: Path) -> str | None:
    """Return the run id in a picture's metadata; None if there is none, or the file is no picture."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()  # text chunks may follow the pixels
            text: Mapping[str, str] = getattr(image, "text", {})
            return text.get(RUN_ID)
    except (OSError, SyntaxError):
        return None


def _of_run(path: Path, directory: Path) -> Explanation:
    record, root = RunRecord(directory, read_status(directory)), directory.parents[1]
    with tables_of(root) as kept:
        found = kept.read("runs", "run_id", [directory.name], RUNS.names).to_pylist()
        finished = [run for run in found if run["state"] == "finished"]
        trained = trainings_of(finished, kept)
    behind = [*trained, *finished]
    steps = [*map(rerun_command, trained), rerun_command(row_of_status(record))]
    known = replace(Provenance.of(behind, root, steps, cells=1, missing=0), command=())
    sources: Mapping[str, RunSource | None] = known.runs or {directory.name: None}
    checked = tuple(_check_run(root, run_id, source) for run_id, source in sources.items())
    return Explanation(
        path, _words(path, record), known, checked, tuple(map(tuple, _checkout(known) + steps))
    )


def _words(path: Path, record: RunRecord) -> str:
    """Return what a file of a run is, and whether it is as it was written."""
    status = record.status
    run = f"run {record.path.name} of {status.experiment}: {' '.join(status.overrides) or 'no overrides'}"
    if path.is_dir():
        return run
    names = {sha256: name for name, sha256 in (status.files or {}).items()}
    name = names.get(digest_of(path))
    if name is None:
        return f"not among what was written when it finished, or changed since; in {run}"
    words = [said for row in record.pairs().to_pylist() for said in _roles(row, name)]
    return f"{words[0] if words else name}, as it was written, of {run}"


def _roles(row: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield what a file is to a row of `PAIRS`; yield nothing if the row does not name it."""
    both = f"{row['content']} in the style of {row['style']}"
    if name == row["image"]:
        yield f"{both} ({row['status']})"
    if name == row["content_image"]:
        yield f"the content {row['content']}"
    if name in (row["style_image"], *(style["image"] for style in row["styles"])):
        yield f"the style {row['style']}"
    for step in row["steps"]:
        if name == step["image"]:
            yield f"{both} after {step['iteration']} steps"
