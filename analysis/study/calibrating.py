"""The agreement of automatic measures with people on pictures: Kendall's τ with clustered intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.stats import t
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_cluster_2groups

from analysis.effects import CONFIDENCE, pair_names
from analysis.study.answers import ANSWERS, CHOICES, read_answers
from analysis.study.design import Study, StudyError
from analysis.tables import MEASURES
from analysis.tables.kept import tables_of
from analysis.tables.runs import frame
from swag_repro.names import measures_beside
from swag_repro.runs.files import write_text
from swag_repro.runs.schema import to_csv

HIGHER_IS_BETTER = ("ssim",)
"""Statistics that are likenesses; all others are distances."""

DUELS = ["left", "right", "pair", "rater", "preferred"]

VIST = {
    "system_a_image": "left",
    "system_b_image": "right",
    "ref_image": "style",
    "prompt": "content",
    "annotator_id": "rater",
    "winner": "choice",
}
"""Columns of VIST (toloka/vist, `data/test.parquet`), and ours. A prompt stands in the place of a content."""

VIST_CHOICES = {
    "system_a": "left", "a": "left", "system_b": "right", "b": "right", "tie": "tie", "equal": "tie",
}  # fmt: skip
"""Values of VIST's `winner`, in lower case, besides the names of the two systems."""

GIVEN = "left, right and choice, or picture and score; and style, content, rater as far as they are known"


@dataclass(frozen=True)
class Ratings:
    """The judgements of people on pictures, two at a time.

    Attributes:
        duels: One row for two pictures and a rater: `left` and `right`, `pair` (their content and style),
            `rater` (null if scores are means over raters), and `preferred`: 1 if the left picture is better,
            −1 if the right one is, 0 if neither.
        numbers: `picture`, `statistic`, `definition` (the judge) and `value`.
    """

    duels: pd.DataFrame
    numbers: pd.DataFrame


def read_ratings(path: Path, score: str = "score") -> Ratings:
    """Return the ratings of a CSV or Parquet file, and the measures of the file beside it.

    Args:
        path: The file, in our columns or VIST's.
        score: The column of scores, such as AST-IQAD's CP, SR or OV; higher is better.

    Raises:
        StudyError: A file is missing or can't be read, or columns or values are not as they should be.
    """
    table = _with_our_names(_read(path))
    beside = measures_beside(path)
    if not beside.is_file():
        remedy = f"This measures them: python -m experiments.measure_pictures {path}"
        raise StudyError(str(path), "should have measures of its pictures beside it", f"no {beside}", remedy)
    numbers = _read(beside).dropna(subset="picture")  # ArtFID is a number of a whole set
    inputs = table.reindex(columns=["content", "style"]).astype(object).fillna("").astype(str)
    table = table.assign(pair=pair_names(inputs))
    table = table.assign(rater=table.get("rater"))
    if {"left", "right", "choice"} <= set(table):
        duels = _of_choices(table, path)
    elif {"picture", score} <= set(table):
        duels = _of_scores(table, score, path)
    else:
        raise StudyError(
            str(path), f"should have columns {GIVEN}", ", ".join(map(str, table.columns)), "Rename them."
        )
    return Ratings(duels, numbers)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' and pyarrow's errors of parsing are ValueErrors
        raise StudyError(str(path), "should be a table, as CSV or Parquet", error, "Check it.") from error


def _with_our_names(table: pd.DataFrame) -> pd.DataFrame:
    if not set(VIST) <= set(table):
        return table
    names = [
        {row["system_a"]: "left", row["system_b"]: "right"}.get(row["winner"])
        or VIST_CHOICES.get(str(row["winner"]).lower(), row["winner"])
        for row in table.to_dict("records")
    ]
    return table.drop(columns="style").assign(winner=names).rename(columns=VIST)


