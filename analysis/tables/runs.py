"""The table of runs: what became of each, and its whole config in flat, typed columns."""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from experiments.science import NOT_SCIENCE, NOT_SCIENCE_OF
from swag_repro.errors import StoreError
from swag_repro.runs.files import digest
from swag_repro.runs.identity import leaves, normal
from swag_repro.runs.records import RunRecord
from swag_repro.runs.schema import SCHEMA_KEY

RUNS_VERSION = 1
"""Of `RUNS`. A table of a later version is refused, never guessed at."""

VERSIONS = ("python", "swag_repro", "torch", "torchvision")

RUNS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("experiment", pa.string(), nullable=False),
        pa.field("version", pa.int32()),
        pa.field("name", pa.string()),
        pa.field("state", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("started_at", pa.string()),
        pa.field("seconds", pa.float64()),
        pa.field("peak_memory_bytes", pa.int64()),
        pa.field("device", pa.string()),
        pa.field("commit", pa.string()),
        *(pa.field(f"versions.{package}", pa.string()) for package in VERSIONS),
        pa.field("weights_digest", pa.string()),
        pa.field("images_digest", pa.string()),
        pa.field("config_key", pa.string()),
        pa.field("path", pa.string(), nullable=False),
    ],
    metadata={SCHEMA_KEY: str(RUNS_VERSION)},
)
"""One row is one run, whatever its state; behind these columns stand those of its config.

`version` is that of the experiment's code; null, as are digests, key and config, of a run that was killed
before it wrote who it is. `images_digest` tells one set of images from another, `config_key` one scientific
config of an experiment. `path` is relative to the output folder.
"""

FILES = frozenset(
    {"images.name", "images.path", "content", "style", "masks", "weights.path", "measures", "run"}
)
"""Settings that no run id holds, as digests stand for them, but that tell runs of a figure apart."""

ARM = "arm.name"
"""What an experiment calls a choice of several settings."""

TYPES = {pa.bool_(): pd.BooleanDtype(), pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int64Dtype()}


def key(content: object) -> str:
    """The same for the same plain content, and for no other: `==` would take True for 1."""
    return digest(json.dumps(content, sort_keys=True).encode())


def cell_key(entry: str, settings: Mapping[str, Any]) -> str:
    """Of what decides the result. A judge changes no picture, but stood in it before schema 3.

    Args:
        entry: The experiment.
        settings: What `scientific` keeps of its config.
    """
    judged = {"measures"} if entry == "stylize" else set()
    return key([entry, {name: value for name, value in settings.items() if name not in judged}])


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a config by dotted key; an empty group, such as `measures=none`, has none."""
    return {at: value for at, value in leaves(config, ".").items() if not isinstance(value, Mapping)}


def described(record: RunRecord, root: Path) -> dict[str, Any]:
    """The row of a run in `RUNS`; and its `cell_key`, and the `stylization` that it judged, if any.

    Raises:
        StoreError: It is finished, and its identity can't be read.
    """
    return status_of(record, root) | _identified(record)


def status_of(record: RunRecord, root: Path) -> dict[str, Any]:
    """That part of a run's row which its status tells."""
    status = vars(record.status) | leaves({"versions": record.status.versions}, ".")
    return {**status, "run_id": record.path.name, "path": record.path.relative_to(root).as_posix()}


def _identified(record: RunRecord) -> dict[str, Any]:
    try:
        who = record.identity
    except StoreError:
        if record.status.state == "finished":
            raise
        return {}  # killed before it wrote who it is
    return {
        "version": who.version,
        "weights_digest": who.weights,
        "images_digest": key(who.images),
        "config_key": key([who.experiment, who.config]),
        "cell_key": cell_key(who.experiment, who.config),
        "stylization": who.config.get("stylization"),
    }


def typed(rows: Sequence[Mapping[str, Any]], config: Iterable[str]) -> pa.Table:
    """Rows in the columns of `RUNS`, and behind them these of their configs.

    A column of a config has the type of its values: an integer beside a float is one; lists, and values of
    several types, become JSON.
    """
    columns = {name: column_of([row.get(name) for row in rows]) for name in config}
    core = pa.Table.from_pylist([dict(row) for row in rows], schema=RUNS).cast(RUNS)
    for name, column in columns.items():
        core = core.append_column(name, column)
    return core


