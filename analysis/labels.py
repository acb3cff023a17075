"""Names of settings in figures, for people only: SWAG's signs, and what else tells two lines apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

import conf
from analysis.tables.runs import ARM, swept

PREFIX = {"random": "r-", "imagenet": "p-", "pretrained": "p-", "file": "p-", "run": "p-", "trained": "p-"}
"""SWAG's signs: `r-` is randomly initialised, `p-` pretrained."""

NOTHING = "–"
"""Sign for a setting that a run does not have."""

TRAINED_WEIGHTS = {"run": "a training of one's own", "trained": "trained by this project"}

PRETRAINED = "pretrained, as shipped"

MARKS = ("*", "†", "‡", "§", "¶")
"""Marks after a network's name, one for each kind of smoothing; the first is SWAG's sign."""

SETTING_SIGNS = {
    "smoothing.temperature": "T", "objective.style_weight": "γ", "network.shortcut": "λ",
    "weights.name": "weights", "network.name": "network", "smoothing.name": "smoothing",
    "measures.network.name": "judge", "generator.name": "generator",
}  # fmt: skip
"""Signs of settings that the last part of their key does not name."""

SETTING_LABELS = {
    "network.shortcut": "scale of the shortcuts, λ", "smoothing.temperature": "temperature T",
    "objective.style_weight": "style weight γ", "objective.content_weight": "content weight",
    "images.size": "size of the images, px", "weights.at": "share of the training",
    "weights.seed": "seed of the weights", "layer": "layer", "position": "rank of the layer",
    "depth": "depth: convolutions from the input", "content": "content image", "style": "style image",
}  # fmt: skip
"""Names of settings and columns of numbers along an axis; others keep their keys."""

STATISTIC_LABELS = {
    "normalized_entropy": "normalised entropy, 0–1", "max_over_rms": "max / RMS",
    "participation_ratio": "participation ratio, 0–1", "peaks_shrunk": "lower peaks, share of channels",
    "log2_peak": "log₂ of after / before, peaks", "log2_highest": "log₂ of after / before, highest",
    "style_share": "share of all style layers, 0–1",
    "largest_entries": "share of the largest 1 % of entries, 0–1",
    "style_distance": "style distance (0: as the style)",
    "luminance_wasserstein": "sliced Wasserstein distance of luminance",
    "sliced_wasserstein": "sliced Wasserstein distance", "sifid": "SIFID", "cfsd": "CFSD (0: as the content)",
    "ssim": "SSIM (1: as the content)", "lpips": "LPIPS", "accuracy": "share of right answers",
    "loss": "cross entropy, nats", "content_loss": "content loss, unweighted",
    "style_loss": "style loss, unweighted", "peak_memory_bytes": "peak memory, bytes",
}  # fmt: skip
"""Names of numbers along an axis, with their units; others keep their own names."""

QUANTITIES = {"activation": "activations", "gram": "Gram matrix", "gram_per_dm": "Gram matrix / D·M"}


def axis(column: str) -> str:
    """Return the name of a setting or of a column of numbers."""
    return SETTING_LABELS.get(column, column.removesuffix(".name").replace(".", " ").replace("_", " "))


def values(runs: pd.DataFrame, column: str) -> pd.Series[str]:
    """Return a setting's values in words: labels instead of names, where labels are as distinct as names."""
    label_column = column.removesuffix("name") + "label"
    if column.endswith(".name") and label_column in runs:
        both = runs[[column, label_column]].drop_duplicates()
        if both[column].is_unique and both[label_column].is_unique:
            return runs[label_column].fillna(NOTHING).astype(str)
    return runs[column].map(short_text).astype(str)


def settings(runs: pd.DataFrame, columns: Collection[str], between: str = ", ") -> pd.Series[str]:
    """Return the values of several settings in words; networks and arms stand without their setting."""
    signs = dict(zip(columns, _signs(columns), strict=True))
    words = [_prefix(column, signs[column]) + values(runs, column) for column in columns]
    return pd.Series(map(between.join, zip(*words, strict=True)), index=runs.index, dtype=str)


