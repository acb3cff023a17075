"""The pictures of a pair as a page shows them, and what a caption says about them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from analysis import stylizations
from analysis.drawing import captions
from analysis.drawing.page import PageCell, PairPictures, spread
from analysis.stylizations import Arm, Stylizations

BELOW = {
    "style": "sliced Wasserstein distance of luminance to the style (0: as the style)",
    "content": "CFSD (0) and SSIM (1: as the content)",
}
"""Measures of each side by a held-out network; those of a side without weight mean nothing."""


def of_pairs(data: Stylizations, most: int, columns: list[str] | None = None) -> list[PairPictures]:
    """Return the pictures of at most `most` pairs, evenly spread over all.

    Args:
        data: The stylisations.
        most: The largest number of pairs.
        columns: Titles above the arms instead of their labels; the roles of inputs then stand below the
            inputs.
    """
    shown = [data.pairs[index] for index in spread(len(data.pairs), most)]
    pairs = [of_pair(data, pair) for pair in shown]
    return pairs if columns is None else [in_columns(pair, columns) for pair in pairs]


def in_columns(pair: PairPictures, columns: Sequence[str]) -> PairPictures:
    """Return the pair with these titles above its results, and the inputs' roles below the inputs."""
    inputs = (replace(each, title="", below=f"{each.title}: {each.below}") for each in pair.inputs)
    results = (
        replace(picture, title=title, key=f"{picture.key}__{title}")
        for picture, title in zip(pair.results, columns, strict=True)
    )
    return PairPictures(tuple(inputs), tuple(results))


def of_pair(data: Stylizations, pair: tuple[str, str]) -> PairPictures:
    """Return a pair's inputs whose weights count, and its result in each arm."""
    return PairPictures(inputs(data, pair), tuple(result(data, arm, pair) for arm in data.arms))


def inputs(data: Stylizations, pair: tuple[str, str]) -> tuple[PageCell, ...]:
    """Return a pair's inputs whose weights count."""
    first = _of_pair(data, pair).iloc[0]
    return tuple(
        PageCell(role, role, data.tables.picture(first["cell"], first[f"{role}_image"]), name)
        for role, name in zip(stylizations.PICTURE_ROLES, pair, strict=True)
        if role in data.roles
    )


def result(data: Stylizations, arm: Arm, pair: tuple[str, str]) -> PageCell:
    """Return the picture of a pair by an arm that has this pair, or that is missing."""
    title, key = arm.label.replace(": ", "\n").replace(" (", "\n("), "__".join([*pair, arm.label])
    if arm.missing:
        return PageCell(title, key, None, status="missing")
    row: Any = _of_pair(data, pair).set_index("cell").loc[arm.index]
    below = "\n".join(_measured(row, data.roles)) if data.judges or data.tables.unjudged else ""
    return PageCell(title, key, stylizations.picture(data, arm, row["image"]), below, row["status"])


def _of_pair(data: Stylizations, pair: tuple[str, str]) -> pd.DataFrame:
    return data.table[(data.table["content"] == pair[0]) & (data.table["style"] == pair[1])]


def _measured(row: pd.Series[Any], roles: tuple[str, ...]) -> Iterator[str]:
    if "style" in roles:
        yield f"style {_number(row['luminance_wasserstein'])}"
    if "content" in roles:
        yield f"CFSD {_number(row['cfsd'])}"
        yield f"SSIM {_number(row['ssim'])}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.3f}" if 0.0005 <= abs(value) < 100 or value == 0 else f"{value:.1e}"


def picture_notes(data: Stylizations) -> Iterator[str]:
    """Yield the meaning of the words below pictures, and the number of optimisations that did not finish."""
    if data.judges:
        measures = ", ".join(words for role, words in BELOW.items() if role in data.roles)
        yield f"{measures[0].upper()}{measures[1:]} by {captions.held_out(data)}."
    yield from captions.warnings(data)
    counts = data.table["status"].value_counts()
    if others := [f"{counts[status]} {status}" for status in counts.index if status != "finished"]:
        yield f"Of {len(data.table)} pictures of all {len(data.pairs)} pairs: {', '.join(others)}."
