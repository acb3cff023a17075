"""How a sweep is begun, and its workers are launched until all cells have ended; and what is said then."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread

from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.markup import escape

from experiments.sweeps import launchers
from experiments.sweeps.composing import Composer, grid_of
from experiments.sweeps.grid import Grid
from experiments.sweeps.progress import console, duration
from experiments.sweeps.sweep import Sweep
from swag_repro.errors import SettingError
from swag_repro.runs.files import check_writable

IN_VAIN = 3
"""Times that workers are started anew although no cell has ended since the last time."""

PAUSE = 1.0
"""Seconds between two looks at a sweep."""

GRACE = 10.0
"""Seconds that workers have to end once all cells have."""

IN_WORDS = {"missing": "not begun", "running": "computed elsewhere"}
"""States of cells, as the summary says them."""

LISTED = 20
"""Cells that a dry run lists, at most; the plan of a sweep names them all."""


class CompositionError(Exception):
    """Hydra can't compose a cell; its cause says why.

    Args:
        cell: the first such, by what tells it from others.
    """

    def __init__(self, cell: str) -> None:
        super().__init__(cell)
        self.cell = cell


@dataclass(frozen=True)
class Launch:
    """A sweep to be computed.

    Attributes:
        grid: its cells.
        config: of the multirun, with Hydra's node.
        overrides: as they were given.
    """

    grid: Grid
    config: DictConfig
    overrides: Sequence[str]

    @classmethod
    def of(cls, config: DictConfig, overrides: Sequence[str]) -> Launch:
        """A sweep that can be begun.

        Raises:
            SettingError: it has no cells, or too many, or its launcher can't be had.
            CompositionError: a cell does not compose.
        """
        grid = grid_of(config.hydra)
        _check_size(grid, config.sweep.max_cells)
        launchers.check(config.hydra.launcher)
        _check_composes(grid, Composer(config.hydra.job.config_name, config.hydra.overrides.hydra))
        return cls(grid, config, overrides)

    @property
    def dry_run(self) -> bool:
        """Whether its cells are only to be listed."""
        return bool(self.config.sweep.dry_run)

    def list_cells(self) -> None:
        """Prints what would be computed."""
        for number in range(min(LISTED, len(self.grid))):
            console.print(escape(f"[{number + 1}/{len(self.grid)}] {' '.join(self.grid.own(number))}"))
        if len(self.grid) > LISTED:
            console.print(f"... and {len(self.grid) - LISTED} more")
        console.print(f"{len(self.grid)} cells for {self.workers} workers. Nothing was computed.")

    @property
    def workers(self) -> int:
        """How many processes compute them; no more than there are cells."""
        asked = self.config.sweep.workers or launchers.workers(self.config.hydra.launcher)
        return max(1, min(asked or 1, len(self.grid)))

    def run(self, launcher: Callable[[], Launcher]) -> None:
        """Writes the plan, and launches workers; again, where some were killed before all was done.

        Raises:
            StoreError: the output folder can't be written to.
        """
        check_writable(Path(self.config.output))
        hydra = self.config.hydra
        name = hydra.runtime.choices["hydra/launcher"]
        sweep = Sweep.start(
            Path(hydra.sweep.dir),
            hydra.job.config_name,
            self.grid,
            command=[*self.overrides, *_given(hydra.overrides.hydra)],
            launcher=name,
            workers=self.workers,
        )
        Sweep.launched = sweep
        launchers.connect(hydra.launcher)
        first = list(self.grid[0])  # every worker composes this one; then it goes over all cells
        if name == "basic":
            _raise_first(launcher().launch([first], initial_job_idx=0))
            return
        begun = in_vain = 0
        while in_vain < IN_VAIN and (left := _left(sweep)):
            launch = partial(launcher().launch, [first] * self.workers, initial_job_idx=begun)
            lost = _watched(launch, sweep, launchers.Jobs(hydra.launcher, sweep.directory))
            begun += self.workers
            in_vain = 0 if sweep.cells_left() < left else in_vain + 1
            if lost == launchers.CANCELLED:
                return
            if lost is not None and sweep.cells_left() and not sweep.stopped:
                console.print(f"[yellow]workers were lost, so others are started[/] ({escape(lost)})")


def _left(sweep: Sweep) -> int:
    """Return how many cells are left, once not all of them are computed by other processes."""
    while not sweep.stopped:
        left = [found for found in sweep.cells() if not found.ended]
        if not left or any(found.state != "running" for found in left):
            return len(left)
        time.sleep(PAUSE)
    return 0


def _watched(launch: Callable[[], Sequence[object]], sweep: Sweep, jobs: launchers.Jobs) -> str | None:
    """Have workers launched, and wait until they or the cells have ended; return why some were lost, if so.

    Launchers wait for all of their jobs, in a thread here: SLURM's waits for ever for killed ones where jobs
    are not accounted for, and for those that have not begun when others have done all.
    """
    problems: list[str] = []

    def wait() -> None:
        try:
            _raise_first(launch())
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}".splitlines()[0])

    thread = Thread(target=wait, daemon=True)
    thread.start()
    try:
        while thread.is_alive() if (alive := jobs.alive()) is None else alive:
            began = time.monotonic()
            if sweep.stopped:
                jobs.cancel()
            if _is_over(sweep):
                jobs.cancel(waiting=True)
                thread.join(GRACE)
                return None
            thread.join(PAUSE)
            time.sleep((time.monotonic() - began) / 10)
    except BaseException:
        jobs.kill()
        raise
    if jobs.cancelled:
        return launchers.CANCELLED
    return problems[0] if problems else None if alive is None else "no job is left"


def _is_over(sweep: Sweep) -> bool:
    """Return whether all cells have ended; of a stopped sweep, whether its workers have let go of theirs."""
    if sweep.stopped:
        return not any(found.state == "running" and found.sweep == sweep.name for found in sweep.cells())
    return sweep.cells_left() == 0


def _given(overrides: Sequence[str]) -> list[str]:
    """Those of Hydra's own settings that stand in a command beside its flags."""
    return [override for override in overrides if not override.startswith("hydra.mode=")]


