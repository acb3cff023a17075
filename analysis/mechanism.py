"""The numbers of the experiments `mechanism`: how far each arm takes a picture to its style, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.drawing import labels
from analysis.effects import Effect, bootstrap
from analysis.tables.cells import Cell, CellsError, answered, compose_cells, computing, unique
from analysis.tables.collect import read_records, tidy
from swag_repro.runs.records import RunRecord

CHOSEN = "style_distance"
"""The measure that was chosen before anything was run."""

MEASURES = {CHOSEN: "style distance", "sliced_wasserstein": "sliced Wasserstein", "sifid": "SIFID"}
"""By which a picture's way to its style is judged, and what figures call them."""

PAIR = ["network", "seed", "arm", "content", "style"]

CONTRASTS = (
    ("softmax", "plain", "SWAG: both"),
    ("weights_of_softmax", "plain", "weights without shape (loss)"),
    ("gradients_of_softmax", "plain", "weights without shape (gradient)"),
    ("softmax_weights_of_plain", "plain", "shape without weights (loss)"),
    ("softmax_gradients_of_plain", "plain", "shape without weights (gradient)"),
    ("even", "plain", "even shares"),
    ("softmax_even", "plain", "SWAG and even shares"),
    ("softmax", "weights_of_softmax", "what SWAG adds to its weights"),
    ("even", "softmax", "even shares against SWAG"),
)
"""An arm, the arm it is compared with, and what the difference is the effect of."""

BUDGETS = np.linspace(0, 1, 41)
"""Of content given up, 1 − SSIM, along which curves are compared."""


@dataclass(frozen=True)
class Mechanism:
    """What the figure is drawn from.

    Attributes:
        arms: name → label, in the order of the sweep.
        networks: key → label, likewise; a key is a network with its weights.
        points: one row for each picture: pair, style weight, iteration (null: finished), `MEASURES` of it and
            of its start, SSIM.
        shares: one row for each layer of each pair: its share of the loss and of the gradient at the start.
        gains: one row for each measure, pair and arm: log2 of how much nearer to its style the picture came.
        effects: one row for each measure, network and contrast: the difference of gains, with its interval.
        judges: the held-out networks.
        missing: how many cells are missing.
        cells: how many there should be.
        commits: of the runs.
    """

    arms: dict[str, str]
    networks: dict[str, str]
    points: pd.DataFrame
    shares: pd.DataFrame
    gains: pd.DataFrame
    effects: pd.DataFrame
    judges: tuple[str, ...]
    settings: dict[str, object]
    missing: int
    cells: int
    commits: tuple[str, ...]

    @property
    def curves(self) -> bool:
        """Whether style weights were swept."""
        return len(self.points["style_weight"].unique()) > 1


def load(overrides: list[str], runs: Path, *, partial: bool) -> Mechanism:
    """The runs of the experiment that these overrides name.

    Raises:
        CellsError: Runs are missing, ambiguous, or don't belong together; or no step 0 was measured.
        StoreError: A run can't be read.
    """
    cells = compose_cells(overrides, "stylize")
    answer = answered(cells, read_records(runs)[0], computing(overrides, runs, "stylize"), partial=partial)
    found = unique(answer)
    rows = tidy([record for _, record in found]).to_pandas().drop(columns=["network", "weights", "seed"])
    rows = rows.merge(_origins(found), on="run_id")
    points = _points(rows)
    if points["style_distance_start"].isna().any():
        rule, remedy = "should hold 0: gains are against the start", "Add measured_steps=[0,10]."
        raise CellsError("measured_steps", rule, "no measures of the start", remedy)
    gains = _gains(points)
    first = found[0][0].config
    return Mechanism(
        arms={cell.config["arm"]["name"]: cell.config["arm"]["label"] for cell in cells},
        networks={_network(cell): _network_label(cell) for cell, _ in found},
        points=points,
        shares=_shares(rows),
        gains=gains,
        effects=_effects(gains),
        judges=tuple(points["judge"].dropna().unique()),
        settings={"size": first["images"]["size"], "steps": first["steps"], "objective": first["objective"]},
        missing=len(answer.missing),
        cells=answer.cells,
        commits=tuple(sorted({record.status.commit or "unknown" for _, record in found})),
    )


