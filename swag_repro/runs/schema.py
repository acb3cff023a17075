"""The columns of what runs write."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from swag_repro.runs.files import MALFORMED, refuse_other, unreadable

SCHEMA_VERSION = 3
"""Of the tables of runs. A file of another version is refused, never guessed at."""

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


def parse_table(path: Path, source: Path | pa.NativeFile, version: int = SCHEMA_VERSION) -> pa.Table:
    """Return the table of a Parquet file that this package wrote.

    Args:
        path: For what is said of it.
        source: The file, or what was read of it.
        version: Of its schema.

    Raises:
        StoreError: It is missing or malformed; or of another version, an `OtherVersionError`.
    """
    try:
        with pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False) as file:
            refuse_other(str(path), int((file.schema_arrow.metadata or {})[SCHEMA_KEY]), version)
            return file.read(use_threads=file.metadata.num_rows > LARGE)
    except (*MALFORMED, KeyError) as error:
        raise unreadable(path, error) from error
