"""The entry point as users call it: real Hydra, real run directories; W&B is off except in its own tests."""

import json
import re
import time
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image

from experiments.measure_activations import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro.networks.variants import pseudo_resvgg
from swag_repro.runs.records import all_runs

ROOT = Path(__file__).parents[2]
SMALL = ["images.size=64", "images.source.limit=1"]
CHEAP = [*SMALL, "network=resnet18"]
TINY = [*SMALL, f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]", "network=tiny"]
"""For what has nothing to do with the network."""


def records(tmp_path):
    return list(all_runs(tmp_path / "out"))


def test_one_cell(run, tmp_path):
    status, printed = run(*CHEAP, "smoothing=swag", "weights.seed=3")
    assert status == 0, printed
    [record] = records(tmp_path)
    rows = record.rows().to_pandas()
    assert len(rows) == 2 * 5 * 13  # images × taps × statistics
    assert rows.groupby(["content", "style"], dropna=False).size().tolist() == [65, 65]
    assert set(rows["smoothing"]) == {"swag(over=layer, temperature=1)"}
    assert set(rows["seed"]) == {3}
    assert rows.drop_duplicates("position").set_index("position")["layer"].to_dict() == {
        1: "conv1", 2: "conv2_2", 3: "conv3_2", 4: "conv4_2", 5: "conv5_2",
    }  # fmt: skip
    assert rows.drop_duplicates("position")["depth"].tolist() == [1, 5, 9, 13, 17]
    assert record.config["images"]["size"] == 64
    assert "resnet18 random seed 3" in (record.path / "run.log").read_text()


def test_a_finished_run_is_skipped_and_force_repeats_it(run, tmp_path):
    run(*TINY)
    [first] = records(tmp_path)
    rows = first.rows()
    assert "skipped" in run(*TINY)[1]
    assert records(tmp_path)[0].status.started_at == first.status.started_at
    time.sleep(1)  # the start is recorded in seconds
    assert "computed" in run(*TINY, "force=true")[1]
    [again] = records(tmp_path)
    assert again.status.started_at != first.status.started_at
    assert again.rows() == rows


def test_batches_and_threads_change_no_number_that_matters(run, tmp_path):
    run(*CHEAP, "images.resize=squash", "compute.batch_size=2")
    [first] = records(tmp_path)
    one = first.rows().to_pandas()["value"]
    run(*CHEAP, "images.resize=squash", "compute.batch_size=1", "force=true")
    [second] = records(tmp_path)
    assert first.path == second.path
    two = second.rows().to_pandas()["value"]
    assert sorted(two) == pytest.approx(sorted(one), rel=1e-4, abs=1e-6)


def test_batch_statistics_precision_and_another_size(run, tmp_path):
    status, printed = run(
        *CHEAP, "batchnorm=batch", "precision=bfloat16", "images.size=80", "images.resize=long"
    )
    assert status == 0, printed
    [record] = records(tmp_path)
    assert record.rows().num_rows == 130


def test_wandb_gets_one_offline_run_a_cell(run, tmp_path):
    status, printed = run("-m", *TINY, "smoothing=none,softmax", tracking="offline")
    assert status == 0, printed
    runs = list((tmp_path / "out" / "runs").glob("*/wandb/offline-run-*/run-*.wandb"))
    assert len(runs) == 2
    content = runs[0].read_bytes()
    for expected in (b"measure_activations", b"tiny", b"activation/normalized_entropy/softmax"):
        assert expected in content


