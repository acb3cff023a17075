"""The launch of a sweep: its workers are started until all cells have ended, then a summary is printed."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread

from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.markup import escape

from experiments.made import refuse_save
from experiments.programs import PICTURED, config_dir, hydra_overrides
from experiments.sweeps import launchers
from experiments.sweeps.composing import Composer, Grid, grid_of
from experiments.sweeps.finding import LAST
from experiments.sweeps.progress import console, duration
from experiments.sweeps.sweep import Sweep, check_sweep
from swag_repro.errors import SettingError
from swag_repro.runs.files import check_writable

IN_VAIN = 3
"""The number of launches in a row that may end no cell."""

SWEEP_PAUSE = 1.0
"""Seconds between two checks of a sweep."""

GRACE = 10.0
"""Seconds that workers have to end after all cells have ended."""

IN_WORDS = {"missing": "not begun", "running": "computed elsewhere"}
"""The summary's words for states of cells."""

DRY_RUN_CELLS = 20
"""The most cells that a dry run lists, beside those that can't be computed."""


class CompositionError(Exception):
    """An error of Hydra in composing a cell; its cause says why.

    Args:
        cell: The overrides that tell the first such cell from others.
    """

    def __init__(self, cell: str) -> None:
        super().__init__(cell)
        self.cell = cell


@dataclass(frozen=True)
class Launch:
    """A sweep that is ready to be launched.

    Attributes:
        grid: Its cells.
        config: The multirun's config, with Hydra's node.
        overrides: The overrides of the command.
    """

    grid: Grid
    config: DictConfig
    overrides: Sequence[str]

    @classmethod
    def of(cls, config: DictConfig, overrides: Sequence[str]) -> Launch:
        """Return the sweep of a multirun, after checking it.

        Raises:
            SettingError: It has no cells or too many, or its launcher can't be used.
            CompositionError: A cell does not compose.
        """
        grid = grid_of(config.hydra)
        check_sweep(config.sweep)
        _check_size(grid, config.sweep.max_cells)
        saved = (one for axis in grid.axes for one in axis if one.startswith("save=") and one != "save=null")
        refuse_save(next(saved, None), "a sweep")
        launchers.check_launcher(config.hydra.launcher)
        _check_composes(grid, Composer(config.hydra.job.config_name, hydra_overrides(config.hydra)))
        return cls(grid, config, overrides)

    @property
    def dry_run(self) -> bool:
        """Whether the cells are only listed."""
        return bool(self.config.sweep.dry_run)

    @property
    def workers(self) -> int:
        """The number of processes that compute the cells, at most one per cell."""
        return workers_of(self.grid, self.config.sweep, self.config.hydra.launcher)

    def run(self, launcher: Callable[[], Launcher]) -> None:
        """Write the plan and launch workers, repeatedly if some were killed before all cells ended.

        Raises:
            StoreError: The output folder can't be written to.
        """
        check_writable(Path(self.config.hydra.run.dir))
        hydra = self.config.hydra
        name = hydra.runtime.choices["hydra/launcher"]
        sweep = Sweep.start(
            Path(hydra.sweep.dir),
            hydra.job.config_name,
            self.grid,
            command=[*self.overrides, *hydra_overrides(hydra)],
            launcher=name,
            workers=self.workers,
            label=str(self.config.name),
            program=hydra.job.name,
            config_dir=config_dir(hydra),
        )
        Sweep.launched = sweep
        launchers.connect(hydra.launcher)
        first = list(self.grid[0])  # every worker composes this cell, then goes over all cells
        if name == "basic":
            _raise_first(launcher().launch([first], initial_job_idx=0))
            return
        begun = in_vain = 0
        while in_vain < IN_VAIN and (left := _count_left(sweep)):
            launch = partial(launcher().launch, [first] * self.workers, initial_job_idx=begun)
            lost = _launch(launch, sweep, launchers.Jobs(hydra.launcher, sweep.directory))
            begun += self.workers
            in_vain = 0 if sweep.cells_left() < left else in_vain + 1
            if lost == launchers.CANCELLED:
                return
            if lost is not None and sweep.cells_left() and not sweep.stopped:
                console.print(f"[yellow]workers were lost, so others are started[/] ({escape(lost)})")


def workers_of(grid: Grid, settings: DictConfig, launcher: DictConfig) -> int:
    """Return how many processes compute the cells of a grid, at most one per cell.

    Args:
        grid: The cells.
        settings: The node `sweep`.
        launcher: The node `hydra.launcher`, checked.
    """
    asked = settings.workers or launchers.workers(launcher)
    return max(1, min(asked or 1, len(grid)))


def _count_left(sweep: Sweep) -> int:
    """Return how many cells are left, after waiting while other processes compute all of them."""
    while not sweep.stopped:
        left = [found for found in sweep.cells() if not found.ended]
        if not left or any(found.state != "running" for found in left):
            return len(left)
        time.sleep(SWEEP_PAUSE)
    return 0


def _launch(launch: Callable[[], Sequence[object]], sweep: Sweep, jobs: launchers.Jobs) -> str | None:
    """Launch workers, and wait until they or the cells have ended; return why workers were lost, if any were.

    A launcher waits for all of its jobs, so it runs in a thread. SLURM's launcher would wait for ever for
    killed jobs if SLURM keeps no accounts, and for queued jobs after others have computed all cells.
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
            thread.join(SWEEP_PAUSE)
            time.sleep((time.monotonic() - began) / 10)
    except BaseException:
        jobs.kill()
        raise
    if jobs.cancelled:
        return launchers.CANCELLED
    return problems[0] if problems else None if alive is None else "no job is left"


def _is_over(sweep: Sweep) -> bool:
    """Return whether all cells have ended; of a stopped sweep, whether no worker computes any more."""
    if sweep.stopped:
        return not any(found.state == "running" and found.sweep == sweep.name for found in sweep.cells())
    return sweep.cells_left() == 0


def _raise_first(returned: Sequence[object]) -> None:
    """Raise the first exception that a worker returned."""
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
    """Print a summary of a sweep's cells; return whether all have results."""
    cells, outcomes = len(sweep.grid), sweep.outcomes()
    listed = [f"{outcomes[state]} {IN_WORDS.get(state, state)}" for state in sorted(outcomes)]
    console.print(f"\n{cells} cells in {duration(sweep.age)}: {', '.join(listed)}.")
    for number, found in enumerate(sweep.cells()):
        if found.state in ("failed", "left", "killed"):
            own, reason = escape(" ".join(sweep.grid.own(number))), escape(found.reason or "")
            console.print(f"  [red]{found.state}:[/] {own}\n    {reason}")
    done = outcomes["computed"] + outcomes["judged"] + outcomes["skipped"]
    if done < cells:
        console.print("The same command computes what is missing, and skips the rest:")
        console.print(escape(f"  {sweep.again}"))
    else:
        console.print("Next:")
        for command in _looking(sweep):
            console.print(escape(f"  {command}"))
    return done == cells


def _looking(sweep: Sweep) -> Iterator[str]:
    """Yield the commands that show a finished sweep."""
    standard = sweep.directory.parent == Path("outputs/sweeps").absolute()
    handle = LAST if standard else os.path.relpath(sweep.directory)
    for command in ("runs", "plot", *(["sheet"] if sweep.entry in PICTURED else [])):
        yield shlex.join(["swag", command, handle])
