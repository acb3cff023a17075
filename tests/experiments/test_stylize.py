"""The stylisation as users call it: real Hydra, real run directories, random weights, small images."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from experiments.cell import CONF
from experiments.config import checked
from experiments.pairs import StylizeCell
from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro import store

ROOT = Path(__file__).parents[2]
SMALL = ["images.size=48", "images.source.limit=2", "network=resnet18", "steps=4", "measures=none"]


@pytest.fixture
def photos(tmp_path):
    """A wide photograph and a tall painting, of noise."""
    rng = np.random.default_rng(0)
    for name, shape in (("content", (40, 80, 3)), ("style", (90, 50, 3))):
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return [f"content={tmp_path / 'content.png'}", f"style={tmp_path / 'style.png'}"]


def composed(*overrides):
    with initialize_config_dir(CONF, version_base="1.3"):
        return checked(compose("stylize", list(overrides)), "stylize")


def records(folder):
    return list(store.runs(folder / "out"))


def only(folder):
    [record] = records(folder)
    return record


def pairs(record):
    return json.loads((record.path / "pairs.json").read_text())


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def pixels(record, name):
    return np.asarray(opened(record.path / "images" / f"{name}.png"))


def test_one_picture_of_one_s_own(run, tmp_path, photos):
    status, printed = run(*SMALL, *photos)
    assert status == 0, printed
    record = only(tmp_path)
    [pair] = pairs(record)
    assert (pair["content"], pair["style"], pair["status"]) == ("content", "style", "finished")
    assert pair["losses"]["total"] < pair["first"]["total"]
    picture = opened(record.path / pair["image"])
    assert picture.size == (96, 48)  # the content's ratio
    assert picture.text["run_id"] == record.identity.run_id
    assert str(record.path / pair["image"]) in printed
    curves = pd.read_parquet(record.path / "curves.parquet")
    assert curves["content__style/total"].iloc[0] == pair["first"]["total"]
    assert set(record.identity.images) == {"content/content", "style/style"}
    assert not (record.path / "checkpoints").exists()


def test_rows_are_tidy(run, tmp_path):
    run(
        *SMALL,
        "measures=default",
        "network@measures.network=resnet18",
        "network@measures.alternative=pseudo_vgg",
    )
    rows = only(tmp_path).rows().to_pandas()
    assert set(rows["loss"]) == {"gram"}
    assert rows.groupby(["content", "style"]).ngroups == 2
    judged = rows[rows["definition"].notna()].groupby("definition")["statistic"].unique()
    assert set(judged["pseudo_vgg(random)"]) == {"style_distance", "sliced_wasserstein", "sifid", "cfsd"}


def test_pairing(run, tmp_path):
    run(*SMALL, "pairing=product", "images.source.limit=3", "content=[astronaut,coffee]")
    found = {(pair["content"], pair["style"]) for pair in pairs(only(tmp_path))}
    assert len(found) == 6
    assert {content for content, _ in found} == {"astronaut", "coffee"}


@pytest.mark.parametrize("start", ["noise", "style", "file"])
def test_starts(start, run, tmp_path, photos):
    place = str(tmp_path / "style.png") if start == "file" else start
    status, printed = run(*SMALL, *photos, f"start={place}", "steps=1")
    assert status == 0, printed
    assert pairs(only(tmp_path))[0]["first"]["content"] > 0


def test_scales_intermediate_images_and_animation(run, tmp_path, photos):
    status, printed = run(*SMALL, *photos, "scales=[0.5,1.0]", "keep.every=1", "keep.animation=true")
    assert status == 0, printed
    record = only(tmp_path)
    steps = sorted((record.path / "images" / "steps" / "content__style").glob("*.png"))
    assert opened(steps[0]).size == (48, 24)
    assert opened(steps[-1]).size == (96, 48)
    with Image.open(record.path / "images" / "content__style.webp") as animation:
        assert 1 < animation.n_frames <= len(steps)  # frames that are equal become one


def test_adam(run, tmp_path, photos):
    status, printed = run(*SMALL, *photos, "optimizer=adam")
    assert status == 0, printed
    assert pairs(only(tmp_path))[0]["losses"]["total"] < pairs(only(tmp_path))[0]["first"]["total"]


def test_batches_change_rounding_only(run, tmp_path):
    arguments = [*SMALL, "images.resize=squash"]
    run(*arguments, "compute.batch_size=1")
    alone = pairs(only(tmp_path))
    run(*arguments, "compute.batch_size=2", "force=true")
    together = pairs(only(tmp_path))
    for one, other in zip(alone, together, strict=True):
        assert one["losses"]["total"] == pytest.approx(other["losses"]["total"], rel=0.02)


def test_the_release_s_scaling_is_a_re_weighting(run, tmp_path, photos):
    """0.001 · F at the two deepest layers, and weights of 1e-6 and 1e-12 there: the same function."""
    small = [*SMALL, *photos, "images.size=48", "evaluations=6"]
    run(*small, "preset=release")
    run(*small, "preset=release_reweighted")
    scaled, weighted = sorted(
        records(tmp_path), key=lambda record: record.config["smoothing"]["name"], reverse=True
    )
    assert scaled.config["smoothing"]["factor"] == 0.001
    first = [pairs(record)[0]["first"]["total"] for record in (scaled, weighted)]
    assert first[0] == pytest.approx(first[1], rel=1e-5)
    assert (
        np.abs(pixels(scaled, "content__style").astype(int) - pixels(weighted, "content__style")).max() <= 1
    )


PRESETS = {
    "paper": {"balance": "distance", "normalizer": "paper", "content": "half_sum", "line_search": "strong_wolfe"},
    "release": {
        "balance": "none", "normalizer": "mean", "content": "mean", "line_search": "none", "weights": (1.0, 1e17),
        "size": 512, "resize": "squash", "evaluations": 1020, "smoothing": "scale", "smoothed_deepest": 2,
    },
    "release_reweighted": {
        "balance": "none", "normalizer": "mean", "content": "mean", "line_search": "none", "weights": (1e-6, 1e17),
        "size": 512, "resize": "squash", "evaluations": 1020, "smoothing": "none",
    },
    "gatys": {
        "balance": "none", "normalizer": "gatys", "content": "mean", "line_search": "none", "weights": (1.0, 1.0),
        "size": 512, "evaluations": 500,
        "taps": [1e3 / channels**2 for channels in (64, 128, 256, 512, 512)],
    },
}  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_numbers_of_presets_are_frozen(preset):
    config = composed(f"preset={preset}")
    found = {
        "balance": config.objective.balance,
        "normalizer": config.objective.style.normalizer,
        "content": config.objective.content_normalizer,
        "line_search": config.optimizer.line_search,
        "weights": (config.objective.content_weight, config.objective.style_weight),
        "size": config.images.size,
        "resize": config.images.resize,
        "evaluations": config.evaluations,
        "smoothing": config.smoothing.name,
        "smoothed_deepest": config.objective.smoothed_deepest,
        "taps": config.objective.tap_weights,
    }
    assert {key: found[key] for key in PRESETS[preset]} == PRESETS[preset]
    assert {path.stem for path in (ROOT / "conf" / "preset").glob("*.yaml")} == set(PRESETS)


def test_the_release_smooths_the_two_deepest_stages():
    cell = StylizeCell.build(composed("preset=release", "network=resnet50", "measures=none"))
    assert set(cell.objective.smoothed_taps) == {"conv4_6", "conv5_3"}


BAD = {
    "unknown key": (["stpes=3"], "Could not override 'stpes'"),
    "no such content": (["content=nowhere.jpg"], "`content` should be an image file or the name of a picture"),
    "unknown pairing": (["pairing=all"], "`pairing` should be zip or product"),
    "no steps": (["steps=0"], "`steps` should be at least 1"),
    "negative weight": (["objective.style_weight=-1"], "style_weight` should be a number from 0"),
    "no weight": (["objective.style_weight=0", "objective.content_weight=0"], "should leave a term"),
    "too few tap weights": (["objective.tap_weights=[1,2]"], "should have one weight for each of the taps"),
    "scales that don't end": (["scales=[0.5]"], "`scales` should be parts of the size"),
    "impossible batch": (["compute.batch_size=0"], "`compute.batch_size` should be a whole number from 1, or auto"),
    "no batch": (["compute.batch_size=many"], "`compute.batch_size` should be a whole number from 1, or auto"),
    "unknown line search": (["optimizer.line_search=golden"], "line_search"),
    "unknown normalizer": (["objective.style.normalizer=max"], "normalizer"),
    "unknown tap": (["network.content_tap=relu9_9"], "should name taps of resnet18"),
    "animation of nothing": (["keep.animation=true"], "`keep.every` should be above 0 for an animation"),
    "too small": (["network=inception_v3", "images.size=32"], "`images.size` should leave every layer"),
    "judge is the judged": (
        ["measures=default", "network@measures.network=resnet34", "network@measures.alternative=resnet18"],
        "should not be the network that is optimised",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_message(case, run, tmp_path):
    arguments, message = BAD[case]
    status, printed = run(*SMALL, *arguments)
    assert status == 1
    assert re.search(message, printed.replace("\n", " ")), printed
    assert "Traceback" not in printed
    assert not [record for record in records(tmp_path) if record.status.state == "finished"]


def test_extreme_ratios(run, tmp_path, photos):
    Image.effect_noise((400, 40), 60).save(tmp_path / "content.png")
    status, printed = run(*SMALL, *photos, "images.size=40")
    assert status == 0, printed
    assert opened(only(tmp_path).path / "images" / "content__style.png").size == (400, 40)


def is_of_stylize(path):
    return "experiments/stylize.py" in path.read_text().splitlines()[1]


EXPERIMENTS = [p.stem for p in sorted((ROOT / "conf" / "experiment").glob("*.yaml")) if is_of_stylize(p)]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs_in_smoke_size(experiment, run, tmp_path):
    # 80 pixels: Inception's smallest is 75.
    status, printed = run(
        "-m", f"experiment={experiment}", "weights=random", "images.size=80", "images.source.limit=1",
        "steps=1", "measures=none",
    )  # fmt: skip
    assert status == 0, printed
    assert {record.status.state for record in records(tmp_path)} == {"finished"}


def command(folder, *arguments):
    script = str(ROOT / "experiments" / "stylize.py")
    return [sys.executable, script, *arguments, f"output={folder / 'out'}", "tracking=disabled"]


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_to_the_same_picture(sign, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [
        "images.size=64", "images.source.limit=1", "network=resnet18", "steps=60", "measures=none",
        "keep.checkpoint_seconds=0", "scales=[0.5,1.0]",
    ]  # fmt: skip
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole, *arguments), env=environment, check=True, capture_output=True)

    process = subprocess.Popen(
        command(broken, *arguments), env=environment, stderr=subprocess.PIPE, text=True
    )
    while not list(broken.glob("out/runs/*/checkpoints/*.pt")):
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.01)
    process.send_signal(sign)
    printed = process.communicate()[1]
    if sign == signal.SIGINT:
        assert process.returncode == 130
        assert "The same command goes on where it stopped" in printed
    subprocess.run(command(broken, *arguments), env=environment, check=True, capture_output=True)

    assert pairs(only(broken)) == pairs(only(whole))
    [picture] = [path.name for path in (only(whole).path / "images").glob("*.png")]
    one, other = (opened(only(folder).path / "images" / picture) for folder in (whole, broken))
    assert np.array_equal(np.asarray(one), np.asarray(other))
