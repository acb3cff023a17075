"""The numbers of a sweep, one row each, with their pair, seed and settings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skimage.color import rgb2gray

import swag_repro
from analysis import tables
from analysis.claims.definitions import PICTURED, STUDY, TRAINED, EvidenceSweep
from analysis.effects import pair_names
from analysis.study.preferences import load_preferences
from analysis.stylizations import first_weight
from analysis.tables import MEASURES, Cell, PixelArray, Tables
from analysis.tables.runs import as_text
from experiments.asking import compose_cells, computing, judged_again, judging
from swag_repro.runs.schema import LOSSES, RUNS

NUMBER_COLUMNS = ("layer", "position", "quantity", "statistic", "definition", "judge", "fusion")
"""Columns of numbers besides settings; `fusion` is the first loss's share of a fusion's weights."""

GAINED = ("luminance_wasserstein", "style_distance", "sliced_wasserstein", "sifid")
"""Measures of the distance to the style."""

FUSED = "objective.style.weights"
"""The setting of a fusion's weights."""

FUSION_ENDS = {"distance_to_first": 1.0, "distance_to_last": 0.0}
"""Distances to a picture by one loss of a fusion alone, and the `fusion` of that picture."""

CENTROID = "spectral_centroid"

PICTURED_STATISTICS = {CENTROID, *FUSION_ENDS}
"""Statistics of the finished pictures' pixels."""

OF_RUNS = (*RUNS.names, *NUMBER_COLUMNS, "content", "style")
"""Columns of runs that are no settings of a number."""

SEED = "weights.seed"

TRAINED_TABLE = Path(swag_repro.__file__).parent / "trained" / "table.csv"
"""The table of the networks that we trained."""


