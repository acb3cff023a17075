"""The frame of every experiment: it leads from a composed config to a finished run directory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar

import torch

from experiments.config import Config
from experiments.science import scientific
from experiments.sweeps.progress import track
from experiments.sweeps.sweep import CellPlace, check_sweep
from swag_repro.errors import SettingError, check_number
from swag_repro.runs.identity import Identity
from swag_repro.runs.store import Run
from swag_repro.tracking import Tracker, check_settings

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Context:
    """The run, tracker and sweep with which an experiment computes.

    Attributes:
        run: The run that takes the results.
        tracker: The tracker that sends the results to W&B.
        place: The cell's place in its sweep; None outside a sweep.
        label: The experiment's label.
        progress: Whether the terminal shows a progress bar.
    """

    run: Run
    tracker: Tracker
    place: CellPlace | None
    label: str
    progress: bool

    def shown(
        self, items: Iterable[tuple[int, T]], *, total: int, unit: str, detail: str = ""
    ) -> Iterator[T]:
        """Yield the items, each of some units of work, and show how many units of `total` are done.

        Several workers of a sweep would write over each other's bars, so they show none.
        """
        place = "" if self.place is None else f"cell {self.place} "
        left = "" if self.place is None else self.place.sweep.time_left()
        return track(
            items,
            total=total,
            what=f"{place}{self.label}{detail}",
            left=f"sweep: {left}" if left else "",
            enabled=self.progress and (self.place is None or self.place.sweep.workers == 1),
            unit=unit,
        )


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """A cell of an experiment, built from its config: it has an identity, and it computes a run.

    Attributes:
        name: The experiment's name.
        version: A number to raise when the same settings give other results.
        reads: The name of its config in `conf/`.
        resumable: Names in the run directory that an unfinished attempt leaves to the next one.
        config: The checked config.
        device: The device that computes the cell.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    reads: ClassVar[str]
    resumable: ClassVar[tuple[str, ...]] = ()

    config: Config
    device: torch.device

    @classmethod
    def build(cls, config: Config) -> Self:
        """Return the experiment of a checked config.

        Raises:
            UserError: A part of the science refuses a setting.
        """
        return cls(**cls.parts(config))

    @classmethod
    def parts(cls, config: Config) -> dict[str, Any]:
        """Return the attributes of the experiment of this config."""
        tracking = config.tracking
        check_settings(tracking.mode, tracking.timeout, tracking.every)
        check_sweep(config.sweep)
        for name, least in {"batch_size": 1, "threads": 1, "workers": 0}.items():
            if (value := config.compute.plain.get(name)) not in (None, "auto"):
                check_number(f"compute.{name}", value, least=least, whole=True)
        return {"config": config, "device": _device(config.compute.device)}

    @property
    def plain(self) -> dict[str, Any]:
        """The config in plain containers, as the run directory stores it."""
        return self.config.plain

    @cached_property
    def identity(self) -> Identity:
        """All that decides the result; image files are hashed for it."""
        return Identity(self.name, self.version, self.settings, self.images, self.weights_digest)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that decide the result, in a normal form."""
        return scientific(self.plain, self.name)

    @property
    def images(self) -> dict[str, str]:
        """The SHA-256 of each picture that decides the result, by the picture's name."""
        return {}

    @property
    def weights_digest(self) -> str | None:
        """A digest of the values of the weights; None where the settings determine the values."""
        return None

    @property
    def origin(self) -> dict[str, Any]:
        """The columns that all rows of the run share."""
        return {}

    @property
    @abstractmethod
    def label(self) -> str:
        """A name that tells people this cell from others."""

    @property
    def tags(self) -> list[str]:
        """The tags by which users find the run in W&B."""
        return []

    def check(self) -> None:
        """Raise what computing would raise at its start, without computing.

        Raises:
            UserError: A file is missing, or a setting does not fit the network.
        """
        _ = self.identity.run_id, self.following()

    @abstractmethod
    def compute(self, context: Context) -> None:
        """Compute the cell and write the results to its run."""

    def following(self) -> Experiment | None:
        """Return the experiment to compute after this one; None if there is none."""
        return None


def _device(name: str) -> torch.device:
    """Return the device that `compute.device` names; for `auto` an accelerator if there is one, else the CPU.

    Raises:
        SettingError: This machine has no such device.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        chosen = torch.device(name)
        torch.zeros(1, device=chosen).item()
    except Exception as error:  # each kind of device raises its own
        rule, why = "should be a device of this machine", str(error).partition("\n")[0]
        raise SettingError(
            "compute.device", rule, f"{name[:80]!r} ({why[:200]})", "Use auto or cpu."
        ) from error
    return chosen
