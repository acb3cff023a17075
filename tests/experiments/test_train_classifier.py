"""Training as users call it, and the use of its weights in other experiments."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from experiments import measure_activations, measure_units
from experiments.checkpoints import Checkpoints
from experiments.config import checked
from experiments.export_weights import write_weights
from experiments.train_classifier import main  # noqa: F401  (the fixture `run` calls it)
from experiments.training.training import ClassifierTraining
from swag_repro.errors import WeightsError
from swag_repro.runs.records import all_runs
from swag_repro.trained import TrainedWeights
from tests.training.conftest import COLORS, write_images

ROOT = Path(__file__).parents[2]
TINY = [
    "network.builder.width=8",
    "recipe.batch_size=8",
    "recipe.epochs=2",
    "recipe.lr=0.05",
    "compute.workers=0",
]


@pytest.fixture(scope="module")
def colors(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "colors")


def on(data, *more):
    return ["data=folder", f"data.path={data}", "data.size=16", "data.crop=pad", *TINY, *more]


def trainings(output):
    return [record for record in all_runs(output) if record.status.experiment == "train_classifier"]


def weights(record):
    return load_file(record.path / "weights.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def command(output, *arguments):
    script = str(ROOT / "experiments" / "train_classifier.py")
    return [sys.executable, script, *arguments, f"output={output}", "tracking=disabled"]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def test_a_training_and_its_weights_elsewhere(run, call, colors, tmp_path):
    status, printed = run(*on(colors, "snapshots=[0,0.5,1]"))
    assert status == 0, printed
    [record] = trainings(tmp_path / "out")
    rows = record.rows().to_pandas()
    ends = rows[rows["statistic"] == "accuracy"]
    assert ends["definition"].tolist() == ["train", "test", "train", "test", "fitted"]
    assert ends["iteration"].tolist() == [6, 6, 12, 12, 12]
    assert ends["value"].between(0, 1).all()
    assert set(rows["network"]) == {"small_residual"}
    assert not (record.path / "checkpoints").exists()
    kept = sorted(path.name for path in (record.path / "snapshots").iterdir())
    assert kept == ["0.5.safetensors", "0.safetensors", "1.safetensors"]
    assert same(load_file(record.path / "snapshots/1.safetensors"), weights(record))
    assert set(record.status.files) >= {"weights.safetensors", "snapshots/0.safetensors"}
    assert "skipped" in run(*on(colors, "snapshots=[0,0.5,1]"))[1]
    _elsewhere(partial(call, measure_activations.main), record, tmp_path)


def _elsewhere(run, record, tmp_path):
    """The run's weights in another experiment: by id, by network and seed, on the way; and what is refused."""
    chosen = [
        "network=small_residual",
        "network.builder.width=8",
        "images.size=32",
        "images.source.limit=1",
        "weights=run",
    ]
    ids = set()
    for more in ([], [f"weights.run={record.path.name}"], ["weights.at=1"], ["weights.at=0.5"]):
        status, printed = run(*chosen, *more)
        assert status == 0, printed
    measured = [one for one in all_runs(tmp_path / "out") if one.status.experiment == "measure_activations"]
    ids = {one.path.name for one in measured}
    assert len(ids) == 3  # the run by its id is the existing one
    values = {tuple(one.rows().to_pandas()["value"]) for one in measured}
    assert len(values) == 2  # the end, twice, and the middle
    for more, message in (
        (["weights.at=0.7"], "whose weights were kept; found 0.7. It kept 0, 0.5, 1"),
        (["weights.seed=1"], "one finished training of small_residual with seed 1; found none"),
        (["weights.run=0123456789abcdef"], "should be the id of a finished training; found none of this id"),
        (
            ["network=small_no_shortcut", f"weights.run={record.path.name}"],
            "should have trained small_no_shortcut; found small_residual",
        ),
    ):
        status, printed = run(*chosen, *more)
        assert status == 1
        assert message in printed.replace("\n", " ")


