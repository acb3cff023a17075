"""Which pairs a stylisation has, and in which batches they are optimised side by side."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.nn import functional as F

from experiments.cell import Cell
from experiments.config import build
from swag_repro.errors import ImageError, SettingError
from swag_repro.images import Picture, Resize, Role, load
from swag_repro.losses import Objective
from swag_repro.measures import HeldOut, WeightedNetwork
from swag_repro.networks import Levers, TappedNetwork
from swag_repro.transfer import Guards, Transfer

MOST_PAIRS = 16
"""In a batch of `auto`: more gain nothing on machines we know."""

STARTS = ("content", "noise", "style")


@dataclass(frozen=True)
class Pair:
    """A content and a style picture."""

    content: Picture
    style: Picture

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.content.name}__{self.style.name}".replace("/", "_")


@dataclass(frozen=True)
class Batch:
    """Pairs optimised side by side.

    Attributes:
        pairs: B of them.
        contents: `(B, 3, H, W)`, RGB in [0, 1].
        styles: B images `(3, H', W')`.
    """

    pairs: tuple[Pair, ...]
    contents: Tensor
    styles: tuple[Tensor, ...]

    @property
    def key(self) -> str:
        """Tells it from other batches: with other neighbours a picture's rounding differs."""
        return hashlib.sha256("\n".join(pair.name for pair in self.pairs).encode()).hexdigest()[:16]

    def at(self, scale: float) -> Batch:
        """The batch with all sides scaled."""
        if scale == 1.0:
            return self
        styles = tuple(_scaled(style[None], scale)[0] for style in self.styles)
        return replace(self, contents=_scaled(self.contents, scale), styles=styles)

    def resized(self, images: Tensor) -> Tensor:
        """Images `(B, 3, h, w)` in the contents' size, on their device."""
        images = images.to(self.contents.device)
        return images if images.shape == self.contents.shape else _to_size(images, self.contents.shape[2:])


def _scaled(images: Tensor, scale: float) -> Tensor:
    return _to_size(images, torch.Size(max(16, round(side * scale)) for side in images.shape[2:]))


def _to_size(images: Tensor, size: Sequence[int]) -> Tensor:
    resized = F.interpolate(images, list(size), mode="bicubic", antialias=True)
    return resized.clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class StylizeCell(Cell):
    """What a stylisation needs beside what every cell does."""

    pairs: tuple[Pair, ...]
    objective: Objective
    optimizer: Any
    guards: Guards

    @classmethod
    def parts(cls, config: DictConfig) -> dict[str, Any]:
        """The attributes of the cell of this config."""
        parts = super().parts(config)
        _check_run(config)
        pairs = _pairs(config, parts["pictures"])
        used = dict.fromkeys(picture for pair in pairs for picture in (pair.content, pair.style))
        optimizer = build(config.optimizer)
        optimizer(torch.zeros(1, 3, 2, 2))  # objects to its settings now rather than after loading a network
        return {
            **parts,
            "pictures": (*used, *_start_picture(config.start)),
            "pairs": pairs,
            "objective": _objective(config, parts),
            "optimizer": optimizer,
            "guards": Guards(**config.guards),
        }

    @property
    def taps(self) -> Sequence[str]:
        """Where the objective reads the network."""
        return self.objective.taps()

    @property
    def levers(self) -> Levers:
        """How the network is run."""
        settings = dict(self.config.levers)
        settings["fold_batchnorm"] = settings["fold_batchnorm"] and self.config.batchnorm == "eval"
        return Levers(**settings)

    @property
    def weights_digest(self) -> str | None:
        """Of the optimised network and of the one that measures."""
        own = super().weights_digest
        return (
            own if self.judged_by is None else f"{own}, measured by {self.judged_by} {self.judged_by.digest}"
        )

    @cached_property
    def judged_by(self) -> WeightedNetwork | None:
        """The held-out network; None if nothing is measured."""
        if "_target_" not in self.config.measures:
            return None
        chosen: WeightedNetwork = build(self.config.measures).choose(
            WeightedNetwork(self.architecture, self.weights)
        )
        return chosen

    def transfer(self, network: TappedNetwork, batch: Batch, start: Tensor) -> Transfer:
        """The optimisation of a batch from these images `(B, 3, H, W)`."""
        return Transfer(
            network,
            self.objective,
            batch.contents,
            batch.styles,
            start=start,
            optimizer=self.optimizer,
            steps=self.config.steps,
            evaluations=self.config.evaluations,
            guards=self.guards,
        )

    def judge(self) -> HeldOut | None:
        """Measures finished pictures; None if nothing is measured."""
        if self.judged_by is None:
            return None
        judge: HeldOut = build(self.config.measures).build(self.judged_by, self.device)
        return judge

    def __str__(self) -> str:
        return f"{super().__str__()} {self.config.objective.name}"


def _check_run(config: DictConfig) -> None:
    scales = list(config.scales)
    if not scales or scales[-1] != 1.0 or not all(0 < scale <= 1 for scale in scales):
        rule = "should be parts of the size, above 0, that end with 1.0"
        raise SettingError("scales", rule, scales, "[1.0] is a single scale.")
    for name in ("checkpoint_seconds", "every"):
        if (value := config.keep[name]) < 0:
            raise SettingError(f"keep.{name}", "should be at least 0", value, "Choose a larger number.")
    if config.keep.animation and not config.keep.every:
        raise SettingError("keep.every", "should be above 0 for an animation", 0, "Add keep.every=5.")


