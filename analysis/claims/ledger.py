"""Verdicts: whether each question's threshold holds, and whether all questions of each claim hold."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from statsmodels.stats.multitest import multipletests

from analysis.claims.answers import Answer, answer
from analysis.claims.definitions import Claim, ClaimError, Evidence, Inquiry, inquiries
from analysis.claims.numbers import load_numbers, sweep_commands
from analysis.effects import CONFIDENCE
from analysis.tables import CellsError, Tables
from analysis.tables.kept import check_output
from swag_repro.errors import SettingError

AnswerState = Literal["holds", "refuted", "open", "missing"]

ANSWER_STATES: tuple[AnswerState, ...] = get_args(AnswerState)

ANSWERED = [field.name for field in fields(Answer) if field.name != "run_ids"]
"""Columns of an answer's numbers."""

SAME = ["claim", "question", "evidence", "expected", "threshold"]
"""Columns that identify a question in an earlier ledger."""

Verdict = Literal["reproduced", "partly", "not reproduced", "open", "not testable yet", "not testable here"]


@dataclass(frozen=True)
class Entry:
    """One question, answered or not.

    Attributes:
        asked: The question.
        answer: The answer; None where runs are missing.
        why: Why there is no answer: the reason for missing runs, or what else stands in the way.
        commands: Commands that compute what is missing.
        figure: A figure to look at.
    """

    asked: Inquiry
    answer: Answer | None
    why: str | None
    commands: tuple[str, ...]
    figure: str | None


