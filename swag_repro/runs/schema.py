"""The columns of what runs write, and how those of earlier versions become today's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from swag_repro.names import file_stem
from swag_repro.runs.files import MALFORMED, refuse_newer, unreadable

SCHEMA_VERSION = 3
"""Of all tables. A file of a later version is refused, never guessed at."""

SCHEMA_KEY = b"swag_repro.schema"


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
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            version = int((file.schema_arrow.metadata or {})[SCHEMA_KEY])
            refuse_newer(str(path), version, newest)
            return todays(file.read(), version)
    except (*MALFORMED, KeyError) as error:
        raise unreadable(path, error) from error


def todays_numbers(rows: pa.Table, version: int) -> pa.Table:
    """Rows in `NUMBERS`: schema 1 had no `iteration`, and in 2 a run measured its own pictures only."""
    if version < 2:
        rows = rows.append_column("iteration", pa.nulls(len(rows), pa.int32()))
    if version < 3:
        for column in ("of_run", "reason"):
            rows = rows.append_column(column, pa.nulls(len(rows), pa.string()))
    return rows.select(NUMBERS.names).cast(NUMBERS)


def todays_pairs(pairs: pa.Table, version: int) -> pa.Table:  # noqa: ARG001  (the first of their own files)
    """Pairs in `PAIRS`."""
    return pairs.select(PAIRS.names).cast(PAIRS)


def pairs_of_json(content: bytes, run_id: str) -> pa.Table:
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