@dataclass(frozen=True)
class SweepNumbers:
    """The numbers of a sweep.

    Attributes:
        numbers: `pair`, `seed`, `value`, `gain` (log₂ of how much nearer to its style a picture is than its
            photograph, or than its start if no cell starts at photographs, for `GAINED`), `relative` (over
            that of the start, for losses), `run_id`, `cell` (its number in the sweep), `NUMBER_COLUMNS`, and
            settings of the runs.
        tables: The tables that they come from, by judge; that of None if no judge is asked.
    """

    numbers: pd.DataFrame
    tables: Mapping[str | None, Tables]

    def cells(self, selected: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
        """Return the cells whose numbers are selected: their settings, `run_id`, and `judged`.

        Args:
            selected: Columns and their values; those that are no settings select all cells.
        """
        [judge] = selected.get("judge", [None])
        data = self.tables.get(judge, next(iter(self.tables.values()), None))
        if data is None:
            return pd.DataFrame({"run_id": [], "judged": []})
        judged = data.judges["judge_id"].notna() if judge in self.tables else True
        cells = data.runs.assign(judged=judged)
        for column in (selected.keys() & set(cells)) - set(OF_RUNS):
            cells = cells[among(cells[column], selected[column])]
        return cells


def among(column: pd.Series[Any], values: Sequence[Any]) -> pd.Series[bool]:
    """Return whether each value is in `values`; null matches None. Columns of several types hold text."""
    known = [value for value in values if value is not None]
    return column.isin([*known, *map(as_text, known)]) | (column.isna() & (None in values))


def load_numbers(
    sweep: EvidenceSweep, judges: Sequence[str], overrides: Sequence[str], runs: Path, asked: Collection[str]
) -> SweepNumbers:
    """Return the numbers of a sweep, of those of its cells that have a run.

    Args:
        sweep: The sweep.
        judges: Choices of `measures=`. A judge without results, or with random weights, contributes no
            numbers.
        overrides: Hydra overrides that are added to those of the sweep.
        runs: The output folder.
        asked: Names of what questions ask for: settings, which are kept besides the swept ones, and
            statistics, without which pictures are not looked at.

    Raises:
        CellsError: All runs are missing, or some are ambiguous, or don't belong together.
        StudyError: People's answers are missing, or don't belong to their study.
        StoreError: A run can't be read.
    """
    if sweep.entry == TRAINED:
        return SweepNumbers(_trained(), {})
    if sweep.entry == STUDY:
        [name] = (one.partition("=")[2] for one in sweep.overrides if one.startswith("experiment="))
        return SweepNumbers(load_preferences(name, runs).assign(cell=0), {})
    given = [*sweep.overrides, *overrides]
    if sweep.entry not in PICTURED:
        data = tables.load_tables(given, runs, sweep.entry, partial=True)
        return SweepNumbers(_with_settings(_of_layers(data), data, asked), {None: data})
    loaded = _tables_by_judge(given, judges, runs, sweep.entry)
    behind: dict[str | None, Tables] = dict(zip(judges, loaded, strict=True))
    known = [(judge, data) for judge, data in behind.items() if _knows(data)]
    parts = [_with_settings(_measures(data).assign(judge=judge), data, asked) for judge, data in known]
    first = behind[judges[0]]
    own = [_losses(first), *([_pictured(first)] if PICTURED_STATISTICS & set(asked) else [])]
    parts += [_with_settings(part, first, asked) for part in own]
    return SweepNumbers(pd.concat(parts, ignore_index=True), behind)


def _tables_by_judge(given: Sequence[str], judges: Sequence[str], runs: Path, entry: str) -> Iterator[Tables]:
    """Yield the tables of each judge; cells are composed only once."""
    cells: list[Cell] = []
    for judge in judges:
        named = [*given, f"measures={judge}"]
        cells = judged_again(cells, named, entry) if cells else compose_cells(named, entry)
        yield tables.load_tables(named, runs, entry, partial=True, cells=cells)


def _knows(data: Tables) -> bool:
    """Return whether a judge has measured pictures and its weights are not random."""
    return bool(data.judges["judge_id"].notna().any()) and not data.judges["random"].astype(bool).any()


def sweep_commands(
    sweep: EvidenceSweep, judges: Sequence[str], overrides: Sequence[str], runs: Path
) -> list[list[str]]:
    """Return the commands that compute a sweep and have all judges measure it."""
    given = [*sweep.overrides, *overrides]
    if sweep.entry in (TRAINED, STUDY):  # no command asks people
        return []
    if sweep.entry not in PICTURED:
        return [computing(given, runs, sweep.entry)]
    entries = [sweep.entry, *[judging(sweep.entry)] * (len(judges) - 1)]
    return [
        computing([*given, f"measures={judge}"], runs, entry)
        for judge, entry in zip(judges, entries, strict=True)
    ]


def _trained() -> pd.DataFrame:
    """Return the accuracy of the networks that ship; their trainings share a seed."""
    table = pd.read_csv(TRAINED_TABLE)
    numbers = table.melt(
        ["network", "seed", "run_id"], ["test_accuracy", "train_accuracy"], var_name="statistic"
    )
    return numbers.rename(columns={"network": "network.name"}).assign(pair=numbers["seed"], seed=0, cell=0)


def _of_layers(data: Tables) -> pd.DataFrame:
    """Return the numbers of layers by image, which is a content or a style."""
    numbers = data.numbers.assign(pair=data.numbers["content"].fillna(data.numbers["style"]))
    return _cells(data).merge(numbers, on="run_id")


def _measures(data: Tables) -> pd.DataFrame:
    """Return the judge's measures of finished pictures; they gain on the photograph, if a cell starts there.

    A cell that starts elsewhere, such as at a recoloured photograph, must not gain on its own start.
    """
    about = data.runs.reindex(columns=["start", "start_noise", "images.size"])
    measured = _add_pairs(data.measures).join(about, on="cell")
    final = measured[measured["iteration"].isna()]
    starts = measured[measured["iteration"] == 0]
    own, alike = ["cell", "pair", "statistic"], ["images.size", "pair", "statistic"]
    photographs = starts[(starts["start"] == "content") & (starts["start_noise"] == 0)]
    final = final.drop(columns="start").join(starts.set_index(own)["value"].rename("start"), on=own)
    final = final.join(
        photographs.groupby(alike, dropna=False)["value"].first().rename("photograph"), on=alike
    )
    final["start"] = final["photograph"].fillna(final["start"])
    ratio = (final["start"] / final["value"]).where(final["statistic"].isin(GAINED))
    return final.assign(gain=np.log2(ratio)).drop(columns="definition")  # the judge, in words


def _losses(data: Tables) -> pd.DataFrame:
    """Return the losses of pairs and the shares of layers, which no judge measures."""
    own = data.numbers[~data.numbers["statistic"].isin(MEASURES) & data.numbers["iteration"].isna()]
    pair, columns = ["run_id", "content", "style"], {f"first_{name}": name for name in LOSSES.values()}
    firsts = data.pairs[[*pair, *columns]].rename(columns=columns)
    firsts = firsts.melt(pair, var_name="statistic", value_name="first")
    own = own.merge(firsts, on=[*pair, "statistic"], how="left")
    relative = own["value"] / own["first"].where(own["first"] > 0)
    return _add_pairs(_cells(data).merge(own.assign(relative=relative), on="run_id"))


def _pictured(data: Tables) -> pd.DataFrame:
    """Return numbers of the finished pictures' pixels: spectral centroids, and distances of fused ones."""
    pairs = _add_pairs(_cells(data).merge(data.pairs[["run_id", "content", "style", "image"]], on="run_id"))
    pictures = [data.picture(cell, name) for cell, name in zip(pairs["cell"], pairs["image"], strict=True)]
    centroids = [spectral_centroid(picture) for picture in pictures]
    spectra = pairs.assign(statistic=CENTROID, value=centroids)
    if FUSED not in data.runs or len(data.runs[FUSED].unique()) == 1:
        return spectra
    return pd.concat([spectra, *_fused(data, pairs, pictures)], ignore_index=True)


def _fused(data: Tables, pairs: pd.DataFrame, pictures: Sequence[PixelArray]) -> Iterator[pd.DataFrame]:
    """Yield the distance of each fused picture from those by either loss alone, of the same pair and seed."""
    lines, weights = (
        tables.line_numbers(data.runs, [FUSED]),
        data.runs[FUSED].map(first_weight, na_action="ignore"),
    )
    known = pairs.assign(
        line=pairs["cell"].map(lines), fusion=pairs["cell"].map(weights), place=range(len(pairs))
    ).dropna(subset="fusion")
    same = ["line", "pair"]
    for statistic, end in FUSION_ENDS.items():
        ends = known[known["fusion"] == end].set_index(same)["place"].rename("end")
        met = known.join(ends, on=same, how="inner")
        places = met[["place", "end"]].itertuples(index=False)
        apart = [distance(pictures[place], pictures[at]) for place, at in places]
        yield met.assign(statistic=statistic, value=apart).drop(columns=["line", "place", "end"])


def distance(one: PixelArray, other: PixelArray) -> float:
    """Return the root mean square difference of two pictures' values, where white is 1 and black is 0.

    Args:
        one: 8-bit `(H, W, 3)`.
        other: 8-bit `(H, W, 3)`.
    """
    return float(np.sqrt(np.square(one.astype(float) - other).mean())) / 255


def spectral_centroid(picture: PixelArray) -> float:
    """Return the mean spatial frequency of a picture's luminance, weighted by power, in cycles per pixel.

    Args:
        picture: 8-bit `(H, W, 3)`.
    """
    luminance = rgb2gray(picture)
    windows = np.outer(*(np.hanning(side) for side in luminance.shape))
    power = np.abs(np.fft.fft2((luminance - luminance.mean()) * windows)) ** 2
    rows, columns = (np.fft.fftfreq(side) for side in luminance.shape)
    frequency = np.hypot(rows[:, None], columns[None, :])
    return float((frequency * power).sum() / power.sum())


def _cells(data: Tables) -> pd.DataFrame:
    """Return the run of each cell; one run may answer two cells."""
    return data.runs["run_id"].rename_axis("cell").reset_index()


def _add_pairs(numbers: pd.DataFrame) -> pd.DataFrame:
    return numbers.assign(pair=pair_names(numbers))


def _with_settings(numbers: pd.DataFrame, data: Tables, asked: Collection[str]) -> pd.DataFrame:
    known = [
        name
        for name in ("cell", "run_id", "pair", "value", "gain", "relative", *NUMBER_COLUMNS)
        if name in numbers
    ]
    runs = data.runs.drop(columns=list(OF_RUNS), errors="ignore")
    kept = [name for name in runs if name in (*asked, SEED) or len(runs[name].unique()) > 1]
    joined = numbers[known].join(runs[kept], on="cell")
    seeds = joined[SEED].fillna(0) if SEED in joined else 0
    return joined.assign(seed=seeds)