def _objective(config: DictConfig, parts: dict[str, Any]) -> Objective:
    architecture, settings = parts["architecture"], config.objective
    taps = list(architecture.style_taps)
    weights = [1.0] * len(taps) if settings.tap_weights is None else list(settings.tap_weights)
    if len(weights) != len(taps):
        rule = f"should have one weight for each of the taps {taps}"
        raise SettingError("objective.tap_weights", rule, f"{len(weights)} weights", "null weighs each by 1.")
    smoothed = set(taps[-settings.smoothed_deepest :] if settings.smoothed_deepest else taps)
    (smoothed.add if settings.smoothed_content else smoothed.discard)(architecture.content_tap)
    return Objective(
        style=build(settings.style),
        smoothing=parts["smoothing"],
        content_tap=architecture.content_tap,
        style_taps=dict(zip(taps, weights, strict=True)),
        content_weight=settings.content_weight,
        style_weight=settings.style_weight,
        total_variation_weight=settings.total_variation_weight,
        smoothed_taps=smoothed,
        content_normalizer=settings.content_normalizer,
        balance=settings.balance,
    )


def _pairs(config: DictConfig, pictures: Sequence[Picture]) -> tuple[Pair, ...]:
    contents = _chosen("content", config.content, pictures)
    styles = _chosen("style", config.style, pictures)
    if config.pairing == "product":
        return tuple(Pair(content, style) for content, style in product(contents, styles))
    if config.pairing != "zip":
        raise SettingError("pairing", "should be zip or product", repr(config.pairing), "Choose one.")
    if 1 in (len(contents), len(styles)):
        return tuple(Pair(content, style) for content, style in product(contents, styles))
    return tuple(Pair(content, style) for content, style in zip(contents, styles, strict=False))


def _chosen(role: Role, asked: Any, pictures: Sequence[Picture]) -> list[Picture]:
    known = {picture.name: picture for picture in pictures if picture.role == role}
    if asked is None:
        if not known:
            rule = f"should have a {role} image"
            remedy = f"Give {role}=a/file.jpg, or put images into a folder {role}/."
            raise ImageError("images", rule, "none", remedy)
        return list(known.values())
    names = [str(name) for name in (asked if OmegaConf.is_list(asked) else [asked])]
    return [known.get(name) or _file(role, name, sorted(known)) for name in names]


def _file(role: Role, path: str, known: Sequence[str]) -> Picture:
    if not Path(path).expanduser().is_file():
        remedy = f"Give a file, or one of {', '.join(known)}." if known else "Give a file."
        raise ImageError(role, "should be an image file or the name of a picture", repr(path), remedy)
    file = Path(path).expanduser()
    return Picture.of_file(file, name=file.stem, role=role, licence="yours")


def _start_picture(start: str) -> tuple[Picture, ...]:
    return () if start in STARTS else (_file("content", start, STARTS),)


def start_of(cell: StylizeCell, batch: Batch) -> Tensor:
    """Where the optimisation of a batch starts: `(B, 3, H, W)`, RGB in [0, 1]."""
    size = batch.contents.shape[2:]
    match cell.config.start:
        case "content":
            return batch.contents
        case "noise":
            return torch.stack([_noise(pair, cell.config.seed, size) for pair in batch.pairs]).to(cell.device)
        case "style":
            return torch.cat([_to_size(style[None], size) for style in batch.styles])
    start = load(cell.pictures[-1], Resize(size=max(size), policy="squash"))[None]
    return _to_size(start, size).expand(len(batch.pairs), -1, -1, -1).to(cell.device)


def _noise(pair: Pair, seed: int, size: Sequence[int]) -> Tensor:
    # By the pair's name, so that its noise doesn't depend on its neighbours.
    of_pair = int(hashlib.sha256(f"{seed} {pair.name}".encode()).hexdigest()[:15], 16)
    return torch.rand(3, *size, generator=torch.Generator().manual_seed(of_pair))


def batched(cell: StylizeCell, network: TappedNetwork) -> Iterator[Batch]:
    """The pairs of a cell, side by side where their contents have one size."""
    groups: dict[tuple[int, ...], list[Pair]] = {}
    for pair in cell.pairs:
        size = cell.resize.target(*pair.content.read().size)
        groups.setdefault(size, []).append(pair)
    number = cell.config.compute.batch_size
    for group in groups.values():
        if number == "auto":
            number = _fitting(cell, network, _batch(cell, group[:1]))
        for first in range(0, len(group), number):
            yield _batch(cell, group[first : first + number])


def _batch(cell: StylizeCell, pairs: Sequence[Pair]) -> Batch:
    contents = torch.stack([load(pair.content, cell.resize) for pair in pairs]).to(cell.device)
    styles = tuple(load(pair.style, cell.resize).to(cell.device) for pair in pairs)
    return Batch(tuple(pairs), contents, styles)


def _fitting(cell: StylizeCell, network: TappedNetwork, one: Batch) -> int:
    """How many pairs fit in half of the free memory, by what one evaluation keeps for its gradient."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    transfer = cell.transfer(network, one, one.contents)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        transfer.advance()
    history = 2 * cell.config.optimizer.get("history", 4) + 8
    needed = 2 * sum(kept.values()) + history * one.contents.nbytes
    return max(1, min(MOST_PAIRS, int(_free_memory(cell.device) // 2 // needed)))


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not told by this system
        return 2**32