def _raise_first(returned: Sequence[object]) -> None:
    """Raise what a worker raised."""
    for job in returned:
        _ = job.return_value  # type: ignore[attr-defined]


def _check_size(grid: Grid, most: int) -> None:
    if len(grid) > most:
        remedy = f"If you mean it, add sweep.max_cells={len(grid)}."
        raise SettingError("-m", f"should be a sweep of at most {most} cells", len(grid), remedy)


def _check_composes(grid: Grid, composer: Composer) -> None:
    for number in grid.samples(composer.is_choice):
        try:
            composer(grid[number])
        except (HydraException, OmegaConfBaseException) as error:
            raise CompositionError(" ".join(grid.own(number))) from error


def summarize(sweep: Sweep) -> bool:
    """Print what became of a sweep's cells; return whether all are there."""
    cells, outcomes = len(sweep.grid), sweep.outcomes()
    listed = [f"{outcomes[state]} {IN_WORDS.get(state, state)}" for state in sorted(outcomes)]
    console.print(f"\n{cells} cells in {duration(sweep.age)}: {', '.join(listed)}.")
    for number, found in enumerate(sweep.cells()):
        if found.state in ("failed", "left", "killed"):
            own, reason = escape(" ".join(sweep.grid.own(number))), escape(found.reason or "")
            console.print(f"  [red]{found.state}:[/] {own}\n    {reason}")
    done = outcomes["computed"] + outcomes["judged"] + outcomes["skipped"]
    if done < cells:
        console.print("The same command computes what is missing, and skips the rest.")
    else:
        given = [item for item in sweep.command if not item.startswith(("hydra", "output="))]
        looked_at = shlex.join(["python", "-m", "analysis", "runs", *given, "--runs", sweep.output])
        console.print(f"Next: {escape(looked_at)}\n      figure, sheet and plot take the same.")
    return done == cells
