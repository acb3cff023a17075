"""How cells are run: one by itself, or those of a sweep that this process takes."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.markup import escape

from experiments.config import checked
from experiments.frame import Context, Experiment
from experiments.logs import logged
from experiments.signals import Interrupted, handle, handled, interrupt
from experiments.sweeps import launchers
from experiments.sweeps.composing import Composer
from experiments.sweeps.grid import as_typed
from experiments.sweeps.ledger import FAILURES, Outcome, State, alike
from experiments.sweeps.progress import console, duration
from experiments.sweeps.sweep import Place, Sweep
from experiments.sweeps.worker import work
from swag_repro.errors import UserError
from swag_repro.runs.store import BusyError, Run, Store
from swag_repro.tracking import About, Tracker, name_of, tracked

logger = logging.getLogger(__name__)


IN_SLURM = "SLURM_JOB_ID"
"""Set in SLURM's jobs; conf/hydra/launcher/submitit_slurm.yaml has their script."""


def flush_subnormals() -> None:
    """Takes numbers below 1e-38 for 0: a saturated softmax is full of them, and each costs much time."""
    torch.set_flush_denormal(True)  # threads that start later inherit it


def run(composed: DictConfig, kind: type[Experiment]) -> None:
    """What an entry point does: computes its cell, or in a multirun as many as this worker can take.

    Alone, a failure ends the process with status 1; in a multirun it is recorded, and the other cells go on.

    Raises:
        Interrupted: a signal came, in the process that launched the cells; in others it is only recorded.
    """
    flush_subnormals()
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        if Sweep.launched is None:
            os.chdir(hydra.runtime.cwd)  # Ray's workers begin elsewhere
        _work(Sweep.read(Path(hydra.sweep.dir)), kind)
        return
    overrides = _overrides()
    outcome = Cell(composed, overrides, None, kind).run()
    _announce(outcome, [as_typed(override) for override in overrides], None)
    if outcome.signal is not None:
        interrupt(outcome.signal)
    if outcome.state == "failed":
        sys.exit(1)


def _overrides() -> list[str]:
    overrides: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return [str(override) for override in overrides]


def _work(sweep: Sweep, kind: type[Experiment]) -> None:
    launched = Sweep.launched is None
    if launched:
        _settle(sweep)
        handle(lambda _: None)  # a launcher loses all workers if one that is done ends
    composer = Composer(sweep.entry, HydraConfig.get().overrides.hydra)

    def compute(place: Place, *, wait: bool) -> Outcome:
        overrides = sweep.grid[place.number]
        return Cell(composer(overrides), overrides, place, kind, wait=wait).run()

    came = work(sweep, compute, lambda place, outcome: _announce(outcome, place.own, place))
    if came is None:
        return
    if not launched:
        interrupt(came)
    if IN_SLURM in os.environ:
        sys.exit(128 + came)  # of which its script makes that the job waits again


def _settle(sweep: Sweep) -> None:
    """Takes this process's part of what workers share."""
    hydra = HydraConfig.get()
    torch.set_num_threads(launchers.threads(hydra.launcher, sweep.workers))
    if (count := torch.accelerator.device_count()) > 1:
        torch.accelerator.set_device_index(hydra.job.num % count)


