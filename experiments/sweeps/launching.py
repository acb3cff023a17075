"""How a sweep is begun, and its workers are launched until no cell is left; and what is said at its end."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
        begun = in_vain = 0
        while in_vain < IN_VAIN and sweep.cells_left() and not sweep.stopped:
            done = sweep.ended()
            try:
                _results(launcher().launch([self.grid[0]] * self.workers, initial_job_idx=begun))
            except Exception as error:
                if not sweep.cells_left():
                    raise
                first = f"{type(error).__name__}: {error}".splitlines()[0]
                console.print(f"[yellow]workers were lost, so others are started[/] ({escape(first)})")
            begun += self.workers
            in_vain = 0 if sweep.ended() > done else in_vain + 1


def _given(overrides: Sequence[str]) -> list[str]:
    """Those of Hydra's own settings that stand in a command beside its flags."""
    return [override for override in overrides if not override.startswith("hydra.mode=")]


def _results(returned: Sequence[object]) -> None:
    """Raises what a worker raised."""
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
    """Prints what became of a sweep's cells; True if all are there."""
    ledger = sweep.ledger.read()
    cells, counts = len(sweep.grid), +ledger.counts
    listed = [f"{number} {state}" for state, number in sorted(counts.items())]
    killed = len(ledger.killed())
    if killed:
        listed.append(f"{killed} killed")
    if rest := cells - sum(counts.values()) - killed:
        listed.append(f"{rest} not begun")
    console.print(f"\n{cells} cells in {duration(sweep.age)}: {', '.join(listed)}.")
    for number, outcome in ledger.outcomes.items():
        if outcome.state in ("failed", "left"):
            own = escape(" ".join(sweep.grid.own(number)))
            console.print(f"  [red]{outcome.state}:[/] {own}\n    {escape(outcome.reason or '')}")
    for number in ledger.killed():
        console.print(f"  [red]killed:[/] {escape(' '.join(sweep.grid.own(number)))}")
    done = counts["computed"] + counts["judged"] + counts["skipped"]
    if done < cells:
        console.print("The same command computes what is missing, and skips the rest.")
    else:
        given = [item for item in sweep.command if not item.startswith(("hydra", "output="))]
        looked_at = shlex.join(["python", "-m", "analysis", "runs", *given, "--runs", sweep.output])
        console.print(f"Next: {escape(looked_at)}\n      figure, sheet and plot take the same.")
    return done == cells