def _of_choices(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    if unknown := sorted(set(table["choice"].map(str)) - set(CHOICES)):
        raise StudyError(
            f"{path}: choice", "should be left, right or tie", ", ".join(unknown[:5]), "Mend it."
        )
    return table.assign(preferred=2 * table["choice"].map(CHOICES) - 1)[DUELS]


def _of_scores(table: pd.DataFrame, score: str, path: Path) -> pd.DataFrame:
    scores = pd.to_numeric(table[score], errors="coerce")
    if scores.isna().any():
        found = f"{int(scores.isna().sum())} without one"
        raise StudyError(f"{path}: {score}", "should be a number for each picture", found, "Mend it.")
    rows = [
        (one["picture"], other["picture"], pair, rater, float(np.sign(one[score] - other[score])))
        for (pair, rater), own in table.assign(**{score: scores}).groupby(["pair", "rater"], dropna=False)
        for one, other in combinations(own.to_dict("records"), 2)
    ]
    return pd.DataFrame(rows, columns=DUELS)


def ratings_of(study: Study, folder: Path, output: Path) -> Ratings:
    """Return the answers to a study, and what judges measured on its pictures.

    Raises:
        StudyError: Answers are missing or don't belong to the study, or nothing was measured.
    """
    table = read_answers(study, folder / ANSWERS).table
    trials = table[table["kind"] == "trial"]
    sides = {side: trials[f"{side}_run"] + " " + trials["pair"] for side in ("left", "right")}
    duels = trials.assign(**sides, preferred=2 * trials["won"] - 1)[DUELS]
    ids = {option.run_id for one in study.comparisons for option in one.options}
    with tables_of(output) as kept:
        both = [frame(kept.read("table", column, ids)) for column in ("run_id", "of_run")]
    numbers = pd.concat(both, ignore_index=True)
    numbers = numbers[numbers["statistic"].isin(MEASURES) & numbers["iteration"].isna()]
    run = numbers["of_run"].fillna(numbers["run_id"])
    numbers = numbers.assign(picture=run + " " + pair_names(numbers))
    if numbers.empty:
        remedy = "`swag judge` measures them; take the command in study.json."
        raise StudyError(str(folder), "should have pictures that a judge measured", "none", remedy)
    return Ratings(duels, numbers[["picture", "statistic", "definition", "value"]])


def calibrate(ratings: Ratings) -> pd.DataFrame:
    """Return Kendall's τ of each measure with people: over two pictures, 1 if both agree, −1 if they don't.

    Ties of people count 0. Intervals are clustered by pair and, where there are several, by rater.

    Returns:
        One row for each statistic and judge: `tau`, its 95 % interval, `p`, numbers of duels, pairs and
        raters, and of duels that are left out (`unmeasured`) since a picture has no value; the best measure
        comes first.
    """
    rows = [
        {"statistic": statistic, "definition": definition, **_tau(ratings.duels, own, str(statistic))}
        for (statistic, definition), own in ratings.numbers.groupby(["statistic", "definition"], dropna=False)
    ]
    return pd.DataFrame(rows).sort_values("tau", ascending=False, ignore_index=True)


def _tau(duels: pd.DataFrame, numbers: pd.DataFrame, statistic: str) -> dict[str, Any]:
    values = numbers.drop_duplicates("picture").set_index("picture")["value"].astype(float)
    gain = duels["right"].map(values) - duels["left"].map(values)
    known = gain.notna()
    agreed = np.sign(gain if statistic not in HIGHER_IS_BETTER else -gain) * duels["preferred"]
    clusters = [
        pd.factorize(duels.loc[known, column], use_na_sentinel=False)[0] for column in ("pair", "rater")
    ]
    several = [codes for codes in clusters if codes.size and codes.max() > 0]
    raters = int(duels.loc[known, "rater"].nunique())
    counts = {"duels": int(known.sum()), "pairs": int(duels.loc[known, "pair"].nunique()), "raters": raters}
    found = counts | {"unmeasured": int((~known).sum()), "tau": float(agreed[known].mean())}
    return found | (_interval(agreed[known].to_numpy(float), several) if several else {})


def _interval(values: np.ndarray[Any, Any], clusters: Sequence[Any]) -> dict[str, float]:
    """Return the 95 % interval of a mean, and its p; the largest of all clusterings' variances counts."""
    fitted = sm.OLS(values, np.ones(len(values))).fit()
    found = (
        cov_cluster_2groups(fitted, *clusters) if len(clusters) == 2 else [cov_cluster(fitted, clusters[0])]
    )
    error = float(np.sqrt(max(covariance[0, 0] for covariance in found)))
    freedom, mean = min(int(codes.max()) for codes in clusters), float(fitted.params[0])
    half = error * float(t.ppf((1 + CONFIDENCE) / 2, freedom))
    p = float(2 * t.sf(abs(mean) / error, freedom)) if error else float(mean == 0)
    return {"low": mean - half, "high": mean + half, "p": p}


def sentences(found: pd.DataFrame) -> Iterator[str]:
    """Yield the results in words."""
    for row in found.to_dict("records"):
        ends = (
            f" [{row['low']:.2f}, {row['high']:.2f}]" if pd.notna(row.get("low")) else ", without an interval"
        )
        if not row["duels"]:
            yield f"{row['statistic']}: no two compared pictures have a value"
            continue
        judge = f" by {row['definition']}" if pd.notna(row["definition"]) else ""
        lost = f", {row['unmeasured']} unmeasured" if row["unmeasured"] else ""
        about = (
            f"{row['duels']} comparisons, {row['pairs']} pairs, {row['raters'] or 'no single'} raters{lost}"
        )
        yield f"{row['statistic']}{judge}: {row['tau']:.2f}{ends}; {about}"


def save(found: pd.DataFrame, path: Path) -> Path:
    """Write the table as CSV, and return its path.

    Raises:
        StoreError: The file can't be written.
    """
    write_text(path, to_csv(found))
    return path
