"""One cell of a sweep, whatever the experiment: from a composed config to a finished run directory."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.logging import RichHandler
from rich.markup import escape

import conf
from experiments.building import build, build_network
from experiments.config import checked
from experiments.progress import console, duration
from experiments.sweep import Outcome, Sweep, SweepCallback, summarize
from swag_repro.errors import SettingError, UserError
from swag_repro.identity import Identity, scientific
from swag_repro.images import Picture, Resize
from swag_repro.networks import Architecture, Levers, TappedNetwork
from swag_repro.smoothing import Smoothing
from swag_repro.store import Run, Store
from swag_repro.tracking import Tracker, track
from swag_repro.weights import Weights

CONF = str(Path(conf.__file__).parent)

logger = logging.getLogger(__name__)

C = TypeVar("C", bound="Cell")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one run needs, built from its config."""

    config: DictConfig
    architecture: Architecture
    weights: Weights
    smoothing: Smoothing
    pictures: tuple[Picture, ...]
    resize: Resize
    device: torch.device

    @classmethod
    def build(cls, config: DictConfig) -> Self:
        """The cell of a checked config.

        Raises:
            UserError: a setting that its part of the science objects to.
        """
        return cls(**cls.parts(config))

    @classmethod
    def parts(cls, config: DictConfig) -> dict[str, Any]:
        """The attributes of the cell of this config."""
        return {
            "config": config,
            "architecture": build(config.network),
            "weights": build(config.weights),
            "smoothing": build(config.smoothing),
            "pictures": build(config.images.source),
            "resize": Resize(size=config.images.size, policy=config.images.resize),
            "device": _device(config.compute.device),
        }

    @property
    def images(self) -> dict[str, str]:
        """SHA-256 of all the pictures that decide its result, by their names."""
        return {picture.key: picture.sha256 for picture in self.pictures}

    @property
    def taps(self) -> Sequence[str]:
        """Where the network is read."""
        return self.architecture.statistic_taps

    @property
    def levers(self) -> Levers:
        """How the network is run."""
        # Not channels_last: statistics read a layer as (D, M), and turning it costs more than it gains.
        return Levers(fold_batchnorm=self.config.batchnorm == "eval", in_place=True)

    @property
    def weights_digest(self) -> str | None:
        """What tells the weights' values from others; None where the settings tell them."""
        return self.weights.digest(self.architecture)

    def network(self) -> TappedNetwork:
        """The network with its weights, read at the cell's taps, on its device."""
        tapped = TappedNetwork(
            build_network(self.weights, self.architecture),
            self.architecture.paths(self.taps),
            mean=self.architecture.mean,
            std=self.architecture.std,
            batchnorm=self.config.batchnorm,
            dtype=getattr(torch, self.config.precision),
            levers=self.levers,
        )
        return tapped.to(self.device)

    @property
    def seed(self) -> int | None:
        """Of random weights; None for others."""
        return getattr(self.weights, "seed", None)

    def __str__(self) -> str:
        seed = "" if self.seed is None else f" seed {self.seed}"
        return f"{self.architecture.name} {self.weights.name}{seed} {self.smoothing}"


@dataclass(frozen=True, kw_only=True)
class Experiment(Generic[C]):
    """What an entry point computes.

    Attributes:
        name: of the entry point and its config.
        version: raised when the same settings come to give other numbers.
        cell: what it builds from a config.
        compute: fills the run of a cell.
        resumable: names in the run directory that an unfinished attempt leaves to the next one.
    """

    name: str
    version: int
    cell: type[C]
    compute: Callable[[C, Run, Tracker, Sweep | None], None]
    resumable: tuple[str, ...] = ()


def launch(main: Callable[[], None]) -> None:
    """Runs an entry point; prints a multirun's summary. Exit status 1 if a cell failed, 130 on Ctrl-C."""
    status = 0
    try:
        main()
    except KeyboardInterrupt:
        console.print("\nInterrupted. The same command goes on where it stopped.")
        status = 130
    finally:
        if SweepCallback.started is not None and not summarize(SweepCallback.started):
            status = status or 1
    sys.exit(status)


def flush_subnormals() -> None:
    """Takes numbers below 1e-38 for 0: a saturated softmax is full of them, and each costs much time."""
    torch.set_flush_denormal(True)  # threads that start later inherit it


