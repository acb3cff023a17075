"""Run directories with made-up numbers, composed by Hydra from an experiment's own config."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from analysis.tables.answers import answered
from analysis.tables.kept import tables_of
from experiments.asking import Cell, compose_cells
from experiments.science import scientific, settings_of_judge, wants_judge
from swag_repro.names import file_stem
from swag_repro.runs.identity import Identity
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.store import Run, Store

IMAGES = {"content/astronaut": "a" * 64, "style/waves": "b" * 64, "style/dots": "c" * 64}
PAIRS = [(f"content{index}", f"painting/{index}") for index in range(5)]
SIZE = (16, 24)
HELD_OUT = {
    "vgg19": "resnet50(random)",
    "resnet50": "vgg19(imagenet)",
    "resnet50_half": "vgg16(pretrained)",
}
SHAPE = {
    "activation": [("max_over_rms", None, 7.0), ("kurtosis", None, 11.0), ("participation_ratio", None, 0.2)],
    "gram": [("effective_rank", None, 1.5)],
}
STATISTICS = 3 * 3 + 4
BY_RULE = ["scale2", "scale4", "scale8", "scale16"]


@dataclass(frozen=True)
class Outputs:
    """An output folder with a run of each cell of a sweep."""

    root: Path
    cells: list[Cell]
    paths: list[Path]

    @classmethod
    def of(cls, root: Path, overrides: Sequence[str], entry: str = "stylize", **options: Any) -> Outputs:
        cells = list({cell.key: cell for cell in compose_cells(overrides, entry)}.values())
        entries = {
            "stylize": stylized,
            "measure_activations": measured,
            "measure_units": met,
            "train_classifier": trained,
            "train_feedforward": taught,
            "transfer": transferred,
        }
        run = entries[entry]
        return cls(root, cells, [run(root, cell, **options) for cell in cells])


def answers(root: Path, cells: Sequence[Cell]) -> list[Path | None]:
    """The directory of the run of each cell, None where it has none; not all of them."""
    with tables_of(root) as kept:
        return [run and root / run["path"] for run in answered(cells, kept, ["compute"], partial=True)]


# --- Activations ------------------------------------------------------------------------------------------


def number(config: dict[str, Any], image: int, position: int, quantity: str) -> float:
    """A made-up maximum: grows with depth, by λ; an entropy is its sigmoid."""
    scale = config["network"]["shortcut"]
    return (
        (0.5 if scale is None else 1 + scale) ** position
        * (3 if config["network"]["name"] == "pseudo_resvgg" else 1)
        * (1 + (config["weights"].get("seed") or 0))
        * (1 + image)
        * (1.0 if config["smoothing"]["name"] == "none" else 0.01)
        * {"eval": 1.0, "batch": 0.1}[config["batchnorm"]]
        * {"activation": 1, "gram": 1000, "gram_per_dm": 10}[quantity]
    )


def activations(config: dict[str, Any], images: dict[str, str] = IMAGES) -> Iterator[dict[str, Any]]:
    about = {key: config[key]["name"] for key in ("network", "weights", "smoothing")}
    for image, (role, name) in enumerate(key.split("/") for key in images):
        for position, layer in enumerate(config["network"]["statistic_taps"] or BY_RULE, start=1):
            for quantity in ("activation", "gram", "gram_per_dm"):
                value = number(config, image, position, quantity)
                entropy = value / (1 + value)
                for statistic, definition, shown in (
                    ("maximum", None, value),
                    ("normalized_entropy", "softmax", entropy),
                    ("normalized_entropy", "linear", entropy / 2),
                    *SHAPE.get(quantity, ()),
                ):
                    yield {
                        **about, role: name, "seed": config["weights"].get("seed"), "layer": layer,
                        "depth": 10 * position, "position": position, "quantity": quantity,
                        "statistic": statistic, "definition": definition, "value": shown,
                    }  # fmt: skip


def measured(
    root: Path, cell: Cell, *, images: dict[str, str] = IMAGES, weights: str | None = None, config: Any = None
) -> Path:
    who = Identity("measure_activations", 1, scientific(cell.config, cell.entry), images, weights)
    claimed = Store(root).claim(
        who, config=config or cell.config, name="fig3", overrides=cell.overrides, device="cpu"
    )
    with claimed as run:
        run.write_rows(list(activations(cell.config, images)))
    return run.path


# --- Units and trainings ----------------------------------------------------------------------------------


def units(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What becomes of peaks: more with depth, less by training."""
    about = {key: config[key]["name"] for key in ("network", "weights")}
    for (role, name), image in zip((key.split("/") for key in IMAGES), range(3), strict=True):
        for position in range(1, 5):
            for statistic, definition in UNITS:
                value = (position + image) / 10 * (1 if config["weights"]["name"] == "random" else 0.5)
                yield {
                    **about, role: name, "seed": config["weights"].get("seed"), "layer": f"conv{position}_1",
                    "position": position, "quantity": "unit", "statistic": statistic, "definition": definition,
                    "value": value if statistic == "peaks_shrunk" else 2 * value - 0.5,
                }  # fmt: skip


