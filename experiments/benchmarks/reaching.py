"""When curves of a distance first come to a target."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

AUTHORS = "authors' settings"

TEXTBOOK = "authors' loop"
"""The same settings, each closure at the cost of the textbook loop."""


ENDS = ("style", "content", "closures", "seconds", "cpu_seconds")


def first_reached(costs: Sequence[float], values: Sequence[float], target: float) -> float:
    """The cost at which values are first not above a target, linear between points; infinite if never.

    Values that don't count are infinite.
    """
    below = np.flatnonzero(np.asarray(values) <= target)
    if not len(below):
        return math.inf
    after = int(below[0])
    if after == 0:
        return float(costs[0])
    high, low = values[after - 1], values[after]
    part = (high - target) / (high - low) if math.isfinite(high) else 1.0
    return float(costs[after - 1] + part * (costs[after] - costs[after - 1]))


def reached(curves: pd.DataFrame, clock: str) -> pd.DataFrame:
    """For each variant and pair: what it took to come where the authors' settings end, and where it ended.

    A picture counts when it has its whole size: smaller ones, enlarged, are blurred, and a blur may be nearer
    to a style by chance. The start doesn't: a judge may find the content itself nearer to the style than the
    end of the authors' settings. Pairs of which these are missing are left out. The seconds of a variant are
    compared with those that the textbook loop would have taken for as many closures as the authors' settings
    needed, by what its closures took while this variant ran.

    Args:
        curves: a row for each point: `variant`, `pair`, `scale`, `closures`, `seconds`, `cpu_seconds`, the
            distances `style` and `content`, and `loop_seconds`, `loop_cpu_seconds`: of a closure of the
            textbook loop, while the variant ran.
        clock: `seconds` or `cpu_seconds`, by which variants are compared.

    Returns:
        `seconds_style` and `seconds_both` (style and content not above the target), infinite if never;
        `times_loop_*`, how many times as fast as the textbook loop, and `times_settings_*`, as the authors'
        settings by this project's engine: until these are first so near, which may be early, by chance.
        `times_whole_*`, as the textbook loop for all closures of the authors' settings; `content_then`, the
        content's distance when the style's target was reached, as a part of the authors'; `style`, `content`,
        `seconds` and `cpu_seconds` at the end.
    """
    curves = with_textbook(curves)
    rows = []
    for pair, of_pair in curves.groupby("pair", sort=False):
        authors = of_pair[of_pair["variant"] == AUTHORS]
        if len(authors):
            base = _taken(authors, authors, clock)
            for name, curve in of_pair.groupby("variant", sort=False):
                rows.append({"variant": name, "pair": pair, **_compared(_taken(curve, authors, clock), base)})
    return pd.DataFrame(rows)


def with_textbook(curves: pd.DataFrame) -> pd.DataFrame:
    """These, and before them those of the authors' settings with the seconds of the textbook loop."""
    authors = curves[curves["variant"] == AUTHORS]
    seconds = {name: authors["closures"] * authors[f"loop_{name}"] for name in ("seconds", "cpu_seconds")}
    return pd.concat([authors.assign(variant=TEXTBOOK, **seconds), curves], ignore_index=True)


def _taken(curve: pd.DataFrame, authors: pd.DataFrame, clock: str) -> dict[str, float]:
    """What it took to come where the authors' settings end."""
    target = authors.iloc[-1]
    counts = (curve["scale"] == 1) & (curve["closures"] > 0)
    style = (curve["style"] / target["style"]).where(counts, math.inf)
    both = np.maximum(style, curve["content"] / target["content"])
    end = curve.iloc[-1]
    found = {name: float(end[name]) for name in ENDS}
    found |= {"clock": float(end[clock]), "loop": float(end[f"loop_{clock}"])}
    for name, values in (("style", style), ("both", both)):
        for cost, column in (("closures", "closures"), ("seconds", clock)):
            found[f"{cost}_{name}"] = first_reached(curve[column].tolist(), values.tolist(), 1.0)
    content = float(np.interp(found["closures_style"], curve["closures"], curve["content"]))
    met = math.isfinite(found["closures_style"])
    return found | {"content_then": content / float(target["content"]) if met else math.nan}


def _compared(taken: dict[str, float], authors: dict[str, float]) -> dict[str, float]:
    """With how many times as fast it was as the authors' settings, by either clock."""
    # What a closure of the authors' settings takes by this engine, in closures of the textbook loop.
    closure = authors["clock"] / (authors["closures"] * authors["loop"])
    for name in ("style", "both"):
        seconds = taken[f"seconds_{name}"]
        pace = taken["loop"] / seconds if seconds else math.inf
        times = authors[f"closures_{name}"] * pace
        taken |= {f"times_loop_{name}": times, f"times_settings_{name}": times * closure}
        taken[f"times_whole_{name}"] = authors["closures"] * pace
    return taken