def run_cell(composed: DictConfig, experiment: Experiment[C]) -> None:
    """Computes a cell, or skips it if it is there; says what became of it.

    In a multirun a failure is recorded and the other cells go on; alone, it ends the process with status 1.
    """
    flush_subnormals()
    sweep = Sweep.current()
    outcome = _outcome(composed, experiment, sweep)
    gc.collect()  # traced networks are cycles of references, and would pile up over a sweep
    if sweep is not None:
        sweep.record(outcome)
    _announce(outcome, sweep)
    if sweep is None and outcome.state == "failed":
        sys.exit(1)


def _outcome(composed: DictConfig, experiment: Experiment[C], sweep: Sweep | None) -> Outcome:
    start = time.monotonic()
    number = HydraConfig.get().job.num if sweep is not None else 0
    overrides = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # as they were typed

    def outcome(state: str, **details: Any) -> Outcome:
        return Outcome(number, overrides, state, round(time.monotonic() - start, 3), **details)

    try:
        state, path = _run(composed, experiment, overrides, sweep)
        return outcome(state, path=str(path))
    except UserError as error:
        return outcome("failed", reason=str(error))
    except Exception as error:  # the sweep's other cells must go on, and the list at its end must be whole
        console.print_exception()
        return outcome("failed", reason=f"{type(error).__name__}: {error}")


def _run(
    composed: DictConfig, experiment: Experiment[C], overrides: list[str], sweep: Sweep | None
) -> tuple[str, Path]:
    config = checked(composed, experiment.name)
    if config.compute.threads is not None:
        torch.set_num_threads(config.compute.threads)
    cell = experiment.cell.build(config)
    plain: dict[str, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
    identity = Identity(
        experiment=experiment.name,
        version=experiment.version,
        config=scientific(plain, experiment.name),
        images=cell.images,
        weights=cell.weights_digest,
    )
    with Store(config.output).claim(
        identity,
        config=plain,
        name=config.name,
        overrides=overrides,
        device=_device_name(cell.device),
        force=config.force,
        resumable=experiment.resumable,
        waiting=lambda path: console.print(f"waiting for another process that computes {path.name}"),
    ) as run:
        if run.finished:
            return "skipped", run.path
        with _logged(run.path / "run.log"), _tracked(cell, run, plain) as tracker:
            logger.info("%s: %s", experiment.name, cell)
            experiment.compute(cell, run, tracker, sweep)
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
def _logged(path: Path) -> Iterator[None]:
    """Writes what is logged into the run directory, tracebacks too; warnings also go to the terminal."""
    to_file = logging.FileHandler(path)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_terminal = RichHandler(logging.WARNING, console=console, show_path=False)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in (to_file, to_terminal):
        root.addHandler(handler)
    try:
        yield
    except BaseException as error:
        to_file.handle(logger.makeRecord(logger.name, logging.ERROR, "", 0, "failed", (), _exc_info(error)))
        raise
    finally:
        for handler in (to_file, to_terminal):
            root.removeHandler(handler)
            handler.close()


def _exc_info(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    return type(error), error, error.__traceback__


@contextmanager
def _tracked(cell: Cell, run: Run, config: dict[str, Any]) -> Iterator[Tracker]:
    tags = [cell.architecture.name, cell.weights.name, str(cell.smoothing), *cell.config.tracking.tags]
    with track(
        mode=cell.config.tracking.mode,
        project=cell.config.tracking.project,
        entity=cell.config.tracking.entity,
        directory=run.path,
        name=str(cell),
        group=cell.config.name,
        job_type=run.identity.experiment,
        tags=[tag[:64] for tag in tags],  # W&B refuses longer ones
        config={**config, "run_id": run.identity.run_id},
        timeout=cell.config.tracking.timeout,
    ) as tracker:
        yield tracker


def _announce(outcome: Outcome, sweep: Sweep | None) -> None:
    counted = f"[{outcome.number + 1}/{sweep.cells}] " if sweep is not None else ""
    start = escape(f"{counted}{' '.join(outcome.overrides)}")
    if outcome.state == "failed":
        console.print(f"{start} [bold red]error:[/] {escape(outcome.reason or '')}")
        return
    left = f", {sweep.time_left()}" if sweep is not None and sweep.time_left() else ""
    console.print(f"{start} {outcome.state} in {duration(outcome.seconds)} → {outcome.path}{left}")