def _prefix(column: str, sign: str) -> str:
    if column in ("network.name", ARM):
        return ""
    return f"{axis(column)} " if column.endswith(".name") else f"{sign} = "


def _signs(columns: Collection[str]) -> list[str]:
    """Return each setting's sign, or its key if another setting has the same sign."""
    signs = [
        SETTING_SIGNS.get(column, column.rpartition(".")[2].strip("_").replace("_", " "))
        for column in columns
    ]
    return [sign if signs.count(sign) == 1 else column for sign, column in zip(signs, columns, strict=True)]


def label(runs: pd.DataFrame, shown: Collection[str] = ()) -> pd.Series[str]:
    """Return a name for each row: SWAG's for the network, loss or arm if it differs, other swept settings.

    Two rows have the same name only if all settings except the shown ones are the same.

    Args:
        runs: `Tables.runs`.
        shown: Settings, or groups of them, that the figure shows in another way, such as `weights.seed`.
    """
    networks, parts = network(runs, [*shown, "smoothing"] if _armed(runs) else shown), _parts(runs, shown)
    if len(parts.unique()) == 1:
        names = networks
    elif len(networks.unique()) == 1:
        names = parts
    else:
        names = parts + ": " + networks
    suffixes = pd.Series("", index=runs.index)
    for _, tied in runs.groupby(names, sort=False):
        suffixes.update(pd.Series(_suffixes(tied, shown), index=tied.index))
    return names + suffixes


def _armed(runs: pd.DataFrame) -> bool:
    """Return whether every run has an arm, whose label names its smoothing, too."""
    return "arm.label" in runs and bool(runs["arm.label"].notna().all())


def network(runs: pd.DataFrame, shown: Collection[str] = ()) -> pd.Series[str]:
    """Return SWAG's name of each row's network: `r-ResNet-50*`, with λ where it is not the network's own."""
    prefix = "" if "weights" in shown else runs["weights.name"].map(PREFIX)
    names = prefix + runs["network.label"]
    if "smoothing" not in shown and "smoothing.name" in runs:
        names += runs["smoothing.name"].map(marks(runs))
    if "network.shortcut" in shown or "network.shortcut" not in runs:
        return names
    scales = zip(runs["network.name"], runs["network.shortcut"], strict=True)
    return names + [shortcut_suffix(name, shortcut) for name, shortcut in scales]


def _parts(runs: pd.DataFrame, shown: Collection[str]) -> pd.Series[str]:
    """Return the label of each row's arm, else of its loss, or both if both differ; empty without either."""
    groups = [group for group in ("arm", "objective") if group not in shown and f"{group}.label" in runs]
    labels = runs[[f"{group}.label" for group in groups]]
    if len(groups) > 1 and labels.nunique().gt(1).all():
        return labels.iloc[:, ::-1].apply(lambda row: ", ".join(row.dropna().astype(str)), axis=1)
    parts = labels.bfill(axis=1).iloc[:, 0] if groups else pd.Series("", index=runs.index)
    return parts.fillna("").astype(str)


def _suffixes(tied: pd.DataFrame, shown: Collection[str]) -> list[str]:
    """Return what tells rows of one name apart, such as ` (T = 2)`; empty where nothing does."""
    columns = _telling(tied, swept(tied, shown))
    if not columns:
        return [""] * len(tied)
    signs = _signs(columns)
    rows = tied[columns].itertuples(index=False)
    return [
        f" ({', '.join(f'{sign} = {short_text(value)}' for sign, value in zip(signs, row, strict=True))})"
        for row in rows
    ]


def _telling(tied: pd.DataFrame, columns: Collection[str]) -> list[str]:
    """Return the fewest columns that tell the same rows apart; those with a sign come first."""
    kept: list[str] = []
    for column in sorted(columns, key=lambda column: column not in SETTING_SIGNS):
        if len(tied.drop_duplicates([*kept, column])) > (len(tied.drop_duplicates(kept)) if kept else 1):
            kept.append(column)
    return kept


