"""The sweeps of an output folder, and the one that a user means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from experiments.sweeps.sweep import Sweep
from swag_repro.errors import SettingError, StoreError
from swag_repro.runs.files import is_folder

LAST = "last"
"""The handle of the newest sweep."""

LISTED = 8
"""The most sweeps that an error names."""


def is_handle(argument: str) -> bool:
    """Return whether an argument of a command names a sweep; overrides have `=`, or `~` to delete."""
    return ("=" not in argument and not argument.startswith("~")) or _has_plan(Path(argument))


def find(handle: str, output: Path) -> Sweep:
    """Return the sweep that a handle means.

    Args:
        handle: `last`, for the newest sweep; its folder, or the name of that; or the name of its runs, for
            the newest of this name.
        output: The folder of run directories that holds it.

    Raises:
        SettingError: There is no such sweep.
        StoreError: The plan of the folder can't be read.
    """
    folder = Path(handle)
    if _has_plan(folder) or (is_folder(folder) and len(folder.parts) > 1):
        return Sweep.read(folder)
    known = sorted(_sweeps(output), key=lambda sweep: sweep.started_at, reverse=True)
    if found := [sweep for sweep in known if handle in (LAST, sweep.name, sweep.label)]:
        return found[0]
    names = list(dict.fromkeys(sweep.label for sweep in known))
    there = f"There are {', '.join([LAST, *names[:LISTED]])} in {output}." if names else f"{output} has none."
    rule = "should be `last`, the folder of a sweep, or its name"
    raise SettingError("sweep", rule, repr(handle), f"{there} Other folders: --output FOLDER.")


def _has_plan(folder: Path) -> bool:
    return is_folder(folder) and (folder / "plan.json").is_file()


def _sweeps(output: Path) -> Iterator[Sweep]:
    """Yield the sweeps of an output folder, except those whose plans can't be read."""
    for plan in output.glob("sweeps/*/plan.json"):
        with suppress(StoreError):
            yield Sweep.read(plan.parent)
