"""The names of a run in W&B. A small file of the run directory holds them, so W&B's run can be made anew."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from swag_repro.runs.files import parsed, write_text
from swag_repro.runs.identity import leaves
from swag_repro.runs.records import RunRecord

FILE = "tracking.json"
"""The file's name. No digest of it is kept, because it decides no number."""

LONGEST_TAG = 64
"""Longest tag that W&B takes."""


FOLDERS = re.compile(r"(?<=[=\[,])[~./][^,\]]*/")
"""Pattern of the folders of a file that an override names by a path from `/`, `~` or `.`."""


def name_of(label: str, *, own: Sequence[str], images: Sequence[str]) -> str:
    """Return a run's name. Its start tells it from other runs, because lists show some 30 characters.

    Args:
        label: Name of the experiment.
        own: Overrides that tell a cell from the others of its sweep; empty outside a sweep.
        images: Names of the run's pairs, such as `photo__painting`, or of its images.
    """
    first = " ".join(FOLDERS.sub("", override) for override in own)
    if not own and len(images) == 1:
        first = images[0].replace("__", " × ")
    return f"{first} · {label}" if first else label


@dataclass(frozen=True, kw_only=True)
class About:
    """The names of a W&B run.

    Attributes:
        run_id: The id of the run directory and of the W&B run; another attempt goes on with the same W&B run.
        project: W&B's project.
        entity: W&B's team or user; the user's default if None.
        name: The run's name, for people.
        group: Name of the group of runs that are shown together, such as `fig3`.
        job_type: The kind of run, such as the experiment's name.
        tags: Words by which to find it.
        sweep: Folder name of the sweep that computed it; None outside a sweep.
    """

    run_id: str
    project: str
    entity: str | None
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...] = ()
    sweep: str | None = None

    def write(self, directory: Path) -> None:
        """Write the names into a run directory.

        Raises:
            StoreError: The file can't be written.
        """
        write_text(directory / FILE, json.dumps(asdict(self), indent=2) + "\n", below=directory)

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """Return the names of a run; if it has no file of them, take them from its status and config.

        Raises:
            StoreError: A file of the run is malformed.
        """
        path = record.path / FILE
        if path.exists():
            return parsed(path, path.read_bytes(), cls._from_json)
        settings, status = record.config.get("tracking", {}), record.status
        return cls(
            run_id=record.path.name,
            project=settings.get("project", "swag-repro"),
            entity=settings.get("entity"),
            name=" ".join([status.experiment, *status.overrides]),
            group=status.name,
            job_type=status.experiment,
            tags=(status.experiment, *settings.get("tags", ())),
        )

    @classmethod
    def _from_json(cls, text: str) -> Self:
        about = cls(**json.loads(text))
        return replace(about, tags=tuple(about.tags))

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of `wandb.init`; the config is flat, as `network/name`, to filter by it."""
        names = {name: getattr(self, name) for name in ("project", "entity", "name", "group", "job_type")}
        tags = dict.fromkeys(tag[:LONGEST_TAG] for tag in (*self.tags, self.sweep) if tag)
        settings = {**leaves(config, "/"), "run_id": self.run_id, "sweep": self.sweep}
        return {**names, "id": self.run_id, "tags": list(tags), "config": settings}
