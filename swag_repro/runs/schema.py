"""The columns of the tables that runs write, and CSV files of them for spreadsheets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from swag_repro.names import printable
from swag_repro.runs.files import MALFORMED, is_folder, refuse_other, unreadable

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 3
"""Version of the tables of runs. A file of another version is refused."""

SCHEMA_KEY = b"swag_repro.schema"


LARGE = 100_000
"""Rows from which on threads save time; for smaller files they cost more than they save."""

Columns = dict[str, tuple[pa.DataType, str]]
"""Columns of a table: name → type and meaning."""

TEXT, COUNT, LONG, NUMBER = pa.string(), pa.int32(), pa.int64(), pa.float64()

RUN = "the run, by the first 16 digits of a hash of all that decides its result"
CONTENT, STYLE = "name of the content image", "name of the style image, or of a mix of several"

NUMBERS_COLUMNS: Columns = {
    "experiment": (TEXT, "the entry point that computed it"),
    "run_id": (TEXT, RUN),
    "of_run": (TEXT, "the run whose pictures a judge measured; null where a run measures its own"),
    "network": (TEXT, "name of the network that was measured, or that made the picture"),
    "weights": (TEXT, "its weights: random, imagenet, trained, file or run"),
    "smoothing": (TEXT, "name of the smoothing of its activations"),
    "loss": (TEXT, "name of the objective of a stylisation"),
    "seed": (LONG, "of the weights; null where they are pretrained"),
    "content": (TEXT, CONTENT),
    "style": (TEXT, STYLE),
    "layer": (TEXT, "the layer, by the literature's name"),
    "depth": (COUNT, "convolutions on the longest path from the input to the layer"),
    "position": (COUNT, "rank of the layer among the network's statistic taps, from 1"),
    "quantity": (
        TEXT,
        "what was measured: activation, gram (matrix), gram_per_dm (over D·M), unit, training",
    ),
    "iteration": (
        COUNT,
        "steps after which a picture or network on its way was measured; null: the finished one",
    ),
    "statistic": (TEXT, "what the number is: see the rows of this name in this dictionary"),
    "definition": (TEXT, "which of several definitions of the statistic holds, or the network that judged"),
    "value": (NUMBER, "the number; null where it can't be had"),
    "reason": (TEXT, "why there is no value"),
}

LOSSES = {
    "content": "content_loss",
    "style": "style_loss",
    "total_variation": "total_variation",
    "total": "total_loss",
}
"""Term of an objective → its column of `PAIRS`. Its column for the start has the prefix `first_`."""

_MIXED = [pa.field("name", TEXT), pa.field("image", TEXT, nullable=False), pa.field("weight", NUMBER)]
_ON_ITS_WAY = [pa.field("iteration", COUNT), pa.field("image", TEXT, nullable=False)]

PAIRS_COLUMNS: Columns = {
    "run_id": (TEXT, RUN),
    "content": (TEXT, CONTENT),
    "style": (TEXT, STYLE),
    "image": (TEXT, "file of the picture in the run's directory"),
    "content_image": (TEXT, "file of the content as the run saw it"),
    "style_image": (TEXT, "file of the style as the run saw it; of a mix all styles side by side"),
    "styles": (
        pa.list_(pa.struct(_MIXED)),
        "of a mix: name, file and weight of each style; weights have a sum of 1",
    ),
    "steps": (
        pa.list_(pa.struct(_ON_ITS_WAY)),
        "pictures on their way: iteration and file of each of `measured_steps`",
    ),
    "status": (TEXT, "finished, diverged (the loss exploded) or unchanged (the picture never moved)"),
    "reason": (TEXT, "why it did not finish"),
    "iterations": (COUNT, "steps of the optimiser"),
    "evaluations": (COUNT, "evaluations of the loss"),
    "recoveries": (COUNT, "how often it went back to its best picture after an explosion"),
    "content_loss": (NUMBER, "content term of the picture, unweighted"),
    "style_loss": (NUMBER, "style term of the picture, unweighted"),
    "total_variation": (NUMBER, "total variation of the picture, unweighted"),
    "total_loss": (NUMBER, "the weighted sum that is minimised"),
    "first_content_loss": (NUMBER, "content term of the start"),
    "first_style_loss": (NUMBER, "style term of the start"),
    "first_total_variation": (NUMBER, "total variation of the start"),
    "first_total_loss": (NUMBER, "the weighted sum at the start"),
}

PACKAGES = ("python", "swag_repro", "torch", "torchvision")
"""Packages whose versions are kept with every run."""

RUNS_COLUMNS: Columns = {
    "run_id": (TEXT, RUN),
    "experiment": (TEXT, "the entry point that computed it; ? where its status can't be read"),
    "version": (COUNT, "of the experiment's code; null for a run that was killed before it wrote who it is"),
    "name": (TEXT, "the group it was first computed for, such as fig3"),
    "state": (TEXT, "finished, failed, running (also: killed), damaged, or other version"),
    "reason": (TEXT, "why it failed, or what is damaged"),
    "started_at": (TEXT, "when it began, UTC"),
    "seconds": (NUMBER, "from start to end"),
    "peak_memory_bytes": (LONG, "the most memory the process had: of the GPU where one was used"),
    "device": (TEXT, "where it was computed"),
    "commit": (TEXT, "of the code; -dirty where files differed from it"),
    **{f"versions.{package}": (TEXT, f"version of {package}") for package in PACKAGES},
    "overrides": (TEXT, "what its command line said"),
    "config_key": (TEXT, "digest of the experiment and its settings; images and weights may differ"),
    "weights_digest": (TEXT, "SHA-256 of the weights; null where settings alone make them"),
    "images_digest": (TEXT, "digest of the set of images"),
    "look_digest": (TEXT, "digest of what prepared the contents of a training"),
    "pictures_digest": (
        TEXT,
        "digest of all pictures it made; the images_digest of the judges that saw them",
    ),
    "result_digest": (TEXT, "digest of all files of its result"),
    "path": (TEXT, "its directory, relative to the output folder"),
}


def _schema(columns: Columns, version: int, *required: str) -> pa.Schema:
    """Return the schema of a table; the required columns hold no null."""
    fields = [pa.field(name, kind, nullable=name not in required) for name, (kind, _) in columns.items()]
    return pa.schema(fields, metadata={SCHEMA_KEY: str(version)})


NUMBERS = _schema(NUMBERS_COLUMNS, SCHEMA_VERSION, "experiment", "run_id", "statistic")
"""Columns of a table with one measured number in each row."""

PAIRS = _schema(
    PAIRS_COLUMNS,
    SCHEMA_VERSION,
    *("run_id", "content", "style", "image", "content_image", "style_image", "status"),
)
"""Columns of a table with one stylised pair in each row; images are paths in the run's directory."""

