"""How alike a judge and the networks that it judges see pictures: linear CKA of their layers.

python -m tests.benchmarks.kinship
python -m tests.benchmarks.kinship inception_v3 weights=imagenet
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from swag_repro import load_image, load_network
from swag_repro.networks import TappedNetwork

PICTURES = (
    "astronaut", "chelsea", "coffee", "rocket", "camera", "hubble_deep_field", "brick",
    "starry_night", "composition_vii", "great_wave", "woman_with_hat", "shipwreck", "edith", "the_scream",
)  # fmt: skip
"""The photographs and paintings of the experiments `mechanism`."""

CELLS = 8
"""Positions of a side to which each layer is averaged, so that layers of two sizes have the same samples."""


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Return `‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖)` of centred features (Kornblith et al., ICML 2019).

    Args:
        first: X, `(N, D)`.
        second: Y, `(N, D')`, of the same samples.

    Returns:
        A number from 0 to 1, at which the two are equal up to a rotation and a scale.
    """
    x, y = (matrix.double() - matrix.double().mean(dim=0) for matrix in (first, second))
    return float((y.mT @ x).square().sum() / ((x.mT @ x).norm() * (y.mT @ y).norm()))


@torch.no_grad()
def samples(network: TappedNetwork, size: int) -> dict[str, Tensor]:
    """Return layer → `(pictures · CELLS², D)`."""
    layers: dict[str, list[Tensor]] = {}
    for picture in PICTURES:
        image = load_image(picture, f"images.size={size}", "images.resize=squash")
        for layer, features in network(image).items():
            cells = F.adaptive_avg_pool2d(features, CELLS)
            layers.setdefault(layer, []).append(cells[0].flatten(1).mT)
    return {layer: torch.cat(parts) for layer, parts in layers.items()}


def kinship(
    networks: Mapping[str, Sequence[str]], judges: Sequence[Sequence[str]], *, size: int = 256
) -> pd.DataFrame:
    """Return the CKA of each style layer of each network with each judge's layer that sees luminance.

    Args:
        networks: what to call it → its name and settings, as `load_network` takes them.
        judges: names and settings of the judges.
        size: pixels of a side.

    Returns:
        One row for each layer: `network`, `layer`, `judge`, `judge_layer`, `cka`.
    """
    known = {label: samples(load_network(*settings), size) for label, settings in networks.items()}
    rows = []
    for judge in judges:
        *_, (judge_layer, seen), _ = samples(load_network(*judge), size).items()
        about = {"judge": judge[0], "judge_layer": judge_layer}
        rows += [
            {"network": label, "layer": layer, **about, "cka": round(linear_cka(features, seen), 3)}
            for label, layers in known.items()
            for layer, features in layers.items()
        ]
    return pd.DataFrame(rows)


if __name__ == "__main__":
    judged = {
        "ResNet-50 half, pretrained": ["resnet50_half"],
        "ResNet-50 half, random": ["resnet50_half", "weights=random"],
        "VGG-16, pretrained": ["vgg16"],
        "VGG-16, random": ["vgg16", "weights=random"],
    }
    judges = [sys.argv[1:]] if sys.argv[1:] else [["vgg16"], ["resnet50_half"]]
    sys.stdout.write(kinship(judged, judges).to_csv(index=False))
