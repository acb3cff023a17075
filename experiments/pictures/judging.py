"""Measures of finished pictures, usually in a network that was not optimised: a stage of its own.

A judgement measures the pictures of one run in one network. Another judge never changes the pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from rich.markup import escape
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from experiments.building import build, check_network
from experiments.command import command
from experiments.frame import Context, Experiment
from experiments.programs import config_dir, task_overrides, typed
from experiments.science import EXPERIMENT_VERSIONS, settings_of_judge, wants_judge
from experiments.sweeps.progress import console
from experiments.sweeps.sweep import Sweep
from swag_repro.errors import SettingError, StoreError, UserError
from swag_repro.losses import LossMeasures
from swag_repro.measures import Measure, Measures, WeightedNetwork
from swag_repro.networks import Architecture
from swag_repro.runs.files import digest, read_picture
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.store import Store
from swag_repro.weights import Weights

PRINTED_SCORES = {
    "luminance_wasserstein": "distance to the style (0: as the style)",
    "ssim": "likeness to the content (1: the same)",
}
"""The statistics that are printed for a picture, and their names for people."""

Measuring: TypeAlias = Callable[[Tensor, Tensor, Sequence[Tensor]], Iterator[Sequence[Measure]]]
"""The type of `swag_repro.measures.HeldOut`: pictures, contents, styles → the measures of each picture."""


@dataclass(frozen=True, kw_only=True)
class Judging(Experiment):
    """The judgement of a finished experiment's pictures by a held-out network.

    Attributes:
        judged: The experiment that makes the pictures.
        network: The network that makes them; it can't judge them itself.
    """

    name = "judge"
    version = EXPERIMENT_VERSIONS[name]

    judged: Experiment
    network: WeightedNetwork

    def __post_init__(self) -> None:
        _check_loads(self.judge)  # raises now, not after the optimisation

    @cached_property
    def record(self) -> RunRecord:
        """The finished run whose pictures are judged.

        Raises:
            StoreError: No such run exists, or some of its files are damaged.
        """
        path = Store(self.config.output).directory(self.judged.identity.run_id)
        remedy = f"This computes it: {_computing(self.judged.name)}"
        rule = "should be a finished run"
        if not (path / "status.json").exists():
            raise StoreError("stylization", rule, f"none at {path}", remedy)
        record = RunRecord(path, read_status(path))
        if record.status.state != "finished":
            raise StoreError("stylization", rule, f"{record.status.state}: {path}", remedy)
        if damaged := record.damage():
            found = f"{path} with files that are damaged or missing: {', '.join(damaged)}"
            raise StoreError("stylization", rule, found, remedy)
        return record

    @cached_property
    def judge(self) -> WeightedNetwork:
        """The network that measures.

        Raises:
            SettingError: The config names no judge, or names the optimised network.
        """
        if not wants_judge(self.config.plain):
            raise SettingError("measures", "should name a judge", "none", "Choose measures=default.")
        chosen: WeightedNetwork = build(self.config.measures, Measures | LossMeasures).choose(self.network)
        return chosen

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The config of the judged experiment, and the id of its run."""
        return {**self.judged.plain, "stylization": self.record.path.name}

    @property
    def settings(self) -> dict[str, Any]:
        """The judge's settings, and the id of the judged run."""
        # All ids of judgements cover the key `stylization`.
        return {"measures": settings_of_judge(self.plain), "stylization": self.record.path.name}

    @property
    def images(self) -> dict[str, str]:
        """The SHA-256 of each judged picture."""
        names = [name for pair in self.pairs for name in _pictures(pair).values()]
        return {name: digest(self.record.read(name)) for name in names}

    @property
    def weights_digest(self) -> str | None:
        """The judge's name and the digest of its weights."""
        return f"{self.judge} {self.judge.digest}"

    @property
    def label(self) -> str:
        """The judge and the judged experiment, for people."""
        return f"{self.judge} on {self.judged.label}"

    @property
    def tags(self) -> list[str]:
        """The tags by which users find the run in W&B."""
        return [*self.judged.tags, str(self.judge)]

    @cached_property
    def pairs(self) -> list[dict[str, Any]]:
        """The pairs of the judged run, as in `PAIRS`."""
        pairs: list[dict[str, Any]] = self.record.pairs().to_pylist()
        return pairs

    def compute(self, context: Context) -> None:
        """Measure each picture, finished or intermediate, and write the rows."""
        measuring: Measuring = build(self.config.measures, Measures | LossMeasures).build(
            self.judge, self.device
        )
        origin = {**self.judged.origin, "of_run": self.record.path.name}
        rows: list[dict[str, Any]] = []
        counted = ((1, pair) for pair in self.pairs)
        for pair in context.shown(counted, total=len(self.pairs), unit="pictures"):
            rows += [{**origin, **row} for row in self._rows(measuring, pair)]
        context.run.write_rows(rows)
        if context.place is None:
            for pair in self.pairs:
                self._print_scores(pair, rows)

    def _print_scores(self, pair: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
        """Print how near a finished picture is to its style and to its content."""
        same = [row for row in rows if all(row[role] == pair[role] for role in ("content", "style"))]
        found = {row["statistic"]: row["value"] for row in same if row["iteration"] is None}
        parts = [
            f"{name} {_score(found[statistic])}"
            for statistic, name in PRINTED_SCORES.items()
            if statistic in found
        ]
        if parts:
            named = f"{escape(pair['content'])} × {escape(pair['style'])}"
            console.print(f"  {named} by {escape(str(self.judge))}: {', '.join(parts)}")

    def _rows(self, measuring: Measuring, pair: dict[str, Any]) -> Iterator[dict[str, Any]]:
        about = {"content": pair["content"], "style": pair["style"]}
        content = self._read(pair["content_image"])
        styles = [self._read(style["image"]) for style in pair["styles"]]
        weights = [style["weight"] for style in pair["styles"]]
        for iteration, name in _pictures(pair).items():
            for measure in _measured(measuring, self._read(name), content, styles, weights):
                yield {
                    **about,
                    "iteration": iteration,
                    "statistic": measure.statistic,
                    "definition": measure.definition,
                    "value": measure.value,
                    "reason": measure.reason,
                }

    def _read(self, name: str) -> Tensor:
        """Return a picture of the judged run, `(3, H, W)` in [0, 1]."""
        tensor: Tensor = to_tensor(read_picture(self.record.path / name, self.record.read(name)))
        return tensor.to(self.device)


def judgement_of(experiment: Experiment, architecture: Architecture, weights: Weights) -> Judging | None:
    """Return the judgement of an experiment's pictures; None if its config names no judge.

    Args:
        experiment: The experiment that makes the pictures.
        architecture: The architecture of the network that makes them.
        weights: The weights of that network.
    """
    if not wants_judge(experiment.config.plain):
        if measures := experiment.config.plain["measures"]:
            rule, remedy = "should be a choice of its group", "Choose measures=default, or none."
            raise SettingError("measures", rule, measures, remedy)
        return None
    return Judging(
        config=experiment.config,
        device=experiment.device,
        judged=experiment,
        network=WeightedNetwork(architecture, weights),
    )


def _computing(entry: str) -> str:
    """Return the running command, as typed, by another entry point."""
    hydra: Any = HydraConfig.get()
    overrides: Sequence[str] = task_overrides(hydra)
    flags = [] if (folder := config_dir(hydra)) is None else [f"--config-dir={folder}"]
    if hydra.mode != RunMode.MULTIRUN:
        return typed(entry, [*flags, *overrides])
    if (plan := Path(hydra.sweep.dir) / "plan.json").is_file():  # a worker has the overrides of one cell
        overrides = Sweep.read(plan.parent).command
    others = [override for override in overrides if not override.startswith("sweep=")]  # a dry run's
    return command(entry, [*flags, *others])


def _check_loads(judge: WeightedNetwork) -> None:
    """Load a judge once, to check its weights.

    Raises:
        UserError: The weights are missing, or don't fit the judge.
    """
    try:
        check_network(judge.weights, judge.architecture, judge.architecture.style_taps)
    except UserError as error:
        name, *found = error.args
        raise type(error)(f"measures.{name}", *found) from error


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _pictures(pair: dict[str, Any]) -> dict[int | None, str]:
    """Return the pictures of a pair by their iteration, which is None for the finished picture."""
    return {None: pair["image"], **{step["iteration"]: step["image"] for step in pair["steps"] or ()}}


def _measured(
    measuring: Measuring, image: Tensor, content: Tensor, styles: Sequence[Tensor], weights: Sequence[float]
) -> list[Measure]:
    """Return the measures of a picture; for a mix, the weighted means over its styles."""
    by_style = [next(measuring(image[None], content[None], [style])) for style in styles]
    return [_mean(same, weights) for same in zip(*by_style, strict=True)]


def _mean(measures: Sequence[Measure], weights: Sequence[float]) -> Measure:
    values = [measure.value for measure in measures if measure.value is not None]
    if len(values) < len(measures):
        return next(measure for measure in measures if measure.value is None)
    return replace(measures[0], value=sum(w * v for w, v in zip(weights, values, strict=True)))
