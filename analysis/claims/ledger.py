"""Verdicts: whether each question's threshold holds. The primary question of a claim gives its verdict."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from analysis.claims.answers import Answer, answer
from analysis.claims.definitions import Claim, ClaimError, Evidence, Inquiry, inquiries
from analysis.claims.numbers import SweepNumbers, load_numbers, sweep_commands
from analysis.effects import CONFIDENCE
from analysis.study.design import StudyError
from analysis.tables import CellsError, Tables
from analysis.tables.kept import check_output
from swag_repro.errors import SettingError

AnswerState = Literal["holds", "refuted", "open", "missing"]

ANSWER_STATES: tuple[AnswerState, ...] = get_args(AnswerState)

ANSWERED = [field.name for field in fields(Answer) if field.name != "run_ids"]
"""Columns of an answer's numbers."""

Verdict = Literal["reproduced", "not reproduced", "open", "not testable yet", "not testable here"]

POWER = 0.8

LEAST_EFFECT, MOST_EFFECT = 0.01, 1.5
"""Distances, in standard errors of one pair, between which the needed number of pairs is computed."""


@dataclass(frozen=True)
class Entry:
    """One question, answered or not.

    Attributes:
        asked: The question.
        answer: The answer; None where runs are missing.
        why: Why there is no answer: the reason for missing runs, or what else stands in the way.
        commands: Commands that compute what is missing.
        figure: A figure to look at.
        scale: One of `definitions.SCALES`.
        setting: Size of the pictures and number of steps, in words.
    """

    asked: Inquiry
    answer: Answer | None
    why: str | None
    commands: tuple[str, ...]
    figure: str | None
    scale: str
    setting: str = ""


