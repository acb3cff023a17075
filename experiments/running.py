"""The computation of one cell, or of a process's part of the cells of a sweep."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.markup import escape

from experiments.config import at_home, checked
from experiments.frame import Context, Experiment
from experiments.programs import task_overrides
from experiments.results import link_latest, pictures_of, save_copies
from experiments.signals import Interrupted, handle, handled, interrupt
from experiments.sweeps import launchers
from experiments.sweeps.composing import Composer, Grid, as_typed, grid_of
from experiments.sweeps.launching import DRY_RUN_CELLS, workers_of
from experiments.sweeps.progress import console, duration, logged
from experiments.sweeps.states import FAILURES, alike, without_kills
from experiments.sweeps.sweep import CellPlace, Sweep
from experiments.sweeps.worker import Outcome, Worker
from swag_repro.errors import UserError
from swag_repro.program import written
from swag_repro.runs.records import reason_of
from swag_repro.runs.store import BusyError, Run, Store
from swag_repro.tracking import About, Tracker, name_of, tracked

logger = logging.getLogger(__name__)


IN_SLURM = "SLURM_JOB_ID"
"""The variable that SLURM sets in its jobs; conf/hydra/launcher/submitit_slurm.yaml has their script."""


def flush_subnormals() -> None:
    """Treat numbers below 1e-38 as 0: they are slow, and a saturated softmax produces many of them."""
    torch.set_flush_denormal(True)  # later threads inherit it


def run_experiment(composed: DictConfig, kind: type[Experiment]) -> None:
    """Run an entry point: compute its cell, or in a multirun as many cells as this worker can claim.

    A failure of a single cell ends the process with status 1. A failure in a multirun is recorded, and the
    other cells are computed.

    Raises:
        Interrupted: A signal came, in the process that launched the cells; other processes only record it.
    """
    flush_subnormals()
    hydra: Any = HydraConfig.get()
    os.chdir(hydra.runtime.cwd)  # Ray's workers start elsewhere, and so do cells with hydra.job.chdir=true
    if OmegaConf.select(composed, "sweep.dry_run") is True:
        sys.exit(int(not _try(composed, kind)))
    if hydra.mode == RunMode.MULTIRUN:
        _work(Sweep.read(Path(hydra.sweep.dir)), kind)
        return
    overrides = task_overrides(hydra)
    outcome = CellTask(composed, overrides, None, kind).run()
    _announce(outcome, None, [as_typed(override) for override in overrides])
    if outcome.signal is not None:
        interrupt(outcome.signal)
    if outcome.path is None:
        sys.exit(1)
    _tell(pictures_of(Path(outcome.path)), at_home(OmegaConf.select(composed, "save")))


def _tell(files: Sequence[Path], save: str | None) -> None:
    """Print what a run has made to standard output, one path a line, after copying it where it is wanted."""
    copies = files if save is None else save_copies(save, files)
    with written():  # here, as Hydra would print more
        print(*copies, sep="\n")


def _try(composed: DictConfig, kind: type[Experiment]) -> bool:
    """Check the cells of a command, print them, and compute none; return whether each could be computed."""
    hydra: Any = HydraConfig.get()
    multirun = hydra.mode == RunMode.MULTIRUN
    grid = grid_of(hydra) if multirun else Grid(tuple((override,) for override in task_overrides(hydra)))
    composer, refused = Composer(kind.reads, hydra.overrides.hydra), 0
    for number in range(len(grid)):
        reason = CellTask(composer(grid[number]), grid[number], None, kind).refusal()
        refused += reason is not None
        if number < DRY_RUN_CELLS or (reason is not None and refused <= DRY_RUN_CELLS):
            why = "" if reason is None else f" [bold red]error:[/] {escape(reason)}"
            console.print(f"{escape(f'[{number + 1}/{len(grid)}] ' + ' '.join(grid.own(number)))}{why}")
    if len(grid) > DRY_RUN_CELLS:
        console.print(f"... and {len(grid) - DRY_RUN_CELLS} more")
    found = f", of which {refused} can't be computed" if refused else ""
    workers = workers_of(grid, composed.sweep, hydra.launcher)
    console.print(f"{len(grid)} cells for {workers} workers{found}. Nothing was computed.")
    return not refused


def _overrides_of_hydra() -> list[str]:
    """Return the command's overrides of Hydra's own settings, as typed."""
    overrides: Any = OmegaConf.to_container(HydraConfig.get().overrides.hydra, resolve=False)
    return list(overrides)


def _work(sweep: Sweep, kind: type[Experiment]) -> None:
    launched = Sweep.launched is None
    if launched:
        _settle(sweep)
        handle(lambda _: None)  # if a finished worker ends by a signal, a launcher loses all others
    composer = Composer(sweep.entry, _overrides_of_hydra())

    def compute(place: CellPlace) -> Outcome:
        overrides = sweep.grid[place.number]
        try:
            composed = composer(overrides)
        except (HydraException, OmegaConfBaseException, UserError) as error:
            place.note_refusal(str(error))
            return Outcome("failed", 0.0, str(error))
        return CellTask(composed, overrides, place, kind, wait=False).run()

    worker = Worker(sweep, compute, _announce)
    # Each worker begins at another cell. A launcher's workers don't wait for cells that other processes
    # compute, so no machine is held idle: the command starts workers anew if one is killed.
    first = HydraConfig.get().job.num * len(sweep.grid) // sweep.workers % len(sweep.grid)
    came = worker.work(first=first if launched else 0, stays=not launched)
    if came is None:
        return
    if not launched:
        interrupt(came)
    if IN_SLURM in os.environ:
        sys.exit(128 + came)  # the job's script then puts the job back into the queue


def _settle(sweep: Sweep) -> None:
    """Set this process's share of the threads and its accelerator."""
    hydra: Any = HydraConfig.get()
    torch.set_num_threads(launchers.threads(sweep.workers))
    if (count := torch.accelerator.device_count()) > 1:
        torch.accelerator.set_device_index(hydra.job.num % count)


