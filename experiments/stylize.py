"""Style transfer by optimising an image's pixels (SWAG, Figures 1, 2 and 6).

python experiments/stylize.py content=a.jpg style=b.jpg network=resnet50 smoothing=softmax images.size=256
python experiments/stylize.py content=a.jpg 'style=[b.jpg,c.jpg]' pairing=mix 'style_weights=[0.7,0.3]'
python experiments/stylize.py -m experiment=fig1
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import json
import math
import shutil
from collections.abc import Iterator, Sequence
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

from experiments.cell import CONF, Experiment, launch, run_cell
from experiments.command import checked_command
from experiments.signals import interrupt
from experiments.stylization.batches import BATCH_SIZE, Batch, fixed_size, restart_of, start_of
from experiments.stylization.cell import StylizeCell
from experiments.stylization.checkpoints import Checkpoints, digest_of
from experiments.stylization.observations import Judge, early, start_shares
from experiments.stylization.pairs import Pair
from experiments.sweeps.plan import Sweep, interruptible
from experiments.sweeps.progress import console, track
from swag_repro.errors import NonFiniteError
from swag_repro.images import save_png
from swag_repro.measures import Measure
from swag_repro.names import file_stem
from swag_repro.networks import TappedNetwork
from swag_repro.runs.store import Run
from swag_repro.runs.tracking import Tracker
from swag_repro.transfer import PairRecord, Step, Transfer


def stylize(cell: StylizeCell, run: Run, tracker: Tracker, sweep: Sweep | None) -> None:
    """Optimises all pairs of a cell, batch by batch, and writes pictures, measures and curves."""
    network, judge = cell.network(), cell.judge()
    checkpoints = Checkpoints(run.path, seconds=cell.config.keep.checkpoint_seconds)
    results: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    observed: list[dict[str, Any]] = []
    size = fixed_size(run, cell.config.compute.batch_size, partial(cell.fitting, network))
    for batch in cell.batches(size):
        done = _optimised(cell, network, batch, run, checkpoints, sweep, judge)
        curves += done["curves"]
        results += _finished(cell, judge, batch, done, run)
        seen = batch.seen(cell.config.color)
        observed += [*done["early"], *start_shares(network, cell.objective, seen, cell.config.shares)]
    checkpoints.clear()
    _check_any_finite(results)
    _write(cell, run, results, curves, observed)
    _mirror(tracker, run, results, curves)


def _check_any_finite(results: Sequence[dict[str, Any]]) -> None:
    """A picture that diverged keeps its best image, and figures mark it; without a finite loss there is none.

    Raises:
        NonFiniteError: that is so of all.
    """
    if not any(math.isfinite(result["losses"]["total"]) for result in results):
        reasons = ", ".join(sorted({str(result["reason"]) for result in results}))
        rule = "should be finite for at least one picture of a cell"
        found = f"{len(results)} of {len(results)} diverged: {reasons}"
        raise NonFiniteError("loss", rule, found, "Look for NaN in the weights, or choose a wider precision.")


def _optimised(
    cell: StylizeCell,
    network: TappedNetwork,
    batch: Batch,
    run: Run,
    checkpoints: Checkpoints,
    sweep: Sweep | None,
    judge: Judge | None,
) -> dict[str, Any]:
    """Images, records, curves and early measures of a batch, from its last checkpoint on."""
    state = checkpoints.load(batch.key) or _begun(run, batch)
    scales = batch.scales(cell.config.scales, cell.config.coarsest)
    records: tuple[PairRecord, ...] = ()
    while (scale := state["scale"]) < len(scales):
        scaled = batch.at(scales[scale])
        seen = scaled.seen(cell.config.color)
        last = scale == len(scales) - 1
        start = _start(cell, seen, state["start"], last=last)
        transfer = cell.transfer(network, seen, start, scale=scale, last=last)
        if state["transfer"] is not None:
            transfer.load_state_dict(state["transfer"])
        last = scale == len(scales) - 1
        _advance(cell, transfer, scaled, run, state, checkpoints, sweep, judge if last else None)
        state |= {"scale": scale + 1, **_scale_begins(transfer.images.cpu())}
        records = transfer.results
    images = batch.finished(state["start"].to(cell.device), cell.config.color)
    return {"images": images, "records": records, "curves": state["curves"], "early": state["early"]}


def _begun(run: Run, batch: Batch) -> dict[str, Any]:
    """State of a batch at its start, without images of an attempt that left no checkpoint."""
    for pair in batch.pairs:
        shutil.rmtree(run.path / "images" / "steps" / pair.name, ignore_errors=True)
    return {"scale": 0, "curves": [], "early": [], "files": {}, **_scale_begins(None)}


def _scale_begins(start: Tensor | None) -> dict[str, Any]:
    """Of a batch's state: images to start from, the transfer, and the step of the last intermediate image."""
    return {"start": start, "transfer": None, "shown": 0}


def _start(cell: StylizeCell, batch: Batch, before: Tensor | None, *, last: bool) -> Tensor:
    if before is None:
        noise, seed = cell.config.start_noise, cell.config.seed
        return start_of(batch, cell.config.start, noise=noise, seed=seed, picture=cell.start)
    return restart_of(batch, cell.config.start, before, last=last)


