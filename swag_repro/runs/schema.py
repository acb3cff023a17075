"""The columns of what runs write, and how those of earlier versions become today's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from swag_repro.names import file_stem
from swag_repro.runs.files import MALFORMED, refuse_newer, unreadable

SCHEMA_VERSION = 3
"""Of all tables. A file of a later version is refused, never guessed at."""

SCHEMA_KEY = b"swag_repro.schema"


LARGE = 100_000
"""Rows; of smaller files threads cost more than they save."""


def _declared(*fields: pa.Field) -> pa.Schema:
    return pa.schema(fields, metadata={SCHEMA_KEY: str(SCHEMA_VERSION)})


NUMBERS = _declared(
    pa.field("experiment", pa.string(), nullable=False),
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("of_run", pa.string()),
    pa.field("network", pa.string()),
    pa.field("weights", pa.string()),
    pa.field("smoothing", pa.string()),
    pa.field("loss", pa.string()),
    pa.field("seed", pa.int64()),
    pa.field("content", pa.string()),
    pa.field("style", pa.string()),
    pa.field("layer", pa.string()),
    pa.field("depth", pa.int32()),
    pa.field("position", pa.int32()),
    pa.field("quantity", pa.string()),
    pa.field("iteration", pa.int32()),
    pa.field("statistic", pa.string(), nullable=False),
    pa.field("definition", pa.string()),
    pa.field("value", pa.float64()),
    pa.field("reason", pa.string()),
)
"""One row is one measured number.

`of_run` is the run whose pictures a judge measured, null where a run measures its own. Network, weights,
smoothing, loss and seed are those of what was measured, in words for people; `runs.parquet` has the settings.
`depth` is the number of convolutions on the longest path from the input, `position` the 1-based rank among
the network's statistic taps, `quantity` one of activation, gram and gram_per_dm, `iteration` that of a
picture on its way, null for all else. `definition` is that of an entropy (softmax or linear), or the network
that judged. `value` is null where it can't be had, and `reason` says why.
"""

LOSSES = {
    "content": "content_loss",
    "style": "style_loss",
    "total_variation": "total_variation",
    "total": "total_loss",
}
"""Term of an objective → its column of `PAIRS`; that of the start has `first_` before it."""

_IMAGE = pa.field("image", pa.string(), nullable=False)

PAIRS = _declared(
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("content", pa.string(), nullable=False),
    pa.field("style", pa.string(), nullable=False),
    _IMAGE,
    pa.field("content_image", pa.string(), nullable=False),
    pa.field("style_image", pa.string(), nullable=False),
    pa.field(
        "styles",
        pa.list_(pa.struct([pa.field("name", pa.string()), _IMAGE, pa.field("weight", pa.float64())])),
    ),
    pa.field("steps", pa.list_(pa.struct([pa.field("iteration", pa.int32()), _IMAGE]))),
    pa.field("status", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("iterations", pa.int32()),
    pa.field("evaluations", pa.int32()),
    pa.field("recoveries", pa.int32()),
    *(pa.field(f"{when}{column}", pa.float64()) for when in ("", "first_") for column in LOSSES.values()),
)
"""One row is one stylised pair.

Images are paths in the run's directory: the picture, what it was made of as the run saw it (a mix of styles
also side by side, as `style_image`), and the pictures on its way that `measured_steps` asked for. Weights
are those of a mix, with a sum of 1. Losses are those of the picture, and of its start.
"""


def encoded(table: pa.Table) -> pa.Buffer:
    """A table as the Parquet file that a run holds."""
    whole = pa.BufferOutputStream()
    # Of so few rows zstd makes no smaller a file, and one that takes twice as long to read.
    pq.write_table(table, whole, compression="snappy", write_page_checksum=True)
    return whole.getvalue()


def parse_table(
    path: Path,
    source: Path | pa.NativeFile,
    todays: Callable[[pa.Table, int], pa.Table],
    *,
    newest: int = SCHEMA_VERSION,
) -> pa.Table:
    """A Parquet file's table in today's schema.

    Args:
        path: For what is said of it.
        source: The file, or what was read of it.
        todays: Makes today's table of one of this or of an earlier version.
        newest: The version of today's.

    Raises:
        StoreError: It is missing, malformed or of a later schema.
    """
    try:
        with pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False) as file:
            version = int((file.schema_arrow.metadata or {})[SCHEMA_KEY])
            refuse_newer(str(path), version, newest)
            large = file.metadata.num_rows > LARGE
            return todays(file.read(use_threads=large), version)
    except (*MALFORMED, KeyError) as error:
        raise unreadable(path, error) from error


def todays_numbers(rows: pa.Table, version: int) -> pa.Table:
    """Rows of this or an earlier version in `NUMBERS`."""
    return _todays(rows, version, NUMBERS, NUMBERS_STEPS)


def todays_pairs(pairs: pa.Table, version: int) -> pa.Table:
    """Pairs of this or an earlier version in `PAIRS`."""
    return _todays(pairs, version, PAIRS, PAIRS_STEPS)


def _todays(table: pa.Table, version: int, schema: pa.Schema, steps: Mapping[int, Step]) -> pa.Table:
    if version == SCHEMA_VERSION and table.schema.equals(schema, check_metadata=True):
        return table
    for step in range(version, SCHEMA_VERSION):
        table = steps[step](table)
    return table.select(schema.names).cast(schema)


# --- From version to version ------------------------------------------------------------------------------


def numbers_1_to_2(rows: pa.Table) -> pa.Table:
    """Pictures on their way came to be measured: an `iteration`, which was none."""
    return _with_nulls(rows, NUMBERS.field("iteration"))


def numbers_2_to_3(rows: pa.Table) -> pa.Table:
    """Judges came to measure pictures of other runs, `of_run`, and to say why they can't: a `reason`."""
    return _with_nulls(rows, NUMBERS.field("of_run"), NUMBERS.field("reason"))


def _with_nulls(table: pa.Table, *fields: pa.Field) -> pa.Table:
    for field in fields:
        table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def pairs_2_to_3(content: bytes, run_id: str) -> pa.Table:
    """What a stylisation before schema 3 wrote as `pairs.json`, in `PAIRS`; its inputs had fixed places.

    Raises:
        ValueError, KeyError, TypeError: It is not as it was written.
    """
    return pa.Table.from_pylist([_pair_of_json(pair, run_id) for pair in json.loads(content)], schema=PAIRS)


def _pair_of_json(pair: dict[str, Any], run_id: str) -> dict[str, Any]:
    kept = ("content", "style", "image", "status", "reason", "iterations", "evaluations", "recoveries")
    style_image = f"images/style/{file_stem(pair['style'])}.png"
    return {
        "run_id": run_id,
        **{key: pair[key] for key in kept},
        "content_image": f"images/content/{file_stem(pair['content'])}.png",
        "style_image": style_image,
        "styles": [{"name": pair["style"], "image": style_image, "weight": 1.0}],
        "steps": [],
        **{column: pair["losses"][term] for term, column in LOSSES.items()},
        **{f"first_{column}": pair["first"][term] for term, column in LOSSES.items()},
    }


Step = Callable[[pa.Table], pa.Table]

NUMBERS_STEPS: dict[int, Step] = {1: numbers_1_to_2, 2: numbers_2_to_3}
"""What makes a table of the next version, by that of `rows.parquet`."""

PAIRS_STEPS: dict[int, Step] = {}
"""Likewise of `pairs.parquet`, of which version 3 is the first; `pairs_2_to_3` reads what was before."""
