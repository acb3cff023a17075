"""Experiments on a GPU give a CPU's numbers up to rounding, and wait for the GPU only where they must.

`SWAG_REPRO_TEST_DEVICE=cpu pytest tests/experiments/test_cuda.py` tries the tests themselves without a GPU.
"""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from experiments import (
    measure_activations,
    measure_units,
    stylize,
    train_classifier,
    train_feedforward,
    transfer,
)
from swag_repro.runs.records import all_runs
from tests.experiments.test_feedforward import SMALL
from tests.training.conftest import write_images

DEVICE = os.environ.get("SWAG_REPRO_TEST_DEVICE", "cuda")

pytestmark = pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a GPU")

KEYS = ["network", "seed", "layer", "quantity", "statistic", "definition", "content", "style", "iteration"]

MEASURED = {
    "network=resnet50": 1e-3,
    "network=inception_v3 images.size=96": 1e-3,
    "network=resnet18 batchnorm=batch": 1e-3,
    "network=resnet18 smoothing=swag": 1e-3,
    "network=resnet18 compute.tf32=true": 2e-2,
}
"""Settings → how far a GPU's statistics may be from a CPU's, relative to the largest of their kind."""

STYLIZED = {
    "arm=plain": 0.02,
    "arm=softmax": 0.02,
    "arm=plain optimizer=adam": 0.02,
    "arm=plain execution.autocast=bfloat16": 0.1,
    "arm=plain compute.tf32=true": 0.05,
    "arm=plain execution.checkpoints=true": 0.02,
    "arm=softmax tile=32": 0.02,
}
"""Settings → how far pictures may be from each other after a few steps, in parts of the range."""


@pytest.fixture
def on(call, tmp_path):
    """Runs an entry point: `on(device, main, *arguments) -> the run's record`."""

    def computed(device, main, *arguments):
        output = tmp_path / device
        status, printed = call(main, *arguments, f"compute.device={device}", f"output={output}")
        assert status == 0, printed
        return max(all_runs(output), key=lambda record: record.status.started_at)

    return computed


def numbers(record):
    rows = record.rows().to_pandas()
    return rows[rows["statistic"] != "seconds"].set_index([key for key in KEYS if key in rows])["value"]


def check_alike(one, other, bound):
    """Each statistic to a part of the largest of its kind."""
    both = pd.concat([numbers(one), numbers(other)], axis=1, keys=["cpu", "gpu"])
    assert both.notna().all().all()
    largest = both["cpu"].abs().groupby("statistic").transform("max")
    assert ((both["cpu"] - both["gpu"]).abs() <= bound * largest).all()


@pytest.mark.parametrize("settings", sorted(MEASURED))
def test_statistics_are_those_of_a_cpu(on, settings):
    asked = ["images.size=64", "images.source.limit=2", *settings.split()]
    check_alike(
        *(on(device, measure_activations.main, *asked) for device in ("cpu", DEVICE)), MEASURED[settings]
    )


def test_residual_units_are_those_of_a_cpu(on):
    asked = ["network=resnet18", "images.size=64", "images.source.limit=2"]
    check_alike(*(on(device, measure_units.main, *asked) for device in ("cpu", DEVICE)), 1e-3)


@pytest.mark.parametrize("settings", sorted(STYLIZED))
def test_pictures_are_those_of_a_cpu(on, settings):
    asked = [
        "preset=equation",
        "network=small_residual",
        "weights=trained",
        "images.size=64",
        "images.source.limit=3",
    ]
    asked += ["compute.batch_size=3", "measures=none", "steps=5", *settings.split()]
    one, other = (
        [
            np.asarray(Image.open(path), dtype=float) / 255
            for path in sorted((on(device, stylize.main, *asked).path / "images").glob("*.png"))
        ]
        for device in ("cpu", DEVICE)
    )
    assert len(one) == 3
    assert max(abs(a - b).mean() for a, b in zip(one, other, strict=True)) <= STYLIZED[settings]


def test_a_judge_measures_what_it_does_on_a_cpu(on):
    asked = [
        "preset=equation",
        "network=small_residual",
        "weights=trained",
        "images.size=64",
        "images.source.limit=1",
        "steps=2",
    ]
    check_alike(*(on(device, stylize.main, *asked) for device in ("cpu", DEVICE)), 0.05)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_classifier_trains(on, tmp_path, precision):
    data = write_images(tmp_path / "colors")
    asked = ["data=folder", f"data.path={data}", "data.size=16", "network=small_residual"]
    asked += [
        "network.builder.width=8",
        "recipe.epochs=6",
        "recipe.batch_size=8",
        f"precision={precision}",
    ]
    rows = on(DEVICE, train_classifier.main, *asked).rows().to_pandas()
    losses = rows.query("statistic == 'loss' and definition == 'train'")["value"].to_numpy()
    assert losses[-1] < losses[0]


def test_a_network_that_stylises_trains_and_is_used(on, tmp_path):
    trained = on(DEVICE, train_feedforward.main, *SMALL)
    picture = tmp_path / "one.png"
    Image.effect_noise((48, 40), 80).convert("RGB").save(picture)
    check_alike(
        *(
            on(device, transfer.main, f"run={trained.path}", f"content={picture}", f"style={picture}")
            for device in ("cpu", DEVICE)
        ),
        0.02,
    )


def test_the_optimiser_waits_no_more_often_for_more_pairs(on, recwarn):
    """Torch counts all that a stylisation waits for."""
    if DEVICE != "cuda":
        pytest.skip("torch counts on CUDA alone")
    counts = []
    for pairs in (1, 6):
        asked = ["network=small_residual", "weights=trained", "images.size=64", "measures=none", "steps=20"]
        asked += [f"images.source.limit={pairs}", f"compute.batch_size={pairs}"]
        recwarn.clear()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            on(DEVICE, stylize.main, *asked)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        counts.append(sum("synchroniz" in str(warning.message) for warning in recwarn))
    # Pictures are read pair by pair, at the start and at the end.
    assert counts[1] - counts[0] < 20 * 5
