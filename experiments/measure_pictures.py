"""The measurement of pictures that no run made, such as those of a public set with people's ratings.

python -m experiments.measure_pictures ratings.csv
python -m experiments.measure_pictures ratings.csv --measures resnet50_half
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import to_tensor

from experiments.asking import compose_cells
from experiments.building import build
from experiments.config import Config
from experiments.sweeps.progress import console
from swag_repro.errors import DataError
from swag_repro.images.files import check_header, read_rgb
from swag_repro.measures import HeldOut, Measures, WeightedNetwork, art_fid
from swag_repro.measures.distances import shrunk
from swag_repro.names import measures_beside
from swag_repro.program import Parser, ended
from swag_repro.runs.files import path_of, whole_file
from swag_repro.runs.schema import to_csv

OF_CONTENT = ("cfsd", "ssim", "lpips")
"""Statistics that compare a picture with its content."""

SIDES = ("picture", "left", "right", "system_a_image", "system_b_image")
"""Columns that name pictures; the last two are VIST's."""

INPUTS = {"content": ("content",), "style": ("ref_image", "style")}
"""Columns that name the images that pictures were made from, VIST's first: its `style` is in words."""


def main() -> int:
    """Measure all pictures of one file of ratings."""
    parser = Parser(description=__doc__ or "", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ratings", type=path_of, help="CSV or Parquet with paths, relative to its folder")
    parser.add_argument("--measures", default="vgg16", help="a choice of measures= (vgg16)")
    arguments = parser.parse_args()
    path: Path = arguments.ratings
    wanted = pictures_of(path)
    measuring = judge(arguments.measures)
    rows = [row for one in wanted for row in measured(measuring, path.parent, one)]
    rows.append(art_fid_of(measuring, path.parent, wanted, rows))
    target = measures_beside(path)
    with whole_file(target) as file:
        file.write(to_csv(pd.DataFrame(rows)).encode())
    console.print(f"{len(wanted)} pictures: {target}", markup=False)
    return 0


def pictures_of(path: Path) -> list[dict[str, Any]]:
    """Return `picture`, `content` (null if there is none) and `style` of each picture, once.

    Raises:
        DataError: The file is no table, or lacks a column.
        ImageError: A picture is missing or no image.
    """
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(str(path), "should be a table, as CSV or Parquet", error, "Check it.") from error
    sides = [name for name in SIDES if name in table]
    inputs = {role: next((name for name in names if name in table), "") for role, names in INPUTS.items()}
    if not sides or not inputs["style"]:
        rule = "should have picture (or left and right) and style among its columns"
        raise DataError(str(path), rule, ", ".join(map(str, table.columns)), "docs/study.md shows some.")
    known = table.reindex(columns=[*sides, *filter(None, inputs.values())])
    parts = [
        pd.DataFrame({"picture": known[side], **{role: known.get(name) for role, name in inputs.items()}})
        for side in sides
    ]
    found = pd.concat(parts, ignore_index=True).drop_duplicates("picture")
    for name in {*found["picture"], *found["style"], *found["content"].dropna()}:
        check_header(path.parent / str(name))
    return [{str(key): value for key, value in row.items()} for row in found.to_dict("records")]


def judge(choice: str) -> HeldOut:
    """Return the measures by the network of a choice of `measures=`.

    Raises:
        SettingError: There is no such choice.
        WeightsError: Its weights are not available.
    """
    [cell] = compose_cells([f"measures={choice}"], "stylize")
    settings: Measures = build(Config(cell.config["measures"], "measures"), Measures)
    return settings.build(WeightedNetwork(settings.network, settings.weights))


def measured(measuring: HeldOut, folder: Path, one: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the measures of a picture; the content is resized to the picture's size."""
    picture, style = (_read(folder, one[role])[None] for role in ("picture", "style"))
    alone = pd.isna(one["content"])
    content = picture if alone else _read(folder, one["content"])[None]
    if content.shape != picture.shape:
        content = interpolate(content, picture.shape[2:], mode="bilinear", antialias=True)
    for measures in measuring(picture, content, [style[0]]):
        for measure in measures:
            if not (alone and measure.statistic in OF_CONTENT):
                about = {"statistic": measure.statistic, "definition": measure.definition}
                yield {"picture": one["picture"], **about, "value": measure.value, "reason": measure.reason}


def art_fid_of(
    measuring: HeldOut, folder: Path, wanted: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return ArtFID of the whole set, by the judge's deepest features, or the reason why there is none."""
    distances = [row["value"] for row in rows if row["statistic"] == "lpips"]
    about = {
        "picture": None,
        "statistic": "art_fid",
        "definition": f"{measuring.label}, {len(wanted)} pictures",
    }
    if len(distances) < len(wanted) or None in distances:
        return {**about, "value": None, "reason": "it needs LPIPS of all pictures"}
    features, styles = (
        torch.stack([_deepest(measuring, folder, name) for name in names])
        for names in ([one["picture"] for one in wanted], {one["style"] for one in wanted})
    )
    if min(len(features), len(styles)) <= features.shape[1]:
        few = f"{len(features)} pictures and {len(styles)} styles"
        return {
            **about,
            "value": None,
            "reason": f"it needs more of each than {features.shape[1]} features: {few}",
        }
    return {**about, "value": float(art_fid(torch.tensor(distances), features, styles)), "reason": None}


@torch.inference_mode()
def _deepest(measuring: HeldOut, folder: Path, name: str) -> Tensor:
    """Return the mean over positions of a picture's features at the deepest style tap, `(D,)`."""
    picture = shrunk(_read(folder, name), measuring.size)
    deepest: Tensor = measuring.network(picture[None])[measuring.style_taps[-1]]
    return deepest[0].flatten(1).mean(dim=1)


def _read(folder: Path, name: str) -> Tensor:
    tensor: Tensor = to_tensor(read_rgb(folder / name))
    return tensor


if __name__ == "__main__":
    sys.exit(ended(main))
