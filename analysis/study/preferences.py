"""People's choices as numbers of runs, beside those of automatic judges in the ledger of claims."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.study.answers import ANSWERS, read_answers
from analysis.study.design import STUDIES, StudyError, read_study
from analysis.tables.kept import tables_of
from analysis.tables.runs import frame
from swag_repro.runs.schema import RUNS

PEOPLE = "people"
"""The judge of these numbers."""

PREFERENCE = "preference"
"""Their statistic: 1 if a picture was chosen from two, 0 if the other one was, 0.5 if neither."""


def load_preferences(name: str, output: Path) -> pd.DataFrame:
    """Return two numbers for each answer, one for each of the two pictures, with the settings of their runs.

    Args:
        name: The name of the study.
        output: Its output folder.

    Returns:
        `pair`, `seed` (the rater), `rater`, `value`, `statistic`, `judge`, `run_id`, and all settings.

    Raises:
        StudyError: There is no such study, answers are missing or don't belong to it, or runs were deleted.
        StoreError: The output folder can't be read.
    """
    folder = output / STUDIES / name
    table = read_answers(read_study(folder), folder / ANSWERS).table
    table = table[table["kind"] == "trial"]
    both = [
        table[["pair", "rater"]].assign(run_id=table[f"{side}_run"], value=won)
        for side, won in (("left", table["won"]), ("right", 1 - table["won"]))
    ]
    numbers = pd.concat(both, ignore_index=True)
    with tables_of(output) as kept:
        runs = frame(kept.read("runs", "run_id", numbers["run_id"]))
    if lost := set(numbers["run_id"]) - set(runs["run_id"]):
        rule, found = "should have the runs behind its pictures", f"{len(lost)} deleted"
        raise StudyError(str(folder), rule, found, "Compute them again, by the command in study.json.")
    own = [one for one in RUNS.names if one != "run_id"]
    settings = runs.drop(columns=own).dropna(axis="columns", how="all")
    joined = numbers.merge(settings, on="run_id").assign(statistic=PREFERENCE, judge=PEOPLE)
    return joined.assign(seed=joined["rater"])  # a sample like the seeds of weights