@dataclass(frozen=True)
class CellTask:
    """A cell to compute.

    Attributes:
        composed: The config that Hydra composed.
        overrides: The overrides that it was composed from.
        place: The cell's place in its sweep; None outside a sweep.
        kind: The class of its experiment.
        wait: Whether to wait for another process that computes the cell.
    """

    composed: DictConfig
    overrides: list[str]
    place: CellPlace | None
    kind: type[Experiment]
    wait: bool = True

    def run(self) -> Outcome:
        """Compute the cell, or skip it if its results exist; return the outcome."""
        start = time.monotonic()
        with handled(interrupt):
            outcome = self._attempt()
        gc.collect()  # traced networks are reference cycles, and would pile up over a sweep
        return replace(outcome, seconds=round(time.monotonic() - start, 3))

    def _attempt(self) -> Outcome:
        try:
            return self._compute()
        except UserError as error:
            return Outcome("failed", 0.0, str(error))
        except Interrupted as error:
            return Outcome("interrupted", 0.0, signal=error.number)
        except BusyError as error:
            return Outcome("busy", 0.0, path=str(error))
        except Exception as error:  # other cells must run, and the summary must be complete
            console.print_exception()
            return Outcome("failed", 0.0, f"{type(error).__name__}: {error}")

    def refusal(self) -> str | None:
        """Return why the cell can't be computed, as far as a check without computing tells."""
        try:
            self.built().check()
        except Exception as error:
            return reason_of(error)
        return None

    def built(self) -> Experiment:
        """Set this process's threads and precision as the config says, and return the experiment.

        Raises:
            UserError: The config is invalid.
        """
        config = checked(self.composed, self.kind.reads)
        torch.backends.cudnn.allow_tf32 = bool(config.compute.tf32)
        experiment = self.kind.build(config)
        if config.compute.threads is not None:
            torch.set_num_threads(config.compute.threads)
        return experiment

    def _identify(self) -> Experiment:
        """Return the experiment with a known identity; if it has none, note the reason for other workers."""
        try:
            experiment = self.built()
            _ = experiment.identity.run_id, experiment.following()  # both raise now if they can't be had
        except Exception as error:
            if self.place is not None:
                self.place.note_refusal(reason_of(error))
            raise
        return experiment

    def _compute(self) -> Outcome:
        experiment = self._identify()
        following = experiment.following()
        runs = [self._directory(experiment), *([None] if following is not None else [])]
        if why := self._given_up(experiment):
            self._note(runs)
            return Outcome("left", 0.0, why)
        state, path = self.compute(experiment, runs)
        link_latest(path)
        if following is not None:
            runs[1] = self._directory(following)
            if self.compute(following, runs)[0] == "computed" and state != "computed":
                return Outcome("judged", 0.0, path=str(path))
        return Outcome(state, 0.0, path=str(path))

    def _store(self, experiment: Experiment) -> Store:
        return Store(experiment.config.output, there=self.place is not None)

    def _directory(self, experiment: Experiment) -> Path | None:
        return self._store(experiment).directory(experiment.identity.run_id)

    def _note(self, runs: Sequence[Path | None]) -> None:
        if self.place is not None:
            self.place.note_runs(runs, anew=bool(self.composed.force))

    def _given_up(self, experiment: Experiment) -> str | None:
        """Return why the cell is not tried again, or None if it is; only a sweep gives up."""
        policy, run_id = experiment.config.sweep.failed, experiment.identity.run_id
        store = self._store(experiment)
        if self.place is None or policy == "always" or store.is_held(run_id):
            return None
        failures = store.failures(run_id)
        if policy == "never" and (reported := without_kills(failures)):
            return f"failed before: {reported[-1]}"
        if alike(failures):
            return f"failed {FAILURES} times alike: {failures[-1]}"
        return None

    def compute(
        self, experiment: Experiment, runs: Sequence[Path | None] = ()
    ) -> tuple[Literal["computed", "skipped"], Path]:
        """Compute one of the cell's runs, or skip it if it is finished; return which, and the run directory.

        Args:
            experiment: The experiment of the run.
            runs: The directories of the cell's runs; None for one that is not known yet.

        Raises:
            BusyError: Another process computes it.
        """
        try:
            with self._claim(experiment) as run:
                self._note(runs)
                if run.finished:
                    return "skipped", run.path
                with logged(run.path / "run.log"), self._tracker(experiment, run) as tracker:
                    logger.info("%s: %s", experiment.name, experiment.label)
                    experiment.compute(
                        Context(
                            run=run,
                            tracker=tracker,
                            place=self.place,
                            label=experiment.label,
                            progress=experiment.config.progress,
                        )
                    )
            return "computed", run.path
        except BusyError:
            self._note(runs)
            raise

    def _claim(self, experiment: Experiment) -> AbstractContextManager[Run]:
        config = experiment.config
        return self._store(experiment).claim(
            experiment.identity,
            config=experiment.plain,
            name=config.name,
            overrides=self.overrides,
            device=_device_name(experiment.device),
            force=config.force,
            sweep=None if self.place is None else self.place.sweep.name,
            resumable=experiment.resumable,
            waiting=_say_waiting if self.wait else None,
            damaged=lambda path, files: console.print(
                f"computed again, as files of {path} are damaged or missing: {', '.join(files)}", markup=False
            ),
        )

    @contextmanager
    def _tracker(self, experiment: Experiment, run: Run) -> Iterator[Tracker]:
        """Yield the tracker of its W&B run, whose id is the run directory's, so that a retry resumes it."""
        settings, place = experiment.config.tracking, self.place
        own = [] if place is None else place.own
        about = About(
            run_id=run.identity.run_id,
            project=settings.project,
            entity=settings.entity,
            name=name_of(experiment.label, own=own, images=list(experiment.images)),
            group=experiment.config.name,
            job_type=experiment.name,
            tags=(experiment.name, *experiment.tags, *settings.tags),
            sweep=None if place is None else place.sweep.name,
        )
        mode, timeout, config = settings.mode, settings.timeout, experiment.plain
        with tracked(about, mode=mode, directory=run.path, config=config, timeout=timeout) as tracker:
            yield tracker
            if tracker.sends:
                from swag_repro.tracking.shown import ending, show  # imports pandas

                show(tracker, ending(run.path))


def _announce(outcome: Outcome, place: CellPlace | None, own: Sequence[str] | None = None) -> None:
    own = place.own if place is not None else own or ()
    counted = [f"[{place}]"] if place is not None else []
    start = escape(" ".join([*counted, *own]))
    if outcome.state in ("failed", "left"):
        cell = f"{start} " if counted else ""
        console.print(f"{cell}[bold red]error:[/] {escape(outcome.reason or '')}")
        return
    where = f" → {escape(outcome.path)}" if outcome.path is not None else ""
    left = place.sweep.time_left() if place is not None else ""
    line = f"{start} {outcome.state} in {duration(outcome.seconds)}{where}{f', {left}' if left else ''}"
    console.print(line.lstrip())


def _say_waiting(path: Path) -> None:
    console.print(f"waiting for another process that computes {path.name}")


def _device_name(chosen: torch.device) -> str:
    return torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else chosen.type
