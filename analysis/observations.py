"""Any number of the tables against any setting: which numbers are meant, and what tells them apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from analysis import labels, tables
from analysis.tables import MEASURES, TERMS, Tables, swept
from analysis.tables.runs import telling_settings
from experiments.asking import Wanted
from swag_repro.errors import SettingError
from swag_repro.runs.schema import RUNS

ENCODINGS = ("x", "y", "hue", "col", "row")
"""Words of a command that say what is drawn, and how."""

FILTERS = ("layer", "position", "depth", "quantity", "definition", "iteration")
"""Columns of numbers by which a command selects some of them."""

AXIS_COLUMNS = (*FILTERS, "content", "style")
"""Columns along which numbers can be drawn."""

KINDS = ("quantity", "definition")
"""Columns whose values must not be averaged."""

OF_RUNS = ("seconds", "peak_memory_bytes")
"""Numbers of whole runs."""

MAIN = ("luminance_wasserstein", "style_distance", "style_loss", "accuracy", "maximum")
"""Numbers of which the first one is drawn if none is asked for."""

REST = "rest"
"""The column of all swept settings that nothing else shows, in words."""


def split(arguments: Iterable[str], words: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return the values of some words on the command line, and the overrides among them.

    Raises:
        SettingError: A word is given twice, or has no value.
    """
    said: dict[str, str] = {}
    overrides = []
    for argument in arguments:
        word, _, value = argument.partition("=")
        if word not in words:
            overrides.append(argument)
            continue
        if word in said or not value:
            found = f"{said[word]} and {value}" if word in said else "nothing"
            raise SettingError(word, "should be given once, with a value", found, "Choose one.")
        said[word] = value
    return said, overrides


@dataclass(frozen=True)
class PlotRequest:
    """The request of a command.

    Attributes:
        x: A setting, or one of `AXIS_COLUMNS`; None for layers, or else the first swept setting.
        y: A statistic, or one of `OF_RUNS`; None for the first of `MAIN` that there is.
        hue: A column, like x, for lines or colours; None for all swept settings that nothing else shows.
        col: A column, like x, for panels side by side.
        row: A column, like x, for panels below each other.
        chosen: Selected values by their column, one of `FILTERS`.
    """

    x: str | None = None
    y: str | None = None
    hue: str | None = None
    col: str | None = None
    row: str | None = None
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def split(cls, arguments: Iterable[str]) -> tuple[PlotRequest, list[str]]:
        """Return what words on the command line ask for, and the Hydra overrides among them.

        Raises:
            SettingError: A word is given twice, or has no value.
        """
        said, overrides = split(arguments, (*ENCODINGS, *FILTERS))
        chosen = {word: tuple(said.pop(word).split(",")) for word in FILTERS if word in said}
        return cls(**said, chosen=chosen), overrides

    @property
    def shown(self) -> dict[str, str]:
        """The column of each part of the drawing that has one, except `y`."""
        parts = {part: getattr(self, part) for part in ENCODINGS if part != "y"}
        return {part: column for part, column in parts.items() if column is not None}

    @property
    def name(self) -> str:
        """The name of the drawing's files."""
        chosen = [value for values in self.chosen.values() for value in values]
        x, *by = (column.removesuffix(".name") for column in self.shown.values())
        return "_".join([str(self.y), *chosen, "over", x, *(f"by_{column}" for column in by)])


