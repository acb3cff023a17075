"""A training in its run directory: checkpoints, snapshots, curves, and the weights at its end."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from safetensors.torch import save

from experiments.checkpoints import Checkpoints
from experiments.frame import Context, Experiment
from experiments.signals import interrupt
from experiments.sweeps.progress import console, increments
from experiments.sweeps.sweep import interruptible
from swag_repro.runs.files import digest
from swag_repro.runs.store import Run
from swag_repro.tracking import Tracker
from swag_repro.training import ClassifierLoop, ClassifierScore, Loop
from swag_repro.weights import WEIGHTS, snapshot_name

logger = logging.getLogger(__name__)

LIVE = 20
"""Steps between two points of the live curves."""

KEY = "training"


@dataclass
class TrainingState:
    """The state that decides how a training continues; checkpoints store it.

    Attributes:
        training: The training's `state`; None before the first checkpoint.
        rows: The rows of the epochs that are done.
        seconds: The time of those epochs and of the steps after them.
        files: The SHA-256 of each snapshot that lies beside the checkpoint.
    """

    training: dict[str, Any] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)


T = TypeVar("T", bound=Loop[Any])


class Trainer(ABC, Generic[T]):
    """A trainer that runs a training from its last checkpoint to its end.

    Args:
        experiment: The experiment to train.
        training: The training at its start.
        context: The context that takes the results; None in every process but the first.
    """

    axis: ClassVar[tuple[str, ...]]
    """The x-axis of the live curves, then the names of the curves."""

    def __init__(self, experiment: Experiment, training: T, context: Context | None) -> None:
        self.experiment, self.training, self.context = experiment, training, context
        self.tracker = Tracker(None) if context is None else context.tracker
        seconds = experiment.config.checkpoint_seconds
        self.checkpoints = None if context is None else Checkpoints(context.run.path, seconds=seconds)
        self.snapshots = {round(share * training.steps): share for share in experiment.config.snapshots}
        self.state = TrainingState()
        self.began = time.monotonic()

    def begin(self) -> None:
        """Prepare for the first step of this process."""

    @abstractmethod
    def after(self, done: int) -> None:
        """Log the curves after a step."""

    @abstractmethod
    def end(self) -> None:
        """Compute and write the rows after the last step; only the first process writes."""

    def train(self) -> None:
        """Train; the first process writes the rows and weights."""
        self._resume()
        self.tracker.axis(*self.axis)
        self._snap()
        self.begin()
        with interruptible(None if self.context is None else self.context.place) as interrupted:
            for done in self._steps():
                self.after(done)
                self._snap()
                self._save(interrupted())
        self.end()
        if self.context is not None and self.checkpoints is not None:
            self._write_weights(self.context.run, WEIGHTS)
            self._tell_unreadable()
            self.checkpoints.clear()

    def _resume(self) -> None:
        saved = self.checkpoints.load(KEY) if self.checkpoints is not None else None
        saved = self.training.machine.world.shared(saved)
        if saved is not None:
            self.state = TrainingState(**saved)
            assert self.state.training is not None
            self.training.load_state(self.state.training)
            logger.info("goes on from step %d of %d", self.training.done, self.training.steps)
        self.began = time.monotonic() - self.state.seconds

    def _steps(self) -> Iterator[int]:
        """Yield each step; the first process also shows a bar of steps."""
        if self.context is None:
            return iter(self.training)
        counted = increments((done, done) for done in self.training)
        return self.context.shown(counted, total=self.training.steps, unit="steps")

    def _save(self, signal: int | None) -> None:
        if self.checkpoints is not None and (signal is not None or self.checkpoints.due()):
            if signal is None:
                self.training.check_finite()  # a diverged training gets no checkpoint
            self.state.training, self.state.seconds = self.training.state(), self.seconds
            self.checkpoints.save(KEY, vars(self.state))
        if signal is not None:
            interrupt(signal)

    @property
    def seconds(self) -> float:
        """The seconds of the training so far, over all attempts."""
        return time.monotonic() - self.began

    def note(self, statistic: str, definition: str, value: float) -> None:
        """Keep a number for the rows of the run."""
        self.state.rows.append(
            {
                "iteration": self.training.done,
                "statistic": statistic,
                "definition": definition,
                "value": value,
            }
        )

    def _snap(self) -> None:
        """Write the current weights if the config asks for a snapshot at this step."""
        share = self.snapshots.get(self.training.done)
        if share is None or self.context is None:
            return
        name = snapshot_name(share)
        self.state.files[name] = self._write_weights(self.context.run, name)

    def _write_weights(self, run: Run, name: str) -> str:
        """Write the current weights; return the file's SHA-256."""
        state = {key: value.cpu().contiguous() for key, value in self.training.network.state_dict().items()}
        content = save(state, {"run": run.identity.run_id, "step": str(self.training.done)})
        with run.write_file(name) as file:
            file.write(content)
        return digest(content)

    def _tell_unreadable(self) -> None:
        if lost := len(self.training.unreadable):
            logger.warning(
                "%d unreadable images were left out, such as number %d", lost, min(self.training.unreadable)
            )


class ClassifierTrainer(Trainer[ClassifierLoop]):
    """A trainer of a classifier; it logs accuracy and loss, in training and on the held-out images."""

    axis = ("epoch", "train/*", "test/*", "lr")

    def after(self, done: int) -> None:
        """Log the live curves, and the scores of an epoch that ends."""
        if done % LIVE == 0:
            self._log("train", self.training.running())
        if self.training.ends_epoch:
            self._end_epoch()

    def _end_epoch(self) -> None:
        train, test = self.training.running(), self.training.test()
        for part, score in (("train", train), ("test", test)):
            self._note(part, score)
            self._log(part, score)
        logger.info(
            "epoch %d: accuracy %.4f while training, %.4f held out; loss %.4f and %.4f",
            self.training.epoch, train.accuracy, test.accuracy, train.loss, test.loss,
        )  # fmt: skip
        self.training.forget_sums()

    def _log(self, part: str, score: ClassifierScore) -> None:
        values = {f"{part}/loss": score.loss, f"{part}/accuracy": score.accuracy}
        self.tracker.log({"epoch": self.training.epoch, "lr": self.training.lr, **values})

    def _note(self, part: str, score: ClassifierScore) -> None:
        """Keep a score for the rows of the run."""
        for statistic, value in (
            ("accuracy", score.accuracy),
            ("loss", score.loss),
            ("seconds", self.seconds),
        ):
            self.note(statistic, part, value)

    def end(self) -> None:
        """Score the final weights on the training images; the first process writes the rows."""
        self._note("fitted", self.training.fitted())
        if self.context is not None:
            rows = [row for row in self.state.rows if row["statistic"] == "accuracy"]
            last = {row["definition"]: row["value"] for row in rows}
            shares_right = f"{last['test']:.1%} of held-out images, {last['fitted']:.1%} of its own"
            console.print(f"  accuracy: {shares_right}")
            origin = {**self.experiment.origin, "quantity": KEY}
            self.context.run.write_rows([{**origin, **row} for row in self.state.rows])