def test_the_experiments_of_the_family_run_in_smoke_size(run, call, colors, tmp_path):
    """Train two, look at one on its way, and at what its units do."""
    both = ["-m", "experiment=family", "network=small_residual,small_vgg", "snapshots=[0,1]"]
    wide = [setting for setting in on(colors, "recipe.epochs=1") if "width" not in setting]
    status, printed = run(*both, *wide)
    assert status == 0, printed
    small = ["-m", "network=small_residual", "images.size=32", "images.source.limit=1"]
    dynamics = [*small, "experiment=training_dynamics", "weights.at=0,1"]
    for main_, chosen in (
        (measure_activations.main, dynamics),
        (measure_units.main, [*small, "experiment=whack_a_mole"]),
    ):
        status, printed = call(main_, *chosen)
        assert status == 0, printed
        assert "2 computed." in printed
    names = {record.status.name for record in all_runs(tmp_path / "out")}
    assert names == {"family", "training_dynamics", "whack_a_mole"}


def test_fine_tuning_keeps_the_body_and_replaces_the_head(run, colors, tmp_path):
    fewer = write_images(tmp_path / "two", classes={name: COLORS[name] for name in ("red", "green")})
    run(*on(fewer, "recipe.epochs=1"))
    [first] = trainings(tmp_path / "out")
    path = first.path / "weights.safetensors"
    status, printed = run(
        *on(colors, "weights=file", f"weights.path={path}", "recipe.lr=1e-12", "recipe.epochs=1", "seed=7")
    )
    assert status == 0, printed
    second = next(record for record in trainings(tmp_path / "out") if record.path != first.path)
    before, after = weights(first), weights(second)
    assert (before["fc.weight"].shape[0], after["fc.weight"].shape[0]) == (2, 3)
    torch.testing.assert_close(after["stem.0.weight"], before["stem.0.weight"], rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_same_weights(run, colors, tmp_path):
    long = on(
        colors, "recipe.epochs=40", "checkpoint_seconds=0.01", "snapshots=[0.1,0.9]", "compute.threads=1"
    )
    assert run(*long)[0] == 0
    [whole] = trainings(tmp_path / "out")
    output = tmp_path / "stopped"
    process = subprocess.Popen(command(output, *long), env=environment(), stderr=subprocess.DEVNULL)
    while not list(output.glob("runs/*/checkpoints/*.pt")) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM, "it ended before it was stopped"
    status, printed = run(*long, f"output={output}")
    assert status == 0, printed
    [resumed] = trainings(output)
    assert "goes on from step" in (resumed.path / "run.log").read_text()
    assert same(weights(resumed), weights(whole))
    assert resumed.path.name == whole.path.name
    numbers = [record.rows().to_pandas().query("statistic != 'seconds'") for record in (whole, resumed)]
    assert numbers[0].equals(numbers[1])


@pytest.mark.slow
def test_torchrun_trains_as_one_process_does(colors, tmp_path):
    """The network has no batch norm, whose statistics are each process's own."""
    chosen = on(colors, "network=small_no_batchnorm", "recipe.epochs=1")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for output, start in ((tmp_path / "one", []), (tmp_path / "two", torchrun)):
        asked = [*start, *command(output, *chosen)[1 if start else 0 :]]
        done = subprocess.run(asked, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    [one], [two] = trainings(tmp_path / "one"), trainings(tmp_path / "two")
    assert one.path.name == two.path.name
    for key, value in weights(one).items():
        torch.testing.assert_close(weights(two)[key], value, rtol=1e-3, atol=1e-5)
    scores = [
        record.rows().to_pandas().query("statistic == 'accuracy'")["value"].tolist() for record in (one, two)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)


def test_a_diverging_training_keeps_its_last_good_checkpoint(run, colors, tmp_path):
    status, printed = run(
        *on(colors, "recipe.lr=1e20", "recipe.warmup=0.9", "recipe.epochs=8", "checkpoint_seconds=0")
    )
    assert status == 1
    assert "`loss` should stay finite; found NaN or infinity by step" in printed.replace("\n", " ")
    [path] = (tmp_path / "out" / "runs").glob("*/checkpoints/training.pt")
    assert '"state": "failed"' in (path.parents[1] / "status.json").read_text()
    state = Checkpoints(path.parents[1], seconds=0).load("training")["training"]
    assert state["done"] > 0
    assert all(value.isfinite().all() for value in state["network"].values())


BAD = {
    "snapshots": (["snapshots=[2]"], "`snapshots` should be a number from 0 to 1; found 2"),
    "recipe": (["recipe.lr=0"], "`recipe.lr` should be a number above 0"),
    "type": (["recipe.epochs=many"], "`recipe.epochs` should be a whole number; found 'many'"),
    "no data": (["data.path=nowhere"], "`data.path` should be a folder or a zip file; found no nowhere"),
    "crop": (["data.crop=middle"], "`data.crop` should be one of pad, scale; found 'middle'"),
    "workers": (["compute.workers=-1"], "`compute.workers` should be a whole number from 0"),
    "unknown": (["recipe.lrs=0.1"], "recipe.lrs"),
    "classes": (
        ["network=noresnet50", "network.builder._target_=swag_repro.networks.variants.average_pooled"],
        "network.builder",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(run, colors, case):
    more, message = BAD[case]
    status, printed = run(*on(colors), *more)
    assert status == 1
    assert message in printed.replace("\n", " ")
    assert "Traceback" not in printed


def test_variables_left_over_from_another_launcher_are_no_matter(run, colors, tmp_path, monkeypatch):
    left_over = {
        "RANK": "2",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "x",
        "MASTER_ADDR": "nowhere",
        "MASTER_PORT": "1",
    }
    for name, value in left_over.items():
        monkeypatch.setenv(name, value)
    status, printed = run(*on(colors, "recipe.epochs=1"))
    assert status == 0, printed
    assert [record.status.state for record in trainings(tmp_path / "out")] == ["finished"]


def test_exported_weights_are_those_of_their_runs(run, colors, tmp_path):
    folder, output = tmp_path / "family", tmp_path / "out"
    for seed in (0, 1):
        assert run(*on(colors, "name=family", f"weights.seed={seed}"))[0] == 0
    assert run(*on(colors, "name=family", "weights.seed=2", "recipe.lr=1e20", "recipe.warmup=0"))[0] == 1
    write_weights(output, "family", folder)
    table = pd.read_csv(folder / "table.csv")
    assert table["seed"].tolist() == [0, 1]
    assert (table["test_accuracy"] - table["test_accuracy_as_stored"]).abs().max() <= 1 / 24
    [record] = [one for one in trainings(output) if one.config["seed"] == 1]
    architecture = ClassifierTraining.build(checked(record.config, "train_classifier")).architecture
    weights_ = TrainedWeights(seed=1, folder=str(folder), name="trained")
    stored = weights_.build(replace(architecture, builder=partial(architecture.builder, num_classes=3)))
    for key, value in weights(record).items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(stored.state_dict()[key], value, rtol=1e-3, atol=1e-6)
    assert weights_.digest(architecture) == table["sha256"][1]
    assert set(pd.read_csv(folder / "curves.csv")["statistic"]) == {"accuracy", "loss"}
    with pytest.raises(
        WeightsError, match=r"none of small_residual with seed 2 in .* There are small_residual seed 0"
    ):
        TrainedWeights(seed=2, folder=str(folder), name="trained").build(architecture)
    damaged = folder / table["file"][1]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="should have the sha256"):
        weights_.build(architecture)
    with pytest.raises(WeightsError, match="should be that of finished trainings; found none of 'other'"):
        write_weights(output, "other", folder)


def test_an_export_adds_to_what_is_there(run, colors, tmp_path):
    folder, output = tmp_path / "family", tmp_path / "out"
    assert run(*on(colors, "name=first"))[0] == 0
    write_weights(output, "first", folder)
    assert run(*on(colors, "name=second", "weights.seed=1"))[0] == 0
    write_weights(output, "second", folder, numbers_only=["small_residual"])
    table, curves = pd.read_csv(folder / "table.csv"), pd.read_csv(folder / "curves.csv")
    assert table["seed"].tolist() == [0, 1]
    assert table["file"].isna().tolist() == [False, True]
    assert not (folder / "small_residual-1.safetensors").exists()
    counts = curves["seed"].value_counts()
    assert counts[0] == counts[1] > 0
    write_weights(output, "second", folder)
    assert pd.read_csv(folder / "table.csv")["file"].notna().all()
    assert pd.read_csv(folder / "curves.csv").equals(curves)
    with pytest.raises(WeightsError, match="should be networks with a training; found small_vgg"):
        write_weights(output, "first", folder, numbers_only=["small_vgg"])
