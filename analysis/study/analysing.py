"""The results of a study: preferences, strengths, agreement, and what each rater did."""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.drawing import style
from analysis.drawing.style import write_figure
from analysis.study.answers import Answers
from analysis.study.design import Study
from analysis.study.strengths import Strengths, fit_strengths
from analysis.tables.kept import tables_of
from analysis.tables.provenance import Provenance, write_provenance
from swag_repro.runs.files import whole_file
from swag_repro.runs.schema import RUNS, to_csv

ALL, ATTENTIVE = "all", "attentive"
"""The raters behind a number: all, or those who passed all attention checks."""

ROW = 0.3
"""Height of a row of the figure, in inches."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Findings:
    """The results of a study.

    Attributes:
        preferences: One row for each panel, two arms and `of` (`ALL`, `ATTENTIVE`): the `share` of choices
            for `one` against `other`, its 95 % interval, `p`, the least share that this study could have
            found (`detectable`), shares of ties and of choices for the left (with its interval),
            Krippendorff's `alpha`, numbers of answers, pairs and raters, and `why` there is no share.
        strengths: One row for each panel, arm and `of`: its strength, and the share of choices that it would
            have against an average arm, with its 95 % interval.
        raters: One row for each rater: answers, failed checks, ties, choices for the left, median seconds.
    """

    preferences: pd.DataFrame
    strengths: pd.DataFrame
    raters: pd.DataFrame


def analyse(answers: Answers) -> Findings:
    """Return the results of all answers, and of those by attentive raters."""
    table = answers.table
    raters = pd.DataFrame([_rater(str(code), own) for code, own in table.groupby("rater", sort=False)])
    attentive = set(raters.loc[raters["failed_checks"] == 0, "rater"]) if len(raters) else set()
    trials = table[table["kind"] == "trial"]
    preferences, strengths = [], []
    for of, own in ((ALL, trials), (ATTENTIVE, trials[trials["rater"].isin(attentive)])):
        for panel, rows in own.groupby("panel", sort=False):
            about: Row = {"panel": panel, "of": of}
            fitted, why = _fitted(rows)
            preferences += [about | row for row in _preferences(rows, fitted, why)]
            strengths += [about | row for row in _strengths(fitted)]
    return Findings(pd.DataFrame(preferences), pd.DataFrame(strengths), raters)


def _rater(code: str, own: pd.DataFrame) -> Row:
    checks, trials = own[own["kind"] == "check"], own[own["kind"] == "trial"]
    blank = (checks["left_run"] == "") == (checks["choice"] == "left")
    return {
        "rater": code,
        "answers": len(trials),
        "checks": len(checks),
        "failed_checks": int((blank | (checks["choice"] == "tie")).sum()),
        "ties": int((trials["choice"] == "tie").sum()),
        "left": int((trials["choice"] == "left").sum()),
        "median_seconds": trials["milliseconds"].median() / 1000,
    }


def _fitted(rows: pd.DataFrame) -> tuple[Strengths | None, str]:
    """Return the strengths of a panel's arms; or None, and why there are none."""
    try:
        return fit_strengths(rows), ""
    except ValueError as error:
        return None, str(error)


def _preferences(rows: pd.DataFrame, fitted: Strengths | None, why: str) -> Iterator[Row]:
    arms = sorted({*rows["left"], *rows["right"]})
    for one, other in combinations(arms, 2):
        own = rows[rows["left"].isin([one, other]) & rows["right"].isin([one, other])]
        numbers: Row = {"one": one, "other": other, "share_of_answers": _share_of_answers(own, one)}
        if fitted is not None:
            side = fitted.side
            numbers |= fitted.preference(one, other) | {
                f"side_{end}": side[end] for end in ("share", "low", "high")
            }
        yield numbers | {
            "ties": float((own["choice"] == "tie").mean()), "alpha": agreement(own), "answers": len(own),
            "pairs": own["pair"].nunique(), "raters": own["rater"].nunique(), "why": why,
        }  # fmt: skip


def _share_of_answers(own: pd.DataFrame, one: str) -> float:
    """Return the share of answers for an arm, ties counted half, as they are."""
    return float(own["won"].where(own["left"] == one, 1 - own["won"]).mean())