def _advance(
    cell: StylizeCell,
    transfer: Transfer,
    batch: Batch,
    run: Run,
    state: dict[str, Any],
    checkpoints: Checkpoints,
    sweep: Sweep | None,
    judge: Judge | None,
) -> None:
    """Lets a transfer run to its end; an interrupt leaves a checkpoint of the last whole step."""
    what = str(cell) if sweep is None else f"cell {len(sweep.outcomes()) + 1}/{sweep.cells} {cell}"
    steps, evaluations, every = cell.config.steps, cell.config.evaluations, cell.config.keep.every
    # A step takes an evaluation or more.
    unit = "evaluations" if evaluations is not None and evaluations <= steps else "steps"
    shown = track(
        _counted(transfer, "evaluations" if unit == "evaluations" else "step"),
        total=evaluations if unit == "evaluations" else steps,
        what=f"{what}, {len(batch.pairs)} pairs at {'×'.join(map(str, transfer.images.shape[2:]))} px",
        left=sweep.time_left() if sweep is not None else "",
        enabled=cell.config.progress,
        unit=unit,
    )
    with interruptible(sweep) as interrupted:
        for step in shown:
            state["curves"].append(_point(state["scale"], batch, step))
            wanted = {*cell.config.measured_steps} - {row["iteration"] for row in state["early"]}
            state["early"] += early(judge, batch, transfer.images, step, wanted)
            if every and step.step >= state["shown"] + every:
                state["shown"] = step.step
                state["files"] |= _save_intermediate(cell, run, batch, transfer.images, state)
            number = interrupted()
            if number is not None or checkpoints.due():
                checkpoints.save(batch.key, {**state, "transfer": transfer.state_dict()})
            if number is not None:
                interrupt(number)


def _counted(transfer: Transfer, unit: str) -> Iterator[tuple[int, Step]]:
    """Each step of a transfer, and how many units it went on."""
    before = 0
    for step in transfer:
        count = getattr(step, unit)
        yield count - before, step
        before = count


def _point(scale: int, batch: Batch, step: Step) -> dict[str, float]:
    """One row of the curves."""
    return {"scale": scale, "evaluation": step.evaluations, "seconds": step.seconds} | {
        f"{pair.name}/{term}": getattr(record.losses, term)
        for pair, record in zip(batch.pairs, step.pairs, strict=True)
        for term in ("content", "style", "total")
    }


def _save_intermediate(
    cell: StylizeCell, run: Run, batch: Batch, images: Tensor, state: dict[str, Any]
) -> dict[str, str]:
    """An image of each pair; their digests by their names."""
    finished, saved = batch.finished(images, cell.config.color), {}
    for pair, image in zip(batch.pairs, finished.cpu(), strict=True):
        name = f"images/steps/{pair.name}/{state['scale']}-{state['shown']:05}.png"
        save_png(image, run.path / name, {})
        saved[name] = digest_of(run.path / name)
    return saved


def _finished(
    cell: StylizeCell, judge: Judge | None, batch: Batch, done: dict[str, Any], run: Run
) -> Iterator[dict[str, Any]]:
    """Saves the pictures of a batch, and says all that `pairs.json` says of them."""
    images = done["images"].cpu()
    measured = judge(images.to(cell.device), batch) if judge else iter([()] * len(images))
    identity = run.identity
    for pair, image, record, measures in zip(batch.pairs, images, done["records"], measured, strict=True):
        path = f"images/{pair.name}.png"
        metadata = {"run_id": identity.run_id, "cell": str(cell), "pair": pair.name, "status": record.status}
        save_png(image, run.path / path, metadata)
        _save_inputs(run, pair, batch)
        if cell.config.keep.animation:
            _animate(run, pair)
        yield _described(pair, path, record, measures)


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
        if not path.exists():  # for another pair
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


def _write(
    cell: StylizeCell,
    run: Run,
    results: list[dict[str, Any]],
    curves: list[dict[str, Any]],
    observed: list[dict[str, Any]],
) -> None:
    with run.write_file("pairs.json") as file:
        file.write(json.dumps(results, indent=2).encode())
    with run.write_file("curves.parquet") as file:
        pd.DataFrame(curves).to_parquet(file)
    rows = [row for result in results for row in _rows(result)]
    run.write_rows([{**_origin(cell), **row} for row in (*rows, *observed)])


def _origin(cell: StylizeCell) -> dict[str, Any]:
    return {
        "network": cell.architecture.name,
        "weights": cell.weights.name,
        "smoothing": str(cell.smoothing),
        "loss": cell.config.objective.name,
        "seed": cell.seed,
    }


def _rows(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
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
    version=3,
    cell=StylizeCell,
    compute=stylize,
    resumable=("checkpoints", "images/steps", BATCH_SIZE),
)


@checked_command(EXPERIMENT.name)
@hydra.main(version_base="1.3", config_path=CONF, config_name=EXPERIMENT.name)
def main(config: DictConfig) -> None:
    """Stylises the pairs of one cell."""
    run_cell(config, EXPERIMENT)


if __name__ == "__main__":
    from experiments import stylize as importable

    launch(importable.main)