@dataclass(frozen=True)
class Observations:
    """The values that are drawn.

    Attributes:
        tables: The tables behind the drawing.
        asked: What was asked for, with whole names of columns, and with panels for kinds that must not be
            averaged.
        replicates: One row for each seed and picture of each point: its columns, its `value`, how many
            `numbers` this value averages, and its runs.
        averaged: Columns that are averaged within a replicate, and how many values each has.
        without_x: Number of replicates that have no x and are left out.
    """

    tables: Tables
    asked: PlotRequest
    replicates: pd.DataFrame
    averaged: dict[str, int]
    without_x: int

    @property
    def means(self) -> pd.DataFrame:
        """One row for each point: mean, standard deviation and error, minimum, maximum, and how many."""
        points = self.replicates.groupby(
            [*dict.fromkeys(self.asked.shown.values())], sort=False, dropna=False
        )["value"]
        return points.agg(["mean", "std", "sem", "min", "max", "size"]).reset_index()

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The tables that are written beside the figure."""
        return {"": self.means, "_replicates": self.replicates}

    @property
    def group(self) -> str:
        """The name by which the experiment groups its runs."""
        return str(self.tables.cells[0].config["name"])

    @property
    def judges(self) -> list[str]:
        """The judges that measured what is drawn; none for numbers of the runs themselves."""
        measures = self.tables.measures
        return list(measures.loc[measures["statistic"] == self.asked.y, "definition"].dropna().unique())

    @property
    def seeds(self) -> list[str]:
        """The swept settings that are seeds."""
        return _seeds(self.tables.runs)

    @property
    def rest(self) -> list[str]:
        """The settings that `REST` stands for."""
        return _rest(self.asked, self.tables.runs)

    def words(self, column: str) -> pd.Series[str]:
        """Return the value of a column in words, for each unit."""
        if column in self.tables.runs and column not in AXIS_COLUMNS:
            runs = self.tables.runs
            known = labels.values(runs, column).groupby(runs[column]).first()
            return self.replicates[column].map(known).fillna(labels.NOTHING)
        return self.replicates[column].map(
            lambda value: labels.QUANTITIES.get(value, labels.short_text(value))
        )

    def ordered(self, column: str) -> list[str]:
        """Return all words of a column in the order of the sweep; layers are in the order of the network."""
        replicates = self.replicates
        if column in ("layer", "position", "depth", "iteration"):
            replicates = replicates.sort_values("position" if column == "layer" else column, kind="stable")
        return list(self.words(column)[replicates.index].unique())


def load_observations(asked: PlotRequest, wanted: Wanted, *, partial: bool) -> Observations:
    """Return the numbers that a command asks for.

    Args:
        asked: What the command asks for.
        wanted: The cells.
        partial: Whether cells may be missing.

    Raises:
        SettingError: What is asked for is unknown or ambiguous.
        CellsError: Runs are missing, ambiguous, or don't belong together.
        StoreError: A run can't be read.
    """
    return observe(asked, tables.read_tables(wanted, partial=partial))


def observe(asked: PlotRequest, data: Tables) -> Observations:
    """Return the numbers that a command asks for, of tables that are read already.

    Raises:
        SettingError: What is asked for is unknown or ambiguous.
    """
    numbers = _numbers(data)
    asked = _with_y(asked, numbers)
    numbers = numbers[numbers["statistic"] == asked.y].dropna(subset="value")
    asked = _whole_names(asked, data.runs, numbers)
    numbers = _of_iteration(_select_rows(numbers, asked), asked)
    asked = _with_panels(asked, numbers)
    return _average(_with_rest(asked, data.runs), data, numbers)


def _numbers(data: Tables) -> pd.DataFrame:
    """Return all numbers of the cells, of their judges and of whole runs, each with its `cell`."""
    cells = data.runs.dropna(subset="run_id").rename_axis("cell").reset_index()
    own = data.numbers[~data.numbers["statistic"].isin([*MEASURES, *TERMS])]
    whole = cells[["run_id", *OF_RUNS]].melt("run_id", var_name="statistic").drop_duplicates()
    whole = whole[~whole["statistic"].isin(own["statistic"])]
    parts = [cells[["cell", "run_id"]].merge(part, on="run_id") for part in (own, whole)]
    known = [part for part in (*parts, data.measures) if len(part)]
    columns = ["cell", "run_id", "statistic", "value", *AXIS_COLUMNS]
    return pd.concat([part.reindex(columns=columns).astype(object) for part in known]).infer_objects()


def _with_y(asked: PlotRequest, numbers: pd.DataFrame) -> PlotRequest:
    """Return `asked` with a number: the one that is asked for, or the first of `MAIN`, or of all."""
    known = sorted(numbers["statistic"].unique())
    if asked.y is None and known:
        return replace(asked, y=next((name for name in MAIN if name in known), known[0]))
    if asked.y not in known:
        found = "nothing" if asked.y is None else repr(asked.y)
        raise SettingError("y", "should be a number of these runs", found, f"There are {', '.join(known)}.")
    return asked


def _whole_names(asked: PlotRequest, runs: pd.DataFrame, numbers: pd.DataFrame) -> PlotRequest:
    """Return `asked` with whole names of columns."""
    parts = {"x": asked.x or _first_x(runs, numbers), **asked.shown}
    columns: dict[str, Any] = {part: _column(part, name, runs, numbers) for part, name in parts.items()}
    return replace(asked, **columns)


def _first_x(runs: pd.DataFrame, numbers: pd.DataFrame) -> str:
    """Return layers or pictures that these numbers are of, or the first swept setting; seeds come last."""
    layers = ["layer"] if numbers["layer"].notna().any() else []
    settings = sorted(telling_settings(runs), key=lambda column: column in _seeds(runs))
    return next(iter([*layers, *settings, *_columns(numbers)]), "network.name")


def _column(part: str, name: str | None, runs: pd.DataFrame, numbers: pd.DataFrame) -> str:
    settings, columns = runs.columns.difference(RUNS.names), _columns(numbers)
    for known in (name, f"{name}.name"):
        if known in columns or known in settings:
            return str(known)
    raise SettingError(
        part,
        "should be a setting of these runs, or a column of their numbers",
        "nothing" if name is None else repr(name),
        f"They swept {', '.join(swept(runs)) or 'nothing'}; columns of this number: {', '.join(columns)}.",
    )


def _columns(numbers: pd.DataFrame) -> list[str]:
    return [column for column in AXIS_COLUMNS if numbers[column].notna().any()]


def _select_rows(numbers: pd.DataFrame, asked: PlotRequest) -> pd.DataFrame:
    for column, values in asked.chosen.items():
        said = numbers[column].map(labels.short_text)
        known = list(dict.fromkeys(said[numbers[column].notna()]))
        if unknown := [value for value in values if value not in known]:
            there = f"There are {', '.join(known)}." if known else f"{asked.y} has none: leave it out."
            raise SettingError(column, f"should be of {asked.y}", ", ".join(unknown), there)
        numbers = numbers[said.isin(values)]
    return numbers


def _of_iteration(numbers: pd.DataFrame, asked: PlotRequest) -> pd.DataFrame:
    """Return numbers of finished pictures, else of the last iteration, unless iterations are asked for."""
    if "iteration" in asked.chosen:
        return numbers
    finished = numbers["iteration"].isna()
    if "iteration" in asked.shown.values():
        return numbers[~finished]
    if finished.any():
        return numbers[finished]
    last = numbers.groupby(["run_id", *KINDS], dropna=False)["iteration"].transform("max")
    return numbers[numbers["iteration"] == last]


def _with_panels(asked: PlotRequest, numbers: pd.DataFrame) -> PlotRequest:
    """Return `asked` with panels for each of `KINDS` that has several values and is not shown yet."""
    for kind in KINDS:
        several = numbers[kind].dropna().unique()
        if kind in asked.shown.values() or len(several) < 2:
            continue
        free = next((part for part in ("col", "row") if part not in asked.shown), None)
        if free is None:
            rule = f"should be one, or shown: no mean over several makes sense of {asked.y}"
            raise SettingError(kind, rule, ", ".join(several), f"Add {kind}={several[0]}.")
        asked = replace(asked, col=kind) if free == "col" else replace(asked, row=kind)
    return asked


def _with_rest(asked: PlotRequest, runs: pd.DataFrame) -> PlotRequest:
    """Return `asked` with lines for all swept settings that nothing else shows, unless it names lines."""
    return replace(asked, hue=REST) if asked.hue is None and _rest(asked, runs) else asked


def _rest(asked: PlotRequest, runs: pd.DataFrame) -> list[str]:
    shown = [column for column in asked.shown.values() if column not in (*AXIS_COLUMNS, REST)]
    return [column for column in telling_settings(runs, shown) if column not in _seeds(runs)]


def _seeds(runs: pd.DataFrame) -> list[str]:
    return [column for column in swept(runs) if column.rpartition(".")[2] == "seed"]


def _average(asked: PlotRequest, data: Tables, numbers: pd.DataFrame) -> Observations:
    rest = _rest(asked, data.runs)
    settings = data.runs.assign(**{REST: labels.settings(data.runs, rest)}) if rest else data.runs
    shown = list(dict.fromkeys(asked.shown.values()))
    joined = [column for column in {*shown, *_seeds(data.runs), *rest} if column not in AXIS_COLUMNS]
    numbers = numbers.join(settings[joined], on="cell")
    keys = list(dict.fromkeys([*shown, *_seeds(data.runs), "content", "style"]))
    groups = numbers.groupby(keys, sort=False, dropna=False)
    replicates = groups.agg(
        value=("value", "mean"), numbers=("value", "size"), position=("position", "first"),
        run_id=("run_id", lambda ids: ";".join(dict.fromkeys(ids))),
    )  # fmt: skip
    inside = groups[[*(["layer"] if "layer" not in shown else []), *rest]].nunique().max()
    averaged = {} if REST in shown else {str(name): int(count) for name, count in inside.items() if count > 1}
    replicates = replicates.drop(columns=set(keys) & {"position"}).reset_index()
    known = replicates.dropna(subset=asked.x)
    return Observations(data, asked, known, averaged, len(replicates) - len(known))
