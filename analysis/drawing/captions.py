"""Captions of stylisations: the networks, the objective and its optimisation, and the judges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import labels
from analysis.stylizations import Arm, Stylizations

SETTINGS = {
    "objective.label": "{} loss",
    "objective.content_weight": "content weight {}",
    "objective.style_weight": "style weight {}",
    "objective.balance": "balance {}",
    "steps": "at most {} steps a scale",
    "optimizer._target_": "{}",
    "start": "from {}",
}
"""Settings of an objective and its optimisation in a caption's words; the runs hold all others."""


def arms(data: Stylizations, varied: Sequence[str] = (), shown: int | None = None) -> str:
    """Return the number of pairs, networks, weights, smoothings, objective, optimisation and sizes.

    Args:
        data: The stylisations that are shown.
        varied: Settings that the figure itself shows, such as `objective.style_weight`.
        shown: Number of pairs with pictures.
    """
    count = len(data.pairs) if shown in (None, len(data.pairs)) else f"{shown} of {len(data.pairs)}"
    runs, network = data.tables.runs, data.arms[0].network
    parts = [
        f"{count} pairs ({labels.sizes(runs)})",
        network if network not in data.arms[0].label else "",
        weights_of_arms(data.arms),
        labels.smoothing_legend(runs),
        ", ".join(objective(runs, varied)),
    ]
    return "; ".join(filter(None, parts)) + "."


def weights_of_arms(arms: Iterable[Arm]) -> str:
    """Return the weights behind each prefix, network by network only if networks have different weights."""
    by_prefix: dict[str, dict[str, dict[str, None]]] = {}
    for arm in arms:
        prefix = labels.PREFIX[arm.config["weights"]["name"]]
        by_prefix.setdefault(prefix, {}).setdefault(arm.config["network"]["label"], {})[arm.weights] = None
    return "; ".join(f"{prefix}: {_weights_of_networks(networks)}" for prefix, networks in by_prefix.items())


def _weights_of_networks(networks: Mapping[str, Iterable[str]]) -> str:
    used = {network: " / ".join(weights) for network, weights in networks.items()}
    if len(set(used.values())) == 1:
        return next(iter(used.values()))
    return ", ".join(f"{weights_of_arms} ({network})" for network, weights_of_arms in used.items())


def objective(runs: pd.DataFrame, varied: Sequence[str] = ()) -> Iterator[str]:
    """Yield the settings of objective and optimisation with all their values; for `varied`, see `arms`."""
    for column, words in SETTINGS.items():
        if column in runs and column not in varied:
            yield words.format(" / ".join(dict.fromkeys(_plain(column, value) for value in runs[column])))


def _plain(column: str, value: Any) -> str:
    """Return a value as labels do; of a path or a class only the last name."""
    if column == "start":
        return Path(value).name
    return value.rpartition(".")[2] if column.endswith("_target_") else labels.short_text(value)


def held_out(data: Stylizations) -> str:
    """Return the networks that judged; if there are several, also whose pictures each one judged."""
    judges = data.judges
    if len(judges) == 1:
        return next(iter(judges))
    return "; ".join(f"{judge} for {', '.join(networks)}" for judge, networks in judges.items())


def warnings(data: Stylizations) -> Iterator[str]:
    """Yield what a reader of the measures must know."""
    if len(data.judges) > 1:
        yield "Numbers by different held-out networks do not compare."
    if data.table["random"].any():
        yield "Caution: a held-out network with random weights is a weak judge of style and content."
    if unjudged := data.tables.unjudged:
        many = f"{unjudged} of {len(data.arms)}"
        yield f"–: {many} cells are not judged. This judges them: {data.tables.judging}"
