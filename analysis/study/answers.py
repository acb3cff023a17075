"""The answers of people: files that the page writes, checked against the study that they belong to."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.study.design import SCHEMA, Study, StudyError, Trial
from swag_repro.runs.files import MALFORMED

ANSWERS = "answers"
"""The folder of answers, in that of the study."""

CHOICES = {"left": 1.0, "right": 0.0, "tie": 0.5}
"""Choice → the share of a win for the left picture."""

LONGEST = 1 << 22
"""Most bytes of a file of answers."""

COLUMNS = (
    "rater", "trial", "kind", "comparison", "panel", "pair", "left", "right", "left_run", "right_run",
    "left_picture", "right_picture", "choice", "won", "milliseconds",
)  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """All answers of a study.

    Attributes:
        table: One row for each answer, in the columns of `COLUMNS`; `won` is 1 if the left picture was
            chosen, 0 if the right one was, 0.5 if neither.
        unfinished: Raters who stopped early, and the number of trials that they answered.
        absent: Codes of raters without a file.
    """

    table: pd.DataFrame
    unfinished: dict[str, int]
    absent: tuple[str, ...]


def read_answers(study: Study, folder: Path) -> Answers:
    """Return the answers of all JSON files of a folder.

    Raises:
        StudyError: There is none; or files are cut short, of another study, of an unknown or the same rater,
            or answer what was not asked. The message names all of them.
    """
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        remedy = "`swag study serve` writes them there; put downloaded ones there."
        raise StudyError(str(folder), "should have answers, in files *.json", "none", remedy)
    rows: list[tuple[Any, ...]] = []
    problems, of_rater = [], defaultdict(list)
    for path in files:
        try:
            content = check_content(study, path.read_bytes())
            of_rater[content["rater"]].append(path.name)
            rows += _rows(study, content["rater"], content["answers"])
        except (ValueError, OSError) as error:
            problems.append(f"{path.name}: {error}")
    problems += [
        f"{', '.join(names)}: all by rater {rater}" for rater, names in of_rater.items() if len(names) > 1
    ]
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        remedy = f"Mend them, or move them out of {folder}; the others count then."
        raise StudyError("answers", f"should all be of study {study.id}", listed, remedy)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    counts = table.groupby("rater").size()
    unfinished = {
        rater: int(counts.get(rater, 0))
        for rater in of_rater
        if counts.get(rater, 0) < len(study.raters[rater])
    }
    return Answers(table, unfinished, tuple(code for code in study.raters if code not in of_rater))


def check_content(study: Study, content: bytes) -> dict[str, Any]:
    """Return a file of answers, parsed.

    Raises:
        ValueError: It is cut short, or not what the page of this study writes for one of its raters.
    """
    if len(content) > LONGEST:
        raise ValueError(f"more than {LONGEST} bytes")
    try:
        plain = json.loads(content.decode())
    except MALFORMED as error:
        raise ValueError(f"no whole JSON ({error})") from error
    if not isinstance(plain, dict) or not isinstance(plain.get("answers"), list):
        raise ValueError("no answers in it")
    if plain.get("schema") != SCHEMA:
        raise ValueError(f"schema {plain.get('schema')!r} instead of {SCHEMA}")
    if plain.get("study") != study.id:
        raise ValueError(f"answers of another study ({plain.get('study')!r})")
    if plain.get("rater") not in list(study.raters):
        raise ValueError(f"an unknown rater ({plain.get('rater')!r})")
    _check_answers(study, plain["rater"], plain["answers"])
    return plain


def _check_answers(study: Study, rater: str, answers: Sequence[Any]) -> None:
    plan = study.raters[rater]
    if len(answers) > len(plan):
        raise ValueError(f"{len(answers)} answers to {len(plan)} trials")
    for number, (one, trial) in enumerate(zip(answers, plan, strict=False)):
        at = f"answer {number + 1}"
        if not isinstance(one, dict) or one.get("choice") not in list(CHOICES):
            raise ValueError(f"{at} is no choice")
        if one["choice"] == "tie" and not study.ties:
            raise ValueError(f"{at} is a tie, which this study does not offer")
        asked = [{"picture": option.picture, "run": option.run_id} for option in trial.options(study)]
        if (one.get("trial"), [one.get("left"), one.get("right")]) != (number, asked):
            raise ValueError(f"{at} names a picture that was not asked there")
        time = one.get("milliseconds")
        if isinstance(time, bool) or not isinstance(time, int) or time < 0:
            raise ValueError(f"{at} has no time")


def _rows(study: Study, rater: str, answers: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for number, (one, trial) in enumerate(zip(answers, study.raters[rater], strict=False)):
        yield answer_row(study, rater, number, trial, one["choice"], one["milliseconds"])


def answer_row(
    study: Study, rater: str, number: int, trial: Trial, choice: str, milliseconds: int
) -> tuple[Any, ...]:
    """Return one answer, in the columns of `COLUMNS`."""
    asked, (left, right) = study.comparisons[trial.comparison], trial.options(study)
    return (
        rater, number, trial.kind, trial.comparison, asked.panel, asked.pair, left.arm, right.arm,
        left.run_id, right.run_id, left.picture, right.picture, choice, CHOICES[choice], milliseconds,
    )  # fmt: skip
