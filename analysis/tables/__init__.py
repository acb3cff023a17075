"""The tables that a figure is drawn from: numbers, runs and pairs of the runs that answer its cells."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.tables.answers import answered, judges
from analysis.tables.kept import tables_of
from analysis.tables.provenance import Provenance, merged, rerun_command, trainings_of
from analysis.tables.reading import Row
from analysis.tables.runs import INTERPOLATED, frame, line_numbers, settings_of, swept, typed
from experiments.asking import (
    JUDGE,
    OUTPUT,
    Cell,
    CellsError,
    Wanted,
    compose_cells,
    computing,
    judging,
)
from experiments.programs import NAMES
from experiments.science import wants_judge
from experiments.sweeps.sweep import is_handle
from swag_repro.errors import StoreError
from swag_repro.runs.files import read_picture
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.schema import holds_tables

__all__ = [
    "MEASURES",
    "TERMS",
    "Cell",
    "CellsError",
    "PixelArray",
    "Tables",
    "framed",
    "line_numbers",
    "load_tables",
    "read_tables",
    "swept",
    "together",
]

MEASURES = (
    "luminance_wasserstein", "style_distance", "sliced_wasserstein", "sifid", "cfsd", "ssim", "lpips",
)  # fmt: skip
"""Statistics by a judge: a network that the optimisation did not use."""

TERMS = ("style_term", "content_term")
"""Statistics of `measures=adain`, the terms of a loss itself, in units of the pair."""

PROVENANCE = [
    "run_id",
    "config_key",
    "commit",
    "versions.torch",
    "versions.torchvision",
    "versions.swag_repro",
]
"""Columns of the runs that stand beside every number."""

CONTEXT = ["network.name", "weights.name", "weights.seed", "smoothing.name", "images.size", "images.resize"]
"""Settings that stand beside every number, whether they were swept or not."""

PixelArray = NDArray[np.uint8]


@dataclass(frozen=True)
class Tables:
    """The tables behind a figure of an experiment.

    Attributes:
        runs: One row for each cell of the experiment, in the order of the sweep: its settings, and its run's
            columns of `RUNS`, which are null where it is missing. The index counts the cells.
        judges: One row for each cell: `judge_id`, the run that measured its pictures, which may be its own,
            and whether that judge is `random`; null if they are not judged.
        numbers: Numbers of the runs and of their judges, in the columns of `NUMBERS`.
        pairs: Pairs of the runs, in the columns of `PAIRS`.
        cells: The composed cells, in the order of `runs`; captions read their settings.
        judging: The command that judges pictures which are not judged.
        root: The output folder.
        provenance: Where all tables come from.
    """

    runs: pd.DataFrame
    judges: pd.DataFrame
    numbers: pd.DataFrame
    pairs: pd.DataFrame
    cells: tuple[Cell, ...]
    judging: str
    root: Path
    provenance: Provenance

    @property
    def missing(self) -> int:
        """The number of cells without a run."""
        return int(self.runs["run_id"].isna().sum())

    @property
    def unjudged(self) -> int:
        """The number of runs with pictures that their judge has not measured."""
        judged = pd.Series([wants_judge(cell.config) for cell in self.cells], index=self.runs.index)
        return int((judged & self.runs["run_id"].notna() & self.judges["judge_id"].isna()).sum())

    @property
    def description(self) -> str:
        """The origin of a figure, for its files' metadata."""
        commits = ", ".join(sorted(self.runs["commit"].dropna().unique()))
        return f"{self.runs['run_id'].nunique()} runs; commit {commits}"

    def context(self, *more: str) -> pd.DataFrame:
        """Return the columns beside every number of a figure: settings, swept ones first, and origins."""
        columns = dict.fromkeys([*swept(self.runs), *CONTEXT, *more, *PROVENANCE])
        return self.runs.reindex(columns=list(columns)).fillna(dict.fromkeys(PROVENANCE[1:], "unknown"))

    @property
    def measures(self) -> pd.DataFrame:
        """The `numbers` that judges measured on pictures, finished or not, each with its `cell`."""
        numbers = self.numbers[self.numbers["statistic"].isin([*MEASURES, *TERMS])]
        numbers = numbers.assign(
            judge_id=numbers["run_id"], run_id=numbers["of_run"].fillna(numbers["run_id"])
        )
        judged = self.judges.join(self.runs["run_id"]).dropna(subset="judge_id")
        return judged.rename_axis("cell").reset_index().merge(numbers, on=["run_id", "judge_id"])

    def picture(self, cell: int, name: str) -> PixelArray:
        """Return an 8-bit picture `(H, W, 3)` of a cell's run, such as `images/a.png`.

        Raises:
            StoreError: The picture is missing, broken, or not as it was written.
        """
        path = self.root / str(self.runs.loc[cell, "path"]) / name
        return np.asarray(read_picture(path, self.file(cell, name)))

    def file(self, cell: int, name: str) -> bytes:
        """Return a file of the result of a cell's run.

        Raises:
            StoreError: The file is missing, or not as it was written.
        """
        if holds_tables(self.root):
            rule, found = "should lie in an output folder with its runs", f"only their tables in {self.root}"
            raise StoreError(name, rule, found, "Give the folder that experiments wrote: --output outputs")
        path = self.root / str(self.runs.loc[cell, "path"])
        return RunRecord(path, read_status(path)).read(name)


