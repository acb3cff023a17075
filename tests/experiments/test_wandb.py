"""What W&B receives from runs, and when."""

import signal

import numpy as np
import pytest

from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro.runs.records import all_runs
from tests.experiments.test_faults import signalled_when
from tests.wandb_files import read_offline

# W&B leaves its temporary directories to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")

JUDGE = [
    "network@measures.network=small_vgg", "measures.network.builder.width=8", "weights@measures.weights=random",
]  # fmt: skip


def mirrored(folder):
    """Experiment → the records of its only W&B run."""
    return {record.status.experiment: read_offline(record.path) for record in all_runs(folder / "out")}


def summary(records):
    return {key: value for record in records["summary"] for key, value in record.get("update", {}).items()}


def test_a_stylisation_is_told_while_it_goes_on(run, two_pairs, tmp_path):
    status, printed = run(
        "-m",
        *two_pairs,
        *JUDGE,
        "steps=8",
        "tracking.every=4",
        "objective.style_weight=3",
        tracking="offline",
    )
    assert status == 0, printed
    painted, judged = (mirrored(tmp_path)[name] for name in ("stylize", "judge"))
    [about] = painted["run"]
    assert about["run_id"] in {record.path.name for record in all_runs(tmp_path / "out")}
    settings = about["config"]["update"]
    assert (settings["network/name"], settings["objective/style_weight"]) == ("resnet18", 3.0)
    assert about["run_group"] == "stylize"
    history = [record["item"] for record in painted["history"]]
    steps = [item for item in history if "loss/total" in item]
    evaluations = [item["evaluation"] for item in steps]
    assert evaluations == list(range(1, len(steps) + 1))
    assert len(steps) >= 9  # the start, and one or more for each step
    pairs = [name for name in steps[0] if name.startswith("pair/")]
    np.testing.assert_allclose(
        [item["loss/total"] for item in steps], [np.mean([item[pair] for pair in pairs]) for item in steps]
    )
    assert steps[0]["status/running"] == 2
    assert np.diff([item["_timestamp"] for item in steps]).min() > 0  # points do not all come at the end
    shown = [index for index, item in enumerate(history) if "pictures.count" in item]
    assert len(shown) == 2
    assert history[shown[0]]["pictures.captions"] == [f"{pair[5:]}, step 4: running" for pair in pairs]
    assert shown[0] < history.index(steps[-1])
    assert any(item.get("inputs.count") == 4 for item in history)
    assert summary(painted)["state"] == "finished"
    assert {"measures/style_distance", "measures/ssim", "final/total_loss"} <= summary(judged).keys()
    assert judged["run"][0]["job_type"] == "judge"


@pytest.mark.parametrize("scales", ["[1.0]", "[0.5,1.0]"])
def test_pairs_of_unequal_size_have_one_mean_that_never_turns_back(run, two_pairs, tmp_path, scales):
    """Batches run one after the other: `astronaut` is square, `chelsea` is not."""
    status, printed = run(*two_pairs, "images.resize=short", f"scales={scales}", "steps=4", "measures=none",
                          tracking="offline")  # fmt: skip
    assert status == 0, printed
    assert "do not match" not in printed
    [record] = all_runs(tmp_path / "out")
    found = read_offline(record.path)
    history = [item["item"] for item in found["history"]]
    pairs = sorted({name for item in history for name in item if name.startswith("pair/")})
    assert len(pairs) == 2
    for name in (*pairs, "loss/total", "loss/style", "loss/content"):
        drawn = [item["evaluation"] for item in history if name in item]
        assert drawn == list(range(1, len(drawn) + 1)), name
    assert [item["status/finished"] for item in history if "status/finished" in item][-1] == 2
    last = [[item[name] for item in history if name in item][-1] for name in pairs]
    mean = [item["loss/total"] for item in history if "loss/total" in item][-1]
    assert mean == pytest.approx(np.mean(last))


def test_a_stylisation_that_goes_on_has_its_whole_curves_once(run, two_pairs, tmp_path):
    arguments = [*two_pairs, "steps=20", "keep.every=2", "keep.checkpoint_seconds=0", "measures=none"]
    with signalled_when("out/runs/*/images/steps/*/0-00006.png", tmp_path, signal.SIGTERM):
        status, _ = run(*arguments, tracking="offline")
    assert status == 128 + signal.SIGTERM
    assert run(*arguments, tracking="offline")[0] == 0
    [record] = all_runs(tmp_path / "out")
    history = [item["item"] for item in read_offline(record.path)["history"]]
    drawn = [item["evaluation"] for item in history if "loss/total" in item]
    assert len(drawn) > 20
    assert drawn == list(range(1, len(drawn) + 1))


def test_of_a_failed_run_the_reason_is_told(run, two_pairs, tmp_path):
    status, _ = run(*two_pairs, "steps=1", "network.taps.conv1=nowhere", tracking="offline")
    assert status == 1
    [record] = all_runs(tmp_path / "out")
    sent = summary(read_offline(record.path))
    assert sent["state"] == "failed"
    assert sent["reason"] == record.status.reason
    assert "nowhere" in sent["reason"]


def test_a_diverging_run_shows_that_it_does(run, two_pairs, tmp_path):
    status, printed = run(*two_pairs, "measures=none", "optimizer=adam", "optimizer.lr=1e30", "steps=6",
                          "guards.recoveries=0", tracking="offline")  # fmt: skip
    [record] = all_runs(tmp_path / "out")
    history = [
        item["item"] for item in read_offline(record.path)["history"] if "status/diverged" in item["item"]
    ]
    assert history[-1]["status/diverged"] + history[-1]["status/running"] > 0, printed
    assert status in (0, 1)