@dataclass(frozen=True)
class Ledger:
    """All claims with their verdicts.

    Attributes:
        claims: The claims by name.
        entries: All questions, in the order of the claims.
        tables: The tables behind the answers.
    """

    claims: dict[str, Claim]
    entries: tuple[Entry, ...]
    tables: tuple[Tables, ...]

    @cached_property
    def questions(self) -> pd.DataFrame:
        """One row for each question: its answer and its state.

        `p` is two-sided. Primary questions are judged by `p_holm`, Holm's correction over all primary
        questions with an answer; others by their own p.
        """
        rows = pd.DataFrame([_row(entry) for entry in self.entries])
        smaller = rows[["p_holds", "p_refuted"]].astype(float).min(axis="columns")
        rows["p"] = (2 * smaller).clip(upper=1.0)
        primary = (rows["role"] == "primary") & rows["mean"].notna()
        rows.loc[primary, "p_holm"] = (
            multipletests(rows.loc[primary, "p"], method="holm")[1] if any(primary) else []
        )
        levels = rows["role"].map({"primary": (1 - CONFIDENCE) / max(sum(primary), 1)}).fillna(1 - CONFIDENCE)
        needed = [pairs_needed(size, level) for size, level in zip(rows["size"], levels, strict=True)]
        states = [_state(row) for row in rows.to_dict("records")]
        return rows.assign(pairs_needed=pd.array(needed, dtype="Int64"), state=states)

    @property
    def answered(self) -> bool:
        """True if any question has an answer."""
        return bool((self.questions["state"] != "missing").any())

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row for each claim."""
        rows = []
        for name, claim in self.claims.items():
            own = self.questions[self.questions["claim"] == name]
            others = own[own["role"] == "secondary"]["state"]
            primary = own[own["role"] == "primary"].to_dict("records")
            decides: Mapping[Hashable, Any] = primary[0] if primary else {}
            rows.append(
                {
                    "claim": name,
                    "paper": claim.paper,
                    "verdict": verdict(claim, decides),
                    "scale": decides.get("scale", ""),
                    **{str(state): int((others == state).sum()) for state in ANSWER_STATES},
                    "text": claim.text,
                    "source": claim.source,
                    "notes": " ".join([*claim.notes, *filter(None, [claim.untestable])]),
                }
            )
        return pd.DataFrame(rows)


def load_ledger(
    claims: dict[str, Claim],
    evidence: Evidence,
    overrides: Sequence[str],
    runs: Path,
) -> Ledger:
    """Return the ledger of all runs of a folder.

    Args:
        claims: The claims by name.
        evidence: The sweeps that they rest on.
        overrides: Hydra overrides that are added to all sweeps, such as other seeds or another size.
        runs: The output folder.

    Raises:
        CellsError: Runs don't belong together.
        SettingError: No sweep takes the overrides.
        StoreError: There is no such folder, or a run can't be read.
    """
    check_output(runs)
    asked: dict[str, set[str]] = {name: set() for name in _named_sweeps(claims, evidence)}
    for question in (one for claim in claims.values() for one in claim.questions.values()):
        asked[question.evidence] |= question.names
    sources = {name: _source(name, evidence, overrides, runs, names) for name, names in asked.items()}
    if sources and all(source.refused for source in sources.values()):
        raise next(source.refused for source in sources.values() if source.refused)
    entries = [
        _entry(one, sources[one.question.evidence])
        for name, claim in claims.items()
        for one in inquiries(name, claim, evidence)
    ]
    behind = [data for source in sources.values() for part in source.parts for data in part.tables.values()]
    return Ledger(claims, tuple(entries), tuple(behind))


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
    """The numbers of one sweep, and of the one beside it, or the reason why there are none."""

    parts: tuple[SweepNumbers, ...]
    why: str | None
    commands: tuple[str, ...]
    figure: str | None
    scale: str
    refused: SettingError | None = None

    @cached_property
    def numbers(self) -> pd.DataFrame:
        """The numbers of both."""
        return pd.concat([part.numbers for part in self.parts], ignore_index=True)

    def cells(self, asked: Inquiry) -> pd.DataFrame:
        """Return the cells of both that a question is about; see `SweepNumbers.cells`."""
        return pd.concat([part.cells(asked.selected) for part in self.parts], ignore_index=True)


def _source(
    name: str, evidence: Evidence, overrides: Sequence[str], runs: Path, asked: Collection[str]
) -> _Source:
    parts, figure, scale = evidence.together(name), evidence.sweeps[name].figure, evidence.sweeps[name].scale
    given = tuple(one for part in parts for one in _computing(part, evidence, overrides, runs))
    try:
        loaded = tuple(
            load_numbers(evidence.sweeps[part], evidence.judges_of(part), overrides, runs, asked)
            for part in parts
        )
    except (CellsError, SettingError, StudyError) as error:
        refused = error if isinstance(error, SettingError) else None
        return _Source((), str(error.args[2]), given, figure, scale, refused)
    return _Source(loaded, None, given, figure, scale)


def _entry(one: Inquiry, source: _Source) -> Entry:
    found, why, setting = None, source.why, ""
    if source.parts:
        cells = source.cells(one)
        why, setting = _lacking(one, source.numbers, cells), _setting(cells)
    if why is None:
        try:
            found = answer(source.numbers, one)
        except ClaimError as error:
            why = str(error)
    return Entry(one, found, why, source.commands, source.figure, source.scale, setting)


def _lacking(one: Inquiry, numbers: pd.DataFrame, cells: pd.DataFrame) -> str | None:
    """Return what the cells that a question is about lack, in words; None if nothing."""
    [judge] = one.where.get("judge", [None])
    missing = int(cells["run_id"].isna().sum())
    if missing:
        return f"{missing} of {len(cells)} cells missing"
    if judge is not None and not (cells["judged"].all() and judge in set(numbers.get("judge", ()))):
        return f"{judge} has not judged"
    return None


def _setting(cells: pd.DataFrame) -> str:
    """Return the size of the pictures and the number of steps, in words."""
    units = {"images.size": "px", "steps": "steps"}
    found = {name: sorted(map(str, set(cells[name].dropna()))) for name in units if name in cells}
    return ", ".join(f"{' / '.join(values)} {units[name]}" for name, values in found.items() if values)


def _row(entry: Entry) -> dict[str, object]:
    [(kind, threshold)] = entry.asked.question.expect.given.items()
    known = {} if entry.answer is None else asdict(entry.answer)
    return {
        "claim": entry.asked.claim,
        "question": entry.asked.name,
        "role": entry.asked.role,
        "state": "missing",
        "scale": entry.scale,
        "setting": entry.setting,
        "expected": kind.replace("_", " "),
        "threshold": threshold,
        **{name: known.get(name) for name in ANSWERED},
        "p_holm": None,
        "runs": len(known.get("run_ids", ())),
        "evidence": entry.asked.question.evidence,
        "figure": entry.figure,
        "why": entry.why,
    }


def pairs_needed(size: float | None, level: float) -> int | None:
    """Return the pairs that would settle a question with a power of 80 % if mean and spread stayed.

    They are at least as many as an exact two-sided test needs to reach the level.

    Args:
        size: The distance from the threshold in standard errors of one pair; None if there is no answer.
        level: The level of p that decides.

    Returns:
        None if there is no answer, or the mean lies on the threshold or very far from it.
    """
    if size is None or not LEAST_EFFECT < abs(size) < MOST_EFFECT:
        return None
    needed: float = TTestPower().solve_power(abs(size), alpha=level, power=POWER)
    return max(math.ceil(needed), math.ceil(1 - math.log2(level)))


def _state(row: Mapping[Hashable, Any]) -> AnswerState:
    if pd.isna(row["mean"]):
        return "missing"
    if p_of(row) >= 1 - CONFIDENCE:
        return "open"
    return "holds" if row["p_holds"] < row["p_refuted"] else "refuted"


def p_of(row: Mapping[Hashable, Any]) -> float:
    """Return the p that decides a question: of a primary one, with Holm's correction."""
    return float(row["p_holm"] if row["role"] == "primary" else row["p"])


def verdict(claim: Claim, primary: Mapping[Hashable, Any]) -> Verdict:
    """Return the verdict on a claim, which is the answer to its primary question.

    What a toy refutes stays open: it says nothing about the networks and pictures of the paper.

    Args:
        claim: The claim.
        primary: The row of its primary question in `Ledger.questions`.
    """
    if claim.untestable is not None:
        return "not testable here"
    if primary["state"] == "missing":
        return "not testable yet"
    if primary["state"] == "refuted":
        return "open" if primary["scale"] == "toy" else "not reproduced"
    return "reproduced" if primary["state"] == "holds" else "open"


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
