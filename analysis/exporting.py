"""A bundle of results for reviewers: one ZIP file with where they come from, checksums and metadata.

results/                 all of the folder of results: tables, figures, claims, studies
claims/                  the claims and their questions, as committed
runs.csv                 the runs behind all files: digests, commits, versions
commands.sh              the commands that compute these runs, and make the files
environment.txt          Python, the system and all packages
SHA256SUMS               a checksum of each file: `sha256sum -c SHA256SUMS`
ro-crate-metadata.json   all this for machines: RO-Crate 1.1 (w3id.org/ro/crate/1.1)
"""

from __future__ import annotations

import csv
import io
import json
import mimetypes
import platform
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from analysis.tables.provenance import SUFFIX, Provenance, ProvenanceError, read_provenance
from experiments.settings import CONF
from swag_repro.errors import StoreError
from swag_repro.runs.files import digest, is_folder, whole_file

CRATE = "ro-crate-metadata.json"

STANDARD = "https://w3id.org/ro/crate/1.1"

LICENSES = {"MIT": "https://spdx.org/licenses/MIT"}

LISTED = 5
"""Largest number of files that a note lists."""

UNKNOWN, CHANGED = "without a known origin", "changed since they were made"

RUN_COLUMNS = ("run_id", "experiment", "config", "result", "commit", "versions")


