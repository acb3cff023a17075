"""The frame that any experiment runs in: from a composed config to a finished run directory."""

from __future__ import annotations

import gc
import logging
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.markup import escape

from experiments.config import checked
from experiments.logs import logged
from experiments.science import scientific
from experiments.signals import Interrupted, handle, handled, interrupt
from experiments.sweeps.plan import Outcome, Sweep, SweepCallback, as_typed
from experiments.sweeps.progress import console, duration, track
from swag_repro.errors import SettingError, UserError
from swag_repro.runs.identity import Identity
from swag_repro.runs.store import Run, Store
from swag_repro.tracking import About, Tracker, tracked

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an experiment computes with.

    Attributes:
        run: where its results go.
        tracker: mirrors them in W&B.
        sweep: that it belongs to; None outside one.
        label: of the experiment.
        progress: whether a bar is shown on a terminal.
    """

    run: Run
    tracker: Tracker
    sweep: Sweep | None
    label: str
    progress: bool

    def shown(
        self, items: Iterable[tuple[int, T]], *, total: int, unit: str, detail: str = ""
    ) -> Iterator[T]:
        """Passes on items that each stand for some units of work, and shows how many of `total` are done."""
        sweep = self.sweep
        place = "" if sweep is None else f"cell {len(sweep.outcomes()) + 1}/{sweep.cells} "
        left = "" if sweep is None else sweep.time_left()
        return track(
            items,
            total=total,
            what=f"{place}{self.label}{detail}",
            left=f"sweep: {left}" if left else "",
            enabled=self.progress,
            unit=unit,
        )


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """One cell of an experiment, built from its config: who it is, and how it is computed.

    Attributes:
        name: of the experiment.
        version: raised when the same settings come to give other numbers.
        reads: the config that it is built from, in `conf/`.
        resumable: names in the run directory that an unfinished attempt leaves to the next one.
        config: checked.
        device: where it computes.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    reads: ClassVar[str]
    resumable: ClassVar[tuple[str, ...]] = ()

    config: DictConfig
    device: torch.device

    @classmethod
    def build(cls, config: DictConfig) -> Self:
        """The experiment of a checked config.

        Raises:
            UserError: a setting that its part of the science objects to.
        """
        return cls(**cls.parts(config))

    @classmethod
    def parts(cls, config: DictConfig) -> dict[str, Any]:
        """The attributes of the experiment of this config."""
        return {"config": config, "device": _device(config.compute.device)}

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The config in plain containers, as the run directory keeps it."""
        plain: dict[str, Any] = OmegaConf.to_container(self.config)  # type: ignore[assignment]
        return plain

    @cached_property
    def identity(self) -> Identity:
        """All that decides its result; files are hashed for it."""
        return Identity(self.name, self.version, self.settings, self.images, self.weights_digest)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its result of its config, in one normal form."""
        return scientific(self.plain, self.name)

    @property
    def images(self) -> dict[str, str]:
        """SHA-256 of all the pictures that decide its result, by their names."""
        return {}

    @property
    def weights_digest(self) -> str | None:
        """What tells the values of weights from others; None where the settings tell them."""
        return None

    @property
    @abstractmethod
    def label(self) -> str:
        """What tells it from others, for people."""

    @property
    def tags(self) -> list[str]:
        """By which W&B finds it."""
        return []

    @abstractmethod
    def compute(self, context: Context) -> None:
        """Fills its run."""

    def following(self) -> Experiment | None:
        """What is to be computed once it is finished."""
        return None


def flush_subnormals() -> None:
    """Takes numbers below 1e-38 for 0: a saturated softmax is full of them, and each costs much time."""
    torch.set_flush_denormal(True)  # threads that start later inherit it


def run_cell(composed: DictConfig, kind: type[Experiment]) -> None:
    """Computes a cell, or skips it if it is there; says what became of it.

    In a multirun a failure is recorded and the other cells go on; alone, it ends the process with status 1.

    Raises:
        Interrupted: a signal came, in the process that launches the cells; in others it is only recorded.
    """
    flush_subnormals()
    sweep = Sweep.current()
    launched = sweep is not None and SweepCallback.started is None
    if launched:
        handle(lambda _: None)  # a launcher loses all workers if one that waits for its next cell ends
    if sweep is not None and sweep.stopped:
        return
    with handled(interrupt):
        outcome = _outcome(composed, kind, sweep)
    gc.collect()  # traced networks are cycles of references, and would pile up over a sweep
    if sweep is not None:
        sweep.record(outcome)
    _announce(outcome, sweep)
    if outcome.signal is not None and not launched:
        interrupt(outcome.signal)
    if sweep is None and outcome.state == "failed":
        sys.exit(1)


