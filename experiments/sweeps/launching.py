"""The launch of a sweep: its workers are started until all cells have ended, then a summary is printed."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Thread

from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig
from rich.markup import escape

from experiments.programs import PICTURED, config_dir, hydra_overrides
from experiments.results import refuse_save
from experiments.sweeps import launchers
from experiments.sweeps.composing import Composer, Grid, grid_of
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


def check_grid(config: DictConfig) -> Grid:
    """Return the cells of a multirun, after checking all that needs no cell's experiment.

    Args:
        config: The multirun's config, with Hydra's node.

    Raises:
        SettingError: It has no cells or too many, or its launcher can't be used.
        HydraException, OmegaConfBaseException: A cell does not compose.
    """
    grid = grid_of(config.hydra)
    check_sweep(config.sweep)
    if len(grid) > config.sweep.max_cells:
        rule = f"should be a sweep of at most {config.sweep.max_cells} cells"
        remedy = f"If you mean it, add sweep.max_cells={len(grid)}."
        raise SettingError("-m", rule, len(grid), remedy)
    saved = (one for axis in grid.axes for one in axis if one.startswith("save=") and one != "save=null")
    refuse_save(next(saved, None), "a sweep")
    launchers.check_launcher(config.hydra.launcher)
    composer = Composer(config.hydra.job.config_name, hydra_overrides(config.hydra))
    for number in grid.samples(composer.is_choice):
        composer(grid[number])
    return grid


def run_sweep(
    grid: Grid, config: DictConfig, overrides: Sequence[str], launcher: Callable[[], Launcher]
) -> None:
    """Write the plan and launch workers, repeatedly if some were killed before all cells ended.

    Args:
        grid: The cells.
        config: The multirun's config, with Hydra's node.
        overrides: The overrides of the command.
        launcher: A function that makes Hydra's launcher.

    Raises:
        StoreError: The output folder can't be written to.
        SettingError: SLURM does not give what the launcher asks for.
    """
    hydra = config.hydra
    check_writable(Path(hydra.run.dir))
    sweep = Sweep(
        directory=Path(hydra.sweep.dir).absolute(),
        output=Path(hydra.run.dir),
        entry=hydra.job.config_name,
        program=hydra.job.name,
        label=str(config.name),
        grid=grid,
        command=[*overrides, *hydra_overrides(hydra)],
        launcher=hydra.runtime.choices["hydra/launcher"],
        workers=workers_of(grid, config.sweep, hydra.launcher),
        config_dir=config_dir(hydra),
    )
    sweep.write()
    Sweep.launched = sweep
    first = list(grid[0])  # every worker composes this cell, then goes over all cells
    if sweep.launcher == "basic":
        _raise_first(launcher().launch([first], initial_job_idx=0))
        return
    begun = in_vain = 0
    while in_vain < IN_VAIN and (left := _count_left(sweep)):
        launch = partial(launcher().launch, [first] * sweep.workers, initial_job_idx=begun)
        lost = _launch(launch, sweep, launchers.Jobs(hydra.launcher, sweep.directory))
        begun += sweep.workers
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
    problems: list[Exception] = []

    def wait() -> None:
        try:
            _raise_first(launch())
        except Exception as error:
            problems.append(error)

    thread = Thread(target=wait, daemon=True)
    thread.start()
    try:
        over = _watch(thread, sweep, jobs)
    except BaseException:
        jobs.kill()
        raise
    if over:
        return None
    if jobs.cancelled:
        return launchers.CANCELLED
    if problems:
        launchers.check_submitted(problems[0])
        return f"{type(problems[0]).__name__}: {problems[0]}".splitlines()[0]
    return "no job is left" if thread.is_alive() else None


def _watch(thread: Thread, sweep: Sweep, jobs: launchers.Jobs) -> bool:
    """Wait until the workers or the cells have ended; return whether the cells have."""
    while jobs.alive(waited_for=thread.is_alive()):
        if sweep.stopped:
            jobs.cancel()
        if _is_over(sweep):
            jobs.cancel(waiting=True)
            thread.join(GRACE)
            return True
        thread.join(SWEEP_PAUSE)
    return False


def _is_over(sweep: Sweep) -> bool:
    """Return whether all cells have ended; of a stopped sweep, whether no worker computes any more."""
    if sweep.stopped:
        return not any(found.state == "running" and found.sweep == sweep.name for found in sweep.cells())
    return sweep.cells_left() == 0


def _raise_first(returned: Sequence[object]) -> None:
    """Raise the first exception that a worker returned."""
    for job in returned:
        _ = job.return_value  # type: ignore[attr-defined]


def summarize(sweep: Sweep) -> bool:
    """Print a summary of a sweep's cells; return whether all have results."""
    cells, outcomes = len(sweep.grid), sweep.outcomes()
    listed = [f"{outcomes[state]} {IN_WORDS.get(state, state)}" for state in sorted(outcomes)]
    console.print(f"\n{cells} cells in {duration(time.time() - sweep.started_at)}: {', '.join(listed)}.")
    for number, found in enumerate(sweep.cells()):
        if found.state in ("failed", "left", "killed"):
            own, reason = escape(" ".join(sweep.grid.own(number))), escape(found.reason or "")
            console.print(f"  [red]{found.state}:[/] {own}\n    {reason}")
    done = outcomes["computed"] + outcomes["judged"] + outcomes["skipped"]
    if done < cells:
        console.print("The same command computes what is missing, and skips the rest:")
        console.print(escape(f"  {sweep.typed_command}"))
    else:
        console.print("Next:")
        for command in ("runs", "plot", *(["sheet"] if sweep.entry in PICTURED else [])):
            console.print(escape(f"  {shlex.join(['swag', command, *sweep.handle])}"))
    return done == cells
