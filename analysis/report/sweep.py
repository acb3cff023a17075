"""The report of one sweep: what was swept, every run, the pictures by any two settings, and curves."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import labels
from analysis.drawing.page import measured, picture_notes, spread
from analysis.effects import BETWEEN, pair_names
from analysis.listing import Listing, load_listing
from analysis.report.curves import read_curves
from analysis.report.site import Site
from analysis.stylizations import OBJECTIVE, PICTURE_ROLES, Stylizations, read_stylizations
from analysis.tables import CONTEXT, CellsError, Tables, framed, read_tables
from analysis.tables.runs import telling_settings
from experiments.asking import Cell, Wanted
from experiments.programs import PICTURED
from swag_repro.names import file_stem
from swag_repro.runs.schema import to_csv

PICTURES = ("pictures", "unchanged or diverged")
"""Columns of the table of runs that count pictures."""

PAIR = "pair"
"""Name of content and style together."""

FOLDER = "report"
"""The folder of reports, below that of results."""

MISSING = "missing"
"""State of a cell that no run has begun."""

UNUSED = "not used"
"""State of a finished run in whose place the report shows another, of a later version or other files."""


@dataclass(frozen=True)
class Sweep:
    """The content of the report of a sweep.

    Attributes:
        wanted: Its cells.
        runs: One row for each cell: its settings, and its run's columns, null where no run is finished.
        listing: All runs of its cells, in any state.
        tables: The tables of its finished runs; None if they can't be shown together.
        pictures: Their pictures; None if they have none.
        refused: Why they can't be shown together; empty if they can.
    """

    wanted: Wanted
    runs: pd.DataFrame
    listing: Listing
    tables: Tables | None
    pictures: Stylizations | None
    refused: str

    @property
    def name(self) -> str:
        """The name by which its runs are grouped."""
        return str(self.wanted.cells[0].config["name"])

    @property
    def cells(self) -> Sequence[Cell]:
        """The cell of each of its `runs`."""
        return self.wanted.cells if self.tables is None else self.tables.cells

    def words(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return these settings of its cells in words."""
        words = {column: labels.values(self.runs, column) for column in columns}
        return pd.DataFrame(words, index=self.runs.index)

    @property
    def swept(self) -> list[str]:
        """The settings that tell its cells apart."""
        return telling_settings(self.runs)


def load_sweep(wanted: Wanted) -> Sweep:
    """Return a sweep with all its runs.

    Raises:
        CellsError: None of its cells has a run, in whatever state.
        StoreError: The output folder does not exist, or can't be read.
    """
    listing, pictures, tables, refused = load_listing(wanted.output, wanted), None, None, ""
    try:
        if wanted.entry in PICTURED:
            pictures = read_stylizations(wanted, partial=True)
        tables = read_tables(wanted, partial=True) if pictures is None else pictures.tables
    except CellsError as error:
        if listing.table.empty:
            raise
        refused = str(error)
    runs = framed(wanted.cells, [None] * len(wanted.cells)) if tables is None else tables.runs
    return Sweep(wanted, runs, listing, tables, pictures, refused)


def write_report(wanted: Wanted, results: Path, *, pairs: int | None = None) -> tuple[Path, list[str]]:
    """Write the report of a sweep; return its first page, and what should be known of it.

    Args:
        wanted: The cells of the sweep.
        results: The folder of results. The report goes to a folder in it that has the sweep's name.
        pairs: The largest number of pairs whose pictures are shown, evenly spread over all; None for all.

    Raises:
        CellsError, StoreError: The same as for `load_sweep`; or the report can't be written.
    """
    sweep = load_sweep(wanted)
    folder = results / FOLDER / (file_stem(sweep.name).lstrip(".") or "sweep")
    site = Site(folder, sweep.name, None if sweep.tables is None else sweep.tables.provenance)
    table = _run_table(sweep, os.path.relpath(wanted.output, folder))
    files = {
        "runs.csv": (
            sweep.listing.to_csv(),
            f"{len(sweep.listing.table)} runs with their settings and states",
        )
    }
    curves = None if sweep.tables is None else read_curves(sweep.tables)
    if curves is not None:
        files["curves.csv"] = to_csv(curves[1]), "the points of the curves"
    pictures = None if sweep.pictures is None else _picture_grid(sweep, sweep.pictures, site, pairs)
    if sweep.pictures is not None:
        files["pictures.csv"] = (
            to_csv(sweep.pictures.table),
            f"{len(sweep.pictures.table)} pictures with their measures",
        )
    for name, (text, _) in files.items():
        site.text(name, text)
    notices = list(_notices(sweep, table["states"], site))
    page = site.page(
        "index.html", "sweep.html", sweep=sweep, table=table, pictures=pictures, notices=notices,
        curves=None if curves is None else curves[0], settings=_settings(sweep), alike=_alike(sweep),
        labels=labels, command=shlex.join(wanted.command),
        downloads=[(name, about) for name, (_, about) in files.items()],
    )  # fmt: skip
    site.finish()
    return page, [title for title, _ in notices]