UNITS = [
    *(("peaks_shrunk", definition) for definition in ("branch", "sum", "there")),
    *(
        (statistic, definition)
        for statistic in ("log2_peak", "log2_highest")
        for definition in ("branch", "sum")
    ),
]


def met(root: Path, cell: Cell) -> Path:
    """A run of `measure_units`."""
    who = Identity("measure_units", 1, scientific(cell.config, cell.entry), IMAGES)
    with Store(root).claim(who, config=cell.config, name=cell.config["name"], device="cpu") as run:
        run.write_rows(list(units(cell.config)))
    return run.path


def accuracy(config: dict[str, Any], epoch: int, definition: str) -> float:
    """Return an accuracy that grows from epoch to epoch, by seed, and with shortcuts."""
    residual = config["network"]["shortcut"] or 0
    best = (
        0.8
        + 0.02 * residual
        + 0.01 * config["seed"]
        + {"test": 0.0, "train": 0.05, "fitted": 0.07}[definition]
    )
    return best * (1 - 0.5 ** (epoch + 1))


def epochs(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    last = config["recipe"]["epochs"]
    about = {
        "network": config["network"]["name"],
        "weights": "random",
        "seed": config["seed"],
        "quantity": "training",
    }
    ends = [(epoch, part) for epoch in range(1, last + 1) for part in ("train", "test")]
    for epoch, part in [*ends, (last, "fitted")]:
        right = accuracy(config, epoch, part)
        for statistic, value in (("accuracy", right), ("loss", 1 - right), ("seconds", 60.0 * epoch)):
            yield {
                **about,
                "iteration": 390 * epoch,
                "statistic": statistic,
                "definition": part,
                "value": value,
            }


def trained(root: Path, cell: Cell) -> Path:
    """A run of `train_classifier`."""
    who = Identity("train_classifier", 1, scientific(cell.config, cell.entry), {"data": "e" * 64})
    with Store(root).claim(who, config=cell.config, name=cell.config["name"], device="cpu") as run:
        run.write_rows(list(epochs(cell.config)))
    return run.path


def taught(root: Path, cell: Cell, *, pairs: Sequence[tuple[str, str]] = PAIRS) -> Path:
    """A run of `train_feedforward`: terms fall from step to step, more slowly with norms; and its judge's."""
    config = cell.config
    slow = 2.0 if config["generator"]["norm"] == "batch" else 1.0
    images = {"corpus": "e" * 64, **({"look": "f" * 64} if config["crop"]["look"] == "stylized" else {})}
    who = Identity("train_feedforward", 1, scientific(config, cell.entry), images)
    about = {"network": config["network"]["name"], "weights": "trained", "seed": config["seed"]}
    with Store(root).claim(who, config=config, name=config["name"], device="cpu") as run:
        if run.finished:  # this cell belongs to two sweeps
            return run.path
        ends = [
            {**about, "content": row["content"], "style": row["style"], "statistic": term, "value": row[term]}
            for row in painted(run, config, pairs)
            for term in ("content_loss", "style_loss", "total_loss")
        ]
        run.write_rows(
            [
                *ends,
                *(
                    {
                        **about,
                        "quantity": "feedforward",
                        "iteration": step,
                        "statistic": f"{term}_loss",
                        "definition": part,
                        "value": (2.0 + config["seed"]) * slow / (1 + step) + 0.1,
                    }
                    for step in (1, 10, 100)
                    for part in ("train", "pairs")
                    for term in ("content", "style", "total")
                ),
            ]
        )
    if wants_judge(config):
        judge(root, config, run.path, definition="vgg16(imagenet)")
    return run.path


def transferred(root: Path, cell: Cell, *, pairs: Sequence[tuple[str, str]] = PAIRS) -> Path:
    """A run of `transfer`, whose config names the network that was trained; and its judge's."""
    of_training = compose_cells(["network=small_no_shortcut", "objective=adain"], "train_feedforward")[
        0
    ].config
    kept = ("network", "weights", "smoothing", "objective")
    config = {**cell.config, **{name: of_training[name] for name in kept}}
    images = {f"pair {content} {style}": "a" * 64 for content, style in pairs}
    who = Identity("transfer", 1, scientific(cell.config, cell.entry), images, "e" * 64)
    with Store(root).claim(who, config=config, name=config["name"], device="cpu") as run:
        painted(run, config, pairs)
        run.write_rows(
            [
                {"content": content, "style": style, "statistic": "seconds", "value": 0.05}
                for content, style in pairs
            ]
        )
    if wants_judge(config):
        judge(root, config, run.path)
    return run.path


# --- Stylisations -----------------------------------------------------------------------------------------


def fused(config: dict[str, Any]) -> list[float]:
    return list(config["objective"]["style"].get("weights") or [])


def by_loss(config: dict[str, Any]) -> bool:
    """Return whether pictures are measured by a loss instead of a judge."""
    return str(config["measures"].get("_target_")).endswith("LossMeasures")


def measures(config: dict[str, Any], index: int) -> dict[str, float | None]:
    """More weight, more style, less content; of two losses the first is the worse; λ keeps a plain picture."""
    if by_loss(config):
        steps = config.get("steps", 75)  # a picture made in one pass
        return {"style_term": (1 + 0.1 * index) / (1 + steps), "content_term": 1 - 1 / (1 + steps)}
    weight = config["objective"]["style_weight"] or 1.0
    first, *_ = fused(config) or [0.0]
    plain = config["smoothing"]["name"] == "none"
    scale = config["network"]["shortcut"] if config["name"] == "shortcut_dial_style" else 0
    kept = (3 + 0.5 * index) * (scale or 0) if plain else 0
    distance = (1 + index + first + kept) / math.sqrt(weight)
    return {
        "luminance_wasserstein": distance,
        "style_distance": distance,
        "sliced_wasserstein": 0.5 * (1 + index) / math.sqrt(weight),
        "cfsd": 0.01 * (1 + index) * math.sqrt(weight),
        "ssim": 1 / (1 + weight),
        "lpips": None,
    }


def losses(config: dict[str, Any]) -> dict[str, float]:
    """More weight, more style, less content; but for BN at 1."""
    objective = config["objective"]
    strength = math.sqrt(objective["style_weight"] / 10)
    strength *= 0.01 if (objective["name"], objective["style_weight"]) == ("bn", 1) else 1
    return {
        "content_loss": strength if objective["content_weight"] else 0.0,
        "style_loss": 2 / strength if strength else 0.0,
        "total_variation": 0.5,
        "total_loss": 3.5,
    }


def status(config: dict[str, Any], index: int) -> str:
    if config["network"]["name"] == "resnet50" and index == 0:
        return "diverged" if config["smoothing"]["name"] == "none" else "unchanged"
    return "finished"


@functools.cache
def png(seed: str, size: tuple[int, int] = SIZE) -> bytes:
    generator = np.random.default_rng(list(seed.encode()))
    pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def pair(config: dict[str, Any], index: int, names: tuple[str, str]) -> dict[str, Any]:
    style_image = f"images/style/{file_stem(names[1])}.png"
    return {
        "content": names[0],
        "style": names[1],
        "image": f"images/{index}.png",
        "content_image": f"images/content/{file_stem(names[0])}.png",
        "style_image": style_image,
        "styles": [{"name": names[1], "image": style_image, "weight": 1.0}],
        "steps": [{"iteration": step, "image": f"images/steps/{index}/{step}.png"} for step in on_the_way(config)],
        "status": status(config, index),
        "reason": "" if status(config, index) == "finished" else "it had to be",
        "iterations": 7,
        "evaluations": 9,
        "recoveries": 0,
        **losses(config),
        **{f"first_{loss}": 2 * value for loss, value in losses(config).items()},
    }  # fmt: skip


def on_the_way(config: dict[str, Any]) -> list[int]:
    """Iterations with pictures; a training has that of its start."""
    return list(config.get("measured_steps", [0] if config["entry"] == "train_feedforward" else []))


def painted(run: Run, config: dict[str, Any], pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The rows of pairs, whose pictures are written, too."""
    rows = [pair(config, index, names) for index, names in enumerate(pairs)]
    for row in rows:
        steps = {step["image"]: png(step["image"]) for step in row["steps"]}
        made = {
            row["image"]: png(f"{run.identity.run_id}{row['image']}"),
            row["content_image"]: png(row["content"]),
            row["style_image"]: png(row["style"], (16, 60)),
        }
        for name, content in (steps | made).items():
            with run.write_file(name) as file:
                file.write(content)
    run.write_pairs(rows)
    return rows


def origin(config: dict[str, Any]) -> dict[str, Any]:
    parts = {key: config[key]["name"] for key in ("network", "weights", "smoothing")}
    return {**parts, "loss": config["objective"]["name"], "seed": config["weights"].get("seed")}


def own_numbers(config: dict[str, Any], names: tuple[str, str]) -> Iterator[dict[str, Any]]:
    about = {**origin(config), "content": names[0], "style": names[1]}
    yield about | {"statistic": "total_loss", "value": losses(config)["total_loss"]}
    scale = config["network"]["shortcut"] or 0
    for layer in (config["network"]["style_taps"] or BY_RULE) if config["shares"] == "entries" else ():
        for definition, share in (("start", 0.5 + scale / 4), ("finished", 0.4), ("same", 0.3)):
            yield about | {
                "layer": layer, "statistic": "largest_entries", "definition": definition, "value": share
            }  # fmt: skip
    for rank, layer in enumerate(config["network"]["style_taps"] or BY_RULE, start=1):
        for definition in ("loss", "gradient"):
            share = scale / (1 if definition == "loss" else 2) if rank == 5 else 0.0
            yield about | {
                "layer": layer, "statistic": "style_share", "definition": definition, "value": share
            }  # fmt: skip


def stylized(
    root: Path,
    cell: Cell,
    *,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    images: str = "a",
    config: dict[str, Any] | None = None,
    judged: bool = True,
) -> Path:
    """A run of `stylize`, and one of its judge where one is asked for."""
    hashes = {
        f"{role}/{name}": images * 64
        for both in pairs
        for role, name in zip(("content", "style"), both, strict=True)
    }
    who = Identity("stylize", 4, scientific(cell.config, "stylize"), hashes)
    claimed = Store(root).claim(who, config=config or cell.config, name=cell.config["name"], device="cpu")
    with claimed as run:
        painted(run, cell.config, pairs)
        if by_loss(cell.config):  # only its figure draws curves
            with run.write_file("curves.parquet") as file:
                pd.DataFrame(curves(cell.config, pairs)).to_parquet(file)
        numbers = [row for names in pairs for row in own_numbers(cell.config, names)]
        run.write_rows(numbers)
    if judged and wants_judge(cell.config):
        judge(root, cell.config, run.path)
    return run.path


def curves(config: dict[str, Any], pairs: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Return losses pair by pair, a tenth of a second for each step."""
    for content, style in pairs:
        for step in range(config["steps"] + 1):
            name = f"{file_stem(content)}__{file_stem(style)}"
            yield {
                "scale": 0,
                "evaluation": step + 1,
                "step": step,
                "seconds": step / 10,
                f"{name}/total": 1.0,
            }


def judge(
    root: Path,
    config: dict[str, Any],
    stylization: Path,
    *,
    pictures: dict[str, str] | None = None,
    worse: float = 0,
    version: int = 1,
    definition: str | None = None,
) -> Path:
    """A run that measures the pictures of a run; style distances are so much worse."""
    record = RunRecord(stylization, read_status(stylization))
    rows = record.pairs().to_pylist()
    seen = [name for row in rows for name in (row["image"], *(step["image"] for step in row["steps"]))]
    files = {name: (record.status.files or {})[name] for name in seen}
    settings = {"measures": settings_of_judge(config), "stylization": stylization.name}
    definition = definition or (
        "small_no_shortcut(trained)"
        if by_loss(config)
        else HELD_OUT.get(config["network"]["name"], "vgg19(random)")
    )
    weights = None if definition.endswith("(random)") else "d" * 64
    who = Identity("judge", version, settings, files | (pictures or {}), weights)
    about = {**origin(config), "of_run": stylization.name}
    config = config | {"stylization": stylization.name}
    with Store(root).claim(who, config=config, name=config["name"], device="cpu") as run:
        run.write_rows([about | row for row in judged_rows(config, rows, definition, worse)])
    return run.path


def judged_rows(
    config: dict[str, Any], pairs: list[dict[str, Any]], definition: str, worse: float
) -> Iterator[dict[str, Any]]:
    started = 8.0 if config.get("start", "content") == "content" else 4.0
    for index, made in enumerate(pairs):
        for iteration in (None, *on_the_way(config)):
            for statistic, value in measures(config, index).items():
                if value is not None and iteration is not None:
                    value = {"ssim": 1.0}.get(statistic, started) if iteration == 0 else value
                yield {
                    "content": made["content"], "style": made["style"], "iteration": iteration,
                    "statistic": statistic,
                    "definition": {"ssim": None, "lpips": "alexnet(imagenet)"}.get(statistic, definition),
                    "value": None if value is None else value + worse * (statistic == "style_distance"),
                    "reason": "no weights here" if value is None else None,
                }  # fmt: skip
