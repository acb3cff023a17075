"""Pictures as files of a run directory, and their rows in its table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from experiments.pictures.batches import PairBatch
from experiments.pictures.pairs import Pair
from swag_repro.images import Picture, save_png
from swag_repro.losses import style_weights
from swag_repro.names import file_stem
from swag_repro.optimisation import PairRecord
from swag_repro.runs.files import read_picture
from swag_repro.runs.schema import LOSSES
from swag_repro.runs.store import Run


@dataclass(frozen=True)
class FinishedBatch:
    """A batch and its finished pictures.

    Attributes:
        batch: The batch of B pairs.
        images: `(B, 3, H, W)` in [0, 1].
        records: The end of each pair.
        steps: The iterations at the last scale whose pictures were asked for and saved.
        last_scale: The index of the last scale.
    """

    batch: PairBatch
    images: Tensor
    records: tuple[PairRecord, ...]
    steps: tuple[int, ...]
    last_scale: int


def step_image(pair: Pair, scale: int, step: int) -> str:
    """Return the path of an intermediate picture in the run directory."""
    return f"images/steps/{pair.name}/{scale}-{step:05}.png"


def save_pictures(
    run: Run, finished: FinishedBatch, *, label: str, animation: bool
) -> Iterator[dict[str, Any]]:
    """Save the pictures of a batch with their contents and styles, and yield their rows of `PAIRS`.

    A picture is as transparent as its content, so the picture of a cut-out is a cut-out.
    """
    batch = finished.batch
    for index, (pair, image, record) in enumerate(
        zip(batch.pairs, finished.images.cpu(), finished.records, strict=True)
    ):
        name = f"images/{pair.name}.png"
        origin = {"run_id": run.identity.run_id, "cell": label, "pair": pair.name, "status": record.status}
        save_png(image, run.path / name, origin, below=run.path, alpha=pair.content.alpha())
        _save_inputs(run, batch, index)
        if animation:
            _animate(run, pair)
        scale = finished.last_scale
        steps = [{"iteration": step, "image": step_image(pair, scale, step)} for step in finished.steps]
        yield {"image": name, **_inputs_of(batch, index), **_outcome(record), "steps": steps}


def _inputs_of(batch: PairBatch, index: int) -> dict[str, Any]:
    pair = batch.pairs[index]
    weights = style_weights(batch.styles[index])
    return {
        "content": pair.content.name,
        "style": pair.style_name,
        "content_image": _place(pair.content.key),
        "style_image": _place(f"style/{pair.style_name}"),
        "styles": [
            {"name": picture.name, "image": _place(picture.key), "weight": weight}
            for picture, weight in zip(pair.styles, weights, strict=True)
        ],
    }


def _outcome(record: PairRecord) -> dict[str, Any]:
    return {
        "status": str(record.status),
        "reason": record.reason,
        "iterations": record.iterations,
        "evaluations": record.evaluations,
        "recoveries": record.recoveries,
        **{column: getattr(record.best, term) for term, column in LOSSES.items()},
        **{f"first_{column}": getattr(record.first, term) for term, column in LOSSES.items()},
    }


def _place(key: str) -> str:
    """Return the path of an input: `content/a/b.png` becomes `images/content/a_b.png`."""
    role, _, name = key.partition("/")
    return f"images/{role}/{file_stem(name)}.png"


def _save_inputs(run: Run, batch: PairBatch, index: int) -> None:
    """Save the resized inputs of a pair; the styles of a mix are also saved side by side under its name."""
    pair, styles = batch.pairs[index], batch.styles[index]
    _save_input(run, pair.content.key, batch.contents[index], [pair.content])
    for picture, mask, style in zip(pair.styles, pair.masks, styles, strict=True):
        _save_input(run, picture.key, style.image, [picture])
        if mask is not None and style.mask is not None:
            _save_input(run, mask.key, style.mask.expand(3, -1, -1), [mask])
    mixed = _side_by_side([style.image for style in styles])
    _save_input(run, f"style/{pair.style_name}", mixed, pair.styles)


def _save_input(run: Run, key: str, image: Tensor, pictures: Sequence[Picture]) -> None:
    path = run.path / _place(key)
    if path.exists():  # saved for another pair
        return
    origin = {name: ", ".join(getattr(one, name) for one in pictures) for name in ("sha256", "licence")}
    save_png(image.cpu(), path, origin, below=run.path)


def _side_by_side(images: Sequence[Tensor]) -> Tensor:
    """Return one picture `(3, H, W)` of all images side by side, as high as the first."""
    height = images[0].shape[1]
    return torch.cat([images[0], *(_of_height(image, height) for image in images[1:])], dim=2)


def _of_height(image: Tensor, height: int) -> Tensor:
    size = height, round(image.shape[2] * height / image.shape[1])
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def _animate(run: Run, pair: Pair) -> None:
    frames = [
        read_png(run, path)
        for path in sorted(
            path.relative_to(run.path).as_posix()
            for path in (run.path / "images/steps" / pair.name).glob("*.png")
        )
    ]
    if frames:
        frames = [frame.resize(frames[-1].size) for frame in frames]  # frames of coarser scales are smaller
        with run.write_file(f"images/{pair.name}.webp") as file:
            frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=80, loop=0)


def read_png(run: Run, name: str) -> Image.Image:
    """Return a picture of the run by its path in the run directory."""
    path = run.path / name
    return read_picture(path, path.read_bytes())
