"""The finished run that answers each cell of a figure, and the run that judged its pictures."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from analysis.tables.kept import Kept
from analysis.tables.reading import Row
from analysis.tables.runs import as_text, from_text, settings_of
from experiments.asking import Cell, CellsError
from experiments.science import wants_judge
from swag_repro.runs.identity import content_key
from swag_repro.runs.schema import RUNS

FILE_GROUPS = ("images", "weights", "content", "style", "run")
"""Settings that name files; `content` and `style` are those of a stylisation, `run` a trained network's."""

IMAGES, SIZES = ("content", "style", "pairing", "masks", "start", "corpus", "data"), ("size", "resize")
"""Settings beside `images` that name images, and settings of `images` that name none."""

NETWORK = ("network", "weights", "run")
"""Settings that name a network; a network that stylises in one pass is that of a `run`."""

MOST_LISTED = 10
"""Largest number of cells or runs that a message lists."""


def answered(cells: Sequence[Cell], kept: Kept, command: Sequence[str], *, partial: bool) -> list[Row | None]:
    """Return the run of each cell, None where it has none.

    Args:
        cells: The cells of one figure.
        kept: The tables of its output folder.
        command: The command that computes missing cells.
        partial: Whether cells may be missing, though not all of them.

    Raises:
        CellsError: A cell is missing, several runs fit one, or the runs don't belong together.
    """
    by_key = runs_by_key(kept, {cell.key for cell in cells})
    runs = [_choose(cell, own(cell, by_key[cell.key]), kept) for cell in cells]
    found = [(cell, run) for cell, run in zip(cells, runs, strict=True) if run is not None]
    _check_together(found)
    if not partial or not found:
        missing = [(cell, by_key[cell.key]) for cell, run in zip(cells, runs, strict=True) if run is None]
        _check_complete(missing, len(cells), command)
    return runs


def judges(cells: Sequence[Cell], runs: Sequence[Row | None], kept: Kept) -> list[Row | None]:
    """Return the newest run that judged the pictures of each cell's run as they are today.

    Args:
        cells: The cells of one figure.
        runs: The runs of `answered`.
        kept: The tables of their output folder.
    """
    keys = [
        cell.key_of_judge(run["run_id"]) if run is not None and wants_judge(cell.config) else None
        for cell, run in zip(cells, runs, strict=True)
    ]
    by_key = runs_by_key(kept, {one for one in keys if one is not None})
    return [
        None if one is None or run is None else _newest(by_key[one], run["pictures_digest"])
        for one, run in zip(keys, runs, strict=True)
    ]


def runs_by_key(kept: Kept, keys: set[str]) -> dict[str, list[Row]]:
    """Return the runs, whatever their state, that fit each `config_key`."""
    found = defaultdict(list)
    if keys:
        for run in kept.read("runs", "config_key", keys, RUNS.names).to_pylist():
            found[run["config_key"]].append(run)
    return found


def own(cell: Cell, fitting: list[Row]) -> list[Row]:
    """Return the runs that a sweep has noted for its cell; all fitting ones if it has noted none of them."""
    return [run for run in fitting if run["run_id"] in cell.runs] or fitting


def _newest(judged: list[Row], pictures: str) -> Row | None:
    saw = [run for run in judged if run["state"] == "finished" and run["images_digest"] == pictures]
    return max(saw, key=lambda run: (run["started_at"], run["run_id"]), default=None)


def _choose(cell: Cell, fitting: list[Row], kept: Kept) -> Row | None:
    runs = [run for run in fitting if run["state"] == "finished"]
    newest = max((run["version"] for run in runs), default=None)
    runs = [run for run in runs if run["version"] == newest]
    if len(runs) > 1:  # the runs used different files: keep those with the files that the cell names
        config = {name: cell.config[name] for name in FILE_GROUPS if name in cell.config}
        wanted = _plain({name: as_text(value) for name, value in settings_of(config).items()})
        named = _named_files(kept, [run["run_id"] for run in runs])
        runs = [run for run in runs if named[run["run_id"]] == wanted] or runs
    if len(runs) > 1:
        raise CellsError(
            f"runs of {cell}",
            "should be one",
            f"{len(runs)}, of different images or weight files",
            "Move away those you don't want, or name the files of those you want by images.* and weights.*:"
            + bullet_list(kept.root / run["path"] for run in runs),
        )
    return runs[0] if runs else None


def _named_files(kept: Kept, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the settings of these runs that name files."""
    columns = [name for name in kept.columns("runs") if name.split(".")[0] in FILE_GROUPS]
    rows = kept.read("runs", "run_id", ids, ["run_id", *columns]).to_pylist()
    return {row.pop("run_id"): _plain(row) for row in rows}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a row that are not null, with what its table holds as text."""
    values = {name: from_text(value) if isinstance(value, str) else value for name, value in row.items()}
    return {name: value for name, value in values.items() if value is not None}


def _check_together(found: Sequence[tuple[Cell, Row]]) -> None:
    """Raise unless all runs have one version and look; runs that name the same files should have the same."""
    _check_alike((run for _, run in found), lambda run: run["version"])
    _check_alike((run for _, run in found if run["look_digest"]), lambda run: run["look_digest"])
    by_images: dict[str, list[Row]] = defaultdict(list)
    for cell, run in found:
        by_images[content_key(_images(cell))].append(run)
    for runs in by_images.values():
        _check_alike(runs, lambda run: run["images_digest"])
    by_weights: dict[str, list[Row]] = defaultdict(list)
    for cell, run in found:
        by_weights[content_key([cell.config.get(name) for name in NETWORK])].append(run)
    for runs in by_weights.values():
        _check_alike(runs, lambda run: run["weights_digest"])


def _images(cell: Cell) -> list[Any]:
    """Return the settings of a cell that name its images."""
    images = {name: value for name, value in cell.config.get("images", {}).items() if name not in SIZES}
    return [images, *(cell.config.get(name) for name in IMAGES)]


def _check_alike(runs: Iterable[Row], part: Callable[[Row], object]) -> None:
    kinds: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        kinds[content_key(part(run))].append(run["path"])
    if len(kinds) > 1:
        raise CellsError(
            "runs",
            "of one figure should have the same images, weight files and version of the experiment",
            f"{len(kinds)} kinds",
            "Delete the old ones, and run the experiment again:"
            + bullet_list(f"{len(paths)} like {paths[0]}" for paths in kinds.values()),
        )


def _check_complete(missing: Sequence[tuple[Cell, list[Row]]], count: int, command: Sequence[str]) -> None:
    """Raise an error that lists the cells without a finished run, and the command that computes them."""
    if not missing:
        return
    raise CellsError(
        "runs",
        "should hold every cell of the figure",
        f"{len(missing)} of {count} cells missing",
        f"The missing ones are:{bullet_list(f'{cell}{_why(runs)}' for cell, runs in missing)}\n"
        f"Compute them by\n  {shlex.join(command)}\n"
        f"or draw what is there, marked as partial, by --allow-partial.",
    )


def _why(runs: Sequence[Row]) -> str:
    known = [f" ({run['state']}: {run['reason']})" for run in runs if run["reason"]]
    return known[0] if known else ""


def bullet_list(items: Iterable[object]) -> str:
    """Return items for a message, each on a line of its own; a long list shows only the first ones."""
    lines = [f"\n  {item}" for item in items]
    more = [f"\n  ... and {len(lines) - MOST_LISTED} more"] if len(lines) > MOST_LISTED else []
    return "".join(lines[:MOST_LISTED] + more)
