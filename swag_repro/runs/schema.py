"""The columns of the tables that runs write, and CSV files of them for spreadsheets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from swag_repro.names import printable
from swag_repro.runs.files import MALFORMED, refuse_other, unreadable

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 3
"""Version of the tables of runs. A file of another version is refused."""

SCHEMA_KEY = b"swag_repro.schema"


LARGE = 100_000
"""Rows from which on threads save time; for smaller files they cost more than they save."""


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
"""Columns of a table with one measured number in each row; `MEANINGS` says what they hold."""

LOSSES = {
    "content": "content_loss",
    "style": "style_loss",
    "total_variation": "total_variation",
    "total": "total_loss",
}
"""Term of an objective → its column of `PAIRS`. Its column for the start has the prefix `first_`."""

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
"""Columns of a table with one stylised pair in each row; images are paths in the run's directory."""

RUNS_VERSION = 2
"""Version of `RUNS`."""

PACKAGES = ("python", "swag_repro", "torch", "torchvision")
"""Packages whose versions are kept with every run."""

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
        *(pa.field(f"versions.{package}", pa.string()) for package in PACKAGES),
        pa.field("overrides", pa.string()),
        pa.field("config_key", pa.string()),
        pa.field("weights_digest", pa.string()),
        pa.field("images_digest", pa.string()),
        pa.field("look_digest", pa.string()),
        pa.field("pictures_digest", pa.string()),
        pa.field("result_digest", pa.string()),
        pa.field("path", pa.string(), nullable=False),
    ],
    metadata={SCHEMA_KEY: str(RUNS_VERSION)},
)
"""Columns of a table with one run in each row, whatever its state; the columns of its config follow them."""

_RUN = "the run, by the first 16 digits of a hash of all that decides its result"
_CONTENT, _STYLE = "name of the content image", "name of the style image, or of a mix of several"

MEANINGS: dict[str, dict[str, str]] = {
    "table": {
        "experiment": "the entry point that computed it",
        "run_id": _RUN,
        "of_run": "the run whose pictures a judge measured; null where a run measures its own",
        "network": "name of the network that was measured, or that made the picture",
        "weights": "its weights: random, imagenet, trained, file or run",
        "smoothing": "name of the smoothing of its activations",
        "loss": "name of the objective of a stylisation",
        "seed": "of the weights; null where they are pretrained",
        "content": _CONTENT,
        "style": _STYLE,
        "layer": "the layer, by the literature's name",
        "depth": "convolutions on the longest path from the input to the layer",
        "position": "rank of the layer among the network's statistic taps, from 1",
        "quantity": "what was measured: activation, gram (matrix), gram_per_dm (over D·M), unit, training",
        "iteration": "steps after which a picture or network on its way was measured; null: the finished one",
        "statistic": "what the number is: see the rows of this name in this dictionary",
        "definition": "which of several definitions of the statistic holds, or the network that judged",
        "value": "the number; null where it can't be had",
        "reason": "why there is no value",
    },
    "pairs": {
        "run_id": _RUN,
        "content": _CONTENT,
        "style": _STYLE,
        "image": "file of the picture in the run's directory",
        "content_image": "file of the content as the run saw it",
        "style_image": "file of the style as the run saw it; of a mix all styles side by side",
        "styles": "of a mix: name, file and weight of each style; weights have a sum of 1",
        "steps": "pictures on their way: iteration and file of each of `measured_steps`",
        "status": "finished, diverged (the loss exploded) or unchanged (the picture never moved)",
        "reason": "why it did not finish",
        "iterations": "steps of the optimiser",
        "evaluations": "evaluations of the loss",
        "recoveries": "how often it went back to its best picture after an explosion",
        "content_loss": "content term of the picture, unweighted",
        "style_loss": "style term of the picture, unweighted",
        "total_variation": "total variation of the picture, unweighted",
        "total_loss": "the weighted sum that is minimised",
        "first_content_loss": "content term of the start",
        "first_style_loss": "style term of the start",
        "first_total_variation": "total variation of the start",
        "first_total_loss": "the weighted sum at the start",
    },
    "runs": {
        "run_id": _RUN,
        "experiment": "the entry point that computed it; ? where its status can't be read",
        "version": "of the experiment's code; null for a run that was killed before it wrote who it is",
        "name": "the group it was first computed for, such as fig3",
        "state": "finished, failed, running (also: killed), damaged, or other version",
        "reason": "why it failed, or what is damaged",
        "started_at": "when it began, UTC",
        "seconds": "from start to end",
        "peak_memory_bytes": "the most memory the process had: of the GPU where one was used",
        "device": "where it was computed",
        "commit": "of the code; -dirty where files differed from it",
        **{f"versions.{package}": f"version of {package}" for package in PACKAGES},
        "overrides": "what its command line said",
        "config_key": "digest of the experiment and its settings; images and weights may differ",
        "weights_digest": "SHA-256 of the weights; null where settings alone make them",
        "images_digest": "digest of the set of images",
        "look_digest": "digest of what prepared the contents of a training",
        "pictures_digest": "digest of all pictures it made; the images_digest of the judges that saw them",
        "result_digest": "digest of all files of its result",
        "path": "its directory, relative to the output folder",
    },
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
    try:
        with pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False) as file:
            refuse_other(str(path), int((file.schema_arrow.metadata or {})[SCHEMA_KEY]), version)
            return file.read(use_threads=file.metadata.num_rows > LARGE)
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
