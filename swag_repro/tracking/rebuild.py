"""A run's W&B run, made anew from its directory: offline, to be sent by `sync`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from swag_repro.errors import TrackingError
from swag_repro.runs.files import clear
from swag_repro.runs.records import RunRecord
from swag_repro.tracking.about import About
from swag_repro.tracking.shown import replay, show
from swag_repro.tracking.tracker import Tracker, opened

if TYPE_CHECKING:
    import pandas as pd
    import wandb

TIMEOUT = 15.0
"""Seconds for W&B to start, and to end, offline."""


class Remainder(Tracker):
    """Leaves out what a server already has of a run.

    Args:
        run: W&B's.
        known: The points that the server has.
    """

    def __init__(self, run: wandb.Run | None, known: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(run, first_step=1 + max((point["_step"] for point in known), default=-1))
        self._names: set[str] = set()
        self._points: dict[tuple[str, Any], list[Mapping[str, Any]]] = defaultdict(list)
        for point in known:
            self._names |= point.keys()
            for name, value in point.items():
                if isinstance(value, int | float):
                    self._points[name, value].append(point)

    def log(self, values: Mapping[str, float]) -> None:
        """A point, unless one with all of its values is there."""
        axis = next(iter(values.items()))
        if not any(values.items() <= point.items() for point in self._points[axis]):
            super().log(values)

    def table(self, name: str, rows: pd.DataFrame) -> None:
        """A table, unless one of its name is there."""
        if name not in self._names:
            super().table(name, rows)

    def images(self, name: str, images: Iterable[Any]) -> None:
        """Images, unless some of their name are there."""
        if name not in self._names:
            super().images(name, images)


def rebuild(record: RunRecord, known: Sequence[Mapping[str, Any]] = ()) -> None:
    """Replaces what W&B has written below a run directory.

    Args:
        record: Of a run that is finished, or has failed; it should be at rest.
        known: Points that the server has of it, which are left out.

    Raises:
        StoreError: A file of it is damaged, or can't be written.
        TrackingError: W&B did not take it.
    """
    about, config = About.of(record), record.config
    clear(record.path / "wandb")
    with opened(about, mode="offline", directory=record.path, config=config, timeout=TIMEOUT) as run:
        tracker = Remainder(run, known)
        if record.status.state == "finished":
            replay(tracker, record)
            show(tracker, record)
        tracker.end(record.status.reason)
    if not tracker.sends:
        rule = "should be mirrored offline"
        raise TrackingError(f"run {record.path.name}", rule, "a failure of W&B", "The warning says which.")