@dataclass(frozen=True)
class Ledger:
    """All claims with their verdicts.

    Attributes:
        claims: The claims by name.
        entries: All questions, in the order of the claims.
        tables: The tables behind the answers.
        earlier: Answers of `earlier_answers`, kept where runs are missing here.
    """

    claims: dict[str, Claim]
    entries: tuple[Entry, ...]
    tables: tuple[Tables, ...]
    earlier: pd.DataFrame | None = None

    @cached_property
    def questions(self) -> pd.DataFrame:
        """One row for each question: its answer, its state, and p by Holm's correction over all answers."""
        rows = pd.DataFrame([_row(entry) for entry in self.entries])
        if self.earlier is not None:
            rows = _fill_from_earlier(rows, self.earlier)
        known = rows["mean"].notna()
        ends = rows.loc[known, ["p_holds", "p_refuted"]].astype(float)
        smaller = (2 * ends.min(axis="columns")).clip(upper=1.0)
        rows.loc[known, "p_holm"] = multipletests(smaller, method="holm")[1] if known.any() else []
        return rows.assign(state=[_state(row) for row in rows.to_dict("records")])

    @property
    def answered(self) -> bool:
        """True if any question has an answer, from these runs or from an earlier ledger."""
        return bool((self.questions["state"] != "missing").any())

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row for each claim."""
        rows = []
        for name, claim in self.claims.items():
            own = self.questions[self.questions["claim"] == name]
            counts: dict[str, object] = {state: int((own["state"] == state).sum()) for state in ANSWER_STATES}
            rows.append(
                {
                    "claim": name,
                    "paper": claim.paper,
                    "verdict": _verdict(claim, list(own["state"])),
                    **counts,
                    "text": claim.text,
                    "source": claim.source,
                    "notes": " ".join([*claim.notes, *filter(None, [claim.untestable])]),
                }
            )
        return pd.DataFrame(rows)


def earlier_answers(path: Path) -> pd.DataFrame:
    """Return the answers of a ledger that was written before, each with its commit.

    Args:
        path: A `claims.json`.

    Raises:
        ClaimError: The file is not a ledger.
    """
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        rows = pd.DataFrame(written["questions"])
        rows["kept_from"] = (
            rows["kept_from"].fillna(written["commit"]) if "kept_from" in rows else written["commit"]
        )
        return rows[rows["state"] != "missing"].set_index(SAME)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClaimError(
            "--earlier", "should be the claims.json of a ledger", f"{path}: {error}", "Choose one."
        ) from None


def load_ledger(
    claims: dict[str, Claim],
    evidence: Evidence,
    overrides: Sequence[str],
    runs: Path,
    earlier: pd.DataFrame | None = None,
) -> Ledger:
    """Return the ledger of all runs of a folder.

    Args:
        claims: The claims by name.
        evidence: The sweeps that they rest on.
        overrides: Hydra overrides that are added to all sweeps, such as other seeds or another size.
        runs: The output folder.
        earlier: Answers of `earlier_answers`, kept where runs are missing.

    Raises:
        CellsError: Runs don't belong together.
        SettingError: No sweep takes the overrides.
        StoreError: There is no such folder, or a run can't be read.
    """
    check_output(runs)
    columns = {name for claim in claims.values() for one in claim.questions.values() for name in one.columns}
    named = _named_sweeps(claims, evidence)
    sources = {name: _source(name, evidence, overrides, runs, columns) for name in named}
    if sources and all(source.refused for source in sources.values()):
        raise next(source.refused for source in sources.values() if source.refused)
    entries = [
        _entry(one, sources[one.question.evidence])
        for name, claim in claims.items()
        for one in inquiries(name, claim, evidence)
    ]
    behind = [data for source in sources.values() for data in source.behind]
    return Ledger(claims, tuple(entries), tuple(behind), earlier)


def evidence_commands(
    claims: dict[str, Claim], evidence: Evidence, overrides: Sequence[str], runs: Path
) -> list[str]:
    """Return the commands, as typed, that compute all evidence of these claims; cheap sweeps come first."""
    named = _named_sweeps(claims, evidence)
    wanted = dict.fromkeys(part for name in named for part in evidence.together(name))
    return [one for name in wanted for one in _computing(name, evidence, overrides, runs)]


def _computing(name: str, evidence: Evidence, overrides: Sequence[str], runs: Path) -> list[str]:
    found = sweep_commands(evidence.sweeps[name], evidence.judges_of(name), overrides, runs)
    return [shlex.join(one) for one in found]


def _named_sweeps(claims: dict[str, Claim], evidence: Evidence) -> list[str]:
    named = {question.evidence for claim in claims.values() for question in claim.questions.values()}
    return [name for name in evidence.sweeps if name in named]


@dataclass(frozen=True)
class _Source:
    """The numbers of one sweep, or the reason why there are none."""

    numbers: pd.DataFrame | None
    why: str | None
    behind: tuple[Tables, ...]
    commands: tuple[str, ...]
    figure: str | None
    refused: SettingError | None = None


def _source(
    name: str, evidence: Evidence, overrides: Sequence[str], runs: Path, columns: Collection[str]
) -> _Source:
    parts, figure = evidence.together(name), evidence.sweeps[name].figure
    given = tuple(one for part in parts for one in _computing(part, evidence, overrides, runs))
    try:
        loaded = [
            load_numbers(evidence.sweeps[part], evidence.judges_of(part), overrides, runs, columns)
            for part in parts
        ]
    except (CellsError, SettingError) as error:
        refused = error if isinstance(error, SettingError) else None
        return _Source(None, str(error.args[2]), (), given, figure, refused)
    numbers = pd.concat([own for own, _ in loaded], ignore_index=True) if len(loaded) > 1 else loaded[0][0]
    return _Source(numbers, None, tuple(data for _, behind in loaded for data in behind), given, figure)


def _entry(one: Inquiry, source: _Source) -> Entry:
    if source.numbers is None:
        return Entry(one, None, source.why, source.commands, source.figure)
    [judge] = one.where.get("judge", [None])
    if judge is not None and judge not in set(source.numbers["judge"]):
        return Entry(one, None, f"{judge} has not judged", source.commands, source.figure)
    try:
        found = answer(source.numbers, one)
    except ClaimError as error:
        return Entry(one, None, str(error), source.commands, source.figure)
    return Entry(one, found, None, source.commands, source.figure)


def _row(entry: Entry) -> dict[str, object]:
    [(kind, threshold)] = entry.asked.question.expect.given.items()
    known = {} if entry.answer is None else asdict(entry.answer)
    return {
        "claim": entry.asked.claim,
        "question": entry.asked.name,
        "state": "missing",
        "expected": kind.replace("_", " "),
        "threshold": threshold,
        **{name: known.get(name) for name in ANSWERED},
        "p_holm": None,
        "runs": len(known.get("run_ids", ())),
        "evidence": entry.asked.question.evidence,
        "figure": entry.figure,
        "why": entry.why,
        "kept_from": None,
    }


def _fill_from_earlier(rows: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
    """Return the rows; one without an answer takes that of an earlier ledger that asked the same."""
    kept = earlier.reindex(pd.MultiIndex.from_frame(rows[SAME])).set_axis(rows.index)
    taken = rows["mean"].isna() & kept["mean"].notna()
    columns = [*ANSWERED, "runs", "why", "kept_from"]
    return rows.assign(**{name: rows[name].mask(taken, kept[name]) for name in columns})


def _state(row: Mapping[Hashable, Any]) -> AnswerState:
    if pd.isna(row["mean"]):
        return "missing"
    if row["p_holm"] >= 1 - CONFIDENCE:
        return "open"
    return "holds" if row["p_holds"] < row["p_refuted"] else "refuted"


def _verdict(claim: Claim, states: Sequence[str]) -> Verdict:
    """Return the verdict on a claim.

    It is `reproduced` if all questions hold, `partly` if some hold, `not reproduced` if none holds and one is
    refuted, and `open` otherwise.
    """
    if claim.untestable is not None:
        return "not testable here"
    known = [state for state in states if state != "missing"]
    if not known:
        return "not testable yet"
    if all(state == "holds" for state in states):
        return "reproduced"
    if "holds" in known:
        return "partly"
    return "not reproduced" if "refuted" in known else "open"


def choose_claims(claims: dict[str, Claim], names: Sequence[str]) -> dict[str, Claim]:
    """Return the claims with these names, given whole or by their first part, such as `C6`.

    Raises:
        ClaimError: No claim has that name.
    """
    found: dict[str, Claim] = {}
    for name in names:
        fitting = [one for one in claims if one == name or one.split("_")[0].lower() == name.lower()]
        if not fitting:
            raise ClaimError("claims", f"should be some of {', '.join(claims)}", repr(name), "Choose one.")
        found |= {one: claims[one] for one in fitting}
    return found or claims
