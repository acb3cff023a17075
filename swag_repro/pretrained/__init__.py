"""ImageNet weights that ship with this project; the README beside this file says where they come from."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from swag_repro.errors import WeightsError
from swag_repro.networks import Architecture
from swag_repro.weights import FileWeights, StoredWeights

PRETRAINED_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class PretrainedWeights(StoredWeights):
    """The shipped weights of a network, found by its name, stored as float16, and read as float32."""

    name: str

    def file(self, architecture: Architecture) -> FileWeights:
        """Return the file of this network; its SHA-256 is checked when it is read.

        Raises:
            WeightsError: no weights of this network ship.
        """
        row = _row(architecture)
        return FileWeights(path=str(PRETRAINED_FOLDER / row["file"]), sha256=row["sha256"], name=self.name)

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network with its weights, up to the last layer that has some: VGG-16 ends at relu5_1.

        Raises:
            WeightsError: no weights of this network ship, or their file is damaged.
        """
        last = _row(architecture)["last_module"]
        if not last:
            return super().build(architecture)

        def shortened(**settings: Any) -> nn.Module:
            with torch.device("meta"):  # no memory is taken for a classifier of half a gigabyte
                network = _up_to(last, architecture.builder(**settings))
            for name in architecture.head:
                network.set_submodule(name, nn.Identity())
            return network.to_empty(device="cpu")

        return super().build(replace(architecture, builder=shortened))


def _up_to(last: str, network: nn.Module) -> nn.Module:
    """Drop the modules behind `last`, such as `features.25`, from the sequence that holds it."""
    sequence, _, index = last.rpartition(".")
    network.set_submodule(sequence, network.get_submodule(sequence)[: int(index) + 1])  # type: ignore[index]
    return network


def _row(architecture: Architecture) -> dict[str, str]:
    with (PRETRAINED_FOLDER / "table.csv").open(encoding="utf-8", newline="") as table:
        rows = {row["network"]: row for row in csv.DictReader(table)}
    if architecture.name not in rows:
        torchvisions = "weights=imagenet (torchvision's), " if architecture.imagenet else ""
        raise WeightsError(
            "weights", f"can be pretrained for {', '.join(rows)}, whose weights ship", architecture.name,
            f"There are {torchvisions}weights=file weights.path=..., and weights=random.",
        )  # fmt: skip
    return rows[architecture.name]
