"""The W&B workspace and report: built by W&B's own package, of names that real runs log."""

import json
import re
import subprocess
import sys

import pytest

from analysis.commands import main as analysis
from experiments import measure_activations, measure_units, stylize, train_classifier, train_feedforward
from swag_repro.runs.records import all_runs
from tests.training.conftest import write_images
from tests.wandb_files import read_offline

pytest.importorskip("wandb_workspaces")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning"),  # of wandb_workspaces itself
    pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning"),
]

JUDGE = [
    "network@measures.network=resnet34", "network@measures.alternative=pseudo_vgg", "weights@measures.weights=random",
]  # fmt: skip


def built(folder, *arguments):
    assert analysis(["dashboard", "--results", str(folder), *arguments]) == 0
    return [
        json.loads((folder / "dashboard" / f"{name}.json").read_text()) for name in ("workspace", "report")
    ]


def values(tree, key):
    """All that stands under a key, however deep."""
    if isinstance(tree, dict):
        for name, below in tree.items():
            yield from (below if isinstance(below, list) else [below]) if name == key else values(below, key)
    elif isinstance(tree, list):
        for below in tree:
            yield from values(below, key)


def panels(made):
    """The settings of each panel."""
    return [config for config in values(made, "config") if isinstance(config, dict)]


def named(made):
    """History keys, media keys, summary keys and settings that it reads."""
    history, media, summary, settings = set(), set(), {"state", "reason"}, set()
    text = json.dumps(made)
    for panel in panels(made):
        history |= {*panel.get("metrics", ()), *([panel["xAxis"]] if "metrics" in panel else ())}
        media |= {*panel.get("mediaKeys", ())}
    summary |= set(re.findall(r'"summary:([^"]+)"', text))
    settings |= set(re.findall(r'"config:([^"]+)\.value"', text))
    return history, media, summary, settings


FEEDFORWARD = [
    "network=small_no_shortcut", "network.builder.width=8", "recipe.steps=2", "recipe.batch_size=2",
    "crop.short=32", "crop.size=32", "images.size=32", "images.source.limit=1", "compute.workers=0",
]  # fmt: skip


@pytest.fixture
def logged(call, tmp_path, two_pairs):
    """What runs of all kinds logged: history, media, summary, settings."""
    data = write_images(tmp_path / "data")
    tiny = ["network.builder.width=8", "recipe.batch_size=8", "recipe.epochs=2", "compute.workers=0"]
    steps = [*JUDGE, "steps=4", "tracking.every=2"]
    for main, *arguments in (
        (measure_activations.main, *two_pairs),
        (measure_units.main, *two_pairs),
        (stylize.main, *two_pairs, *steps),
        (train_classifier.main, "data=folder", f"data.path={data}", "data.size=16", "data.crop=pad", *tiny),
        (train_feedforward.main, *FEEDFORWARD),
        (stylize.main, *two_pairs, "steps=1", "network.taps.conv1=nowhere"),
    ):
        call(main, *arguments, tracking="offline")
    history, media, summary, settings = set(), set(), set(), set()
    for record in all_runs(tmp_path / "out"):
        found = read_offline(record.path)
        items = {key for point in found.get("history", ()) for key in point["item"]}
        history |= items
        media |= {key.removesuffix(".filenames") for key in items if key.endswith(".filenames")}
        summary |= {key for one in found["summary"] for key in one.get("update", {})}
        settings |= found["run"][0]["config"]["update"].keys()
    return history, media, summary, settings


def test_all_that_it_names_is_logged(logged, tmp_path):
    for made in built(tmp_path / "dashboard"):
        names = named(made)
        assert all(names)
        for wanted, there in zip(names, logged, strict=True):
            assert wanted <= there, wanted - there


def test_that_of_an_experiment_shows_what_it_sweeps(tmp_path):
    workspace, report = built(
        tmp_path, "experiment=style_content_curve", "--project", "mine", "--entity", "us"
    )
    assert (workspace["project"], workspace["entity"]) == ("mine", "us")
    settings = named(report)[3]
    assert {"network/name", "smoothing/name", "objective/style_weight"} <= settings
    sections = [section["name"] for section in next(values(workspace, "panelBankConfig"))["sections"]]
    assert sections == ["Losses", "Pictures", "Style and content", "Settings"]
    [filters] = {json.dumps(one) for one in values(workspace, "runSets")} or {""}
    assert "style_content_curve" in filters
    failed = [one for one in values(report, "runSets") if one["name"] == "Failed"]
    assert '"failed"' in json.dumps(failed)
    assert "style_content_curve" in json.dumps(failed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiment=nope"], "`experiment` should be one of"),
        (["seed=1"], "`dashboard` takes nothing but experiment=NAME"),
        (["--save"], "`--entity` should be given with --save"),
    ],
)
def test_mistakes(tmp_path, capsys, arguments, message):
    assert analysis(["dashboard", "--results", str(tmp_path / "out"), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_the_package_the_message_says_which_extra(tmp_path):
    script = f"""
import sys
sys.modules["wandb_workspaces"] = None
from analysis.commands import main
sys.exit(main(["dashboard", "--results", {str(tmp_path / "out")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'swag-repro[dashboard]'" in done.stderr
    assert done.stderr.count("\n") == 1