def column_of(values: Sequence[Any]) -> pa.Array:
    """Values of one setting, None where a run has it not; see `typed`."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pa.array(values, pa.float64())
    if len(kinds) > 1 or kinds & {list, dict}:
        return pa.array([None if value is None else _json(value) for value in values], pa.string())
    return pa.array(values, None if kinds else pa.string())


def decoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """The values of a setting from their JSON, each of which is decoded once: `column_of` them.

    Args:
        column: Strings, in dictionaries.
    """
    encoded = column.unify_dictionaries().combine_chunks()
    used = set(pc.unique(encoded.indices).to_pylist())
    texts = enumerate(encoded.dictionary.to_pylist())
    values = column_of([json.loads(text) if index in used else None for index, text in texts])
    return pa.DictionaryArray.from_arrays(encoded.indices, values, safe=False)


def _json(value: Any) -> str:
    return json.dumps(normal({"value": value}, ())["value"], ensure_ascii=False)


def frame(table: pa.Table) -> pd.DataFrame:
    """As pandas has it; integers stay integers beside nulls."""
    made: pd.DataFrame = table.to_pandas(types_mapper=TYPES.get)
    return made


def swept(runs: pd.DataFrame, shown: Collection[str] = ()) -> list[str]:
    """The settings in which these runs differ, but for those that a name beside or above them tells.

    Where networks differ, `network.name` tells their taps as well; it does not tell a temperature.

    Args:
        runs: A frame of `RUNS` and configs, of one experiment.
        shown: Settings, or groups of them such as `smoothing`, that do not count.
    """
    differing = [
        column for column in _settings(runs) if not _within(column, shown) and len(runs[column].unique()) > 1
    ]
    names = [column for column in differing if column.rpartition(".")[2] == "name"]
    return [
        column
        for column in differing
        if not any(_tells(runs, name, column) for name in names if name != column)
    ]


def told(runs: pd.DataFrame, shown: Collection[str] = ()) -> list[str]:
    """Settings that tell runs apart beside those shown; an experiment's arm stands for all that it tells.

    Args:
        runs: As for `swept`.
        shown: Columns.
    """
    left = _untold(runs, shown)
    if ARM in runs and ARM not in shown:
        beside = _untold(runs, [*shown, ARM])
        return [*beside, ARM] if len(beside) < len(left) else left
    return left


def _untold(runs: pd.DataFrame, shown: Collection[str]) -> list[str]:
    """Of what was swept, all that these columns do not determine."""
    columns = swept(runs)
    if not shown:
        return columns
    groups = runs.groupby([*shown], dropna=False)
    return [column for column in columns if groups[column].nunique(dropna=False).max() > 1]


def _settings(runs: pd.DataFrame) -> Iterator[str]:
    entries = runs["experiment"].unique()
    ignored = NOT_SCIENCE.union(*(NOT_SCIENCE_OF.get(entry, ()) for entry in entries)) - FILES
    return (name for name in runs.columns if name not in RUNS.names and not _within(name, ignored))


def _within(column: str, groups: Collection[str]) -> bool:
    parts = column.split(".")
    return any(".".join(parts[:length]) in groups for length in range(1, len(parts) + 1))


def _tells(runs: pd.DataFrame, name: str, column: str) -> bool:
    """Whether a group's name determines a setting of the group."""
    inside = column.startswith(name.removesuffix("name"))
    return inside and runs.groupby(name, dropna=False)[column].nunique(dropna=False).max() == 1


def lines(runs: pd.DataFrame, shown: Collection[str] = ()) -> pd.Series[int]:
    """A number for each run, the same where all settings but those shown are the same; in order."""
    columns = swept(runs, shown)
    if not columns:
        return pd.Series(0, index=runs.index)
    settings = runs[columns].apply(lambda row: tuple(map(_plain, row)), axis=1)
    return pd.Series(pd.factorize(settings)[0], index=runs.index)


def smoothings(runs: pd.DataFrame) -> pd.Series[int]:
    """A number for each run, the same where the smoothing and its settings are the same; 0 without any."""
    columns = [column for column in runs.columns if column.startswith("smoothing.")]
    smoothed = runs.loc[runs["smoothing.name"] != "none", columns]
    ranks = pd.Series(0, index=runs.index)
    if len(smoothed):
        ranks[smoothed.index] = (
            pd.factorize(smoothed.apply(lambda row: tuple(map(_plain, row)), axis=1))[0] + 1
        )
    return ranks


def _plain(value: Any) -> Hashable:
    return None if pd.isna(value) else value
