"""A search: Optuna proposes trials, and each trial is a cell like any other.

<output>/studies/<name>.journal  Optuna's file, which all processes of a search share
                 <name>.lock     held by the process that writes to the journal
                 <name>.csv      the trials, the best first

If the process of a trial is killed or interrupted, the trial stays open in the journal. Once the requested
number of trials has begun, each process computes the open ones, unless the store shows that another process
computes them.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from filelock import FileLock
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.markup import escape

from experiments.building import make
from experiments.config import Config, checked, checked_search
from experiments.frame import Experiment
from experiments.results import refuse_save
from experiments.running import CellTask, flush_subnormals
from experiments.science import settings_of_judge
from experiments.signals import deferred, interrupt
from experiments.sweeps.progress import console, duration
from swag_repro.errors import NonFiniteError, SettingError, check_choice, check_number, check_seed
from swag_repro.names import file_stem
from swag_repro.runs.files import make_folder, whole_file
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.schema import NUMBERS, to_csv
from swag_repro.runs.store import Store

TRIALS_PRINTED = 10
"""The largest number of trials that are printed; the CSV has them all."""

ENDED = (TrialState.COMPLETE, TrialState.FAIL)

AGGREGATES = ("mean", "median", "min", "max")
DIRECTIONS = ("minimize", "maximize")

optuna.logging.set_verbosity(optuna.logging.WARNING)


def run_search(composed: DictConfig, kind: type[Experiment]) -> None:
    """Compute trials up to the requested number, and show the best.

    Args:
        composed: The config of `conf/search.yaml` that Hydra composed.
        kind: The experiment of each trial.

    Raises:
        UserError: The search is invalid, or all trials failed.
        HydraException, OmegaConfBaseException: A key of its space is unknown.
        Interrupted: A signal came.
    """
    refuse_save(composed.save, "a search")
    settings = checked_search(composed.search)
    _check(settings)
    output = Path(HydraConfig.get().run.dir)
    journal = Journal(output.absolute() / "studies", settings.name)
    if not settings.show:
        flush_subnormals()
        search = Searching(settings, kind, journal)
        if composed.sweep.dry_run:
            search.definition()
            console.print(f"{settings.trials} trials. Nothing was computed.")
            return
        search.run()
    _show(journal, Store(output), most=settings.trials)


def _check(settings: Config) -> None:
    if not settings.name or file_stem(settings.name) != settings.name or settings.name.startswith("."):
        raise SettingError("search.name", "should be the name of a file", repr(settings.name), "Choose one.")
    check_number("search.trials", settings.trials, least=1, whole=True)
    check_number("search.startup", settings.startup, least=0, whole=True)
    check_seed("search.seed", settings.seed)
    if not settings.objectives:
        raise SettingError("search.objectives", "should have at least one", "none", "conf/search shows some.")


@dataclass(frozen=True)
class Journal:
    """Optuna's file of a study.

    Attributes:
        folder: The folder of all studies.
        name: The study's name.
    """

    folder: Path
    name: str

    @property
    def path(self) -> Path:
        """The path of the journal."""
        return self.folder / f"{self.name}.journal"

    @property
    def lock(self) -> FileLock:
        """The lock on the journal; a killed process releases it at once."""
        return FileLock(self.folder / f"{self.name}.lock", is_singleton=True)

    @property
    def study(self) -> optuna.Study:
        """The study that was begun.

        Raises:
            SettingError: No such study was begun.
        """
        try:
            return optuna.load_study(study_name=self.name, storage=self.storage())
        except KeyError:
            rule, found = (
                "should be the name of a study that was begun",
                f"{self.name!r}: none in {self.path}",
            )
            raise SettingError("search.name", rule, found, "Leave out search.show.") from None

    def storage(self) -> JournalStorage:
        """Open the journal, and cut off an incomplete last line, such as a full disk leaves.

        Raises:
            StoreError: Its folder can't be written to.
        """
        make_folder(self.folder)
        with self.lock, self.path.open("ab+") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        return JournalStorage(JournalFileBackend(str(self.path), lock_obj=self.lock))  # type: ignore[arg-type]

    def begin(self, definition: dict[str, Any]) -> optuna.Study:
        """Begin or resume a study; replace one that has another definition and no successful or open trial.

        Args:
            definition: The settings that make two trials comparable, by their names for people.

        Raises:
            SettingError: Another study has this name.
            StoreError: The folder can't be written to.
        """
        given: dict[str, Any] = {"study_name": self.name, "storage": self.storage()}
        directions = [sought["direction"] for sought in definition["search.objectives"].values()]
        with self.lock:
            study = optuna.create_study(**given, directions=directions, load_if_exists=True)
            found = study.user_attrs.get("definition", definition)
            if differing := [name for name in definition if found[name] != definition[name]]:
                if study.get_trials(states=(TrialState.COMPLETE, TrialState.RUNNING)):
                    rule = f"should be that of one search only ({self.path})"
                    differs = f"a study of that name that differs in {', '.join(differing)}"
                    raise SettingError("search.name", rule, differs, "Give another: search.name=...")
                optuna.delete_study(**given)
                study = optuna.create_study(**given, directions=directions)
            study.set_user_attr("definition", definition)
        return study


class Searching:
    """A search that is ready to begin.

    Args:
        settings: The search's settings.
        kind: The experiment of each trial.
        journal: The journal of its study.

    Raises:
        SettingError: A part of its space is invalid, or the command sets a key that is searched.
    """

    def __init__(self, settings: Config, kind: type[Experiment], journal: Journal) -> None:
        self.settings, self.kind, self.journal = settings, kind, journal
        self.space = distributions(settings.space.plain)
        self.objectives = [
            make(SearchObjective, Config({"name": name, **sought}, f"search.objectives.{name}"))
            for name, sought in settings.objectives.plain.items()
        ]
        self.common = _common(settings, self.space)

    def run(self) -> None:
        """Compute trials until the requested number has ended, or is computed by other processes.

        Raises:
            UserError: A part of the space is invalid, or another search has the study's name.
            Interrupted: A signal came.
        """
        study = self.journal.begin(self.definition())
        with deferred() as came:
            for trial in self._trials(study):
                if came() is not None:
                    break
                self._end(study, trial)

    def _trials(self, study: optuna.Study) -> Iterator[Trial | FrozenTrial]:
        """Yield new trials up to the requested number, then those that are still open."""
        while (trial := self._next_trial(study)) is not None:
            yield trial
        for begun in study.get_trials(states=(TrialState.RUNNING,)):
            if study.get_trials()[begun.number].state == TrialState.RUNNING:
                yield begun

    def _next_trial(self, study: optuna.Study) -> Trial | None:
        """Begin the next trial; the seed, its number and the results so far determine its proposal."""
        with self.journal.lock:
            if (number := len(study.get_trials(deepcopy=False))) >= self.settings.trials:
                return None
            seed = np.random.SeedSequence([self.settings.seed, number]).generate_state(1)
            with warnings.catch_warnings(action="ignore"):  # Optuna calls `constant_liar` experimental
                study.sampler = TPESampler(
                    seed=int(seed[0]), n_startup_trials=self.settings.startup, constant_liar=True
                )
            return study.ask(self.space)

    def definition(self) -> dict[str, Any]:
        """Return the settings that make trials comparable, after checking the ends of the space.

        Raises:
            UserError: A part of the space is invalid.
        """
        experiments = [self._build(params) for params in ends(self.space)]
        for experiment in experiments:
            experiment.check()
        first, judge = experiments[0], experiments[0].following()
        definition = {
            "search.space": self.settings.space.plain,
            "search.objectives": self.settings.objectives.plain,
            "the other settings, or pictures": first.identity.run_id,
            "the judge": None if judge is None else [settings_of_judge(first.plain), judge.weights_digest],
        }
        plain: dict[str, Any] = json.loads(json.dumps(definition))
        return plain

    def _compose(self, params: dict[str, Any]) -> tuple[DictConfig, list[str]]:
        overrides = [*self.common, *as_overrides(params)]
        return compose(self.kind.reads, [*HydraConfig.get().overrides.hydra, *overrides]), overrides

    def _build(self, params: dict[str, Any]) -> Experiment:
        return self.kind.build(checked(self._compose(params)[0], self.kind.reads))

    def _end(self, study: optuna.Study, trial: Trial | FrozenTrial) -> None:
        """Compute a trial, and report it to the study.

        Raises:
            SettingError: Its rows lack the searched numbers.
            Interrupted: A signal came.
        """
        composed, overrides = self._compose(trial.params)
        outcome = CellTask(composed, overrides, None, self.kind, wait=False).run()
        if outcome.signal is not None:
            interrupt(outcome.signal)
        if outcome.state == "busy":
            return
        values, details = None, {"reason": outcome.reason or "its rows don't have what is sought"}
        try:
            if outcome.state != "failed":
                values, details = self._results(trial.params)
        except NonFiniteError as error:
            details = {"reason": str(error)}
        finally:
            ended = self._tell(study, trial.number, values, details)
        if ended:
            numbers = ", ".join(
                f"{name} {value:.4g}"
                for name, value in zip(self.settings.objectives.plain, values or (), strict=False)
            )
            about = f"{' '.join(as_overrides(trial.params))} {outcome.state} in {duration(outcome.seconds)}"
            console.print(escape(f"[{ended}/{self.settings.trials}] {about}: {numbers or details['reason']}"))

    def _tell(
        self, study: optuna.Study, number: int, values: list[float] | None, details: dict[str, Any]
    ) -> int:
        """Return how many trials have ended with this one; 0 if another process has just ended it."""
        with self.journal.lock:
            if study.get_trials(deepcopy=False)[number].state.is_finished():
                return 0
            study.set_user_attr(str(number), details)
            study.tell(number, values, state=TrialState.FAIL if values is None else None)
            return len(study.get_trials(states=ENDED))

    def _results(self, params: dict[str, Any]) -> tuple[list[float], dict[str, Any]]:
        """Return the numbers of a trial, and the ids of its own run and of its judge's."""
        experiment = self._build(params)
        store, stages = Store(experiment.config.output), (experiment, experiment.following())
        ids = [stage.identity.run_id for stage in stages if stage is not None]
        records = [RunRecord(path, read_status(path)) for path in map(store.directory, ids)]
        rows = pd.concat([record.rows().to_pandas() for record in records])
        values = [sought.value(rows) for sought in self.objectives]
        return values, dict(zip(("run_id", "judge"), ids, strict=False))


