"""Smoothing or re-weighting: each layer's share of the style loss, and how far each arm gets.

One row for each network: shares of the layers at the start; the gain of each arm, with every pair as a dot;
and, where style weights were swept, style against content. A second figure has the effects: paired
differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing import captions, labels, style
from analysis.effects import bootstrap
from analysis.mechanism import CHOSEN, MEASURES, Mechanism, load

__all__ = ["load", "make", "save"]

ROW, FOOT = 0.21, 0.62
"""Inches: of an arm, and of the caption."""

FEWEST = 4
"""Arms for which a panel has room at least."""

ROOM = 0.19
"""Share of a layer from which its name stands in its bar."""

LAYERS = sns.color_palette("crest", 5)
"""Shallow to deep."""

FAMILY = {"plain": "#D55E00", "even": "#009E73", "weights": "#56B4E9", "softmax": "#0072B2"}
"""Colours of arms: by what they do."""


def make(data: Mechanism) -> dict[str, Figure]:
    """The arms, under the key of an empty string, and the effects, under `_effects`."""
    with style.printed():
        return {"": _arms(data), "_effects": _effects(data)}


def save(figures: dict[str, Figure], data: Mechanism, folder: Path, name: str) -> list[Path]:
    """Writes the figures (PNG and PDF), and their numbers (CSV): pictures, shares, gains and effects.

    Args:
        figures: From `make`.
        data: What they were made from.
        folder: Made where it is missing.
        name: The first part of each file's name.

    Raises:
        StoreError: The files can't be written.
    """
    description = data.tables.description
    paths = [
        path
        for suffix, drawn in figures.items()
        for path in style.save(
            drawn, folder / f"{name}{suffix}", title=name + suffix, description=description
        )
    ]
    tables = {"points": data.points, "shares": data.shares, "gains": data.gains, "effects": data.effects}
    for key, table in tables.items():
        named = table.assign(network=table["network"].map(data.networks))
        paths.append(style.save_table(named, folder / f"{name}_{key}.csv"))
    return paths


# --- Arms -----------------------------------------------------------------------------------------------


def _arms(data: Mechanism) -> Figure:
    widths = [1.0, 1.15, 1.0] if data.curves else [1.0, 1.3]
    height = len(data.networks) * (ROW * max(len(data.arms), FEWEST) + 0.45) + FOOT
    drawn = style.figure(height=height)
    drawn.set_layout_engine("constrained", rect=(0, FOOT / height, 1, 1 - FOOT / height))
    axes = drawn.subplots(len(data.networks), len(widths), squeeze=False, width_ratios=widths)
    for row, (network, label) in zip(axes, data.networks.items(), strict=True):
        _draw_shares(row[0], data, network)
        _draw_gains(row[1], data, network)
        if data.curves:
            _draw_curves(row[2], data, network)
        row[0].set_title(label, loc="left")
        row[1].set_title("gain (log₂)", loc="left")
        if data.curves:
            row[2].set_title("style against content", loc="left")
    drawn.text(0.012, 0.05 / height, _caption(data), va="bottom", fontsize=6.5)
    style.mark_partial(drawn, data.tables)
    return drawn


def _draw_shares(axis: Axes, data: Mechanism, network: int) -> None:
    """Stacked bars: mean shares of the loss at the start, shallow layers at the left."""
    own = data.shares[(data.shares["network"] == network) & (data.shares["definition"] == "loss")]
    means = (
        own.groupby(["arm.name", "layer"], sort=False)["share"].mean().unstack("layer")[own["layer"].unique()]
    )
    means = means.reindex(list(data.arms))
    left = np.zeros(len(means))
    for color, (_, values) in zip(LAYERS, means.items(), strict=False):
        axis.barh(range(len(means)), values, left=left, color=color, height=0.72)
        left += values.fillna(0).to_numpy()
    _name_arms(axis, list(data.arms.values()))
    axis.set(xlim=(0, 1), xlabel="shares of the style loss at the start")
    for place, middle, layer in _wide_enough(means):
        axis.text(middle, place, layer, ha="center", va="center", color="white", fontsize=5)
    axis.grid(visible=False)


def _wide_enough(means: pd.DataFrame) -> Iterator[tuple[int, float, str]]:
    """Row, middle and name of the layers whose bars have room for it."""
    for row, shares in enumerate(means.fillna(0).to_numpy()):
        for layer, right, width in zip(means.columns, shares.cumsum(), shares, strict=True):
            if width > ROOM:
                yield row, right - width / 2, str(layer)


def _draw_gains(axis: Axes, data: Mechanism, network: int) -> None:
    own = data.gains[(data.gains["network"] == network) & (data.gains["measure"] == CHOSEN)]
    order = list(data.arms)
    colors = {arm: _color(arm) for arm in order}
    dots = own.groupby(["arm.name", "content", "style"], sort=False)["gain"].mean().reset_index()
    sns.stripplot(
        dots, y="arm.name", x="gain", hue="arm.name", order=order, hue_order=order, palette=colors, size=2.6,
        alpha=0.45, jitter=0.18, legend=False, ax=axis,
    )  # fmt: skip
    for place, arm in enumerate(order):
        effect = _mean(own[own["arm.name"] == arm])
        if effect is not None:
            mean, low, high = effect
            axis.errorbar(
                mean, place, xerr=[[mean - low], [high - mean]], fmt="D", color=colors[arm], markersize=4.5,
                markeredgecolor="white", markeredgewidth=0.5, elinewidth=1.4, zorder=5,
            )  # fmt: skip
    axis.axvline(0, color="0.4", linewidth=0.7)
    _name_arms(axis, [""] * len(order))
    axis.set(ylabel="", xlabel="0: no nearer than the content image")


def _mean(gains: pd.DataFrame) -> tuple[float, float, float] | None:
    if gains.empty:
        return None
    pair = gains["content"] + " × " + gains["style"]
    effect = bootstrap(
        gains.assign(pair=pair).rename(columns={"weights.seed": "seed"}).set_index(["pair", "seed"])["gain"]
    )
    return effect.mean, effect.low, effect.high


def _draw_curves(axis: Axes, data: Mechanism, network: int) -> None:
    """Means over pairs and seeds: lines along the style weights, small dots for pictures on the way."""
    own = data.points[(data.points["network"] == network)]
    own = own.assign(
        spent=1 - own["ssim"],
        left=own["style_distance"] / own["style_distance_start"],
        step=own["iteration"].fillna(-1),
    )
    own = own[own["step"] != 0]
    means = (
        own.groupby(["arm.name", "step", "objective.style_weight"], sort=False)[["spent", "left"]]
        .mean()
        .reset_index()
    )
    for arm, points in means.groupby("arm.name", sort=False):
        final = points[points["step"] < 0].sort_values("objective.style_weight")
        axis.plot(
            final["spent"], final["left"], marker="o", color=_color(str(arm)), markersize=2.6,
            linewidth=1.1, linestyle=_dash(str(arm)),
        )  # fmt: skip
        way = points[points["step"] >= 0]
        axis.plot(way["spent"], way["left"], ".", color=_color(str(arm)), markersize=2, alpha=0.6)
    axis.set(xlabel="content given up (1 − SSIM)", ylabel="style distance left")


def _name_arms(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)


def _color(arm: str) -> str:
    if "of_softmax" in arm:
        return FAMILY["weights"]
    if "of_plain" in arm:
        return "#E69F00"
    if arm == "plain":
        return FAMILY["plain"]
    if arm.endswith("even"):
        return FAMILY["even"]
    return FAMILY["softmax"]


def _dash(arm: str) -> str:
    return "--" if arm.endswith("_even") or arm.startswith("gradients") else "-"


# --- Effects --------------------------------------------------------------------------------------------


def _effects(data: Mechanism) -> Figure:
    """A panel for each measure: the one chosen beforehand, and two that could contradict it."""
    networks = {key: label for key, label in data.networks.items() if key in set(data.effects["network"])}
    words = list(data.effects["effect"].unique())
    height = 0.6 + max(len(words), FEWEST) * (0.1 + 0.13 * len(networks)) + FOOT
    drawn = style.figure(height=height)
    drawn.set_layout_engine("constrained", rect=(0, FOOT / height, 1, 1 - FOOT / height))
    measures = list(data.effects["measure"].unique())
    axes = drawn.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axis, measure in zip(axes, measures, strict=True):
        own = data.effects[data.effects["measure"] == measure]
        _draw_effects(axis, own, data, networks)
        axis.set_title(MEASURES[measure], loc="left")
        axis.set_xlabel("difference of gains")
    _name_arms(axes[0], words)
    handles, names = axes[0].get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside upper right", ncols=len(names), frameon=False)
    drawn.text(0.012, 0.05 / height, _caption(data), va="bottom", fontsize=6.5)
    style.mark_partial(drawn, data.tables)
    return drawn


def _draw_effects(axis: Axes, effects: pd.DataFrame, data: Mechanism, networks: dict[int, str]) -> None:
    words = list(data.effects["effect"].unique())
    names = data.points.groupby("network")["network.name"].first()
    looks = style.looks([names[network] for network in networks])
    for rank, (network, label) in enumerate(networks.items()):
        own = effects[effects["network"] == network].set_index("effect").reindex(words)
        place = np.arange(len(words)) + (rank - (len(networks) - 1) / 2) * 0.75 / len(networks)
        look = looks[rank]
        axis.errorbar(
            own["mean"], place, xerr=[own["mean"] - own["low"], own["high"] - own["mean"]], fmt=look.marker,
            color=look.color, markersize=4, elinewidth=1.2, label=label,
        )  # fmt: skip
    axis.axvline(0, color="0.4", linewidth=0.7)


def _caption(data: Mechanism) -> str:
    runs = data.tables.runs
    steps = " / ".join(map(str, runs["steps"].unique()))
    pairs = len(data.points[["content", "style"]].drop_duplicates())
    over = ", ".join(filter(None, [f"{pairs} pairs ({labels.sizes(runs)})", labels.seeds(runs)]))
    judges = ", ".join(data.tables.measures.query("statistic == @CHOSEN")["definition"].dropna().unique())
    gain = (
        "Gain: log₂ of the start's style distance over the least that an arm reaches within a budget of "
        "content, 1 − SSIM, mean over budgets; all style weights and pictures on the way count."
        if data.curves
        else "Gain: log₂ of the content image's style distance over the finished picture's; style term alone."
    )
    return captions.lines(
        f"{over}, {steps} steps. Style distance in a held-out network: {judges}.",
        f"{gain} Diamonds and bars: means with 95 % intervals over pairs and seeds (crossed bootstrap).",
        "Shares: of each style layer in the loss between content and style image.",
    )