def together(parts: Sequence[Tables]) -> Tables:
    """Return several tables as one, for the provenance of files that are made from all of them."""
    runs = pd.concat([part.runs for part in parts], ignore_index=True)
    return replace(parts[0], runs=runs, provenance=merged([part.provenance for part in parts]))


def load_tables(
    overrides: str | Sequence[str],
    root: Path = OUTPUT,
    entry: str | None = None,
    *,
    partial: bool = False,
    cells: Sequence[Cell] | None = None,
) -> Tables:
    """Return the tables of one experiment: of the runs that answer its cells, and of their judges.

    Args:
        overrides: Hydra overrides, as given to the experiment, or a handle of its sweep: `last`, its name, or
            its folder.
        root: The output folder of the experiments.
        entry: The entry point that should compute it, such as `stylize`; None for any.
        partial: Whether cells may be missing.
        cells: The cells that these overrides compose, if they are known.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together.
        SettingError: There is no such sweep, or a setting does not exist or has no valid value.
        StoreError: A run can't be read.
    """
    overrides = [overrides] if isinstance(overrides, str) else overrides
    wanted = Wanted.of(overrides, root) if entry is None else _wanted(overrides, root, entry, cells)
    return read_tables(wanted, partial=partial)


def _wanted(overrides: Sequence[str], root: Path, entry: str, cells: Sequence[Cell] | None) -> Wanted:
    """Return the cells of overrides, or those of the sweep that a handle means, if this entry computes it."""
    if not any(map(is_handle, overrides)):
        cells = compose_cells(overrides, entry) if cells is None else cells
        return Wanted(tuple(overrides), entry, root, tuple(cells))
    wanted = Wanted.of(overrides, root)
    if wanted.entry != entry:
        rule, found = f"should be computed by swag {NAMES[entry]}", f"swag {NAMES[wanted.entry]}"
        raise CellsError("sweep", rule, found, "`swag plot` draws its numbers.")
    return wanted


def read_tables(wanted: Wanted, *, partial: bool) -> Tables:
    """Return the tables of the runs that answer these cells, and of their judges.

    Raises:
        CellsError, StoreError: The same as for `load`.
    """
    root, cells, command = wanted.output, wanted.cells, wanted.command
    with tables_of(root) as kept:
        found = _distinct(cells, answered(cells, kept, command, partial=partial))
        cells, runs = tuple(cell for cell, _ in found), [run for _, run in found]
        judged = judges(cells, runs, kept)
        own, others = _by_id(runs), _by_id(judged)
        numbers = kept.read("table", "run_id", [*own, *others])
        pairs = kept.read("pairs", "run_id", own)
        behind = own | others
        trained = trainings_of(behind.values(), kept)
    return Tables(
        framed(cells, runs),
        _judges(judged),
        frame(numbers),
        frame(pairs),
        cells,
        shlex.join(computing(_judged(wanted), root, judging(wanted.entry))),
        root,
        Provenance.of(
            [*trained, *behind.values()],
            root,
            [*map(rerun_command, trained), command],
            cells=len(runs),
            missing=runs.count(None),
        ),
    )


def _judged(wanted: Wanted) -> list[str]:
    """Return the overrides of these cells with a judge, the default one if no cell names any."""
    if any(wants_judge(cell.config) for cell in wanted.cells):
        return list(wanted.overrides)
    others = [item for item in wanted.overrides if item.partition("=")[0] != JUDGE]
    return [*others, f"{JUDGE}=default"]


def _distinct(cells: Sequence[Cell], runs: Sequence[Row | None]) -> list[tuple[Cell, Row | None]]:
    """Leave out cells that are equal to another; a seed, for example, does not change pretrained weights."""
    both = list(zip(cells, runs, strict=True))
    kept = {(cell.figure_key, run and run["run_id"]): (cell, run) for cell, run in reversed(both)}
    return list(kept.values())[::-1]


def _by_id(runs: Sequence[Row | None]) -> dict[str, Row]:
    return {run["run_id"]: run for run in runs if run is not None}


def framed(cells: Sequence[Cell], runs: Sequence[Row | None]) -> pd.DataFrame:
    """Return one row for each cell: its run's columns of `RUNS`, and its own settings."""
    configs = [settings_of(cell.config) for cell in cells]
    names = sorted({name for config in configs for name in config} - {"name"})
    rows = [
        (run or MISSING | {"experiment": cell.entry}) | config
        for cell, run, config in zip(cells, runs, configs, strict=True)
    ]
    made = frame(typed(rows, names))
    made.loc[made["state"] == "missing", ["run_id", "path"]] = None
    made.attrs[INTERPOLATED] = sorted({name for cell in cells for name in cell.interpolated})
    return made


def _judges(judges: Sequence[Row | None]) -> pd.DataFrame:
    rows = [(judge["run_id"], _has_random_weights(judge)) if judge else (None, None) for judge in judges]
    return pd.DataFrame(rows, columns=["judge_id", "random"], dtype=object)


def _has_random_weights(judge: Row) -> bool:
    """Return whether settings alone make the judge's weights, so that no file's digest is recorded."""
    weights = judge["weights_digest"]
    return weights is None or weights.endswith(" None")


MISSING: dict[str, Any] = {"run_id": "", "state": "missing", "path": ""}
"""The row of a cell without a run."""
