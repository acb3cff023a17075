"""Which cells of a command have runs, and what became of the others, whatever sweep computed them."""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean

from analysis.progress import COLORS, CellStatus, Progress
from analysis.tables.kept import tables_of
from analysis.tables.reading import Row
from analysis.tables.runs import FILES, settings_of
from experiments.asking import Cell, compose_cells, computing
from experiments.command import entry_asked
from experiments.science import VERSIONS
from experiments.sweeps.ledger import alike
from swag_repro.runs.files import is_locked
from swag_repro.runs.records import INTERRUPTED, read_status
from swag_repro.runs.schema import RUNS
from swag_repro.runs.store import Store


def of_command(overrides: Sequence[str], root: Path) -> Progress:
    """How many cells of a command have a run, whatever computed it.

    Args:
        overrides: Hydra's, as given to the experiment.
        root: The output folder.

    Raises:
        SettingError, CellsError: They can't be composed.
        StoreError: There is no such folder.
    """
    cells = compose_cells(overrides, entry := entry_asked(overrides))
    found = defaultdict(list)
    with tables_of(root) as kept:
        for run in kept.read("runs", "config_key", {cell.key for cell in cells}, RUNS.names).to_pylist():
            found[run["config_key"]].append(run)
    states = [_state(number, cell, found[cell.key], root) for number, cell in enumerate(cells)]
    seconds = [run["seconds"] for runs in found.values() for run in runs]
    known = [value for value in seconds if value is not None]
    running = sum(cell.state == "running" for cell in states)
    left = sum(cell.state != "done" for cell in states)
    return Progress(
        f"{' '.join(overrides)}, {root}",
        states,
        running,
        fmean(known) * left / running if known and running else None,
        shlex.join(computing(overrides, root, entry)),
    )


def _state(number: int, cell: Cell, runs: Sequence[Row], root: Path) -> CellStatus:
    """Return what the best of several runs says: one that is done, then one that is under way."""
    told = [_of_run(number, cell, run, root) for run in runs]
    rank = list(COLORS).index
    return min(told, key=lambda one: rank(one.state), default=CellStatus(number, cell.own, "missing"))


def _of_run(number: int, cell: Cell, run: Row, root: Path) -> CellStatus:
    own, path = cell.own, str(root / run["path"])
    if run["state"] == "damaged":
        return CellStatus(number, own, "failed", run["reason"], path=path)
    status = read_status(root / run["path"])
    began = datetime.fromisoformat(status.started_at).timestamp()
    if status.state == "finished":
        changed = _changed(cell, run["version"], began)
        return CellStatus(number, own, "stale" if changed else "done", changed, path=path)
    if status.state == "failed":
        reasons = [*status.failures, str(status.reason)]
        state = "interrupted" if status.reason == INTERRUPTED else "left" if alike(reasons) else "failed"
        return CellStatus(number, own, state, status.reason, path=path)
    lock = Store(root).lock(run["run_id"])
    if not is_locked(lock):
        return CellStatus(number, own, "killed", "its process ended without a word", path=path)
    heard = lock.stat().st_mtime
    return CellStatus(number, own, "running", None, began, status.host, heard, path)


def _changed(cell: Cell, version: int, began: float) -> str | None:
    """Return what is no longer as it was when a run began, if anything."""
    now = VERSIONS.get(cell.entry)
    if now is not None and version != now:
        return f"computed by version {version} of the experiment; it is {now} now"
    settings = settings_of(cell.config)
    files = [value for name, value in settings.items() if name in FILES and isinstance(value, str)]
    newer = [name for name in files if os.path.isfile(name) and os.path.getmtime(name) > began]  # noqa: PTH113, PTH204
    return f"changed since: {', '.join(newer)}" if newer else None
