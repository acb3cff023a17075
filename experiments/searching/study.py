"""The trials of a search, in files that all its processes share.

<output>/studies/<name>.log       Optuna's journal
                 <name>.csv       its trials, the best first
                 <name>/workers/  what each process did, see `sweeps.ledger`
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from filelock import FileLock
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from experiments.searching.objectives import Objective
from experiments.sweeps.ledger import DEATHS, Ledger, Log
from swag_repro.errors import SettingError
from swag_repro.runs.files import whole_file, writing
from swag_repro.spreadsheets import to_csv

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Definition:
    """What makes numbers of two trials comparable.

    Attributes:
        space: as it is given.
        objectives: what is sought.
        cell: run id of the space's first end: it stands for all settings that are not searched.
        judge: what decides what the judge of its pictures says; None without one.
    """

    space: Mapping[str, Any]
    objectives: Sequence[Objective]
    cell: str
    judge: Any

    @cached_property
    def plain(self) -> dict[str, Any]:
        """As the journal keeps it."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @property
    def directions(self) -> list[str]:
        """Of the objectives."""
        return [objective.direction for objective in self.objectives]

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """In what another one is not the same, in words."""
        words = {
            "space": "search.space",
            "objectives": "search.objectives",
            "cell": "the other settings, or pictures",
            "judge": "the judge",
        }
        return [said for name, said in words.items() if self.plain[name] != other[name]]


class JournalLock:
    """The lock on a journal: a process that is killed lets go of it at once.

    Who takes it cuts off a line that was not written whole, as of a full disk: no later line could be read.
    """

    def __init__(self, journal: Path, lock: Path) -> None:
        self._journal, self._lock = journal, FileLock(lock)

    def acquire(self) -> bool:
        """Waits for it."""
        self._lock.acquire()
        with self._journal.open("rb+") as file:
            content = file.read()
            if content and not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Lets others have it."""
        self._lock.release()


@dataclass(frozen=True)
class Study:
    """The trials of a search.

    Attributes:
        folder: of all studies.
        name: of this one.
    """

    folder: Path
    name: str
    _ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ledger", Ledger(self.workers))

    @property
    def journal(self) -> Path:
        """Optuna's file."""
        return self.folder / f"{self.name}.log"

    @property
    def workers(self) -> Path:
        """What each process did."""
        return self.folder / self.name / "workers"

    @cached_property
    def _storage(self) -> JournalStorage:
        with writing(self.workers):
            self.workers.mkdir(parents=True, exist_ok=True)
            self.journal.touch()
        lock: Any = JournalLock(self.journal, self.folder / self.name / "journal.lock")
        return JournalStorage(JournalFileBackend(str(self.journal), lock_obj=lock))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Within, no other process begins a trial, or the study."""
        with FileLock(self.folder / self.name / "queue.lock"):
            yield

    @cached_property
    def _optuna(self) -> optuna.Study:
        try:
            return optuna.load_study(study_name=self.name, storage=self._storage)
        except KeyError:
            rule, remedy = "should be the name of a study that was begun", "Leave out search.show."
            raise SettingError("search.name", rule, f"{self.name!r}, with no trial", remedy) from None

    @property
    def definition(self) -> dict[str, Any] | None:
        """What it was begun with; None where it is not begun."""
        plain: dict[str, Any] | None = self._optuna.user_attrs.get("definition")
        return plain

    def begin(self, definition: Definition) -> None:
        """Begins it, or goes on with it; of which no trial is done may be begun anew otherwise.

        Raises:
            SettingError: another one has its name.
            StoreError: its folder can't be written to.
        """
        storage = self._storage
        with self._alone():
            study = self._created(definition)
            if (found := study.user_attrs.get("definition")) == definition.plain:
                return
            if found is not None:
                if self._under_way(study):
                    raise self._refusal(definition.differences(found))
                optuna.delete_study(study_name=self.name, storage=storage)
                study = self._created(definition)
            study.set_user_attr("definition", definition.plain)

    def _created(self, definition: Definition) -> optuna.Study:
        return optuna.create_study(
            study_name=self.name,
            storage=self._storage,
            directions=definition.directions,
            load_if_exists=True,
        )

    def _under_way(self, study: optuna.Study) -> bool:
        trials = study.get_trials(deepcopy=False)
        running = self._ledger.read().running()
        return any(trial.state == TrialState.COMPLETE or trial.number in running for trial in trials)

    def _refusal(self, differences: Sequence[str]) -> SettingError:
        rule = f"should be that of one search only ({self.journal})"
        found = f"a study of that name that differs in {', '.join(differences)}"
        return SettingError("search.name", rule, found, "Give this one another: search.name=...")

    def take(
        self, space: dict[str, BaseDistribution], log: Log, *, most: int, seed: int, startup: int
    ) -> Trial | None:
        """The next trial of a process, which its log then names; None where there are as many as asked for.

        First those whose process was killed, or that were interrupted, with the same parameters.

        Args:
            space: to choose from.
            log: of the process.
            most: trials in all.
            seed: what is proposed follows from it, from the trial's number, and from earlier results.
            startup: trials proposed at random.
        """
        with self._alone():
            ledger = self._ledger.read()
            self._take_up(set(ledger.running()))
            trials = self.trials()
            if sum(map(_counts, trials)) >= most:
                return None
            self._optuna.sampler = _sampler(seed, len(trials), startup)
            trial = self._optuna.ask(space)
            before = ledger.latest.get(trial.number)
            log.took(trial.number, 0 if before is None else before.number + 1)
            return trial

    def _take_up(self, running: set[int]) -> None:
        for trial in self.trials():
            if trial.state == TrialState.RUNNING and trial.number not in running:
                self._optuna.tell(trial.number, state=TrialState.FAIL)
        trials = self.trials()
        taken_up = {trial.user_attrs.get("again") for trial in trials}
        for trial in trials:
            if _is_due_again(trial) and trial.number not in taken_up:
                about = {"again": trial.number, "deaths": _deaths(trial)}
                self._optuna.enqueue_trial(trial.params, user_attrs=about)

    def trials(self) -> list[FrozenTrial]:
        """All that were ever begun, or are to be taken up again."""
        return self._optuna.get_trials(deepcopy=False)

    def complete(self, trial: Trial, values: Sequence[float], runs: Sequence[str]) -> None:
        """Ends a trial with its numbers; `runs` are the ids of its stylisation and of what followed."""
        trial.set_user_attr("runs", list(runs))
        self._optuna.tell(trial, list(values))

    def fail(self, trial: Trial, reason: str) -> None:
        """Ends a trial that has no numbers; it is not tried again."""
        trial.set_user_attr("reason", reason)
        self._optuna.tell(trial, state=TrialState.FAIL)

    def interrupt(self, trial: Trial) -> None:
        """Ends a trial that is to be taken up again, from its run's last checkpoint."""
        trial.set_user_attr("interrupted", True)  # noqa: FBT003  (Optuna's signature)
        self._optuna.tell(trial, state=TrialState.FAIL)

    def counts(self) -> tuple[int, int]:
        """How many trials are done, and how many under way."""
        trials = self.trials()
        counted = sum(map(_counts, trials))
        running = sum(trial.state == TrialState.RUNNING for trial in trials)
        return counted - running, running

    def table(self) -> pd.DataFrame:
        """All trials that are done; first the best, or of several objectives those that no other beats."""
        assert self.definition is not None
        names = [objective["name"] for objective in self.definition["objectives"]]
        ended = [trial for trial in self.trials() if trial.state.is_finished() and _counts(trial)]
        best = {trial.number for trial in self._optuna.best_trials}
        table = pd.DataFrame(
            [_row(trial, names, trial.number in best) for trial in ended],
            columns=["trial", "best", *names, *self.definition["space"], "run_id", "judge", "reason"],
        )
        down = self.definition["objectives"][0]["direction"] == "maximize"
        return table.sort_values(["best", names[0]], ascending=[False, not down], kind="stable")

    def write_table(self) -> Path:
        """Writes the table as CSV; where."""
        path = self.folder / f"{self.name}.csv"
        with whole_file(path) as file:
            file.write(to_csv(self.table()).encode())
        return path