RUNS_VERSION = 2
"""Version of `RUNS`."""

RUNS = _schema(RUNS_COLUMNS, RUNS_VERSION, "run_id", "experiment", "state", "path")
"""Columns of a table with one run in each row, whatever its state; the columns of its config follow them."""

TABLES = {"runs": RUNS_VERSION, "table": SCHEMA_VERSION, "pairs": SCHEMA_VERSION}
"""The tables that `swag collect` writes, as Parquet files, and the versions of their schemas."""


def holds_tables(folder: Path) -> bool:
    """Return whether a folder has the tables of `swag collect`, and no run directories."""
    return not is_folder(folder / "runs") and all((folder / f"{name}.parquet").is_file() for name in TABLES)


MEANINGS = {
    table: {name: meaning for name, (_, meaning) in columns.items()}
    for table, columns in (("table", NUMBERS_COLUMNS), ("pairs", PAIRS_COLUMNS), ("runs", RUNS_COLUMNS))
}
"""Contents of the columns of each table. The other columns of `runs` are settings; `conf/` explains them."""

STATISTICS = {
    "maximum": "largest value of the layer (SWAG, Figure 3)",
    "normalized_entropy": "entropy over its largest possible value, 0 to 1; definition: softmax of the "
    "values (SWAG), or linear (values over their sum)",
    "max_over_rms": "largest value over the root mean square",
    "kurtosis": "fourth standardised moment: 3 for a normal distribution",
    "participation_ratio": "(Σ x²)² / (N Σ x⁴): the part of a layer's N values that holds its energy",
    "effective_rank": "(tr G)² / ‖G‖²: how many eigenvalues of a Gram matrix carry it",
    "style_share": "a style layer's share, 0 to 1, of the style term between content and style image; "
    "definition: of the loss, or of the norms of its gradients",
    "start_style_loss": "the style term between content and style image, all layers together, without any "
    "balance (definition unbalanced)",
    "largest_entries": "share of ‖G/M − G_s/M_s‖² that its largest 1 % of entries hold; definition: of the "
    "start, of the finished picture, or of the picture by the largest entries of the start (same)",
    "style_distance": "distance of a judge's Gram matrices from the style's: 0 as the style",
    "sliced_wasserstein": "sliced Wasserstein distance of a judge's features from the style's",
    "sifid": "single image FID, a judge's features",
    "luminance_wasserstein": "sliced Wasserstein distance of luminances from the style's, in a judge's last "
    "style layer but one",
    "cfsd": "content feature structural distance, a judge's features: 0 as the content",
    "ssim": "structural similarity to the content: 1 as the content",
    "lpips": "learned perceptual distance from the content",
    "style_term": "AdaIN's style term of the finished picture: 1 the content image",
    "content_term": "AdaIN's content term of the finished picture: 1 the style image",
    "peaks_shrunk": "share of channels whose largest value a residual unit lowers",
    "log2_peak": "log₂ of the largest values after a residual unit over those before",
    "log2_highest": "log₂ of the layer's largest value after a residual unit over that before",
    "accuracy": "share of right answers; definition: train, test, or fitted (training images at the end)",
    "loss": "cross entropy in nats; definition as of accuracy",
    "seconds": "time it took",
    "iterations": "steps of the optimiser",
    "evaluations": "evaluations of the loss",
    "recoveries": MEANINGS["pairs"]["recoveries"],
    **{
        name: MEANINGS["pairs"][name]
        for when in ("", "first_")
        for name in (f"{when}{loss}" for loss in LOSSES.values())
    },
}
"""Meanings of a statistic's numbers. The names of the other statistics say what they are."""


