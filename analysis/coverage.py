"""The state of each cell of a command, from any run that computed it."""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from analysis.progress import CELL_COLORS, CellStatus, GridProgress
from analysis.tables.kept import tables_of
from analysis.tables.reading import Row
from analysis.tables.runs import FILE_SETTINGS, settings_of
from experiments.asking import Cell, Wanted
from experiments.science import EXPERIMENT_VERSIONS
from experiments.sweeps.states import Found, look
from swag_repro.runs.schema import RUNS


def of_command(overrides: Sequence[str], root: Path) -> GridProgress:
    """Return the state of each cell of a command, from any run that computed it.

    Args:
        overrides: Hydra overrides, as given to the experiment.
        root: The output folder.

    Raises:
        SettingError, CellsError: The overrides can't be composed.
        StoreError: The output folder does not exist.
    """
    wanted = Wanted.of(overrides, root)
    cells = wanted.cells
    found = defaultdict(list)
    with tables_of(root) as kept:
        for run in kept.read("runs", "config_key", {cell.key for cell in cells}, RUNS.names).to_pylist():
            found[run["config_key"]].append(run)
    states = [_state(number, cell, found[cell.key], root) for number, cell in enumerate(cells)]
    seconds = [run["seconds"] for runs in found.values() for run in runs]
    known = [value for value in seconds if value is not None]
    running = sum(cell.state == "running" for cell in states)
    left = sum(cell.state != "done" for cell in states)
    return GridProgress(
        f"{' '.join(overrides)}, {root}",
        states,
        running,
        fmean(known) * left / running if known and running else None,
        shlex.join(wanted.command),
    )


def _state(number: int, cell: Cell, runs: Sequence[Row], root: Path) -> CellStatus:
    """Return the state of a cell by its best run: a finished one, else one that is under way."""
    rank = list(CELL_COLORS).index
    told = (_of_run(cell, run, root) for run in runs)
    found = min(told, key=lambda one: rank(one.state), default=Found("missing"))
    return CellStatus.of(number, cell.own, found)


def _of_run(cell: Cell, run: Row, root: Path) -> Found:
    path = root / run["path"]
    if run["state"] == "damaged":
        return Found("failed", run["reason"], path=str(path))
    found = look(path)
    if found.state == "done" and (changed := _changed(cell, run["version"], found.since or 0.0)):
        return replace(found, state="stale", reason=changed)
    return found


def _changed(cell: Cell, version: int, began: float) -> str | None:
    """Return what has changed since a run began; None if nothing has."""
    now = EXPERIMENT_VERSIONS.get(cell.entry)
    if now is not None and version != now:
        return f"computed by version {version} of the experiment; it is {now} now"
    settings = settings_of(cell.config)
    files = [value for name, value in settings.items() if name in FILE_SETTINGS and isinstance(value, str)]
    newer = [name for name in files if os.path.isfile(name) and os.path.getmtime(name) > began]  # noqa: PTH113, PTH204
    return f"changed since: {', '.join(newer)}" if newer else None