def _common(settings: Config, space: dict[str, BaseDistribution]) -> list[str]:
    """Return the overrides of all trials: the search's, the command's, and the name of the runs.

    Raises:
        SettingError: An override has a key that is searched.
    """
    command = [str(override) for override in HydraConfig.get().overrides.task]
    overrides = [*settings.overrides, *command, f"name={settings.name}"]
    common = {}
    for override in OverridesParser.create().parse_overrides(overrides):
        if override.key_or_group in space:
            remedy = f"Leave out {override.input_line}."
            raise SettingError(override.key_or_group, "should be searched or given", "both", remedy)
        if override.key_or_group.partition(".")[0] != "search":
            common[override.get_key_element()] = str(override.input_line)  # the last override of a key wins
    return list(common.values())


def _table(study: optuna.Study) -> pd.DataFrame:
    """Return the ended trials, the best first; with several objectives, those that no other trial beats."""
    definition = study.user_attrs["definition"]
    sought = definition["search.objectives"]
    best = {trial.number for trial in study.best_trials}
    rows = [
        {"trial": trial.number, "best": trial.number in best, **trial.params}
        | dict(zip(sought, trial.values or (), strict=False))
        | study.user_attrs.get(str(trial.number), {})
        for trial in study.get_trials(states=ENDED)
    ]
    columns = ["trial", "best", *sought, *definition["search.space"], "run_id", "judge", "reason"]
    name, first = next(iter(sought.items()))
    order = [False, first["direction"] == "minimize"]
    return pd.DataFrame(rows, columns=columns).sort_values(["best", name], ascending=order, kind="stable")


