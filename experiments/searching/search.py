"""A search: trial after trial, each a cell like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import BaseDistribution
from optuna.trial import Trial
from rich.markup import escape

from experiments.config import Search, checked, checked_search
from experiments.frame import Experiment
from experiments.running import Cell, flush_subnormals
from experiments.science import settings_of_judge
from experiments.searching.objectives import Objective, values
from experiments.searching.space import as_override, distributions, ends
from experiments.searching.study import Definition, Study
from experiments.signals import interrupt
from experiments.sweeps.composing import Composer
from experiments.sweeps.launching import CompositionError
from experiments.sweeps.ledger import Log, Outcome
from experiments.sweeps.progress import console, duration
from experiments.sweeps.worker import one_by_one
from swag_repro.errors import NonFiniteError, SettingError, UserError
from swag_repro.names import file_stem
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.store import Store

SHOWN = 10
"""Trials that are printed, at most; the CSV has them all."""


def run(composed: DictConfig, kind: type[Experiment]) -> None:
    """Computes trials until there are as many as asked for; shows the best.

    Args:
        composed: of `conf/search.yaml`, by Hydra.
        kind: of experiment that each trial is.

    Raises:
        UserError: the search can't be meant, or all trials failed.
        CompositionError: a key of its space is unknown.
        Interrupted: a signal came.
    """
    settings = checked_search(composed.search)
    _check_numbers(settings)
    study = Study(Path(composed.output).absolute() / "studies", settings.name)
    if not settings.show:
        flush_subnormals()
        Searching.of(settings, study, kind).run()
    elif not study.journal.exists():
        rule, remedy = "should be the name of a study that was begun", "Leave out search.show."
        raise SettingError("search.name", rule, f"{settings.name!r}: no {study.journal}", remedy)
    _show(study, Store(composed.output), most=settings.trials)


def _check_numbers(settings: Search) -> None:
    if not settings.name or file_stem(settings.name) != settings.name or settings.name.startswith("."):
        raise SettingError("search.name", "should be the name of a file", repr(settings.name), "Choose one.")
    for name, least in (("trials", 1), ("seed", 0), ("startup", 0)):
        if (value := getattr(settings, name)) < least:
            raise SettingError(f"search.{name}", f"should be {least} or more", value, "Choose one.")


@dataclass(frozen=True)
class Searching:
    """A search that can be begun.

    Attributes:
        settings: of the search.
        study: its trials.
        kind: of experiment that each trial is.
        objectives: what is sought.
        space: what is chosen from.
        common: overrides that all trials have.
        composer: of their configs.
    """

    settings: Search
    study: Study
    kind: type[Experiment]
    objectives: tuple[Objective, ...]
    space: dict[str, BaseDistribution]
    common: tuple[str, ...]
    composer: Composer

    @classmethod
    def of(cls, settings: Search, study: Study, kind: type[Experiment]) -> Self:
        """The search of these settings, and of the command's overrides."""
        hydra = HydraConfig.get()
        space = distributions(settings.space)
        objectives = tuple(Objective(name=name, **vars(given)) for name, given in settings.objectives.items())
        if not objectives:
            raise SettingError(
                "search.objectives", "should have at least one", "none", "conf/search shows some."
            )
        return cls(
            settings=settings,
            study=study,
            kind=kind,
            objectives=objectives,
            space=space,
            common=_common(settings, [str(override) for override in hydra.overrides.task], space),
            composer=Composer(kind.reads, hydra.overrides.hydra),
        )

    def run(self) -> None:
        """Computes trials until none is left to be begun."""
        self.study.begin(self.definition)
        came = one_by_one(self.study.workers, self._take, lambda trial, _: self._end(trial))
        if came is not None:
            interrupt(came)

    def _take(self, log: Log) -> Trial | None:
        settings = self.settings
        return self.study.take(
            self.space, log, most=settings.trials, seed=settings.seed, startup=settings.startup
        )

    @cached_property
    def definition(self) -> Definition:
        """What the study is of; that builds the ends of the space, which object now to what they can't do."""
        experiments = [self._built(self._overrides(params)) for params in ends(self.space)]
        judges = [experiment.following() for experiment in experiments]
        first, judge = experiments[0], judges[0]
        return Definition(
            space=self.settings.space,
            objectives=self.objectives,
            cell=first.identity.run_id,
            judge=None if judge is None else [settings_of_judge(first.plain), judge.weights_digest],
        )

    def _overrides(self, params: dict[str, Any]) -> list[str]:
        return [*self.common, *(as_override(key, value) for key, value in params.items())]

    def _built(self, overrides: Sequence[str]) -> Experiment:
        try:
            composed = self.composer(overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise CompositionError(" ".join(overrides)) from error
        return self.kind.build(checked(composed, self.kind.reads))

    def _end(self, trial: Trial) -> Outcome:
        """Computes a trial, and tells the study; what became of its cell.

        Raises:
            SettingError: its rows don't have what is sought.
        """
        overrides = self._overrides(trial.params)
        outcome = Cell(self.composer(overrides), overrides, None, self.kind).run()
        about = " ".join(as_override(key, value) for key, value in trial.params.items())
        if outcome.state == "interrupted":
            self.study.interrupt(trial)
        elif outcome.state == "failed":
            self._fail(trial, str(outcome.reason), about)
        else:
            self._judge(trial, overrides, f"{about} {outcome.state} in {duration(outcome.seconds)}")
        return Outcome(
            trial.number, outcome.state, outcome.seconds, outcome.reason, outcome.path, outcome.signal
        )

    def _judge(self, trial: Trial, overrides: Sequence[str], about: str) -> None:
        try:
            records = self._records(self._built(overrides))
            rows = pd.concat([record.rows().to_pandas() for record in records])
            found = values(self.objectives, rows)
        except NonFiniteError as error:
            self._fail(trial, str(error), about)
            return
        except UserError as error:
            self.study.fail(trial, str(error))
            raise
        self.study.complete(trial, found, [record.path.name for record in records])
        numbers = zip(self.objectives, found, strict=True)
        told = ", ".join(f"{objective.name} {value:.4g}" for objective, value in numbers)
        console.print(escape(f"{self._place} {about}: {told} → {records[0].path}"))

    def _fail(self, trial: Trial, reason: str, about: str) -> None:
        self.study.fail(trial, reason)
        console.print(f"{escape(f'{self._place} {about}')} [bold red]error:[/] {escape(reason)}")

    @property
    def _place(self) -> str:
        return f"[{self.study.counts()[0]}/{self.settings.trials}]"

    def _records(self, experiment: Experiment) -> list[RunRecord]:
        """The finished runs of a trial: its own, and its judge's."""
        following = experiment.following()
        stages = [experiment] if following is None else [experiment, following]
        store = Store(experiment.config.output)
        paths = [store.directory(stage.identity.run_id) for stage in stages]
        return [RunRecord(path, read_status(path)) for path in paths]


def _common(settings: Search, command: Sequence[str], space: dict[str, BaseDistribution]) -> tuple[str, ...]:
    """The overrides of all trials: of the search, of the command, and its runs' group.

    Raises:
        SettingError: one of them is of a key that is searched, or none at all.
    """
    parser = OverridesParser.create()
    own = parser.parse_overrides([*settings.overrides, *command, f"name={settings.name}"])
    found = {}
    for override in own:
        if override.key_or_group in space:
            rule = "should be searched or given"
            raise SettingError(override.key_or_group, rule, "both", f"Leave out {override.input_line}.")
        if override.key_or_group.partition(".")[0] != "search":
            found[override.get_key_element()] = str(override.input_line)
    return tuple(found.values())


def _show(study: Study, store: Store, *, most: int) -> None:
    """Prints the best trials, and writes the table of all."""
    table = study.table()
    done, running = study.counts()
    under_way = f", {running} under way in other processes" if running else ""
    failed = int(table["reason"].notna().sum())
    console.print(f"\n{done} of {most} trials done{under_way}; {failed} of them failed.")
    best = table[table["reason"].isna()].drop(columns="reason").head(SHOWN)
    pictures = [str(store.directory(run_id) / "images") for run_id in best["run_id"]]
    if len(best):
        print(best.assign(pictures=pictures).to_string(index=False, float_format="{:.4g}".format))
    console.print(f"All of them: {escape(str(study.write_table()))}")
    if done and failed == done:
        reason = str(table["reason"].iloc[0])
        raise SettingError("search", "should have a trial that does not fail", reason, "Change its space.")
