"""Style transfer by optimising an image's pixels (SWAG, Figures 1, 2 and 6).

python experiments/stylize.py content=a.jpg style=b.jpg network=resnet50 smoothing=softmax images.size=256
python experiments/stylize.py content=a.jpg 'style=[b.jpg,c.jpg]' pairing=mix 'style_weights=[0.7,0.3]'
python experiments/stylize.py -m experiment=fig1
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import pandas as pd
import torch
from omegaconf import DictConfig
from PIL import Image
from rich.markup import escape
from torch import Tensor
from torch.nn import functional as F

from experiments.batches import BATCH_SIZE, Batch, fixed_size, restart_of, start_of
from experiments.cell import CONF, Experiment, launch, run_cell
from experiments.command import checked_command
from experiments.pairs import Pair
from experiments.progress import console, track
from experiments.resume import Checkpoints, interruptible
from experiments.stylize_cell import StylizeCell
from experiments.sweep import Sweep
from swag_repro.images import save_png
from swag_repro.losses import style_weights
from swag_repro.measures import HeldOut, Measure
from swag_repro.names import file_stem
from swag_repro.networks import TappedNetwork
from swag_repro.store import Run
from swag_repro.tracking import Tracker
from swag_repro.transfer import PairRecord, Transfer


def stylize(cell: StylizeCell, run: Run, tracker: Tracker, sweep: Sweep | None) -> None:
    """Optimises all pairs of a cell, batch by batch, and writes pictures, measures and curves."""
    network, judge = cell.network(), cell.judge()
    checkpoints = Checkpoints(run.path / "checkpoints", seconds=cell.config.keep.checkpoint_seconds)
    results: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    size = fixed_size(run, cell.config.compute.batch_size, partial(cell.fitting, network))
    for batch in cell.batches(size):
        done = _optimised(cell, network, batch, run, checkpoints, sweep)
        curves += done["curves"]
        results += _finished(cell, judge, batch, done, run)
    checkpoints.clear()
    _write(cell, run, results, curves)
    _mirror(tracker, run, results, curves)


def _optimised(
    cell: StylizeCell,
    network: TappedNetwork,
    batch: Batch,
    run: Run,
    checkpoints: Checkpoints,
    sweep: Sweep | None,
) -> dict[str, Any]:
    """Images, records and curves of a batch, from its last checkpoint on."""
    state = checkpoints.load(batch.key) or {"scale": 0, "start": None, "transfer": None, "curves": []}
    scales = batch.scales(cell.config.scales, cell.config.coarsest)
    while (scale := state["scale"]) < len(scales):
        scaled = batch.at(scales[scale])
        seen = scaled.seen(cell.config.color)
        start = _start(cell, seen, state["start"], last=scale == len(scales) - 1)
        transfer = cell.transfer(network, seen, start, scale=scale)
        if state["transfer"] is not None:
            transfer.load_state_dict(state["transfer"])
        _advance(cell, transfer, scaled, run, state, checkpoints, sweep)
        state = {**state, "scale": scale + 1, "start": transfer.images.cpu(), "transfer": None}
        state["records"] = transfer.results
    images = batch.finished(state["start"].to(cell.device), cell.config.color)
    return {"images": images, "records": state["records"], "curves": state["curves"]}


def _start(cell: StylizeCell, batch: Batch, before: Tensor | None, *, last: bool) -> Tensor:
    if before is None:
        return start_of(batch, cell.config.start, seed=cell.config.seed, picture=cell.start)
    return restart_of(batch, cell.config.start, before, last=last)


def _advance(
    cell: StylizeCell,
    transfer: Transfer,
    batch: Batch,
    run: Run,
    state: dict[str, Any],
    checkpoints: Checkpoints,
    sweep: Sweep | None,
) -> None:
    """Lets a transfer run to its end; an interrupt leaves a checkpoint of the last whole step."""
    what = str(cell) if sweep is None else f"cell {len(sweep.outcomes()) + 1}/{sweep.cells} {cell}"
    steps = track(
        ((1, step) for step in transfer),
        total=cell.config.evaluations or cell.config.steps,
        what=f"{what}, {len(batch.pairs)} pairs at {'×'.join(map(str, transfer.images.shape[2:]))} px",
        left=sweep.time_left() if sweep is not None else "",
        enabled=cell.config.progress,
        unit="evaluations",
    )
    every, shown = cell.config.keep.every, 0
    with interruptible() as interrupted:
        for step in steps:
            state["curves"].append(
                {"scale": state["scale"], "evaluation": step.evaluations, "seconds": step.seconds}
                | {
                    f"{pair.name}/{term}": getattr(record.losses, term)
                    for pair, record in zip(batch.pairs, step.pairs, strict=True)
                    for term in ("content", "style", "total")
                }
            )
            if every and step.step >= shown + every:
                shown = step.step
                _save_intermediate(cell, run, batch, transfer.images, (state["scale"], step.step))
            if interrupted() or checkpoints.due():
                checkpoints.save(batch.key, {**state, "transfer": transfer.state_dict()})
            if interrupted():
                raise KeyboardInterrupt


def _save_intermediate(
    cell: StylizeCell, run: Run, batch: Batch, images: Tensor, when: tuple[int, int]
) -> None:
    scale, step = when
    finished = batch.finished(images, cell.config.color)
    for pair, image in zip(batch.pairs, finished.cpu(), strict=True):
        save_png(image, run.path / "images" / "steps" / pair.name / f"{scale}-{step:05}.png", {})


def _finished(
    cell: StylizeCell, judge: HeldOut | None, batch: Batch, done: dict[str, Any], run: Run
) -> Iterator[dict[str, Any]]:
    """Saves the pictures of a batch, and says all that `pairs.json` says of them."""
    images = done["images"].cpu()
    measured = _measured(judge, images.to(cell.device), batch) if judge else iter([()] * len(images))
    identity = run.identity
    for pair, image, record, measures in zip(batch.pairs, images, done["records"], measured, strict=True):
        path = f"images/{pair.name}.png"
        metadata = {"run_id": identity.run_id, "cell": str(cell), "pair": pair.name, "status": record.status}
        save_png(image, run.path / path, metadata)
        _save_inputs(run, pair, batch)
        if cell.config.keep.animation:
            _animate(run, pair)
        yield _described(pair, path, record, measures)


def _measured(judge: HeldOut, images: Tensor, batch: Batch) -> Iterator[Sequence[Measure]]:
    """Measures of each picture; of a mix, means over its styles by their weights."""
    by_style = [
        judge(images, batch.contents, [style.image for style in styles])
        for styles in zip(*batch.styles, strict=True)
    ]
    for mixed, measures in zip(batch.styles, zip(*by_style, strict=True), strict=True):
        weights = style_weights(mixed)
        yield [_mean(same, weights) for same in zip(*measures, strict=True)]


def _mean(measures: Sequence[Measure], weights: Sequence[float]) -> Measure:
    values = [measure.value for measure in measures if measure.value is not None]
    if len(values) < len(measures):
        return next(measure for measure in measures if measure.value is None)
    return replace(measures[0], value=sum(w * v for w, v in zip(weights, values, strict=True)))


def _save_inputs(run: Run, pair: Pair, batch: Batch) -> None:
    """What the pair was made of, resized; the styles of a mix also side by side under its name."""
    index = batch.pairs.index(pair)
    styles = batch.styles[index]
    inputs = [(pair.content.key, batch.contents[index], [pair.content])]
    for picture, mask, style in zip(pair.styles, pair.masks, styles, strict=True):
        inputs.append((picture.key, style.image, [picture]))
        if mask is not None and style.mask is not None:
            inputs.append((mask.key, style.mask.expand(3, -1, -1), [mask]))
    mixed = _side_by_side([style.image for style in styles])
    inputs.append((f"style/{pair.style_name}", mixed, list(pair.styles)))
    for key, image, pictures in inputs:
        role, _, name = key.partition("/")
        path = run.path / "images" / role / f"{file_stem(name)}.png"
        if not path.exists():
            metadata = {told: ", ".join(getattr(p, told) for p in pictures) for told in ("sha256", "licence")}
            save_png(image.cpu(), path, metadata)


def _side_by_side(images: Sequence[Tensor]) -> Tensor:
    """One picture `(3, H, W)` as high as the first."""
    height = images[0].shape[1]
    scaled = [_of_height(image, height) for image in images[1:]]
    return torch.cat([images[0], *scaled], dim=2)


def _of_height(image: Tensor, height: int) -> Tensor:
    size = height, round(image.shape[2] * height / image.shape[1])
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def _animate(run: Run, pair: Pair) -> None:
    frames = [_read(path) for path in sorted((run.path / "images" / "steps" / pair.name).glob("*.png"))]
    if frames:
        frames = [frame.resize(frames[-1].size) for frame in frames]  # those of coarser scales are smaller
        with run.write_file(f"images/{pair.name}.webp") as file:
            frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=80, loop=0)


def _described(pair: Pair, path: str, record: PairRecord, measures: Sequence[Measure]) -> dict[str, Any]:
    return {
        "content": pair.content.name,
        "style": pair.style_name,
        "image": path,
        "status": str(record.status),
        "reason": record.reason,
        "iterations": record.iterations,
        "evaluations": record.evaluations,
        "recoveries": record.recoveries,
        "losses": record.best._asdict(),
        "first": record.first._asdict(),
        "measures": [
            {"statistic": m.statistic, "definition": m.definition, "value": m.value, "reason": m.reason}
            for m in measures
        ],
    }


def _write(cell: StylizeCell, run: Run, results: list[dict[str, Any]], curves: list[dict[str, Any]]) -> None:
    with run.write_file("pairs.json") as file:
        file.write(json.dumps(results, indent=2).encode())
    with run.write_file("curves.parquet") as file:
        pd.DataFrame(curves).to_parquet(file)
    run.write_rows([row for result in results for row in _rows(cell, result)])


def _rows(cell: StylizeCell, result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    numbers: dict[tuple[str, str | None], float | None] = {
        ("content_loss", None): result["losses"]["content"],
        ("style_loss", None): result["losses"]["style"],
        ("total_variation", None): result["losses"]["total_variation"],
        ("total_loss", None): result["losses"]["total"],
        ("first_total_loss", None): result["first"]["total"],
        **{(count, None): result[count] for count in ("iterations", "evaluations", "recoveries")},
        **{(m["statistic"], m["definition"]): m["value"] for m in result["measures"]},
    }
    for (statistic, definition), value in numbers.items():
        if value is not None:
            yield {
                "network": cell.architecture.name,
                "weights": cell.weights.name,
                "smoothing": str(cell.smoothing),
                "loss": cell.config.objective.name,
                "seed": cell.seed,
                "content": result["content"],
                "style": result["style"],
                "statistic": statistic,
                "definition": definition,
                "value": float(value),
            }


def _mirror(tracker: Tracker, run: Run, results: list[dict[str, Any]], curves: list[dict[str, Any]]) -> None:
    for values in curves:
        tracker.log(values)
    flat = pd.json_normalize([{k: v for k, v in result.items() if k != "measures"} for result in results])
    tracker.table("pairs", flat)
    saved = {result["image"]: run.path / result["image"] for result in results}
    tracker.images({name: _read(path) for name, path in saved.items()})
    statuses = pd.Series([result["status"] for result in results]).value_counts()
    tracker.summary({f"pairs/{status}": int(count) for status, count in statuses.items()})
    for result in results:
        note = f" {result['status']}: {result['reason']}" if result["status"] != "finished" else ""
        console.print(f"  {escape(str(saved[result['image']]))}[yellow]{escape(note)}[/]")


def _read(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


EXPERIMENT = Experiment(
    name="stylize",
    version=2,
    cell=StylizeCell,
    compute=stylize,
    resumable=("checkpoints", "images", BATCH_SIZE),
)


@checked_command(EXPERIMENT.name)
@hydra.main(version_base="1.3", config_path=CONF, config_name=EXPERIMENT.name)
def main(config: DictConfig) -> None:
    """Stylises the pairs of one cell."""
    run_cell(config, EXPERIMENT)


if __name__ == "__main__":
    launch(main)