def _show(journal: Journal, store: Store, *, most: int) -> None:
    """Print the best trials, and write the table of all.

    Raises:
        SettingError: No study was begun, or all trials failed.
    """
    study = journal.study
    table = _table(study)
    failed = table[table["reason"].notna()]
    under_way = len(study.get_trials(states=(TrialState.RUNNING,)))
    begun = f", {under_way} more begun" if under_way else ""
    console.print(f"\n{len(table)} of {most} trials done{begun}; {len(failed)} of them failed.")
    best = table[table["reason"].isna()].drop(columns="reason").head(TRIALS_PRINTED)
    pictures = [str(store.directory(run_id) / "images") for run_id in best["run_id"]]
    if len(best):
        print(best.assign(pictures=pictures).to_string(index=False, float_format="{:.4g}".format))
    with whole_file(path := journal.folder / f"{journal.name}.csv") as file:
        file.write(to_csv(table).encode())
    console.print(f"All of them: {escape(str(path))}")
    if len(table) and len(failed) == len(table):
        reason = str(failed["reason"].iloc[0])
        raise SettingError("search", "should have a trial that does not fail", reason, "Change its space.")


def distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of each key of `search.space`.

    Raises:
        SettingError: A key has no choices, or no value lies between its limits.
    """
    if not space:
        raise SettingError("search.space", "should have at least one key", "none", "conf/search shows some.")
    return {key: _distribution(key, given) for key, given in space.items()}


def _distribution(key: str, given: Any) -> BaseDistribution:
    try:
        with warnings.catch_warnings():
            # Optuna warns of choices it can't store, and of steps that miss `high`.
            warnings.simplefilter("error")
            return CategoricalDistribution(given) if isinstance(given, list) else _range(**given)
    except (TypeError, ValueError, UserWarning) as error:
        rule = "should be a list of choices, or have low and high, and may have log and step"
        raise SettingError(
            f"search.space.{key}", rule, f"{given!r} ({error})", "conf/search shows some."
        ) from error


def _range(low: Any, high: Any, *, log: bool = False, step: Any = None) -> BaseDistribution:
    """Return the distribution from low to high, of whole numbers if the limits and the step are whole."""
    for limit in (low, high, step or 1):
        if not isinstance(limit, int | float) or not math.isfinite(limit):
            raise ValueError(f"{limit!r} is no number; 1e-3 is none in YAML, 1.0e-3 is")
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int):
        return IntDistribution(low, high, log=log, step=step)
    return FloatDistribution(low, high, log=log, step=step)


def ends(space: Mapping[str, BaseDistribution]) -> Iterator[dict[str, Any]]:
    """Yield the settings of all low values, then of all high ones; each choice appears in at least one."""
    listed = [_ends(distribution) for distribution in space.values()]
    for number in range(max(map(len, listed))):
        yield {key: values[min(number, len(values) - 1)] for key, values in zip(space, listed, strict=True)}


def _ends(distribution: Any) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    return distribution.low, distribution.high


def as_overrides(params: Mapping[str, Any]) -> list[str]:
    """Return the parameters as the overrides of a command."""
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in params.items()
    ]


@dataclass(frozen=True)
class SearchObjective:
    """A number that a search makes small, or large.

    Args:
        name: The number's name.
        query: A query of pandas over the columns of `NUMBERS`; it selects the rows behind the number.
        aggregate: The function that turns the rows' values into one number.
        direction: `minimize` or `maximize`.

    Raises:
        SettingError: An argument is none of its choices, or the query is invalid.
    """

    name: str
    query: str
    aggregate: str
    direction: str

    def __post_init__(self) -> None:
        check_choice(f"search.objectives.{self.name}.aggregate", self.aggregate, AGGREGATES)
        check_choice(f"search.objectives.{self.name}.direction", self.direction, DIRECTIONS)
        self._fitting(NUMBERS.empty_table().to_pandas())

    def value(self, rows: pd.DataFrame) -> float:
        """Return the number of a trial.

        Args:
            rows: The rows of the trial's runs, in `NUMBERS`.

        Raises:
            SettingError: No row fits the query, or a fitting row has no value.
            NonFiniteError: The number is infinite or NaN.
        """
        fitting = self._fitting(rows)
        if fitting.empty:
            known = ", ".join(sorted(set(rows["statistic"])))
            rule = "should fit at least one row of a trial"
            raise self._refusal(rule, f"none for {self.query!r}", f"Its statistics are {known}.")
        if len(without := fitting[fitting["value"].isna()]):
            found = f"one without: {without.iloc[0]['reason']}"
            raise self._refusal("should fit rows that have a value", found, "Choose another statistic.")
        value = float(fitting["value"].agg(self.aggregate))
        if not math.isfinite(value):
            raise NonFiniteError(self.name, "should be finite", value, "Make the space smaller.")
        return value

    def _fitting(self, rows: pd.DataFrame) -> pd.DataFrame:
        try:
            return rows.query(self.query, engine="python")
        except Exception as error:  # an expression can raise anything
            rule = f"should be a query of pandas over the columns {', '.join(NUMBERS.names)}"
            found = f"{self.query!r} ({type(error).__name__}: {error})"
            raise self._refusal(rule, found, 'For example: statistic == "ssim"') from error

    def _refusal(self, rule: str, found: str, remedy: str) -> SettingError:
        return SettingError(f"search.objectives.{self.name}.query", rule, found, remedy)
