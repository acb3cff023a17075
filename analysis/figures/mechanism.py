"""Smoothing or re-weighting: each layer's share of the style loss, and how near each arm comes to the style.

Each network has a row: shares of the layers at the start; the gain of each arm, with a dot for every pair;
and, if style weights were swept, style against content. A second figure shows the effects: paired
differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import labels
from analysis.drawing import lines, style
from analysis.drawing.lines import LineStyle
from analysis.drawing.style import save
from analysis.effects import crossed, pair_names
from analysis.mechanism import CHOSEN, MEASURE_LABELS, Mechanism
from analysis.mechanism import load_mechanism as load

__all__ = ["load", "make", "save"]

_ROW, _TITLE, _WORDS = 0.21, 0.27, 0.5
"""Heights in inches: an arm, the title above the panels of a network, and the words around all of them."""

_FEWEST = 4
"""Least number of arms for which a panel has room."""

NAMED_SHARE = 0.024
"""Least share of a layer with its name in its bar, for each letter of the name."""

LAYERS = sns.color_palette("crest", 5)
"""Colours of layers, shallow to deep."""

FAMILY = {"plain": "#D55E00", "even": "#009E73", "weights": "#56B4E9", "softmax": "#0072B2"}
"""Colours of arms by what the arms do."""


def make(data: Mechanism) -> dict[str, Figure]:
    """Draw the arms (key: an empty string) and the effects (key: `_effects`)."""
    return {"": _arms(data), "_effects": _effects(data)}


# --- Arms -----------------------------------------------------------------------------------------------


def _arms(data: Mechanism) -> Figure:
    widths = [1.0, 1.15, 1.0] if data.curves else [1.0, 1.3]
    height = _WORDS + len(data.networks) * (_ROW * max(len(data.arms), _FEWEST) + _TITLE)
    with style.figure(height, caption=_caption(data), data=data) as (drawn, [part]):
        axes = part.subplots(
            len(data.networks), len(widths), squeeze=False, sharex="col", width_ratios=widths
        )
        for row, (network, label) in zip(axes, data.networks.items(), strict=True):
            _draw_shares(row[0], data, network)
            _draw_gains(row[1], data, network)
            row[0].set_title(label)
            if data.curves:
                _draw_curves(row[2], data, network)
        words = (
            "share of the style loss at first",
            "0: no nearer than the content image",
            "content given up (1 − SSIM)",
        )
        for axis, said in zip(axes[-1], words, strict=False):
            axis.set_xlabel(said)
        for axis, said in zip(axes[0, 1:], ("gain (log₂)", "style against content"), strict=False):
            axis.set_title(said)
    return drawn


def _draw_shares(axis: Axes, data: Mechanism, network: int) -> None:
    """Draw stacked bars: mean shares of the loss at the start, shallow layers at the left."""
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
    axis.set_xlim(0, 1)
    for place, middle, layer in _wide_enough(means):
        axis.text(middle, place, layer, ha="center", va="center", color="white", fontsize=5)
    axis.grid(visible=False)


def _wide_enough(means: pd.DataFrame) -> Iterator[tuple[int, float, str]]:
    """Yield row, middle and name of each layer whose bar has room for the name."""
    for row, shares in enumerate(means.fillna(0).to_numpy()):
        for layer, right, width in zip(means.columns, shares.cumsum(), shares, strict=True):
            if width > NAMED_SHARE * len(layer):
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
            lines.intervals(
                axis, mean, place, LineStyle(colors[arm], "D"), xerr=[[mean - low], [high - mean]]
            )
    axis.axvline(0, color="0.4", linewidth=0.7)
    _name_arms(axis, [""] * len(order))
    axis.set(xlabel="", ylabel="")


def _mean(gains: pd.DataFrame) -> tuple[float, float, float] | None:
    if gains.empty:
        return None
    pairs = gains.assign(pair=pair_names(gains), seed=gains["weights.seed"])
    effect = crossed(pairs.set_index(["pair", "seed"])["gain"])
    return effect.mean, effect.low, effect.high


def _draw_curves(axis: Axes, data: Mechanism, network: int) -> None:
    """Draw means over pairs and seeds: lines along style weights, small dots for intermediate pictures."""
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
    axis.set_ylabel("style distance left")


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
    """Draw a panel for each measure: the one chosen beforehand, and two that could contradict it.

    Networks or effects have rows, whichever are more; the others have colours.
    """
    effects = data.effects.assign(network=data.effects["network"].map(data.networks))
    names = {key: list(effects[key].unique()) for key in ("effect", "network")}
    row, color = sorted(names, key=lambda key: -len(names[key]))
    known = data.points.groupby("network")["network.name"].first().rename(data.networks)
    styles = lines.line_styles([known.get(name, name) for name in names[color]])
    styles_of = dict(zip(names[color], styles, strict=True))
    height = _WORDS + lines.legend_height(names[color])
    height += max(len(names[row]), _FEWEST) * (0.1 + 0.06 * len(styles))
    measures = list(effects["measure"].unique())
    with style.figure(height, caption=_caption(data), data=data) as (drawn, [part]):
        axes = part.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for axis, measure in zip(axes, measures, strict=True):
            own = effects[effects["measure"] == measure].set_index([color, row])
            _draw_effects(axis, own, names[row], styles_of)
            axis.set_title(MEASURE_LABELS[measure], fontsize="small")
            axis.set_xlabel("difference of gains", fontsize="small")
        _name_arms(axes[0], names[row])
        lines.add_legend(part, axes, names[color])
    return drawn


def _draw_effects(axis: Axes, effects: pd.DataFrame, rows: list[str], styles: dict[str, LineStyle]) -> None:
    axis.axvline(0, color="0.4", linewidth=0.7)
    for rank, (name, line_style) in enumerate(styles.items()):
        if name not in effects.index:
            continue
        own = effects.loc[name].reindex(rows)
        place = np.arange(len(rows)) + (rank - (len(styles) - 1) / 2) * 0.75 / len(styles)
        ends = [own["mean"] - own["low"], own["high"] - own["mean"]]
        lines.intervals(axis, own["mean"], place, line_style, xerr=ends, label=name, linestyle="none")


def _caption(data: Mechanism) -> str:
    runs = data.tables.runs
    steps = " / ".join(map(str, runs["steps"].unique()))
    pairs = len(data.points[["content", "style"]].drop_duplicates())
    over = ", ".join(filter(None, [f"{pairs} pairs ({labels.sizes(runs)})", labels.seeds(runs)]))
    judges = ", ".join(data.tables.measures.query("statistic == @CHOSEN")["definition"].dropna().unique())
    gain = (
        "start's style distance over the least within a budget of content, 1 − SSIM; mean over budgets"
        if data.curves
        else "content image's style distance over the finished picture's; style term alone"
    )
    return style.caption_lines(
        f"{over}, {steps} steps. Judge: {judges}. Gain: log₂ of the {gain}. "
        "Bars: 95 % intervals (Student over contents, styles and seeds)."
    )
