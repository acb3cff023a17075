"""The meaning of the tables' columns, from their schema and from the comments in `conf/`."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pyarrow.parquet as pq

from analysis.tables.kept import TABLES, Kept
from experiments.settings import comment_of
from swag_repro.runs.schema import MEANINGS, STATISTICS


def dictionary(kept: Kept) -> pd.DataFrame:
    """Return one row for each column of each table, and one for each statistic of the table of numbers.

    The columns are `table`; `column`, or `statistic: NAME`; `type`; `meaning`, which is empty if it is
    unknown.

    Args:
        kept: The tables.
    """
    return pd.DataFrame([*_columns(kept), *_statistics(kept)], columns=["table", "column", "type", "meaning"])


def _columns(kept: Kept) -> Iterator[tuple[str, str, str, str]]:
    for name in TABLES:
        for column in pq.read_schema(kept.file(name)):
            meaning = MEANINGS[name].get(column.name)
            yield name, column.name, str(column.type), comment_of(column.name) if meaning is None else meaning


def _statistics(kept: Kept) -> Iterator[tuple[str, str, str, str]]:
    names = kept.read("table", columns=["statistic"])["statistic"].unique().to_pylist()
    for name in sorted(names):
        yield "table", f"statistic: {name}", "double", STATISTICS.get(name, "")
