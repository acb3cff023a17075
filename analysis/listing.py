"""A list of runs: what was swept, what became of each, and its pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from analysis import labels
from analysis.tables import provenance
from analysis.tables.cells import compose_cells
from analysis.tables.index import check_output
from analysis.tables.provenance import Provenance
from analysis.tables.runs import RUNS, cell_key, described, frame, settings_of, told, typed
from swag_repro.errors import StoreError
from swag_repro.runs.records import RunRecord, all_runs
from swag_repro.spreadsheets import to_csv

COLORS = {"finished": "green", "failed": "red", "damaged": "red", "running": "yellow"}
"""Of states on a terminal."""

ABOUT = ("run_id", "experiment", "name", "state", "reason", "started_at", "seconds", "device", "path")
PICTURES = ("pictures", "not_finished")
ORIGIN = ("config_key", "commit", *(field for field in RUNS.names if field.startswith("versions.")))


@dataclass(frozen=True)
class Listing:
    """Runs, one row each.

    Attributes:
        table: `ABOUT`, `PICTURES`, `ORIGIN`, `swept`, in words, what tells it from others of its name (the
            start of its images' digest, where settings don't), and a column for each setting that does;
            oldest first.
        swept: These settings.
        provenance: Where the list comes from.
    """

    table: pd.DataFrame
    swept: list[str]
    provenance: Provenance

    def to_json(self) -> str:
        """A list of objects, each with its own settings only under `swept`."""
        plain = json.loads(self.table.to_json(orient="records"))
        rows = [
            {name: row[name] for name in (*ABOUT, *PICTURES, *ORIGIN)}
            | {"swept": {name: row[name] for name in self.swept if row[name] is not None}}
            for row in plain
        ]
        return json.dumps(rows, indent=2)

    def to_csv(self) -> str:
        """A row for each run, and where the list comes from."""
        column = provenance.column(self.provenance, len(self.table)).to_numpy(zero_copy_only=False)
        return to_csv(self.table.drop(columns="swept").assign(**{provenance.COLUMN: column}))

    def to_table(self) -> Table:
        """For a terminal."""
        drawn = Table(
            "run", "of", "what was swept", "state", "seconds", "started (UTC)", "pictures", box=None
        )
        for row in self.table.astype(object).where(self.table.notna(), None).to_dict("records"):
            about = f"{row['name'] or '?'} ({row['experiment']})"
            started = (row["started_at"] or "")[:16].replace("T", " ")
            state = Text(row["state"], COLORS.get(row["state"], ""))
            seconds = labels.plain(row["seconds"])
            drawn.add_row(row["run_id"], about, Text(row["swept"]), state, seconds, started, _pictures(row))
            if row["reason"]:
                drawn.add_row("", "", Text(row["reason"], "red"))
        return drawn


def _pictures(row: Mapping[Any, Any]) -> str:
    if row["pictures"] is None:
        return ""
    return f"{row['pictures']}" + (f", {row['not_finished']} not finished" if row["not_finished"] else "")


def load(overrides: Sequence[str], root: Path, entry: str | None, states: Sequence[str] = ()) -> Listing:
    """The runs of an output folder.

    Args:
        overrides: Hydra's, the same as given to the experiment, whose runs these are, whatever their state.
        root: The output folder.
        entry: The entry point that computes it; None for all runs there.
        states: Those that are listed; none for all.

    Raises:
        SettingError, CellsError: The overrides can't be composed.
        StoreError: There is no such folder.
    """
    lost: list[dict[str, Any]] = []

    def skipped(directory: Path, error: StoreError) -> None:
        lost.append(_lost(directory, root, error))

    belongs = _belongs(overrides, entry)
    check_output(root)
    records = [record for record in all_runs(root, skipped=skipped) if belongs(record)]
    listed = [_listed(record, root) for record in records] + (lost if entry is None else [])
    listed = [row for row in listed if not states or row["state"] in states]
    listed.sort(key=lambda row: (row.get("started_at") or "", row["run_id"]))
    known = {row["run_id"] for row in listed if row["state"] == "finished"}
    behind = [record for record in records if record.path.name in known]
    origin = Provenance.of(behind, root, [], cells=len(listed), missing=0)
    return _listing(listed, origin)


def _belongs(overrides: Sequence[str], entry: str | None) -> Callable[[RunRecord], bool]:
    """Whether a run is one of an experiment's cells; of a damaged one, its name tells."""
    if entry is None:
        return lambda _: True
    cells = compose_cells(overrides, entry)
    keys, names = {cell.key for cell in cells}, {cell.config["name"] for cell in cells}

    def belongs(record: RunRecord) -> bool:
        if record.status.experiment != entry:
            return False
        try:
            return cell_key(entry, record.identity.config) in keys
        except StoreError:
            return record.status.name in names

    return belongs


def _lost(directory: Path, root: Path, error: StoreError) -> dict[str, Any]:
    """The row of a directory that can't be read as a run's."""
    path = directory.relative_to(root).as_posix()
    return {
        "run_id": directory.name,
        "experiment": "?",
        "state": "damaged",
        "reason": str(error),
        "path": path,
    }


def _listed(record: RunRecord, root: Path) -> dict[str, Any]:
    """A run's row of `RUNS`, its settings, and how many pictures it has."""
    status = record.status
    try:
        row = described(record, root)
        pairs = record.pairs() if status.state == "finished" else None
        settings = settings_of(record.config) if row.get("config_key") else {}
    except StoreError as error:
        told = {"experiment": status.experiment, "name": status.name, "started_at": status.started_at}
        return _lost(record.path, root, error) | told
    counts = {}
    if pairs:
        states = pairs["status"].to_pylist()
        counts = {"pictures": len(states), "not_finished": len(states) - states.count("finished")}
    return {"settings": settings, **counts, **row}


def _listing(listed: Sequence[dict[str, Any]], origin: Provenance) -> Listing:
    rows = [row.get("settings", {}) | row for row in listed]
    names = {name for row in listed for name in row.get("settings", {})} - set(RUNS.names)
    runs = frame(typed(rows, sorted(names)))
    runs["swept"], swept = "", dict[str, None]()
    for _, group in runs[runs["config_key"].notna()].groupby(["experiment", "name"], sort=False):
        if columns := told(group):
            runs.loc[group.index, "swept"] = labels.settings(group, columns)
            swept |= dict.fromkeys(columns)
        if runs.loc[group.index, "swept"].duplicated().any():
            runs.loc[group.index, "swept"] += ", images " + group["images_digest"].str[:6]
    for name in PICTURES:
        runs[name] = pd.array([row.get(name) for row in rows], dtype="Int64")
    return Listing(runs[[*ABOUT, *PICTURES, "swept", *swept, *ORIGIN]], list(swept), origin)