def _network(cell: Cell) -> str:
    network = cell.config["network"]
    return f"{cell.config['weights']['name']}/{network['name']}{labels.scale(network)}"


def _network_label(cell: Cell) -> str:
    network = cell.config["network"]
    return f"{labels.PREFIX[cell.config['weights']['name']]}{network['label']}{labels.scale(network)}"


def _origins(found: Sequence[tuple[Cell, RunRecord]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run_id": record.identity.run_id,
            "network": _network(cell),
            "arm": cell.config["arm"]["name"],
            "seed": cell.config["weights"].get("seed") or 0,
            "style_weight": cell.config["objective"]["style_weight"],
            "order": order,
        }
        for order, (cell, record) in enumerate(found)
    )


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each picture, finished or on its way, with the measures of its start."""
    measures = rows[rows["statistic"].isin([*MEASURES, "ssim"])]
    measures = measures.assign(iteration=measures["iteration"].fillna(-1))  # an index takes no null
    keys = [*PAIR, "style_weight", "iteration", "run_id", "order"]
    points = measures.pivot(index=keys, columns="statistic", values="value").reset_index()
    points = points.reindex(columns=[*keys, *MEASURES, "ssim"]).sort_values(["order", "iteration"])
    points["iteration"] = points["iteration"].replace(-1, float("nan"))
    judges = measures[measures["statistic"] == "style_distance"].groupby("run_id")["definition"].first()
    pair = ["run_id", "content", "style"]
    starts = points[points["iteration"] == 0].set_index(pair)[list(MEASURES)]
    points = points.join(starts.add_suffix("_start"), on=pair)
    return points.join(judges.rename("judge"), on="run_id").reset_index(drop=True)


def _shares(rows: pd.DataFrame) -> pd.DataFrame:
    shares = rows[rows["statistic"] == "style_share"].rename(columns={"value": "share"})
    return shares[[*PAIR, "style_weight", "layer", "definition", "share", "run_id"]]


def _gains(points: pd.DataFrame) -> pd.DataFrame:
    """log2 of start over result, of each pair under each arm, by each measure.

    Where style weights were swept, the result is the mean over budgets of content of the smallest style
    distance that the arm reaches within the budget: all its pictures count, early ones too. Else it is that
    of the finished picture.
    """
    gains = []
    for measure in (name for name in MEASURES if points[name].notna().any()):
        left = points.assign(left=points[measure] / points[f"{measure}_start"])
        if len(points["style_weight"].unique()) > 1:
            results: pd.Series[float] = left.groupby(PAIR, sort=False)[["ssim", "left"]].apply(_reached)
        else:
            results = left[left["iteration"].isna()].set_index(PAIR)["left"]
        gain = results.map(lambda part: -math.log2(part)).rename("gain").reset_index()
        gains.append(gain.assign(measure=measure))
    return pd.concat(gains, ignore_index=True)


def _reached(pictures: pd.DataFrame) -> float:
    """Mean over budgets of the least relative style distance within each, of one pair's pictures."""
    spent = 1 - pictures["ssim"].to_numpy()
    left = pictures["left"].to_numpy()
    affordable = spent[None, :] <= BUDGETS[:, None] + 1e-9
    # To leave the picture as it is costs nothing.
    return float(np.where(affordable, np.minimum(left, 1.0)[None, :], 1.0).min(axis=1).mean())


def _effects(gains: pd.DataFrame) -> pd.DataFrame:
    """Differences of gains between two arms on the same pairs and seeds."""
    keys = ["measure", "network", "pair", "seed", "arm"]
    pairs = gains.assign(pair=gains["content"] + " × " + gains["style"])
    wide = pairs.set_index(keys)["gain"].unstack("arm")
    found = [
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
    return pd.DataFrame(found)


def _effect(differences: pd.Series) -> Effect | None:
    known = differences.dropna()
    return bootstrap(known) if len(known) else None