def agreement(own: pd.DataFrame) -> float:
    """Return Krippendorff's alpha of choices between two arms: 1 if all agree, 0 as by chance.

    It is NaN if all choices are one, or no two raters saw the same comparison.
    """
    first = own[["left", "right"]].min(axis=1)
    chosen = own["choice"].where(
        own["choice"] == "tie", own["left"].where(own["choice"] == "left", own["right"])
    )
    counts = pd.crosstab(own["comparison"], chosen.where(chosen != first, "first")).to_numpy()
    if counts.shape[1] < 2 or not (counts.sum(axis=1) > 1).any():
        return float("nan")
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def _strengths(fitted: Strengths | None) -> Iterator[Row]:
    if fitted is None:
        return
    for at, arm in enumerate(fitted.arms):
        share = fitted.share(np.eye(len(fitted.values))[at])
        yield {
            "arm": arm,
            "strength": fitted.values[at],
            **{end: share[end] for end in ("share", "low", "high")},
        }


def draw(found: Findings, study: Study) -> Figure:
    """Draw the preferences of all raters, panel by panel, with 95 % intervals."""
    own = found.preferences[found.preferences["of"] == ALL]
    known = own.dropna(subset="share").iloc[::-1] if "share" in own else own[:0]
    caption = style.caption_lines(
        f"{study.name}: {study.question} Share of choices, ties counted half; 95 % intervals, clustered "
        f"by pair and rater. {own['raters'].max()} raters, {own['pairs'].max()} pairs."
    )
    with style.figure(0.6 + ROW * max(len(known), 1), caption=caption) as (drawn, [part]):
        axis = part.subplots()
        for place, row in enumerate(known.to_dict("records")):
            ends = [[row["share"] - row["low"]], [row["high"] - row["share"]]]
            axis.errorbar([row["share"]], [place], xerr=ends, fmt="o", color="black", capsize=3)
        axis.set_yticks(range(len(known)), [_name(row) for row in known.to_dict("records")], parse_math=False)
        axis.axvline(0.5, color="0.5", linestyle="--", linewidth=0.8)
        axis.set(xlim=(0, 1), ylim=(-0.6, len(known) - 0.4), xlabel="share of choices")
    return drawn


def _name(row: Mapping[Hashable, Any]) -> str:
    return f"{row['panel']}: " * bool(row["panel"]) + f"{row['one']} over {row['other']}"


def sentences(found: Findings, answers: Answers) -> Iterator[str]:
    """Yield the results in words, with all that a reader should know about the answers."""
    failed = found.raters[found.raters["failed_checks"] > 0]
    for row in found.preferences.to_dict("records"):
        if row["of"] == ATTENTIVE and failed.empty:
            continue  # the same numbers
        about = f"{row['answers']} answers, {row['pairs']} pairs, {row['raters']} raters ({row['of']})"
        if not row["why"]:
            found_in = f"[{row['low']:.0%}, {row['high']:.0%}], p = {row['p']:.2g}; {about}"
            others = f"ties {row['ties']:.0%}, left {row['side_share']:.0%}, alpha {row['alpha']:.2f}"
            least = f"from {row['detectable']:.0%} on it would be found with a power of 80 %"
            yield f"{_name(row)}: {row['share']:.0%} {found_in}; {others}; {least}"
        else:
            yield f"{_name(row)}: {row['share_of_answers']:.0%}, without an interval: {row['why']}; {about}"
    for row in failed.to_dict("records"):
        yield f"rater {row['rater']} failed {row['failed_checks']} of {row['checks']} attention checks"
    for rater, count in answers.unfinished.items():
        yield f"rater {rater} stopped after {count} trials; these count"
    yield f"{len(found.raters)} raters answered, {len(answers.absent)} did not"


def save(found: Findings, study: Study, output: Path, folder: Path, name: str) -> list[Path]:
    """Write the tables, the figure, and where they come from.

    Args:
        found: The results.
        study: The study.
        output: The output folder of its runs.
        folder: The folder of the files.
        name: The first part of each file's name.

    Raises:
        StoreError: The files can't be written.
    """
    paths = []
    for end, table in (("", found.preferences), ("_strengths", found.strengths), ("_raters", found.raters)):
        paths.append(folder / f"{name}{end}.csv")
        with whole_file(paths[-1]) as file:
            file.write(to_csv(table).encode())
    drawn = draw(found, study)
    paths += [write_figure(drawn, folder / f"{name}.{suffix}") for suffix in ("png", "pdf")]
    return [*paths, write_provenance(folder / name, _provenance(study, output), paths)]


def _provenance(study: Study, output: Path) -> Provenance:
    """Return where the pictures come from; runs that were deleted since are counted as missing."""
    ids = {option.run_id for one in study.comparisons for option in one.options}
    with tables_of(output) as kept:
        runs = kept.read("runs", "run_id", ids, RUNS.names).to_pylist()
    known = [run for run in runs if run["state"] == "finished"]
    steps = [shlex.split(study.command)]
    return Provenance.of(known, output, steps, cells=len(ids), missing=len(ids) - len(known))