def encoded(table: pa.Table) -> pa.Buffer:
    """Return a table as the Parquet file that a run holds."""
    whole = pa.BufferOutputStream()
    # With so few rows, zstd makes no smaller a file, and reading it takes twice as long.
    pq.write_table(table, whole, compression="snappy", write_page_checksum=True)
    return whole.getvalue()


def parse_table(path: Path, source: Path | pa.NativeFile, version: int = SCHEMA_VERSION) -> pa.Table:
    """Return the table of a Parquet file that this package wrote.

    Args:
        path: The file's path, for messages.
        source: The file, or its content.
        version: The version of its schema.

    Raises:
        StoreError: The file is missing or malformed.
        OtherVersionError: Another version wrote it.
    """
    with _opened(path, source, version) as file:
        return file.read(use_threads=file.metadata.num_rows > LARGE)


def check_table(path: Path, version: int) -> None:
    """Raise unless the file's schema is one that this package wrote, of this version.

    Raises:
        StoreError: The file is missing or malformed.
        OtherVersionError: Another version wrote it.
    """
    with _opened(path, path, version):
        pass


@contextmanager
def _opened(path: Path, source: Path | pa.NativeFile, version: int) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False) as file:
            refuse_other(str(path), int((file.schema_arrow.metadata or {})[SCHEMA_KEY]), version)
            yield file
    except (*MALFORMED, KeyError) as error:
        raise unreadable(path, error) from error


ODD = r"^[=+\-@]|[\x00-\x1f\x7f]"
"""Pattern of text that a spreadsheet might take for more than text (OWASP, CSV injection)."""

_ODD = re.compile(ODD)


def neutral(text: str) -> str:
    """Return text as a cell that is no formula: a quote goes before it. Numbers stay as they are."""
    if not _ODD.search(text) or _is_number(text):
        return text
    lines = "\n".join(printable(line) for line in text.splitlines())
    return f"'{lines}" if lines[:1] in set("=+-@") else lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def to_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV whose cells are `neutral`."""
    cells = table.map(lambda value: neutral(value) if isinstance(value, str) else value)
    header = [neutral(str(name)) for name in table.columns]
    return str(cells.to_csv(index=False, header=header, lineterminator="\n"))


def neutral_table(table: pa.Table) -> pa.Table:
    """Return a table whose text cells are `neutral`."""
    for index, field in enumerate(table.schema):
        coded = pa.types.is_dictionary(field.type)
        if not pa.types.is_string(field.type.value_type if coded else field.type):
            continue
        text = table[index].cast(pa.string())
        if pc.any(pc.match_substring_regex(text, ODD)).as_py():
            cells = pa.array(
                [None if cell is None else neutral(cell) for cell in text.to_pylist()], pa.string()
            )
            coded_cells = cells.dictionary_encode().cast(field.type) if coded else cells
            table = table.set_column(index, field, coded_cells)
    return table
