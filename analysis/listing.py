"""A list of runs: the swept settings, the state and the pictures of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from analysis import labels
from analysis.tables.kept import check_output, tables_of
from analysis.tables.reading import UNKNOWN_EXPERIMENT
from analysis.tables.runs import INTERPOLATED, frame, telling_settings
from experiments.asking import Wanted
from swag_repro.runs.schema import RUNS, to_csv

RUN_COLORS = {"finished": "green", "failed": "red", "damaged": "red", "running": "yellow"}
"""Colours of states on a terminal."""

ABOUT = ("run_id", "experiment", "name", "state", "reason", "started_at", "seconds", "device", "path")
PICTURE_COLUMNS = ("pictures", "not_finished")
ORIGIN = ("config_key", "commit", *(field for field in RUNS.names if field.startswith("versions.")))


@dataclass(frozen=True)
class Listing:
    """A list of runs, one row each.

    Attributes:
        table: `ABOUT`, `PICTURE_COLUMNS`, `ORIGIN`; `swept`, in words, which tells a run from others of its
            name (by the start of its images' digest, if settings don't); and a column for each setting that
            does. The oldest run comes first.
        swept: Settings that tell the runs apart.
    """

    table: pd.DataFrame
    swept: list[str]

    def to_json(self) -> str:
        """Return a JSON list of objects; each has only its own settings under `swept`."""
        plain = json.loads(self.table.to_json(orient="records"))
        rows = [
            {name: row[name] for name in (*ABOUT, *PICTURE_COLUMNS, *ORIGIN)}
            | {"swept": {name: row[name] for name in self.swept if row[name] is not None}}
            for row in plain
        ]
        return json.dumps(rows, indent=2)

    def to_csv(self) -> str:
        """Return CSV with a row for each run."""
        return to_csv(self.table.drop(columns="swept"))

    def to_table(self) -> Table:
        """Return a table for a terminal."""
        drawn = Table(box=None)
        drawn.add_column("run", no_wrap=True, min_width=max(map(len, self.table["run_id"]), default=0))
        for column in ("of", "what was swept", "state", "seconds", "started (UTC)", "pictures"):
            drawn.add_column(column)
        for row in self.table.astype(object).where(self.table.notna(), None).to_dict("records"):
            about = f"{row['name'] or '?'} ({row['experiment']})"
            started = (row["started_at"] or "")[:16].replace("T", " ")
            state = Text(row["state"], RUN_COLORS.get(row["state"], ""))
            seconds = labels.short_text(row["seconds"])
            drawn.add_row(
                row["run_id"], Text(about), Text(row["swept"]), state, seconds, started, _pictures(row)
            )
            if row["reason"]:
                drawn.add_row("", "", Text(row["reason"], "red"))
        return drawn


def _pictures(row: Mapping[Any, Any]) -> str:
    if row["pictures"] is None:
        return ""
    ended = f", {row['not_finished']} unchanged or diverged" if row["not_finished"] else ""
    return f"{row['pictures']}{ended}"


def load_listing(root: Path, wanted: Wanted | None = None, states: Sequence[str] = ()) -> Listing:
    """Return the runs of an output folder.

    Args:
        root: The output folder.
        wanted: The cells whose runs are listed, in every state; None for all runs.
        states: The states that are listed; none for all.

    Raises:
        StoreError: The output folder does not exist, or can't be read.
    """
    check_output(root, with_runs=wanted is None)
    with tables_of(root) as kept:
        runs, pairs = frame(kept.read("runs")), kept.read("pairs", columns=["run_id", "status"]).to_pandas()
        lost = pd.DataFrame([_lost(name) for name in kept.unbegun])
    if wanted is None:
        runs = pd.concat([runs, lost], ignore_index=True) if len(lost) else runs
    else:
        runs = runs[_belongs(runs, wanted)]
        runs.attrs[INTERPOLATED] = sorted({name for cell in wanted.cells for name in cell.interpolated})
    if states:
        runs = runs[runs["state"].isin(states)]
    runs = runs.sort_values(["started_at", "run_id"], na_position="first", ignore_index=True)
    return _listing(_with_pictures(runs, pairs))


def _belongs(runs: pd.DataFrame, wanted: Wanted) -> pd.Series[bool]:
    """Return whether each run belongs to these cells; if a run lacks its identity, its name decides.

    Of several runs that fit a cell, those belong that the cell's sweep has noted.
    """
    names = {cell.config["name"] for cell in wanted.cells}
    noted = runs["run_id"].isin({run for cell in wanted.cells for run in cell.runs})
    fits = runs["config_key"].isin({cell.key for cell in wanted.cells})
    others = fits & ~runs["config_key"].isin(runs.loc[fits & noted, "config_key"])
    nameless = runs["config_key"].isna() & (runs["experiment"] == wanted.entry) & runs["name"].isin(names)
    return (fits & noted) | others | (nameless & noted if noted.any() else nameless)


def _lost(name: str) -> dict[str, Any]:
    """Return the row of a directory without a status."""
    about = {"run_id": name, "experiment": UNKNOWN_EXPERIMENT, "path": f"runs/{name}"}
    return about | {"state": "damaged", "reason": "no status.json: it was killed at once, or is no run"}


def _with_pictures(runs: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    made = pairs.assign(not_finished=pairs["status"] != "finished").groupby("run_id")["not_finished"]
    counts = made.agg(pictures="size", not_finished="sum")
    # No join: it fails if neither has a row.
    return runs.assign(**{name: runs["run_id"].map(counts[name]).astype("Int64") for name in counts})


def _listing(runs: pd.DataFrame) -> Listing:
    runs["swept"], swept = "", dict[str, None]()
    told = runs["config_key"].notna() & (runs["state"] != "damaged")  # of a damaged run no setting is read
    known = runs[told].drop(columns=["swept", *PICTURE_COLUMNS])
    for _, group in known.groupby(["experiment", "name"], sort=False):
        if columns := telling_settings(group):
            runs.loc[group.index, "swept"] = labels.settings(group, columns)
            swept |= dict.fromkeys(columns)
        if runs.loc[group.index, "swept"].duplicated().any():
            runs.loc[group.index, "swept"] += ", images " + group["images_digest"].str[:6]
    return Listing(runs[[*ABOUT, *PICTURE_COLUMNS, "swept", *swept, *ORIGIN]], list(swept))
