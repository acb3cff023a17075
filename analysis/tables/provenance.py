"""Where a file of results comes from: what it carries of that, and how it is read back.

A PNG has it as a text chunk, a PDF as its keywords, a Parquet file in its schema's metadata, and a CSV file
in a last column of that name, of which the first row is filled. It is JSON in all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from analysis.invocation import arguments
from analysis.tables.runs import key
from swag_repro.errors import UserError
from swag_repro.runs.files import MALFORMED, refuse_other
from swag_repro.runs.provenance import commit, versions
from swag_repro.runs.records import RunRecord, Status

SCHEMA = 1
"""Of what files carry. That of a later version is refused."""

COLUMN = "provenance"
"""Of a CSV file."""

CHUNK = "Provenance"
"""Of a PNG."""

PARQUET_KEY = b"swag_repro.provenance"

DIGITS = 16
"""Of a digest, as in a run's id."""

TRAINING = "train_classifier"
"""The experiment whose runs hold weights."""

LIBRARIES = ("pandas", "matplotlib", "seaborn")
"""Whose versions decide how results look, beside those that decide numbers."""

_KEYWORDS = re.compile(rb"/Keywords \(((?:\\.|[^\\()])*)\)", re.DOTALL)


class ProvenanceError(UserError):
    """A file does not say where it comes from."""


@dataclass(frozen=True)
class Origin:
    """The code that computed or drew something.

    Attributes:
        commit: With the suffix `-dirty` where tracked files differed from it; None outside a checkout.
        versions: Of Python and of packages.
    """

    commit: str | None
    versions: dict[str, str]

    @classmethod
    def here(cls) -> Self:
        """Of what runs now and draws."""
        return cls(_commit(), versions() | {name: metadata.version(name) for name in LIBRARIES})


_commit = cache(commit)


@dataclass(frozen=True)
class Source:
    """One run behind a file.

    Attributes:
        experiment: The entry point that computed it.
        config: Of its scientific config, the start of `config_key` of the table of runs.
        result: Of the digests of all files of its result; None in schema 1, which had none.
        origin: Which computed it.
    """

    experiment: str
    config: str
    result: str | None
    origin: Origin

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """A finished run.

        Raises:
            StoreError: Its identity can't be read.
        """
        who, status = record.identity, record.status
        config = key([who.experiment, who.config])[:DIGITS]
        return cls(status.experiment, config, result_of(status), Origin(status.commit, status.versions))


def result_of(status: Status) -> str | None:
    """The start of a digest of a finished run's result; see `Source.result`."""
    return None if status.files is None else key(status.files)[:DIGITS]


