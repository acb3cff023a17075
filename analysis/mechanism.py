"""The numbers of the experiments `mechanism`: how near each arm brings a picture to its style, and why."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import labels, tables
from analysis.effects import Effect, crossed, pair_names
from analysis.tables import CellsError, Tables

CHOSEN = "luminance_wasserstein"
"""The primary measure, named before the runs that it judges; it uses neither colour nor a first layer."""

MEASURE_LABELS = {
    CHOSEN: "luminance",
    "style_distance": "style distance",
    "sliced_wasserstein": "sliced Wasserstein",
    "sifid": "SIFID",
}
"""Measures of a picture's distance to its style, and their names in figures."""

PAIR = ["network", "weights.seed", "arm.name", "content", "style"]

CONTRASTS = (
    ("softmax", "plain", "SWAG (T = peak/2): both"),
    ("weights_of_softmax", "plain", "weights without shape (loss)"),
    ("gradients_of_softmax", "plain", "weights without shape (gradient)"),
    ("softmax_weights_of_plain", "plain", "shape without weights (loss)"),
    ("softmax_gradients_of_plain", "plain", "shape without weights (gradient)"),
    ("even", "plain", "even shares"),
    ("softmax_even", "plain", "SWAG (T = peak/2) and even shares"),
    ("softmax", "weights_of_softmax", "what SWAG (T = peak/2) adds to its weights"),
    ("even", "softmax", "even shares against SWAG (T = peak/2)"),
    ("softmax", "recolouring", "SWAG (T = peak/2) against recolouring with noise"),
    ("plain", "recolouring", "eq. 2 against recolouring with noise"),
    ("even", "recolouring", "even shares against recolouring with noise"),
    ("plain", "histogram", "eq. 2 against matched histograms"),
    ("softmax", "histogram", "SWAG (T = peak/2) against matched histograms"),
    ("even", "histogram", "even shares against matched histograms"),
    ("softmax", "first_layer", "SWAG (T = peak/2) against the first layer alone"),
    ("even", "first_layer", "even shares against the first layer alone"),
    ("swag", "plain", "SWAG (T = 1)"),
    ("softmax", "softmax_later", "what the first layer adds to SWAG (T = peak/2)"),
    ("drop_outliers", "plain", "outliers dropped"),
    ("softmax", "drop_outliers", "SWAG (T = peak/2) against outliers dropped"),
    ("softmax_later", "plain_later", "SWAG (T = peak/2), both without the first layer"),
    ("softmax_later", "recolouring", "SWAG (T = peak/2) without it against recolouring with noise"),
    ("even", "even_later", "what the first layer adds to even shares"),
    ("even_later", "plain", "even shares without the first layer"),
    ("even_later", "recolouring", "even shares without it against recolouring with noise"),
    ("softmax_even", "even", "what smoothing adds to even shares"),
    ("first_layer", "recolouring", "the first layer alone against recolouring with noise"),
    ("plain", "plain_later", "what the first layer adds to eq. 2"),
    ("even_first_05", "even", "5 % from the first layer against even shares"),
    ("even_first_50", "even", "half from the first layer against even shares"),
    ("even_first_84", "even", "84 % from the first layer against even shares"),
)
"""An arm, the arm that it is compared with, and the name of the effect."""

PHOTOGRAPH = "(photograph)"
"""The name of the photographs among the arms, in the table of means."""

BUDGETS = np.linspace(0, 1, 41)
"""Budgets of lost content, 1 − SSIM, along which curves are compared."""


BESIDE = (
    "arm", "smoothing", "objective", "weights.seed", "start", "start_noise", "steps", "evaluations", "scales",
)  # fmt: skip
"""Settings that differ between the arms, style weights and seeds of one network."""


@dataclass(frozen=True)
class Mechanism:
    """The data of the figure.

    Attributes:
        tables: The tables behind the figure.
        arms: `conf/arm`: name → label, in the order of the sweep.
        networks: number → label, in the order of the sweep; networks with different weights are two.
        points: one row for each picture: pair, settings, iteration (null: finished), `MEASURE_LABELS` of the
            picture and of its start, SSIM.
        shares: one row for each layer of each pair: its share of the loss and of the gradient at the start.
        gains: one row for each measure, pair and arm: log2 of the factor by which the picture came nearer to
            its style.
        effects: one row for each measure, network and contrast: the difference of gains, with its interval.
    """

    tables: Tables
    arms: dict[str, str]
    networks: dict[int, str]
    points: pd.DataFrame
    shares: pd.DataFrame
    gains: pd.DataFrame
    effects: pd.DataFrame

    @property
    def written(self) -> dict[str, pd.DataFrame]:
        """The tables that are written beside its figures, with the networks' names."""
        parts = {
            "points": self.points,
            "means": _means(self.points),
            "shares": self.shares,
            "gains": self.gains,
            "effects": self.effects,
        }
        return {
            f"_{name}": table.assign(network=table["network"].map(self.networks))
            for name, table in parts.items()
        }

    @property
    def curves(self) -> bool:
        """True if style weights were swept."""
        return len(self.points["objective.style_weight"].unique()) > 1