def _outcome(composed: DictConfig, kind: type[Experiment], sweep: Sweep | None) -> Outcome:
    start = time.monotonic()
    number = HydraConfig.get().job.num if sweep is not None else 0
    overrides: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    own = [as_typed(override) for override in overrides] if sweep is None else sweep.own(overrides)

    def outcome(state: str, **details: Any) -> Outcome:
        return Outcome(number, own, state, round(time.monotonic() - start, 3), **details)

    try:
        config = checked(composed, kind.reads)
        if config.compute.threads is not None:
            torch.set_num_threads(config.compute.threads)
        experiment = kind.build(config)
        following = experiment.following()  # which objects now to what it can't do
        state, path = computed(experiment, overrides, sweep)
        if following is not None and computed(following, overrides, sweep)[0] == "computed":
            state = "computed" if state == "computed" else "judged"
        return outcome(state, path=str(path))
    except UserError as error:
        return outcome("failed", reason=str(error))
    except Interrupted as error:
        return outcome("interrupted", signal=error.number)
    except Exception as error:  # the sweep's other cells must go on, and the list at its end must be whole
        console.print_exception()
        return outcome("failed", reason=f"{type(error).__name__}: {error}")


def computed(experiment: Experiment, overrides: list[str], sweep: Sweep | None) -> tuple[str, Path]:
    """`computed`, or `skipped` where it was there; and the run directory."""
    config = experiment.config
    with Store(config.output).claim(
        experiment.identity,
        config=experiment.plain,
        name=config.name,
        overrides=overrides,
        device=_device_name(experiment.device),
        force=config.force,
        resumable=experiment.resumable,
        waiting=lambda path: console.print(f"waiting for another process that computes {path.name}"),
        damaged=lambda path, files: console.print(
            f"computed again, as files of {path} are damaged or missing: {', '.join(files)}", markup=False
        ),
    ) as run:
        if run.finished:
            return "skipped", run.path
        with logged(run.path / "run.log"), _mirrored(experiment, run, sweep, overrides) as tracker:
            logger.info("%s: %s", experiment.name, experiment.label)
            experiment.compute(
                Context(
                    run=run, tracker=tracker, sweep=sweep, label=experiment.label, progress=config.progress
                )
            )
    return "computed", run.path


def _device(name: str) -> torch.device:
    """The device that `compute.device` names; `auto` is an accelerator where there is one.

    Raises:
        SettingError: there is no such device.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        chosen = torch.device(name)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(
            "compute.device", "should be a device of this machine", f"{name!r} ({error})", "Use auto or cpu."
        ) from error
    return chosen


def _device_name(chosen: torch.device) -> str:
    return torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else chosen.type


@contextmanager
def _mirrored(
    experiment: Experiment, run: Run, sweep: Sweep | None, overrides: list[str]
) -> Iterator[Tracker]:
    """Its W&B run, with the id of its run directory, so that a retry goes on with it."""
    settings = experiment.config.tracking
    own = " ".join(sweep.own(overrides)) if sweep is not None else ""
    about = About(
        run_id=run.identity.run_id,
        project=settings.project,
        entity=settings.entity,
        name=f"{experiment.label} · {own}" if own else experiment.label,
        group=experiment.config.name,
        job_type=experiment.name,
        tags=(experiment.name, *experiment.tags, *settings.tags),
        sweep=None if sweep is None else sweep.directory.name,
    )
    mode, timeout = settings.mode, settings.timeout
    with tracked(about, mode=mode, directory=run.path, config=experiment.plain, timeout=timeout) as tracker:
        yield tracker
        if tracker.sends:
            from swag_repro.tracking.shown import ending, show  # which import pandas

            show(tracker, ending(run.path))


def _announce(outcome: Outcome, sweep: Sweep | None) -> None:
    counted = [f"[{outcome.number + 1}/{sweep.cells}]"] if sweep is not None else []
    start = escape(" ".join([*counted, *outcome.overrides]))
    if outcome.state == "failed":
        console.print(f"{start} [bold red]error:[/] {escape(outcome.reason or '')}")
        return
    where = f" → {escape(outcome.path)}" if outcome.path is not None else ""
    left = f", {sweep.time_left()}" if sweep is not None and sweep.time_left() else ""
    console.print(f"{start} {outcome.state} in {duration(outcome.seconds)}{where}{left}".lstrip())