def _settings(sweep: Sweep) -> list[tuple[str, list[str]]]:
    """Return the swept settings with their values, in words."""
    return [(column, list(labels.values(sweep.runs, column).unique())) for column in sweep.swept]


def _alike(sweep: Sweep) -> list[tuple[str, str]]:
    """Return what matters most of the settings that all cells share."""
    known = [column for column in (*CONTEXT, *OBJECTIVE, "steps") if column in sweep.runs]
    words = {column: labels.values(sweep.runs, column).unique() for column in known}
    return [(labels.axis(column), str(values[0])) for column, values in words.items() if len(values) == 1]


def _notices(sweep: Sweep, states: Mapping[str, int], site: Site) -> Iterator[tuple[str, list[str]]]:
    """Yield what a reader should know first, each with its details: refusals, failures, what is gone."""
    if sweep.refused:
        yield f"No numbers or pictures are shown: {sweep.refused}", []
    for state, count in states.items():
        if state != "finished":
            own = sweep.listing.table[sweep.listing.table["state"] == state]
            reasons = Counter(own["reason"].dropna())
            yield (
                f"{count} of {sum(states.values())} runs: {state}",
                [
                    f"{number} × {reason}" if number > 1 else reason
                    for reason, number in reasons.most_common()
                ],
            )
    if sweep.pictures is not None:
        yield from _unfinished(sweep.pictures.table)
    if sweep.tables is not None and sweep.tables.unjudged:
        yield f"{sweep.tables.unjudged} runs are not judged: {sweep.tables.judging}", []
    if site.lost:
        yield (
            f"{len(site.lost)} pictures can't be shown",
            [f"{name}: {why}" for name, why in site.lost.items()],
        )