def load_mechanism(overrides: list[str], runs: Path, *, partial: bool) -> Mechanism:
    """Return the runs of the experiment that these overrides name.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together; or step 0 was not measured.
        StoreError: A run can't be read.
    """
    data = tables.load_tables(overrides, runs, "stylize", partial=partial)
    cells = _cells(data)
    points = _points(data, cells)
    if points.empty or points[f"{CHOSEN}_start"].isna().any():
        rule, found = (
            "should hold 0, and all pictures be judged: gains are against the start",
            "no measures of it",
        )
        raise CellsError(
            "measured_steps", rule, found, f"Add measured_steps=[0,10], or judge: {data.judging}"
        )
    gains = _gains(points)
    return Mechanism(
        tables=data,
        arms=dict(zip(data.runs["arm.name"], data.runs["arm.label"], strict=True)),
        networks=dict(zip(cells["network"], labels.label(data.runs, BESIDE), strict=True)),
        points=points,
        shares=_shares(data, cells),
        gains=gains,
        effects=_effects(gains),
    )


def _cells(data: Tables) -> pd.DataFrame:
    """Return each cell's settings and the number of its network; pretrained weights count as one seed."""
    context = data.context("arm.name", "objective.style_weight", "start", "start_noise").drop(
        columns=["content", "style"], errors="ignore"
    )
    seeds = context["weights.seed"].fillna(0) if "weights.seed" in data.runs else 0
    return context.assign(network=tables.line_numbers(data.runs, BESIDE), **{"weights.seed": seeds})


def _points(data: Tables, cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each picture, finished or on its way, with the measures of its content image."""
    picture = ["cell", "content", "style", "iteration"]
    judged = data.measures
    judged = judged[judged["statistic"].isin([*MEASURE_LABELS, "ssim"])]
    judged = judged.assign(iteration=judged["iteration"].astype(float).fillna(-1))  # an index holds no null
    wide = judged.pivot(index=picture, columns="statistic", values="value")
    wide = wide.reindex(columns=[*MEASURE_LABELS, "ssim"]).sort_index().reset_index()
    points = cells.merge(wide, left_index=True, right_on="cell")
    pair = ["network", "weights.seed", "content", "style"]
    contents = points[
        (points["iteration"] == 0) & (points["start"] == "content") & (points["start_noise"] == 0)
    ]
    starts = contents.groupby(pair)[list(MEASURE_LABELS)].first().add_suffix("_start")
    points = points.join(starts, on=pair)
    return points.assign(iteration=points["iteration"].replace(-1, float("nan"))).reset_index(drop=True)


def _shares(data: Tables, cells: pd.DataFrame) -> pd.DataFrame:
    rows = data.numbers[data.numbers["statistic"] == "style_share"].rename(columns={"value": "share"})
    shares = cells.merge(rows[["run_id", "content", "style", "layer", "definition", "share"]], on="run_id")
    return shares.sort_values("layer", key=lambda layers: layers.map(_counted), kind="stable")


def _counted(layer: str) -> list[str | int]:
    """Return the name of a layer in parts that sort from shallow to deep: `scale4` before `scale16`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", layer)]


def _means(points: pd.DataFrame) -> pd.DataFrame:
    """Return means over pairs and seeds: of the photographs, and of each arm's finished pictures."""
    names = [*MEASURE_LABELS, "ssim"]
    finished = points[points["iteration"].isna()]
    starts = finished.assign(
        **{name: finished[f"{name}_start"] for name in MEASURE_LABELS}, **{"arm.name": PHOTOGRAPH}, ssim=1.0
    )
    both = pd.concat([starts, finished], ignore_index=True)
    return both.groupby(["network", "arm.name"], sort=False)[names].mean().reset_index()


def _gains(points: pd.DataFrame) -> pd.DataFrame:
    """Return log2 of start over result, for each pair under each arm, by each measure.

    If style weights were swept, the result is a mean over budgets of content: of the smallest style distance
    that the arm reaches within each budget. All pictures of the arm count, early ones too. Otherwise the
    result is the style distance of the finished picture.
    """
    gains = []
    for measure in (name for name in MEASURE_LABELS if points[name].notna().any()):
        left = points.assign(left=points[measure] / points[f"{measure}_start"])
        if len(points["objective.style_weight"].unique()) > 1:
            results: pd.Series[float] = left.groupby(PAIR, sort=False)[["ssim", "left"]].apply(_mean_best)
        else:
            results = left[left["iteration"].isna()].set_index(PAIR)["left"]
        gain = results.map(lambda part: -math.log2(part)).rename("gain").reset_index()
        gains.append(gain.assign(measure=measure))
    return pd.concat(gains, ignore_index=True)


def _mean_best(pictures: pd.DataFrame) -> float:
    """Return the mean over budgets of the least relative style distance within each, for one pair."""
    spent = 1 - pictures["ssim"].to_numpy()
    left = pictures["left"].to_numpy()
    affordable = spent[None, :] <= BUDGETS[:, None] + 1e-9
    # An unchanged picture costs nothing.
    return float(np.where(affordable, np.minimum(left, 1.0)[None, :], 1.0).min(axis=1).mean())


def _effects(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the differences of gains between two arms on the same pairs and seeds."""
    keys = ["measure", "network", "pair", "seed", "arm.name"]
    pairs = gains.assign(pair=pair_names(gains), seed=gains["weights.seed"])
    wide = pairs.set_index(keys)["gain"].unstack("arm.name")
    rows = [
        {
            "measure": measure,
            "network": network,
            "effect": words,
            "arm": arm,
            "against": against,
            **vars(effect),
        }
        for measure, network in gains[["measure", "network"]].drop_duplicates().itertuples(index=False)
        for arm, against, words in CONTRASTS
        if {arm, against} <= set(wide.columns)
        and (effect := _effect(wide.loc[(measure, network), arm] - wide.loc[(measure, network), against]))
    ]
    return pd.DataFrame(rows)


def _effect(differences: pd.Series) -> Effect | None:
    known = differences.dropna()
    return crossed(known) if len(known) else None
