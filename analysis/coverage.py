"""Which cells of a command have runs, and what became of the others, whatever sweep computed them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from analysis.progress import COLORS, CellStatus, Progress
from analysis.tables.cells import Cell, compose_cells, computing
from analysis.tables.index import read_index
from analysis.tables.runs import FILES, settings_of
from experiments.command import entry_asked
from experiments.science import VERSIONS
from experiments.sweeps.states import Found, judged
from swag_repro.runs.records import RunRecord


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
    found = read_index(root).by_cell({entry}, {cell.key for cell in cells})
    states = [_state(number, cell, found.get(cell.key, [])) for number, cell in enumerate(cells)]
    seconds = [record.status.seconds for records in found.values() for record in records]
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


def _state(number: int, cell: Cell, records: Sequence[RunRecord]) -> CellStatus:
    """Return what the best of a cell's runs says: one that is done, then one that is under way."""
    rank = list(COLORS).index
    told = (_of_run(cell, record) for record in records)
    found = min(told, key=lambda one: rank(one.state), default=Found("missing"))
    return CellStatus.of(number, cell.own, found)


def _of_run(cell: Cell, record: RunRecord) -> Found:
    found = judged(record.path, record.status)
    if found.state == "done" and (changed := _changed(cell, record, found.since or 0.0)):
        return replace(found, state="stale", reason=changed)
    return found


def _changed(cell: Cell, record: RunRecord, began: float) -> str | None:
    """What is no longer as it was when a run began, if anything."""
    version, now = record.identity.version, VERSIONS.get(cell.entry)
    if now is not None and version != now:
        return f"computed by version {version} of the experiment; it is {now} now"
    settings = settings_of(cell.config)
    files = [value for name, value in settings.items() if name in FILES and isinstance(value, str)]
    newer = [name for name in files if os.path.isfile(name) and os.path.getmtime(name) > began]  # noqa: PTH113, PTH204
    return f"changed since: {', '.join(newer)}" if newer else None