def _row(trial: FrozenTrial, names: Sequence[str], best: bool) -> dict[str, Any]:  # noqa: FBT001  (a value)
    values = dict(zip(names, trial.values or (), strict=False))
    runs = dict(zip(("run_id", "judge"), trial.user_attrs.get("runs", ()), strict=False))
    reason = trial.user_attrs.get("reason", f"{DEATHS} processes were killed at it")
    failed = {"reason": reason} if trial.state == TrialState.FAIL else {}
    return {"trial": trial.number, "best": best, **trial.params, **values, **runs, **failed}


def _sampler(seed: int, number: int, startup: int) -> BaseSampler:
    """What proposes the trial of this number; another process, or the next start, proposes another one's."""
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # A liar keeps away from what other processes try now.
        return TPESampler(seed=own, n_startup_trials=startup, constant_liar=True)


def _deaths(trial: FrozenTrial) -> int:
    """How many processes were killed at these parameters."""
    before: int = trial.user_attrs.get("deaths", 0)
    return before + ("interrupted" not in trial.user_attrs)


def _is_due_again(trial: FrozenTrial) -> bool:
    """Whether it has neither numbers nor a reason why, and may yet get them."""
    lost = trial.state == TrialState.FAIL and "reason" not in trial.user_attrs
    return lost and _deaths(trial) < DEATHS


def _counts(trial: FrozenTrial) -> bool:
    """Whether it is one of those asked for."""
    return trial.state != TrialState.WAITING and not _is_due_again(trial)