def short_text(value: Any) -> str:
    """Return a setting's value in as few letters as tell it from all others of its column."""
    if pd.isna(value):
        return NOTHING
    if isinstance(value, float):
        return short if float(short := f"{value:g}") == value else repr(value)
    return value if isinstance(value, str) else str(value).lower()


def marks(runs: pd.DataFrame) -> dict[str, str]:
    """Return the mark of each kind of smoothing, in order; `none` has no mark."""
    known = runs["smoothing.name"].unique() if "smoothing.name" in runs else ()
    kinds = [kind for kind in known if kind != "none"]
    return {"none": ""} | {
        kind: MARKS[index % len(MARKS)] * (index // len(MARKS) + 1) for index, kind in enumerate(kinds)
    }


def smoothing_legend(runs: pd.DataFrame) -> str:
    """Return the smoothings' settings: `* softmax (over = layer, temperature = peak/2)`; empty without any.

    Where arms have labels, which name the smoothing, it has no mark.
    """
    armed, said = _armed(runs), []
    for kind, mark in marks(runs).items():
        own = runs[runs["smoothing.name"] == kind].filter(regex=r"^smoothing\.(?!name|_target_)")
        settings = own.drop_duplicates().dropna(axis=1)
        alike = settings.iloc[0].items() if len(settings) == 1 else ()
        parts = [
            f"{str(column).partition('.')[2].replace('_', ' ')} = {short_text(value)}"
            for column, value in alike
        ]
        if mark:
            said.append(("" if armed else f"{mark} ") + kind + (f" ({', '.join(parts)})" if parts else ""))
    return "; ".join(said)


def shortcut_suffix(network: str, shortcut: float | None) -> str:
    """Return `, λ = 0.5` if a network's shortcuts are not scaled as its name says; else an empty text.

    Args:
        network: Its name, which stands for the scale in its own file: 1 for ResNet-50, 0 for NoResNet.
        shortcut: The scale; null for a network without one.
    """
    return "" if pd.isna(shortcut) or shortcut == _own_scale(network) else f", λ = {short_text(shortcut)}"


@cache
def _own_scale(name: str) -> float:
    path = Path(conf.__file__).parent / "network" / f"{name}.yaml"
    own: float = OmegaConf.select(OmegaConf.load(path), "shortcut", default=1) if path.is_file() else 1
    return own


def weights_text(config: Mapping[str, Any]) -> str:
    """Return the weights of `conf/weights` in a caption's words: ImageNet, a file's name, or a seed."""
    if config["name"] == "random":
        init = config.get("init", "torchvision")
        return f"random, seed {config['seed']}" + ("" if init == "torchvision" else f", {init}")
    if config["name"] in TRAINED_WEIGHTS:
        return f"{TRAINED_WEIGHTS[config['name']]}, seed {config['seed']}"
    if config["name"] == "pretrained":
        return PRETRAINED
    return Path(config["path"]).name if config["name"] == "file" else "ImageNet"


SIZES = {"short": "short side {} px", "long": "long side {} px", "squash": "{0}×{0} px"}
"""Sizes of images in words, by the policy that resizes them."""


def sizes(runs: pd.DataFrame) -> str:
    """Return the sizes of the images: one for all runs, or several."""
    columns = runs[["images.resize", "images.size"]].drop_duplicates()
    return " / ".join(SIZES[resize].format(size) for resize, size in columns.itertuples(index=False))


def seeds(runs: pd.DataFrame) -> str:
    """Return the seeds of the networks' weights: `3 seeds`, `seed 0`, or nothing if all are pretrained."""
    known = runs["weights.seed"].dropna().unique() if "weights.seed" in runs else ()
    return f"{len(known)} seeds" if len(known) > 1 else "".join(f"seed {seed}" for seed in known)
