"""What W&B calls a run: a small file of the run directory, from which its W&B run can be made anew."""

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
"""Its name. No digest is kept of it: it decides no number."""

LONGEST_TAG = 64
"""W&B refuses longer ones."""


FOLDERS = re.compile(r"(?<=[=\[,])[~./][^,\]]*/")
"""What comes before a file's name, in an override that names a file by a path from `/`, `~` or `.`."""


def name_of(label: str, *, own: Sequence[str], images: Sequence[str]) -> str:
    """Return a run's name, which begins with what tells it from others: lists show some 30 characters.

    Args:
        label: Of the experiment.
        own: The overrides that tell a cell from the others of its sweep; empty outside one.
        images: The names of its pairs, such as `photo__painting`, or of its images.
    """
    first = " ".join(FOLDERS.sub("", override) for override in own)
    if not own and len(images) == 1:
        first = images[0].replace("__", " × ")
    return f"{first} · {label}" if first else label


@dataclass(frozen=True, kw_only=True)
class About:
    """The names of a W&B run.

    Attributes:
        run_id: Of the run directory, and of the W&B run: another attempt goes on with it.
        project: W&B's project.
        entity: W&B's team or user; the user's default if None.
        name: The run's name, for people.
        group: Of the runs shown together, such as `fig3`.
        job_type: Such as the experiment's name.
        tags: To find it by.
        sweep: The folder name of the sweep it was computed in; None outside one.
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
            StoreError: It can't be written.
        """
        write_text(directory / FILE, json.dumps(asdict(self), indent=2) + "\n", below=directory)

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """Return the names of a run; of one without the file, those that its status and config say.

        Raises:
            StoreError: A file of it is malformed.
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
        """Return what `wandb.init` takes; the config flat, as `network/name`, to filter and group by."""
        names = {name: getattr(self, name) for name in ("project", "entity", "name", "group", "job_type")}
        tags = dict.fromkeys(tag[:LONGEST_TAG] for tag in (*self.tags, self.sweep) if tag)
        settings = {**leaves(config, "/"), "run_id": self.run_id, "sweep": self.sweep}
        return {**names, "id": self.run_id, "tags": list(tags), "config": settings}