@dataclass
class Bundle:
    """The content of a bundle, and what is known of it.

    Attributes:
        files: The content of each file, by its path in the bundle.
        origins: Where files of results come from, by their path.
        unknown: Files of results of which nothing says where they come from.
        changed: Files of results that are not as they were made.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    origins: dict[str, Provenance] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def notes(self) -> Iterator[str]:
        """The notes for a reviewer, in words."""
        runs = {run_id for origin in self.origins.values() for run_id in origin.runs}
        yield f"{len(self.files)} files; {len(self.origins)} results from {len(runs)} runs"
        if not any(name.endswith("claims.md") for name in self.files):
            yield "no ledger of claims among them: `swag claims` writes it"
        for names, what in ((self.unknown, UNKNOWN), (self.changed, CHANGED)):
            if names:
                more = f" and {len(names) - LISTED} others" if len(names) > LISTED else ""
                yield f"{len(names)} {what}: {', '.join(names[:LISTED])}{more}"


def bundle(results: Path, leave_out: Path) -> Bundle:
    """Return the bundle of a folder of results.

    Args:
        results: The folder.
        leave_out: A file that is no result though it may lie there: the bundle itself.

    Raises:
        StoreError: There is no such folder, it is empty, or a file can't be read.
        OtherVersionError: Another version wrote where files come from.
    """
    made = Bundle()
    paths = sorted(path for path in results.rglob("*") if path.is_file()) if is_folder(results) else []
    for path in paths:
        if path.resolve() != leave_out.resolve():
            _add_result(made, f"results/{path.relative_to(results).as_posix()}", path)
    if not made.files:
        remedy = "`swag collect`, `swag figure` and `swag claims` write some."
        raise StoreError("--results", "should be a folder with results", f"none in {results}", remedy)
    for path in sorted((CONF / "claims").glob("*.yaml")):
        made.files[f"claims/{path.name}"] = path.read_bytes()
    texts = {"runs.csv": _runs(made), "commands.sh": _commands(made), "environment.txt": _environment()}
    made.files |= {name: text.encode() for name, text in texts.items()}
    made.files[CRATE] = (json.dumps(_crate(made), indent=1) + "\n").encode()
    sums = "".join(f"{digest(content)}  {name}\n" for name, content in made.files.items())
    made.files["SHA256SUMS"] = sums.encode()
    return made


def _add_result(made: Bundle, name: str, path: Path) -> None:
    try:
        made.files[name] = path.read_bytes()
    except OSError as error:
        raise StoreError(str(path), "should be readable", error, "Check it.") from error
    if name.endswith(SUFFIX):
        return
    try:
        origin = read_provenance(path)
    except ProvenanceError:
        made.unknown.append(name)
        return
    made.origins[name] = origin
    if origin.files[path.name] != digest(made.files[name]):
        made.changed.append(name)


def _runs(made: Bundle) -> str:
    runs = {run_id: run for origin in made.origins.values() for run_id, run in origin.runs.items()}
    writer = csv.writer(text := io.StringIO(), lineterminator="\n")
    writer.writerow(RUN_COLUMNS)
    for run_id, run in sorted(runs.items()):
        versions = " ".join(f"{name}={version}" for name, version in run.origin.versions.items())
        writer.writerow([run_id, run.experiment, run.config, run.result, run.origin.commit, versions])
    return text.getvalue()


def _commands(made: Bundle) -> str:
    """Return a script: first what computes runs, then what makes files of them, each once."""
    steps = dict.fromkeys(step for origin in made.origins.values() for step in origin.steps)
    making = dict.fromkeys(("swag", *origin.command) for origin in made.origins.values() if origin.command)
    return "".join(f"{shlex.join(command)}\n" for command in (*steps, *making))


def _environment() -> str:
    packages = sorted({f"{one.name}=={one.version}" for one in metadata.distributions()}, key=str.lower)
    about = f"# Python {platform.python_version()}, {platform.platform()}"
    return "\n".join([about, *packages]) + "\n"


def _crate(made: Bundle) -> dict[str, Any]:
    """Return the metadata of a bundle as JSON-LD."""
    about = metadata.metadata("swag-repro")
    names, named = [name for name in made.files if name != CRATE], about["License-Expression"]
    license_, actions = {"@id": LICENSES.get(named, named)}, _actions(made)
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Results of {about['Name']} {about['Version']}",
        "description": about["Summary"],
        "datePublished": datetime.now(UTC).date().isoformat(),
        "license": license_,
        "author": {"@id": "#authors"},
        "hasPart": [{"@id": name} for name in names],
        "mentions": [{"@id": action["@id"]} for action in actions],
    }
    others = [
        {"@id": CRATE, "@type": "CreativeWork", "conformsTo": {"@id": STANDARD}, "about": {"@id": "./"}},
        {**license_, "@type": "CreativeWork", "name": named},
        {"@id": "#authors", "@type": "Organization", "name": about["Author"]},
        {"@id": "#swag", "@type": "SoftwareApplication", "name": about["Name"], "version": about["Version"]},
    ]
    files = [_file(made, name) for name in names]
    return {"@context": f"{STANDARD}/context", "@graph": [root, *others, *files, *actions]}


def _file(made: Bundle, name: str) -> dict[str, Any]:
    known = [what for names, what in ((made.unknown, UNKNOWN), (made.changed, CHANGED)) if name in names]
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "encodingFormat": mimetypes.guess_type(name)[0] or "application/octet-stream",
        "contentSize": str(len(made.files[name])),
        "sha256": digest(made.files[name]),
        **({"description": ", ".join(known)} if known else {}),
    }


def _actions(made: Bundle) -> list[Mapping[str, Any]]:
    """Return one action for each command that made files of results."""
    by_command: dict[tuple[str, ...], list[str]] = {}
    for name, origin in made.origins.items():
        by_command.setdefault(origin.command, []).append(name)
    return [
        {
            "@id": f"#action-{number}",
            "@type": "CreateAction",
            "name": shlex.join(("swag", *command)) if command else "made from Python",
            "instrument": {"@id": "#swag"},
            "result": [{"@id": name} for name in names],
        }
        for number, (command, names) in enumerate(by_command.items(), start=1)
    ]


def write_bundle(made: Bundle, path: Path) -> None:
    """Write a bundle as a ZIP file, whose bytes depend on its content alone.

    Raises:
        StoreError: The file can't be written.
    """
    with whole_file(path) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in made.files.items():
            archive.writestr(ZipInfo(name), content, compress_type=ZIP_DEFLATED)
