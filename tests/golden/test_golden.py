"""Ours against the originals: losses and pictures that the authors' own code gave, kept as numbers.

Each JSON file says which repository and commit ran, with which changes, and how its weights were made; the
pictures are bundled ones. Nothing of the originals' code is here.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch.nn import functional as F

from experiments.batches import start_of
from experiments.cell import CONF
from experiments.config import checked
from experiments.stylize_cell import StylizeCell

PAIR = [
    "content=astronaut",
    "style=starry_night",
    "weights=random",
    "weights.seed=0",
    "measures=none",
    "precision=float64",
]


def golden(name):
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())


def ours(*overrides, evaluations=20, start=None):
    """Losses of the first evaluations of a preset, and the picture after them, as 16 × 16 colours."""
    with initialize_config_dir(CONF, version_base="1.3"):
        cell = StylizeCell.build(checked(compose("stylize", [*PAIR, *overrides]), "stylize"))
    network = cell.network()
    [batch] = cell.batches(network)
    batch = replace(batch, contents=batch.contents.double())
    start = start_of(batch, cell.config.start, seed=0, picture=None) if start is None else start
    transfer = cell.transfer(network, batch, start.double())
    losses = [transfer.advance().pairs[0].losses for _ in range(evaluations)]
    return losses, F.adaptive_avg_pool2d(transfer.images[0], 16)


# Float32 rounding grows as the paths go on: two such runs of one program differ likewise.
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("release", ["preset=release", "network=resnet50", "images.size=64"]),
        ("gatys", ["preset=gatys", "network=vgg19", "images.size=64"]),
    ],
)
def test_a_preset_goes_the_way_of_its_original(name, overrides):
    original = golden(name)
    losses, thumbnail = ours(*overrides)
    found, expected = (
        torch.tensor(totals, dtype=torch.float64)
        for totals in ([each.total for each in losses], original["total"])
    )
    worst = ((found - expected) / expected).abs()
    assert worst[:3].max() < 1e-4
    assert worst.max() < original["bounds"]["loss"]
    difference = (thumbnail - torch.tensor(original["thumbnail"])).abs()
    assert difference.max() < original["bounds"]["thumbnail"]
