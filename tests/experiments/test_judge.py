"""The judge as users call it: after a stylisation, by itself, and with nothing to judge."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from experiments import judge, stylize
from experiments.pictures.judging import Judging
from swag_repro.errors import StoreError
from swag_repro.networks.small import small_vgg
from swag_repro.runs.records import RunRecord, RunStatus, all_runs

RANDOM = "weights@measures.weights=random"
STEPS = ["preset=equation", "steps=4", "measured_steps=[0,2]"]
HELD_OUT = {"luminance_wasserstein", "style_distance", "sliced_wasserstein", "sifid", "cfsd"}


def judged_by(network):
    return [f"network@measures.network={network}", "measures.network.builder.width=8", RANDOM]


@pytest.fixture
def call(call, two_pairs):
    """Calls an entry point: `call(module, arguments) -> exit status, what was printed, in one line`."""

    def called(module, *arguments):
        status, printed = call(module.main, *two_pairs, *arguments)
        return status, " ".join(printed.split())

    return called


def runs(folder):
    """Experiment → its runs, the oldest first."""
    records = sorted(all_runs(folder / "out"), key=lambda record: record.status.started_at)
    return {
        name: [record for record in records if record.status.experiment == name]
        for name in ("stylize", "judge")
    }


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_start_is_judged_whatever_the_optimizer(call, tmp_path, optimizer):
    status, printed = call(stylize, *STEPS, f"optimizer={optimizer}", *judged_by("small_vgg"))
    assert status == 0, printed
    [_], [judged] = runs(tmp_path).values()
    rows = judged.rows().to_pandas()
    starts = rows[(rows["statistic"] == "ssim") & (rows["iteration"] == 0)]
    assert len(starts) == 2
    np.testing.assert_allclose(starts["value"], 1)  # the content image


def test_a_stylisation_is_judged_and_another_judge_repaints_nothing(call, tmp_path):
    # The optimised network is of this family, so the alternative judge measures.
    family = ["network@measures.network=resnet34", "network@measures.alternative=small_no_shortcut"]
    status, printed = call(stylize, *STEPS, *family, "measures.alternative.builder.width=8", RANDOM)
    assert status == 0, printed
    assert " computed in" in printed
    [painted], [judged] = runs(tmp_path).values()
    rows = judged.rows().to_pandas()
    assert set(rows["of_run"]) == {painted.path.name}
    assert set(rows["definition"].dropna()) == {"small_no_shortcut(random)", "alexnet(imagenet)"}
    assert set(rows[rows["definition"] == "small_no_shortcut(random)"]["statistic"]) == HELD_OUT
    assert set(rows["network"]) == {"resnet18"}
    assert rows.groupby(["content", "style"]).ngroups == 2
    ssim = rows[rows["statistic"] == "ssim"].assign(iteration=rows["iteration"].fillna(-1))
    ssim = ssim.pivot_table(index=["content", "style"], columns="iteration", values="value")
    assert list(ssim.columns) == [-1, 0, 2]
    np.testing.assert_allclose(ssim[0], 1)  # the start is the content image
    assert (ssim[-1] < ssim[2]).all()
    lpips = rows[rows["statistic"] == "lpips"]
    assert lpips["value"].isna().all()
    assert lpips["reason"].str.len().all()

    status, printed = call(judge, *STEPS, *judged_by("small_before_relu"))
    assert status == 0, printed
    status, printed = call(stylize, *STEPS, *judged_by("small_vgg"))
    assert status == 0, printed
    assert " judged in" in printed
    found = runs(tmp_path)
    assert [record.status.started_at for record in found["stylize"]] == [painted.status.started_at]
    assert len(found["judge"]) == 3
    _, printed = call(judge, *STEPS, *judged_by("small_before_relu"))
    assert " skipped in" in printed


def test_of_a_mix_measures_are_means_over_its_styles(call, tmp_path):
    mix = [
        "pairing=mix",
        "content=coffee",
        "style=[starry_night,composition_vii]",
        "images.source.limit=null",
    ]
    mix += judged_by("small_vgg")
    measured, seen = {}, set()
    for weights in ("[1,0]", "[0,1]", "[3,1]"):
        status, printed = call(stylize, *mix, "steps=1", "start=grey", f"style_weights={weights}")
        assert status == 0, printed
        [judged] = [run for run in runs(tmp_path)["judge"] if run.path not in seen]
        seen.add(judged.path)
        measured[weights] = judged.rows().to_pandas().set_index("statistic")["value"]
    mixed = [
        [style["weight"] for style in run.pairs().to_pylist()[0]["styles"]]
        for run in runs(tmp_path)["stylize"]
    ]
    assert sorted(mixed) == [[0, 1], [0.75, 0.25], [1, 0]]
    assert measured["[3,1]"]["ssim"] > 0
    assert measured["[1,0]"]["style_distance"] != measured["[0,1]"]["style_distance"]


def test_without_pictures_there_is_nothing_to_judge(call, tmp_path):
    status, printed = call(judge, *STEPS)
    assert status == 1
    assert "`stylization` should be a finished run; found none at" in printed
    assert "This computes it: swag stylize output=" in printed
    assert printed.endswith(f"'{STEPS[-1]}'")
    status, printed = call(judge, "-m", *STEPS[:-1], "seed=0,1")
    assert printed.count("This computes it: swag stylize -m output=") == 4
    assert len(re.findall(rf"swag stylize -m output=[^`]*? {STEPS[-2]} seed=0,1", printed)) == 4
    assert "Traceback" not in printed
    call(stylize, *STEPS, "measures=none")
    [record] = runs(tmp_path)["stylize"]
    picture = record.path / record.pairs().to_pylist()[0]["image"]
    picture.unlink()
    status, printed = call(judge, *STEPS)
    assert status == 1
    assert f"files that are damaged or missing: images/{picture.name}" in printed
    assert not picture.exists()
    status, printed = call(judge, *STEPS, "measures=none")
    assert "`measures` should name a judge" in printed
    assert runs(tmp_path)["judge"] == []


def test_a_judge_that_is_the_judged_is_refused_before_anything_is_painted(call, tmp_path):
    status, printed = call(stylize, "network@measures.network=vgg16", "network=vgg16", "weights=random",
                           "network@measures.alternative=vgg16", RANDOM)  # fmt: skip
    assert status == 1
    assert "should not be the network that is optimised" in printed
    assert runs(tmp_path) == {"stylize": [], "judge": []}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"`measures.weights.path` should be a readable file"),
        (b"no weights", r"`measures.weights.path` should be a file of torch.save"),
        ({"conv.weight": torch.zeros(3)}, r"`measures.weights` should fit small_vgg; found missing"),
    ],
)
def test_a_judge_by_a_file_is_loaded_before_anything_is_painted(call, tmp_path, content, message):
    path = tmp_path / "judge.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        torch.save(content, path)
    by_file = [*judged_by("small_vgg"), "weights@measures.weights=file", f"measures.weights.path={path}"]
    status, printed = call(stylize, *STEPS, *by_file)
    assert status == 1
    assert re.search(message, printed)
    assert not runs(tmp_path)["stylize"]


def test_a_judge_by_a_file_judges(call, tmp_path):
    torch.save({"model": small_vgg(width=8, units=2, num_classes=10).state_dict()}, tmp_path / "judge.pth")
    by_file = ["weights@measures.weights=file", f"measures.weights.path={tmp_path / 'judge.pth'}"]
    status, printed = call(stylize, *STEPS, *judged_by("small_vgg"), *by_file)
    assert status == 0, printed
    assert "small_vgg(file)" in set(runs(tmp_path)["judge"][0].rows().to_pandas()["definition"])


def test_a_picture_that_is_no_file_of_its_run_is_refused(tmp_path):
    status = replace(RunStatus.start(experiment="stylize", name="n", overrides=[], device="cpu"), files={})
    foreign = SimpleNamespace(
        record=RunRecord(tmp_path, status), pairs=[{"image": "images/a.png", "steps": None}]
    )
    with pytest.raises(StoreError, match=r"images/a\.png"):
        Judging.images.fget(foreign)