@dataclass(frozen=True)
class Cell:
    """One cell to be computed.

    Attributes:
        composed: its config, by Hydra.
        overrides: that made it.
        place: in its sweep; None outside one.
        kind: of experiment.
        wait: whether to wait where another process computes it.
    """

    composed: DictConfig
    overrides: list[str]
    place: Place | None
    kind: type[Experiment]
    wait: bool = True

    def run(self) -> Outcome:
        """Computes it, or skips it if it is there; says what became of it."""
        start = time.monotonic()
        with handled(interrupt):
            state, details = self._ended()
        gc.collect()  # traced networks are cycles of references, and would pile up over a sweep
        number = 0 if self.place is None else self.place.number
        return Outcome(number, state, round(time.monotonic() - start, 3), **details)

    def _ended(self) -> tuple[State, dict[str, Any]]:
        try:
            return self._computed()
        except UserError as error:
            return "failed", {"reason": str(error)}
        except Interrupted as error:
            return "interrupted", {"signal": error.number}
        except BusyError as error:
            return "busy", {"path": str(error)}
        except Exception as error:  # other cells must go on, and the list at the sweep's end must be whole
            console.print_exception()
            return "failed", {"reason": f"{type(error).__name__}: {error}"}

    def built(self) -> Experiment:
        """Return the experiment, after this process's threads and precision are set as its config says.

        Raises:
            UserError: the config can't be meant.
        """
        config = checked(self.composed, self.kind.reads)
        if config.compute.threads is not None:
            torch.set_num_threads(config.compute.threads)
        torch.backends.cudnn.allow_tf32 = bool(config.compute.tf32)
        return self.kind.build(config)

    def _computed(self) -> tuple[State, dict[str, Any]]:
        experiment = self.built()
        following = experiment.following()  # which objects now to what it can't do
        if why := self._given_up(experiment):
            return "left", {"reason": why}
        state, path = self.compute(experiment)
        if following is not None and self.compute(following)[0] == "computed":
            state = "computed" if state == "computed" else "judged"
        return state, {"path": str(path)}

    def _given_up(self, experiment: Experiment) -> str | None:
        """Why it is not tried again, if so; only a sweep gives up."""
        policy = experiment.config.sweep.failed
        if self.place is None or policy == "always":
            return None
        failures = Store(experiment.config.output).failures(experiment.identity.run_id)
        if policy == "never" and failures:
            return f"failed before: {failures[-1]}"
        if alike(failures):
            return f"failed {FAILURES} times alike: {failures[-1]}"
        return None

    def compute(self, experiment: Experiment) -> tuple[State, Path]:
        """`computed`, or `skipped` where it was there; and the run directory.

        Raises:
            BusyError: another process computes it.
        """
        config = experiment.config
        with Store(config.output, there=self.place is not None).claim(
            experiment.identity,
            config=experiment.plain,
            name=config.name,
            overrides=self.overrides,
            device=_device_name(experiment.device),
            force=config.force,
            resumable=experiment.resumable,
            waiting=_say_waiting if self.wait else None,
            damaged=lambda path, files: console.print(
                f"computed again, as files of {path} are damaged or missing: {', '.join(files)}", markup=False
            ),
        ) as run:
            if run.finished:
                return "skipped", run.path
            with logged(run.path / "run.log"), self._mirrored(experiment, run) as tracker:
                logger.info("%s: %s", experiment.name, experiment.label)
                experiment.compute(
                    Context(
                        run=run,
                        tracker=tracker,
                        place=self.place,
                        label=experiment.label,
                        progress=config.progress,
                    )
                )
        return "computed", run.path

    @contextmanager
    def _mirrored(self, experiment: Experiment, run: Run) -> Iterator[Tracker]:
        """Its W&B run, with the id of its run directory, so that a retry goes on with it."""
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
            sweep=None if place is None else place.sweep.directory.name,
        )
        mode, timeout, config = settings.mode, settings.timeout, experiment.plain
        with tracked(about, mode=mode, directory=run.path, config=config, timeout=timeout) as tracker:
            yield tracker
            if tracker.sends:
                from swag_repro.tracking.shown import ending, show  # which import pandas

                show(tracker, ending(run.path))


def _announce(outcome: Outcome, own: list[str], place: Place | None) -> None:
    counted = [f"[{place}]"] if place is not None else []
    start = escape(" ".join([*counted, *own]))
    if outcome.state in ("failed", "left"):
        console.print(f"{start} [bold red]error:[/] {escape(outcome.reason or '')}")
        return
    where = f" → {escape(outcome.path)}" if outcome.path is not None else ""
    left = place.sweep.time_left() if place is not None else ""
    told = f"{start} {outcome.state} in {duration(outcome.seconds)}{where}{f', {left}' if left else ''}"
    console.print(told.lstrip())


def _say_waiting(path: Path) -> None:
    console.print(f"waiting for another process that computes {path.name}")


def _device_name(chosen: torch.device) -> str:
    return torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else chosen.type
