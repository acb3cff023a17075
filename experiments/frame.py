"""The frame that any experiment runs in: from a composed config to a finished run directory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar

import torch
from omegaconf import DictConfig, OmegaConf

from experiments.science import scientific
from experiments.sweeps.progress import track
from experiments.sweeps.sweep import Place
from swag_repro.errors import SettingError
from swag_repro.runs.identity import Identity
from swag_repro.runs.store import Run
from swag_repro.tracking import Tracker

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an experiment computes with.

    Attributes:
        run: where its results go.
        tracker: mirrors them in W&B.
        place: in its sweep; None outside one.
        label: of the experiment.
        progress: whether a bar is shown on a terminal.
    """

    run: Run
    tracker: Tracker
    place: Place | None
    label: str
    progress: bool

    def shown(
        self, items: Iterable[tuple[int, T]], *, total: int, unit: str, detail: str = ""
    ) -> Iterator[T]:
        """Passes on items that each stand for some units of work, and shows how many of `total` are done."""
        place = "" if self.place is None else f"cell {self.place} "
        left = "" if self.place is None else self.place.sweep.time_left()
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
    def origin(self) -> dict[str, Any]:
        """What each of its rows says of it."""
        return {}

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


def _device(name: str) -> torch.device:
    """The device that `compute.device` names; `auto` is an accelerator where there is one.

    Raises:
        SettingError: there is no such device.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        chosen = torch.device(name)
        torch.zeros(1, device=chosen).item()
    except Exception as error:  # each kind of device has its own
        rule, why = "should be a device of this machine", str(error).partition("\n")[0]
        raise SettingError("compute.device", rule, f"{name!r} ({why})", "Use auto or cpu.") from error
    return chosen
