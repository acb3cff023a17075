"""A small encoder, and pictures to train on."""

import numpy as np
import pytest
import torch
from PIL import Image

from swag_repro.feedforward import (
    AdaIN,
    Cropping,
    Encoder,
    FeedforwardRecipe,
    Johnson,
    Normalization,
    folders,
)
from swag_repro.losses import Side
from swag_repro.networks import TappedNetwork
from swag_repro.networks.small import small_vgg
from swag_repro.smoothing import NoSmoothing
from tests.parts import BatchNormLoss, ContentLoss, Objective

TAPS = {"first": "features.2", "second": "features.9"}
ADAIN = AdaIN(
    name="adain",
    norm="none",
    fusion="adain",
    content_target="adain",
    normalization=Normalization(correction=0, eps=1e-5),
)
JOHNSON = Johnson(name="johnson", norm="instance", upsampling="nearest")
RECIPE = {
    "steps": 4, "batch_size": 2, "lr": 1e-3, "decay": 0.0, "beta1": 0.9, "beta2": 0.999, "clip": None,
}  # fmt: skip


def vgg():
    torch.manual_seed(0)
    return small_vgg(width=8, units=1, num_classes=2).eval()


def encoder(network=None):
    return Encoder(TappedNetwork(network or vgg(), TAPS), "second")


def objective(**settings):
    return Objective(
        content=Side(loss=ContentLoss(normalizer="mean"), taps={"second": 1.0}, weight=1.0),
        style=Side(loss=BatchNormLoss(normalizer="mean"), taps=dict.fromkeys(TAPS, 1.0), weight=1.0),
        smoothing=NoSmoothing(),
        **settings,
    )


def recipe(**settings):
    return FeedforwardRecipe(**{**RECIPE, **settings})


def write_pictures(folder, count, size=(40, 48), seed=0):
    """Smooth colours, each picture its own."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        coarse.resize(size[::-1], Image.Resampling.BICUBIC).save(folder / f"{index:03}.png")
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    return folders(
        content=str(write_pictures(root / "content", 5)), style=str(write_pictures(root / "style", 3, seed=1))
    )


CROPPING = Cropping(short=36, size=32)