def _unfinished(pictures: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    for status, own in pictures[pictures["status"] != "finished"].groupby("status"):
        named = pair_names(own) + ", " + own["label"] + ": " + own["reason"].fillna("?")
        yield f"{len(own)} of {len(pictures)} pictures: {status}", list(named)


# --- The table of runs ------------------------------------------------------------------------------------


def _run_table(sweep: Sweep, output: str) -> dict[str, Any]:
    """Return all runs, and cells without one, as plain values for a script, without empty columns.

    Args:
        sweep: The sweep.
        output: The output folder, from the folder of the report.
    """
    words, measures = sweep.words(sweep.swept), _measures(sweep.tables)
    keys = [cell.key for cell in sweep.cells]
    cells = dict(zip(keys, words.rename(columns=labels.axis).to_dict("records"), strict=True))
    used = set(sweep.runs["run_id"].dropna())
    runs = sweep.listing.table.astype(object).where(sweep.listing.table.notna(), None).to_dict("records")
    rows = [_row(run, cells.get(run["config_key"], {}), used, measures) for run in runs]
    begun = {run["config_key"] for run in runs}
    rows += [{"state": MISSING, **own} for key, own in cells.items() if key not in begun]
    settings, last = [labels.axis(column) for column in sweep.swept], ("started (UTC)", "reason")
    order = ["run", *settings, "state", *PICTURES, "seconds", *measures.columns, *last]
    columns = [name for name in order if any(row.get(name) is not None for row in rows)]
    return {
        "columns": columns,
        "rows": [[row.get(name) for name in columns] for row in rows],
        "states": dict(Counter(row["state"] for row in rows).most_common()),
        "output": f"{output}/runs/",
    }


def _row(
    run: Mapping[Any, Any], settings: dict[Any, Any], used: Collection[str], measures: pd.DataFrame
) -> dict[Any, Any]:
    run_id, seconds = run["run_id"], run["seconds"]
    unused = run["state"] == "finished" and run_id not in used
    means: dict[Any, Any] = measures.loc[run_id].map(_short).to_dict() if run_id in measures.index else {}
    return (
        means
        | settings
        | {
            "run": run_id,
            "state": UNUSED if unused else run["state"],
            "pictures": run["pictures"],
            "unchanged or diverged": run["not_finished"] or None,
            "seconds": None if seconds is None else round(seconds, 1),
            "started (UTC)": (run["started_at"] or "")[:19].replace("T", " ") or None,
            "reason": run["reason"],
        }
    )


def _short(number: float) -> float | None:
    return None if pd.isna(number) else float(f"{number:.4g}")


def _measures(tables: Tables | None) -> pd.DataFrame:
    """Return the means of each run's finished numbers that have no layer, by run."""
    if tables is None:
        return pd.DataFrame()
    own = tables.numbers.assign(run_id=tables.numbers["of_run"].fillna(tables.numbers["run_id"]))
    whole = own[
        own["layer"].isna() & own["iteration"].isna() & own["statistic"].isin([*labels.STATISTIC_LABELS])
    ]
    means = whole.groupby(["run_id", "statistic"])["value"].mean().unstack()
    return means.dropna(axis="columns", how="all").rename(columns=lambda name: name.replace("_", " "))


# --- The pictures -----------------------------------------------------------------------------------------


def _picture_grid(sweep: Sweep, data: Stylizations, site: Site, pairs: int | None) -> dict[str, Any]:
    """Return all pictures by what tells them apart, as plain values for a script."""
    settings = [column for column in sweep.swept if column not in PICTURE_ROLES]
    places = sweep.words(settings)
    shown = [data.pairs[index] for index in spread(len(data.pairs), pairs or len(data.pairs))]
    own = data.table[[pair in shown for pair in zip(data.table["content"], data.table["style"], strict=True)]]
    read, steps, judged = data.tables.file, _steps(data.tables), data.judges or data.tables.unjudged
    pictures = []
    for row in own.to_dict("records"):
        pair = (row["content"], row["style"])
        made = _picture(row, steps.get((row["run_id"], *pair), []), partial(read, row["cell"]), site)
        made["words"] = " · ".join(measured(row, data.roles)) if judged else ""
        pictures.append(made | {"at": [*places.loc[row["cell"]], *pair, _of_pair(pair)]})
    states = dict(zip(sweep.listing.table["config_key"], sweep.listing.table["state"], strict=True))
    for arm in data.arms:
        if arm.missing:
            lost = {"state": states.get(arm.cell.key, MISSING), "words": "", "steps": []}
            pictures += [lost | {"at": [*places.loc[arm.index], *pair, _of_pair(pair)]} for pair in shown]
    return {
        "by": [*(labels.axis(column) for column in (*settings, *PICTURE_ROLES)), PAIR],
        "pictures": pictures,
        "inputs": _inputs(data, shown, read, site),
        "notes": list(picture_notes(data)),
        "pairs": [len(shown), len(data.pairs)],
        "shown": sum("file" in one for one in pictures),
        "steps": sorted({step for one in pictures for step, _ in one["steps"]}),
    }


def _picture(
    row: Mapping[Any, Any], steps: list[Any], read: Callable[[str], bytes], site: Site
) -> dict[str, Any]:
    """Return one picture: its files and state; one that is gone has no file."""
    name = f"{row['run_id']}/{row['image']}"
    made = site.picture(name, partial(read, row["image"]))
    on_its_way = {
        step["iteration"]: site.picture(f"{row['run_id']}/{step['image']}", partial(read, step["image"]))
        for step in steps
    }
    plain = {
        "run": row["run_id"],
        "state": row["status"],
        "why": row["reason"] or "",
        "steps": [(at, shown.file) for at, shown in on_its_way.items() if shown is not None],
    }
    return plain | ({"state": "gone", "why": site.lost[name]} if made is None else asdict(made))


def _steps(tables: Tables) -> dict[tuple[str, str, str], list[Any]]:
    pairs = tables.pairs[["run_id", "content", "style", "steps"]]
    return {tuple(row[:3]): list(row[3]) for row in pairs.itertuples(index=False) if row[3] is not None}


def _of_pair(pair: tuple[str, str]) -> str:
    return BETWEEN.join(pair)


def _inputs(
    data: Stylizations, shown: list[tuple[str, str]], read: Callable[[int, str], bytes], site: Site
) -> dict[str, Any]:
    """Return the pictures of contents, styles and pairs, by name."""
    found: dict[str, dict[str, Any]] = {labels.axis(role): {} for role in PICTURE_ROLES}
    for number, role in enumerate(PICTURE_ROLES):
        rows = data.table.drop_duplicates(role).set_index(role)
        for name in dict.fromkeys(pair[number] for pair in shown):
            row: Any = rows.loc[name]
            made = site.picture(f"{role} {name}", partial(read, row["cell"], row[f"{role}_image"]))
            found[labels.axis(role)][name] = [] if made is None else [asdict(made)]
    both = [found[labels.axis(role)] for role in PICTURE_ROLES]
    return found | {PAIR: {_of_pair(pair): both[0][pair[0]] + both[1][pair[1]] for pair in shown}}