@dataclass(frozen=True)
class Provenance:
    """What a file of results carries.

    Attributes:
        command: The arguments of `python -m analysis` that made it; none where it was made from Python.
        steps: The commands that compute the runs behind it, in order.
        root: The output folder of these, as it was given.
        cells: How many cells were asked for.
        missing: How many of them had no run.
        runs: Those behind it, by id; empty where the file's own rows name them.
        drawn: What made the file.
    """

    command: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]
    root: str
    cells: int
    missing: int
    runs: dict[str, Source]
    drawn: Origin

    @classmethod
    def of(
        cls,
        records: Iterable[RunRecord],
        root: Path,
        steps: Iterable[Sequence[str]],
        *,
        cells: int,
        missing: int,
    ) -> Self:
        """That of a file that is made now.

        Args:
            records: The finished runs behind it.
            root: The output folder.
            steps: The commands that compute them.
            cells: How many were asked for.
            missing: How many of them have no run.
        """
        runs = {record.path.name: Source.of(record) for record in records}
        return cls(arguments(), tuple(map(tuple, steps)), str(root), cells, missing, runs, Origin.here())

    @property
    def config(self) -> str:
        """One digest of the scientific configs of all runs."""
        return key(sorted(source.config for source in self.runs.values()))[:DIGITS]

    def to_json(self) -> str:
        """In ASCII; origins stand once each, and runs name them by number."""
        origins = {run_id: asdict(source.origin) for run_id, source in self.runs.items()}
        distinct = {key(origin): origin for origin in origins.values()}
        places = {name: index for index, name in enumerate(distinct)}
        runs = {
            run_id: {**vars(source), "origin": places[key(origins[run_id])]}
            for run_id, source in self.runs.items()
        }
        fields = {**vars(self), "drawn": asdict(self.drawn), "runs": runs, "origins": [*distinct.values()]}
        return json.dumps({"schema": SCHEMA, **fields, "config": self.config}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The provenance that `to_json` wrote.

        Raises:
            StoreError: A later version wrote it.
            ValueError, KeyError, TypeError, IndexError: It is not as it was written.
        """
        fields = json.loads(text)
        refuse_other("provenance", fields.pop("schema"), SCHEMA)
        origins = [Origin(**origin) for origin in fields.pop("origins")]
        runs = {
            run_id: Source(**{**source, "origin": origins[source["origin"]]})
            for run_id, source in fields.pop("runs").items()
        }
        del fields["config"]  # it follows from the runs
        return cls(
            tuple(fields.pop("command")), tuple(map(tuple, fields.pop("steps"))), runs=runs,
            drawn=Origin(**fields.pop("drawn")), **fields,
        )  # fmt: skip


def merged(parts: Sequence[Provenance]) -> Provenance:
    """That of one file made of several, of one output folder."""
    steps = dict.fromkeys(step for part in parts for step in part.steps)
    runs = {run_id: source for part in parts for run_id, source in part.runs.items()}
    cells, missing = sum(part.cells for part in parts), sum(part.missing for part in parts)
    return replace(parts[0], steps=tuple(steps), cells=cells, missing=missing, runs=runs)


def again(record: RunRecord) -> list[str]:
    """The command that computes this one run."""
    return ["python", f"experiments/{record.status.experiment}.py", *record.status.overrides]


def trainings_of(records: Iterable[RunRecord], runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Those of these runs that trained the weights behind some records: they hold files of these digests."""
    used = {digest for record in records for digest in (record.identity.weights or "").split()}
    return [
        run
        for run in runs
        if run.status.experiment == TRAINING and not used.isdisjoint((run.status.files or {}).values())
    ]


def figure_metadata(title: str, description: str, provenance: Provenance, suffix: str) -> dict[str, Any]:
    """What matplotlib writes into a `.png` or a `.pdf`."""
    if suffix == ".png":
        return {"Title": title, "Description": description, CHUNK: provenance.to_json()}
    always_the_same = {"CreationDate": None}
    return {"Title": title, "Subject": description, "Keywords": provenance.to_json()} | always_the_same


def column(provenance: Provenance, rows: int) -> pa.Array:
    """That of a CSV file of so many rows."""
    return pa.array([provenance.to_json(), *[None] * (rows - 1)][:rows], pa.string())


def stamped(schema: pa.Schema, provenance: Provenance) -> pa.Schema:
    """A schema whose Parquet file carries it."""
    return schema.with_metadata({**(schema.metadata or {}), PARQUET_KEY: provenance.to_json().encode()})


def read(path: Path) -> Provenance:
    """What a file of results carries.

    Raises:
        ProvenanceError: It is missing or of another kind, or says nothing.
        StoreError: A later version wrote it.
    """
    kind = path.suffix.lower()
    if not path.is_file():
        raise _unknown(path, "no such file")
    if kind not in READERS:
        raise _unknown(path, f"one that ends in {kind!r}")
    try:
        if (text := READERS[kind](path)) is not None:
            return Provenance.from_json(text)
    except (*MALFORMED, KeyError, IndexError) as error:
        raise _unreadable(path, error) from error
    raise _unknown(path, "one that does not")


def _unreadable(path: Path, error: Exception) -> ProvenanceError:
    return _unknown(path, f"what can't be read ({type(error).__name__}: {error})")


def _unknown(path: Path, found: str) -> ProvenanceError:
    rule = f"should be a file of results ({', '.join(READERS)}) that says where it comes from, or of a run"
    return ProvenanceError(str(path), rule, found, "`python -m analysis figure` and others write them.")


def _of_png(path: Path) -> str | None:
    return png_text(path).get(CHUNK)


def png_text(path: Path) -> Mapping[str, str]:
    """The text chunks of a PNG.

    Raises:
        ProvenanceError: It is missing, or no PNG.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()  # chunks may stand behind the pixels
            return dict(getattr(image, "text", {}))
    except (OSError, SyntaxError) as error:
        raise _unreadable(path, error) from error


def _of_pdf(path: Path) -> str | None:
    found = _KEYWORDS.search(path.read_bytes())
    return found and re.sub(rb"\\(.)", rb"\1", found[1]).decode("ascii")


def _of_csv(path: Path) -> str | None:
    values = pd.read_csv(path, nrows=1, dtype=str).get(COLUMN, pd.Series()).dropna()
    return None if values.empty else str(values.iloc[0])


def _of_parquet(path: Path) -> str | None:
    text = (pq.read_schema(path).metadata or {}).get(PARQUET_KEY)
    return text and text.decode()


READERS = {".png": _of_png, ".pdf": _of_pdf, ".csv": _of_csv, ".parquet": _of_parquet}
"""By the ends of names."""
