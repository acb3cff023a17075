"""One cell of a sweep, whatever the experiment: from a composed config to a finished run directory."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.logging import RichHandler
from rich.markup import escape

import conf
from experiments.building import build, build_network
from experiments.config import checked
from experiments.science import scientific
from experiments.signals import Interrupted, handle, handled, interrupt
from experiments.sweeps.plan import Outcome, Sweep, SweepCallback, as_typed, summarize
from experiments.sweeps.progress import console, duration
from swag_repro.errors import SettingError, UserError
from swag_repro.images import Picture, Resize
from swag_repro.networks import Architecture, Levers, TappedNetwork
from swag_repro.runs.identity import Identity
from swag_repro.runs.store import Run, Store
from swag_repro.runs.tracking import Tracker, track
from swag_repro.smoothing import Smoothing
from swag_repro.weights import Weights

CONF = str(Path(conf.__file__).parent)

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Where a user sets it, exceptions of Hydra and its launchers are printed whole."""

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
            "resize": Resize(
                size=config.images.size,
                policy=config.images.resize,
                interpolation=config.images.interpolation,
            ),
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
    """Runs an entry point; prints a multirun's summary.

    Exit status 1 if a cell failed, 128 + n after signal n: 130 on Ctrl-C.

    Args:
        main: of an importable module: other processes' launchers pickle what is in `__main__` by value, and
            all that it refers to.
    """
    stopped_by: list[int] = []
    status = _status(main, stopped_by)
    if stopped_by:
        console.print("\nInterrupted. The same command goes on where it stopped.")
        status = 128 + stopped_by[0]
    if SweepCallback.started is not None:
        complete = summarize(SweepCallback.started, interrupted=bool(stopped_by))
        status = status or int(not complete)
    sys.exit(status)


def _status(main: Callable[[], None], stopped_by: list[int]) -> int:
    """Of an entry point, as for a shell; `stopped_by` takes signals that ended it."""

    def ask(number: int) -> None:
        """Cells in other processes finish what is under way; a second signal waits for nothing."""
        if SweepCallback.started is None or stopped_by:
            interrupt(number)
        else:
            stopped_by.append(number)
            SweepCallback.started.stop()

    try:
        with handled(ask), _errors_raised():
            main()
    except KeyboardInterrupt as error:
        stopped_by.append(getattr(error, "number", signal.SIGINT))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except (HydraException, OmegaConfBaseException) as error:
        _explain(error)
        sys.exit(1)  # nothing is begun before all cells compose
    except Exception as error:  # of a launcher: it lost a worker, or the disk is full
        console.print(f"[bold red]error:[/] {escape(f'{type(error).__name__}: {error}')}")
        return 1
    return 0


@contextmanager
def _errors_raised() -> Iterator[None]:
    """Within, Hydra raises what it would print, mostly with a traceback, before it ends the process."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    except Exception:
        if before is not None:
            console.print_exception()
        raise
    finally:
        del os.environ[FULL_ERROR]
        if before is not None:
            os.environ[FULL_ERROR] = before


def _explain(error: Exception) -> None:
    """Says why a config does not compose; in a sweep, of which cell."""
    causes = [error, *([error.__cause__] if isinstance(error.__cause__, OmegaConfBaseException) else [])]
    console.print("[bold red]error:[/] " + escape("\n".join(map(str, causes))))
    if (sweep := SweepCallback.started) is not None:
        refused = next((job for job in SweepCallback.jobs if not _composes(job)), [])
        console.print(
            f"The first such cell is {escape(' '.join(sweep.told(refused)))}. Nothing was computed."
        )


def _composes(overrides: list[str]) -> bool:
    try:
        with initialize_config_dir(CONF, version_base="1.3"):
            compose(SweepCallback.entry, overrides)
    except (HydraException, OmegaConfBaseException):
        return False
    return True


def flush_subnormals() -> None:
    """Takes numbers below 1e-38 for 0: a saturated softmax is full of them, and each costs much time."""
    torch.set_flush_denormal(True)  # threads that start later inherit it


def run_cell(composed: DictConfig, experiment: Experiment[C]) -> None:
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
        outcome = _outcome(composed, experiment, sweep)
    gc.collect()  # traced networks are cycles of references, and would pile up over a sweep
    if sweep is not None:
        sweep.record(outcome)
    _announce(outcome, sweep)
    if outcome.signal is not None and not launched:
        interrupt(outcome.signal)
    if sweep is None and outcome.state == "failed":
        sys.exit(1)


def _outcome(composed: DictConfig, experiment: Experiment[C], sweep: Sweep | None) -> Outcome:
    start = time.monotonic()
    number = HydraConfig.get().job.num if sweep is not None else 0
    overrides: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    told = [as_typed(override) for override in overrides] if sweep is None else sweep.told(overrides)

    def outcome(state: str, **details: Any) -> Outcome:
        return Outcome(number, told, state, round(time.monotonic() - start, 3), **details)

    try:
        state, path = _run(composed, experiment, overrides, sweep)
        return outcome(state, path=str(path))
    except UserError as error:
        return outcome("failed", reason=str(error))
    except Interrupted as error:
        return outcome("interrupted", signal=error.number)
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
        damaged=lambda path, files: console.print(
            f"computed again, as files of {path} are damaged or missing: {', '.join(files)}", markup=False
        ),
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


class _LogFile(logging.FileHandler):
    """What the disk doesn't take is lost: results don't depend on it."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Writes what is logged into the run directory, tracebacks too; warnings also go to the terminal."""
    to_file = _LogFile(path, delay=True)
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
    counted = [f"[{outcome.number + 1}/{sweep.cells}]"] if sweep is not None else []
    start = escape(" ".join([*counted, *outcome.overrides]))
    if outcome.state == "failed":
        console.print(f"{start} [bold red]error:[/] {escape(outcome.reason or '')}")
        return
    where = f" → {escape(outcome.path)}" if outcome.path is not None else ""
    left = f", {sweep.time_left()}" if sweep is not None and sweep.time_left() else ""
    console.print(f"{start} {outcome.state} in {duration(outcome.seconds)}{where}{left}".lstrip())
