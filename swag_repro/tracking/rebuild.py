"""Rebuilding of a run's W&B run from the run directory: offline, for `sync` to send."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from swag_repro.errors import TrackingError
from swag_repro.runs.files import clear
from swag_repro.runs.records import RunRecord
from swag_repro.tracking.about import About
from swag_repro.tracking.shown import replay, show
from swag_repro.tracking.tracker import Tracker, open_run

if TYPE_CHECKING:
    import wandb

OFFLINE_TIMEOUT = 15.0
"""Seconds in which W&B has to start offline, and to end."""


class Remainder(Tracker):
    """A tracker that leaves out points that a server already has of a run.

    Args:
        run: The W&B run.
        known: Points that the server has.
    """

    def __init__(self, run: wandb.Run | None, known: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(run)
        self._step = 1 + max((point["_step"] for point in known), default=-1)
        self._known: dict[tuple[str, Any], list[dict[str, Any]]] = defaultdict(list)
        for point in map(_numbers, known):
            for item in point.items():
                self._known[item].append(point)

    def _log(self, run: wandb.Run, values: Mapping[str, Any]) -> None:
        point = _numbers(values)
        there = self._known[next(iter(point.items()))]
        if not any(point.items() <= other.items() for other in there):
            run.log(dict(values), step=self._step)
            self._step += 1


def _numbers(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point without tables and images, which can't be compared: they have only their names."""
    return {name: value if isinstance(value, int | float) else None for name, value in point.items()}


def rebuild(record: RunRecord, known: Sequence[Mapping[str, Any]] = ()) -> None:
    """Replace what W&B has written below a run directory.

    Args:
        record: A run that is finished, or has failed; it should be at rest.
        known: Points that the server has of the run, which are left out.

    Raises:
        StoreError: A file of the run is damaged, or can't be written.
        TrackingError: W&B did not take the run.
    """
    about, config = About.of(record), record.config
    clear(record.path / "wandb")
    with open_run(
        about, mode="offline", directory=record.path, config=config, timeout=OFFLINE_TIMEOUT
    ) as run:
        tracker = Remainder(run, known)
        if record.status.state == "finished":
            replay(tracker, record)
            show(tracker, record)
        tracker.end(record.status.reason)
    if not tracker.sends:
        rule = "should be mirrored offline"
        raise TrackingError(f"run {record.path.name}", rule, "a failure of W&B", "The warning says which.")