BAD = {
    "unknown key": (["imges.size=3"], "`imges.size` should be a setting of this command"),
    "unknown key below": (["images.sise=3"], "`images.sise` should be a setting of this command"),
    "added key": (["+model.widht=3"], "model"),
    "added key below": (["+smoothing.temprature=3"], "smoothing"),
    "wrong type": (["images.size=abc"], "`images.size` should be a whole number; found 'abc'"),
    "wrong type of a group's setting": (["weights.seed=abc"], "`weights.seed` should be a whole number; found 'abc'"),
    "unknown choice": (["network=resnet51"], "found 'resnet51'. Did you mean resnet"),
    "an unknown model of torchvision": (["network=convnext_tin"], "found 'convnext_tin'. Did you mean convnext_tiny"),
    "a network of one size": (["network=maxvit_t"], "`network` should take pictures of several sizes"),
    "a network by no name": (["network=by_name"], "`network.model` should be given"),
    "no such weights of a network by name": (["network=convnext_tiny", "network.imagenet=IMAGENET1K_V2"], "`network.imagenet` should be one of IMAGENET1K_V1"),
    "an unknown tap of a network by name": (["network=shufflenet_v2_x0_5", "network.style_taps=[conv1]"], "should name taps of shufflenet_v2_x0_5"),
    "negative temperature": (["smoothing=softmax", "smoothing.temperature=-1"], "temperature.*found -1"),
    "nothing mandatory": (["weights=file"], r"`weights.path` should be given.*Add weights.path="),
    "unknown precision": (["precision=float8"], "`precision` should be one of"),
    "unknown batch norm": (["batchnorm=train"], "`batchnorm` should be one of"),
    "unknown resize": (["images.resize=stretch"], "`images.resize` should be one of"),
    "small size": (["images.size=4"], "`images.size` should be"),
    "too small for the network": (["network=inception_v3", "images.size=32"], "`images.size` should leave"),
    "no batch": (["compute.batch_size=0"], "`compute.batch_size` should be a whole number from 1"),
    "no such device": (["compute.device=quantum"], "`compute.device` should be a device of this machine"),
    "a device without values": (["compute.device=meta"], "`compute.device` should be a device of this machine"),
    "a device of nobody": (["compute.device=privateuseone"], "`compute.device` should be a device of this machine"),
    "unknown tap": (["network.statistic_taps=[conv9_9]"], "should name taps of resnet18"),
    "a shortcut beyond 1": (["network.shortcut=1.5"], "`network.shortcut` should be a number from 0 to 1"),
    "a shortcut in a network without": (["network=vgg16", "network.shortcut=1"], "`network.shortcut` should be null"),
    "no such folder": (["images=folder", "images.path=nowhere", "images.source.limit=null"], "nowhere"),
    "no such weights": (["weights=file", "weights.path=nowhere.pth"], "should be a readable file"),
    "no imagenet weights": (["network=noresnet50", "weights=imagenet"], "can't be imagenet for noresnet50"),
    "unknown tracking": (["tracking.mode=carrier_pigeon"], "`tracking.mode` should be one of"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_message(case, run, tmp_path):
    arguments, message = BAD[case]
    status, printed = run(*CHEAP, *arguments)
    assert status == 1
    assert re.search(message, printed.replace("\n", " ")), printed
    assert "Traceback" not in printed
    assert not [record for record in records(tmp_path) if record.status.state == "finished"]


def test_unwritable_output(run, tmp_path):
    (tmp_path / "file").touch()
    status, printed = run(*TINY, f"output={tmp_path / 'file' / 'below'}")
    assert status == 1
    assert "`output` should be a folder that can be written to" in printed
    assert "Traceback" not in printed


def test_nan_activations(run, tmp_path):
    state = torchvision.models.resnet18().state_dict()
    state["layer2.0.bn1.bias"][3] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    status, printed = run(*CHEAP, "weights=file", f"weights.path={tmp_path / 'nan.pth'}")
    assert status == 1
    assert "`activation at conv3_2` should be finite" in printed
    [record] = records(tmp_path)
    assert record.status.state == "failed"
    assert not (record.path / "rows.parquet").exists()
    assert "Traceback" in (record.path / "run.log").read_text()


def test_a_truncated_image_fails_its_run(run, tmp_path):
    (tmp_path / "images").mkdir()
    Image.effect_noise((64, 64), 50).save(tmp_path / "images" / "noise.jpg")
    whole = (tmp_path / "images" / "noise.jpg").read_bytes()
    (tmp_path / "images" / "noise.jpg").write_bytes(whole[: len(whole) // 2])
    status, printed = run(*TINY, "images=folder", f"images.path={tmp_path / 'images'}")
    assert status == 1
    assert "noise.jpg" in printed
    assert "Traceback" not in printed


def test_a_failed_cell_leaves_the_others_and_is_redone_by_the_same_command(run, tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    arguments = [
        "-m", *SMALL, "network=pseudo_vgg,resnet18",
        "weights=file", f"weights.path={tmp_path}/${{network.name}}.pth",
    ]  # fmt: skip
    status, printed = run(*arguments)
    assert status == 1
    assert "2 cells" in printed
    assert "1 computed, 1 failed" in printed
    assert re.search(r"failed: .*network=pseudo_vgg.*\n.*`weights.path` should be a readable file", printed)
    assert len(records(tmp_path)) == 1
    torch.save(pseudo_resvgg().state_dict(), tmp_path / "pseudo_vgg.pth")
    status, printed = run(*arguments)
    assert status == 0
    assert "1 computed, 1 skipped" in printed
    assert len(records(tmp_path)) == 2


EXPERIMENTS = sorted(
    path.stem
    for path in (ROOT / "conf" / "experiment").glob("*.yaml")
    if "experiments/measure_activations.py" in path.read_text().splitlines()[1]
    and path.stem != "training_dynamics"  # this needs a training: test_train_classifier.py has one
)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs_in_smoke_size(experiment, run, tmp_path):
    # Pretrained weights can't be fetched in a test.
    status, printed = run(
        "-m", f"experiment={experiment}", "network=resnet18", "weights=random", "weights.seed=0", *SMALL
    )
    assert status == 0, printed
    assert {record.status.state for record in records(tmp_path)} == {"finished"}
    assert {record.status.name for record in records(tmp_path)} == {experiment}


# tests/networks/test_small.py tests the small networks
NETWORKS = sorted(
    path.stem
    for path in (ROOT / "conf" / "network").glob("*.yaml")
    if not path.stem.startswith(("small_", "by_name"))
)


@pytest.mark.slow
def test_every_network_smoothing_and_initialisation_runs(run, tmp_path):
    # 80 pixels, since Inception needs at least 75
    status, printed = run("-m", f"network={','.join(NETWORKS)}", *SMALL, "images.size=80")
    assert status == 0, printed
    smoothings = [path.stem for path in (ROOT / "conf" / "smoothing").glob("*.yaml")]
    status, printed = run("-m", *TINY, f"smoothing={','.join(smoothings)}")
    assert status == 0, printed
    inits = ("kaiming_normal_fan_out", "kaiming_normal_fan_in", "xavier_normal", "orthogonal")
    status, printed = run("-m", *TINY, f"weights.init={','.join(inits)}")
    assert status == 0, printed
    assert len(records(tmp_path)) == len(NETWORKS) + len(smoothings) + len(inits)


def test_numbers_of_a_random_resnet18_are_pinned(run, tmp_path):
    """Moves if weights, images, resizing or statistics change: then raise the experiment's version."""
    run(*CHEAP)
    rows = records(tmp_path)[0].rows().to_pandas()
    found = rows[(rows["content"] == "astronaut") & rows["position"].isin([1, 5])]
    key = ["position", "quantity", "statistic", "definition"]
    found = found.fillna({"definition": "-"}).set_index(key)["value"].sort_index()
    expected = json.loads((Path(__file__).parent / "pinned.json").read_text())
    assert {"/".join(map(str, index)): value for index, value in found.items()} == pytest.approx(
        expected, rel=2e-3
    )


BY_NAME = {
    "shufflenet_v2_x0_5": ["scale2", "scale4", "scale8", "scale16", "scale32"],
    "timm/vit_tiny_patch16_224": ["block3", "block6", "block9", "block12"],
}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_network_by_name_needs_no_file(name, run, tmp_path):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    status, printed = run(*SMALL, f"network={name}")
    assert status == 0, printed
    [record] = records(tmp_path)
    rows = record.rows().to_pandas()
    assert (
        set(rows["network"])
        == {name}
        == {record.config["network"]["model"], record.config["network"]["label"]}
    )

    expected = BY_NAME[name]
    assert rows.drop_duplicates("position")["layer"].tolist() == expected
    assert rows["value"].notna().all()
    log = (record.path / "run.log").read_text()
    assert f"{name} is read at {expected[0]}: " in log


CLASSIFIERS = torchvision.models.list_models(module=torchvision.models)
FIXED = {"maxvit_t"}
"""Classifiers of torchvision that take pictures of one size only."""


def smaller(names):
    """Yield the smallest of each family, and all of up to 40 million parameters; the others have the same parts."""
    sizes = {
        name: next(iter(torchvision.models.get_model_weights(name))).meta["num_params"] for name in names
    }
    families = set()
    for name in sorted(names, key=sizes.__getitem__):
        family = name.split("_")[0].rstrip("0123456789"), name.endswith("_bn")
        if sizes[name] <= 4e7 or family not in families:
            yield name
        families.add(family)


def test_few_classifiers_of_torchvision_are_refused():
    assert len(CLASSIFIERS) >= 80
    assert len(set(CLASSIFIERS) - FIXED) >= 75


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(smaller(CLASSIFIERS)))
def test_every_classifier_of_torchvision_is_measured_or_refused_with_a_reason(name, run, tmp_path):
    status, printed = run(f"network={name}", "images.size=96", "images.source.limit=1", "compute.threads=1")
    if name in FIXED:
        assert (status, "`network` should take pictures of several sizes" in printed) == (1, True), printed
        return
    assert status == 0, printed
    [record] = records(tmp_path)
    rows = record.rows().to_pandas()
    assert rows["layer"].nunique() == rows["position"].max() >= 3
    assert rows["value"].notna().all()
    assert " is read at " in (record.path / "run.log").read_text()
