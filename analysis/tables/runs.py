"""The table of runs: the state of each, and its whole config in flat, typed columns."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from experiments.science import NOT_SCIENCE, NOT_SCIENCE_OF
from swag_repro.runs.identity import leaves, normal
from swag_repro.runs.schema import RUNS

FILE_SETTINGS = frozenset(
    {"images.name", "images.path", "content", "style", "masks", "weights.path", "measures", "run"}
)
"""Settings that name files. Run ids hold digests instead, but these settings tell a figure's runs apart."""

ARM = "arm.name"
"""The setting that names an experiment's choice of several settings."""

INTERPOLATED = "interpolated"
"""Key in a frame's `attrs`: settings that follow from others and don't count as swept."""

TYPES = {pa.bool_(): pd.BooleanDtype(), pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int64Dtype()}


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a config by dotted key; an empty group, such as `measures=none`, has none."""
    return {at: value for at, value in leaves(config, ".").items() if not isinstance(value, Mapping)}


def typed(rows: Sequence[Mapping[str, Any]], config: Iterable[str]) -> pa.Table:
    """Return rows in the columns of `RUNS`, followed by these columns of their configs: see `column_of`."""
    columns = {name: column_of([row.get(name) for row in rows]) for name in config}
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=RUNS).cast(RUNS)
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def column_of(values: Sequence[Any]) -> pa.Array:
    """Return the values of one setting, None where a run lacks it, in a type that holds all of them.

    Integers beside floats become floats. Lists, and values of several types, become text: see `as_text`.
    """
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pa.array(values, pa.float64())
    if len(kinds) > 1 or kinds & {list, dict, str}:
        return pa.array([None if value is None else as_text(value) for value in values], pa.string())
    return pa.array(values, None if kinds else pa.string())


def as_text(value: Any) -> str:
    """Return a setting as text: JSON, but a word as it is, unless it would read as JSON."""
    if isinstance(value, str) and from_text(value) is value:
        return value
    return json.dumps(normal({"value": value}, ())["value"], ensure_ascii=False)


def from_text(text: str) -> Any:
    """Return the setting that `as_text` wrote."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def as_json(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a typed column as JSON; each distinct value is encoded once. `decoded` reverts this."""
    encoded = column.combine_chunks().dictionary_encode()
    is_text = pa.types.is_string(column.type)
    texts = [json.dumps(from_text(value) if is_text else value) for value in encoded.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(encoded.indices, pa.array(texts, pa.string()))


def decoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return the values of a setting from their JSON; each distinct value is decoded once. See `column_of`.

    Args:
        column: Strings, encoded as dictionaries.
    """
    encoded = column.unify_dictionaries().combine_chunks()
    used = set(pc.unique(encoded.indices).to_pylist())
    texts = enumerate(encoded.dictionary.to_pylist())
    values = column_of([json.loads(text) if index in used else None for index, text in texts])
    return pa.DictionaryArray.from_arrays(encoded.indices, values, safe=False)


def frame(table: pa.Table) -> pd.DataFrame:
    """Return a table as a pandas frame; integers stay integers beside nulls."""
    made: pd.DataFrame = table.to_pandas(types_mapper=TYPES.get)
    return made


def swept(runs: pd.DataFrame, shown: Collection[str] = ()) -> list[str]:
    """Return the settings in which these runs differ, except those that another setting's name determines.

    If networks differ, `network.name` also determines their taps; it does not determine a temperature. A
    setting in `INTERPOLATED` follows from another one.

    Args:
        runs: A frame of `RUNS` and configs, of one experiment.
        shown: Settings, or groups of them such as `smoothing`, that are left out.
    """
    ignored = {*shown, *runs.attrs.get(INTERPOLATED, ())}
    differing = [
        column
        for column in _settings(runs)
        if not _within(column, ignored) and len(runs[column].unique()) > 1
    ]
    names = [column for column in differing if column.rpartition(".")[2] == "name"]
    return [
        column
        for column in differing
        if not any(_tells(runs, name, column) for name in names if name != column)
    ]


def telling_settings(runs: pd.DataFrame, shown: Collection[str] = ()) -> list[str]:
    """Return settings that tell runs apart besides the shown ones; an arm replaces those that it determines.

    Args:
        runs: A frame as for `swept`.
        shown: Columns that the figure shows.
    """
    left = _undetermined(runs, shown)
    if ARM in runs and ARM not in shown:
        beside = _undetermined(runs, [*shown, ARM])
        return [*beside, ARM] if len(beside) < len(left) else left
    return left


def _undetermined(runs: pd.DataFrame, shown: Collection[str]) -> list[str]:
    """Return the swept settings that `shown` does not determine."""
    columns = swept(runs)
    if not shown:
        return columns
    groups = runs.groupby([*shown], dropna=False)
    return [column for column in columns if groups[column].nunique(dropna=False).max() > 1]


def _settings(runs: pd.DataFrame) -> Iterator[str]:
    entries = runs["experiment"].unique()
    ignored = NOT_SCIENCE.union(*(NOT_SCIENCE_OF.get(entry, ()) for entry in entries)) - FILE_SETTINGS
    return (name for name in runs.columns if name not in RUNS.names and not _within(name, ignored))


def _within(column: str, groups: Collection[str]) -> bool:
    parts = column.split(".")
    return any(".".join(parts[:length]) in groups for length in range(1, len(parts) + 1))


def _tells(runs: pd.DataFrame, name: str, column: str) -> bool:
    """Return whether a group's name determines a setting of the group."""
    inside = column.startswith(name.removesuffix("name"))
    return inside and runs.groupby(name, dropna=False)[column].nunique(dropna=False).max() == 1


def line_numbers(runs: pd.DataFrame, shown: Collection[str] = ()) -> pd.Series[int]:
    """Return a number for each run, in order; equal if all settings except the shown ones are equal."""
    return _numbered(runs[swept(runs, shown)])


def smoothing_numbers(runs: pd.DataFrame) -> pd.Series[int]:
    """Return a number for each run, equal if its smoothing and settings are equal; 0 without a smoothing."""
    columns = [column for column in runs.columns if column.startswith("smoothing.")]
    numbers = _numbered(runs.loc[runs["smoothing.name"] != "none", columns]) + 1
    return numbers.reindex(runs.index, fill_value=0)


def _numbered(settings: pd.DataFrame) -> pd.Series[int]:
    """Return a number for each row, in order of appearance; equal for equal rows."""
    if settings.columns.empty:
        return pd.Series(0, index=settings.index)
    return settings.groupby([*settings.columns], sort=False, dropna=False).ngroup()
