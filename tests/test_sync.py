"""Runs sent to a stand-in for W&B's server: late, in parts, again, and rebuilt from their directories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from analysis.tables.collect import collect
from swag_repro.runs.identity import Identity
from swag_repro.runs.records import all_runs, read_status
from swag_repro.runs.schema import LOSSES
from swag_repro.runs.store import Store
from swag_repro.tracking import About, tracked
from swag_repro.tracking.shown import CURVES, LossCurves, ending, loss_axis, show
from swag_repro.tracking.sync import rebuild
from tests.wandb_files import read_offline
from tests.wandb_server import ENTITY, KEY, SWEEP, Server, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning"),
]

STEPS = 6


@pytest.fixture
def server(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "no-config"))
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server


def compute(root: Path, seed: int, *, mode: str, fails: bool = False, during=lambda _: None) -> str:
    """A run of one pair as a stylisation leaves it, which took some steps; its id."""
    identity = Identity("stylize", 1, {"seed": seed}, {})
    config = {"seed": seed, "network": {"name": "resnet18"}}
    about = About(run_id=identity.run_id, project="p", entity=None, name=f"cell {seed}", group="fig2",
                  job_type="stylize", tags=("stylize",), sweep="2026-11-22_04-18-51")  # fmt: skip
    store = Store(root)
    with (
        store.claim(identity, config=config, name="fig2", device="cpu") as run,
        tracked(about, mode=mode, directory=run.path, config=config, timeout=5) as tracker,
    ):
        loss_axis(tracker)
        rows = [
            {"scale": 0, "evaluation": step, "seconds": step / 10, "a__b/total": 1 / step, "a__b/style": 0.5}
            for step in range(1, STEPS + 1)
        ]
        curves = LossCurves(["a__b"])
        for row in rows:
            tracker.log(curves.point(row))
            during(row["evaluation"])
        if fails:
            raise ZeroDivisionError("no loss")
        with run.write_file("images/a__b.png") as file:
            Image.fromarray(np.full((8, 8, 3), seed, np.uint8)).save(file, "PNG")
        with run.write_file(CURVES) as file:
            pd.DataFrame(rows).to_parquet(file)
        losses = {f"{when}{column}": 0.5 for when in ("", "first_") for column in LOSSES.values()}
        run.write_pairs(
            [{"content": "a", "style": "b", "image": "images/a__b.png", "content_image": "", "style_image": "",
              "styles": [], "steps": [], "status": "finished", "iterations": STEPS, **losses}]
        )  # fmt: skip
        run.write_rows([{"content": "a", "style": "b", "statistic": "total_loss", "value": 0.5}])
        if tracker.sends:
            show(tracker, ending(run.path))
    return identity.run_id


def online(root: Path, during: str) -> None:
    """The same online; W&B reads the address of its server once a process."""
    script = f"""
import sys
from pathlib import Path
from tests.test_sync import compute
{during}
compute(Path(sys.argv[1]), 1, mode="online", during=during)
"""
    subprocess.run([sys.executable, "-c", script, str(root)], check=True, timeout=120)


def command(root: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "swag_repro.tracking", *arguments, "--output", str(root)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, **options)


def sync(root: Path, *more: str) -> tuple[int, str]:
    done = command(root, "sync", *more)
    return done.returncode, done.stdout + done.stderr


def check_whole(server: Server, run_id: str, seed: int) -> None:
    """All that the run has, and all of it once."""
    run = server.runs[run_id]
    assert (run.about["displayName"], run.about["groupName"]) == (f"cell {seed}", "fig2")
    assert run.about["tags"] == ["stylize", "2026-11-22_04-18-51"]
    assert (run.settings["network/name"], run.settings["sweep"]) == ("resnet18", "2026-11-22_04-18-51")
    points = [point for point in run.history if "evaluation" in point]
    assert [point["evaluation"] for point in points] == list(range(1, STEPS + 1))
    assert [point["loss/total"] for point in points] == [1 / step for step in range(1, STEPS + 1)]
    for name in ("result", "pairs", "numbers"):
        assert sum(name in point for point in run.history) == 1, name
    steps = [point["_step"] for point in run.history]
    assert steps == sorted(set(steps))
    assert run.summary["state"] == "finished"
    assert run.summary["final/total_loss"] == 0.5
    assert [name for name in run.files if name.startswith("media/images/result")]
    [result] = [one for one in server.committed(run_id) if one.given["artifactTypeName"] == "run"]
    assert set(result.manifest["contents"]) == {
        "config.yaml", "identity.json", "rows.parquet", "pairs.parquet", "curves.parquet", "status.json",
    }  # fmt: skip


def test_offline_runs_are_sent_once(tmp_path, server):
    ids = [compute(tmp_path, seed, mode="offline") for seed in (1, 2)]
    with pytest.raises(ZeroDivisionError):
        compute(tmp_path, 3, mode="offline", fails=True)
    without = compute(tmp_path, 4, mode="disabled")
    status, printed = sync(tmp_path)
    assert status == 0, printed
    assert "3 sent, 1 without W&B (`rebuild` makes what can be sent)" in printed.splitlines()
    for run_id, seed in zip(ids, (1, 2), strict=True):
        check_whole(server, run_id, seed)
    [failed] = server.runs.keys() - {*ids}
    assert server.runs[failed].summary["reason"] == "ZeroDivisionError: no loss"
    assert server.runs[failed].exit_codes == [1]
    streamed = len(server.asked)
    status, printed = sync(tmp_path)
    assert (status, printed.split(",")[0]) == (0, "3 sent before")
    assert len(server.asked) == streamed  # the server was not even asked
    assert command(tmp_path, "rebuild", without).returncode == 0
    assert sync(tmp_path)[0] == 0
    check_whole(server, without, 4)


def test_an_agents_trials_are_runs_of_their_own_directories_in_its_sweep(tmp_path, server):
    script = Path(__file__).parents[1] / "experiments" / "measure_activations.py"
    fixed = ["network=small_residual", "images.size=32", "images.source.limit=1", "compute.threads=1",
             f"output={tmp_path / 'out'}", "tracking=online"]  # fmt: skip
    sweep = {"program": str(script), "method": "grid", "parameters": {"weights.seed": {"values": [1, 2]}},
             "command": ["${env}", sys.executable, "${program}", *fixed, "${args_no_hyphens}"]}  # fmt: skip
    (tmp_path / "sweep.yaml").write_text(json.dumps(sweep))
    server.trials = [
        {
            "type": "run",
            "run_id": f"trial{seed}",
            "program": str(script),
            "args": {"weights.seed": {"value": seed}},
        }
        for seed in (1, 2)
    ]
    for arguments in (["sweep", "--project", "mine", "--entity", ENTITY, "sweep.yaml"],
                      ["agent", "--count", "2", f"{ENTITY}/mine/{SWEEP}"]):  # fmt: skip
        line = [sys.executable, "-m", "wandb", *arguments]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    found = {record.path.name: record.config["weights"]["seed"] for record in all_runs(tmp_path / "out")}
    assert sorted(found.values()) == [1, 2]
    assert server.runs.keys() == found.keys()
    for run_id, seed in found.items():
        run = server.runs[run_id]
        assert (run.project, run.about["sweep"], run.settings["weights.seed"]) == ("mine", SWEEP, seed)
        assert run.settings["weights/seed"] == seed
        assert run.summary["state"] == "finished"
    assert "ignored" not in done.stdout + done.stderr


def test_a_server_that_vanishes_in_the_middle_gets_the_rest_later(tmp_path, server):

    server.vanishes = 3
    waits = f"""
import time, urllib.request
def during(step):
    while step == {STEPS // 2}:  # until it is gone
        try:
            urllib.request.urlopen("{server.url}").close()
        except OSError:
            break
        time.sleep(0.2)
"""
    online(tmp_path, waits)
    [(run_id, run)] = server.runs.items()
    assert 0 < len(run.history) <= 3
    assert read_status(Store(tmp_path).directory(run_id)).state == "finished"
    status, printed = sync(tmp_path, "--timeout", "5")
    assert status == 1
    assert "`W&B's server` should answer" in printed
    server.status, server.vanishes = 200, None
    status, printed = sync(tmp_path)
    assert status == 0, printed
    check_whole(server, run_id, 1)


def test_a_sync_that_loses_its_server_is_gone_on_with(tmp_path, server):
    ids = [compute(tmp_path, seed, mode="offline") for seed in (1, 2)]
    server.vanishes = 3
    status, printed = sync(tmp_path, "--timeout", "8")
    assert status == 1
    assert f"{ids[0]} failed: " in printed
    assert "2 failed" in printed.splitlines()
    assert sorted(len(server.runs[run_id].history) for run_id in server.runs) in ([3], [0, 3])
    server.status, server.vanishes = 200, None
    status, printed = sync(tmp_path)
    assert status == 0, printed
    for run_id, seed in zip(ids, (1, 2), strict=True):
        check_whole(server, run_id, seed)


def test_what_was_sent_online_is_not_sent_again(tmp_path, server):
    online(tmp_path, "during = lambda _: None")
    [run_id] = server.runs
    check_whole(server, run_id, 1)
    points = list(server.runs[run_id].history)
    assert sync(tmp_path) == (0, "1 sent before\n")
    assert command(tmp_path, "rebuild", "--all").returncode == 0
    assert sync(tmp_path)[0] == 0
    check_whole(server, run_id, 1)
    assert server.runs[run_id].history == points


def test_rebuilt_is_what_was_mirrored(tmp_path):
    run_id = compute(tmp_path, 1, mode="offline")
    [record] = all_runs(tmp_path)
    mirrored = read_offline(record.path)
    rebuild(record)
    rebuilt = read_offline(record.path)

    def plain(records):
        own = ("_timestamp", "_runtime", "_step", "media", "path")
        return [
            {
                key: value
                for key, value in item["item"].items()
                if not key.startswith("_") and "path" not in key
            }
            for item in records["history"]
        ], own

    assert len(mirrored["history"]) == len(rebuilt["history"]) == STEPS + 3
    for one, other in zip(plain(mirrored)[0], plain(rebuilt)[0], strict=True):
        assert {key: value for key, value in one.items() if "filenames" not in key} == {
            key: value for key, value in other.items() if "filenames" not in key
        }
    (live,), (again,) = mirrored["run"], rebuilt["run"]
    same = ("run_id", "display_name", "run_group", "job_type", "tags", "project")
    assert [live[name] for name in same] == [again[name] for name in same]
    assert again["run_id"] == run_id
    assert len(mirrored["artifact"]) == len(rebuilt["artifact"])


def test_runs_under_way_are_left(tmp_path, server):
    run_id = compute(tmp_path, 1, mode="offline")
    with FileLock(tmp_path / "locks" / f"{run_id}.lock"):
        assert sync(tmp_path) == (0, "1 not finished\n")
        done = command(tmp_path, "rebuild", "--all")
    assert (done.returncode, done.stdout) == (0, f"{run_id} left: not finished\n")
    assert run_id not in server.runs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rebuild",), "`run` should be named, or else --all given; found neither"),
        (("rebuild", "nothing"), "should be a complete file of a run"),
        (("sync", "--output", "nowhere"), "`--output` should be an output folder"),
    ],
)
def test_mistakes_have_one_message(tmp_path, arguments, message):
    line = [
        sys.executable,
        "-m",
        "swag_repro.tracking",
        arguments[0],
        "--output",
        str(tmp_path),
        *arguments[1:],
    ]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_the_server_refuses_is_said_of_each_run(tmp_path, server):
    run_id = compute(tmp_path, 1, mode="offline")
    server.refuses = "run was previously created and deleted"
    status, printed = sync(tmp_path, "--timeout", "20")
    assert status == 1
    assert f"{run_id} failed: " in printed
    assert server.refuses in printed


@pytest.mark.parametrize(("key", "message"), [(None, "no API key is configured"), ("1" * 40, "401")])
def test_a_bad_key_is_one_message(tmp_path, server, monkeypatch, key, message):
    compute(tmp_path, 1, mode="offline")
    server.denies = True
    monkeypatch.setenv("WANDB_API_KEY", key) if key else monkeypatch.delenv("WANDB_API_KEY")
    status, printed = sync(tmp_path, "--timeout", "5")
    assert status == 1
    assert message in printed
    assert printed.count("\n") == 1


def test_tables_of_artifacts_are_those_of_the_runs(tmp_path, server):
    for seed in (1, 2):
        compute(tmp_path, seed, mode="offline")
    with pytest.raises(ZeroDivisionError):
        compute(tmp_path, 3, mode="offline", fails=True)
    assert sync(tmp_path)[0] == 0
    for artifact in (one for one in server.committed() if one.given["artifactTypeName"] == "run"):
        run_id = artifact.given["runName"]
        get = f"artifact get {ENTITY}/p/run-{run_id}:latest --root {tmp_path}/copy/runs/{run_id}".split()
        subprocess.run([sys.executable, "-m", "wandb", *get], check=True, capture_output=True, timeout=120)
    collect(tmp_path, tmp_path / "local")
    assert collect(tmp_path / "copy", tmp_path / "fetched").finished == 2
    for name in ("table.parquet", "pairs.parquet"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(tmp_path / "fetched" / name), pd.read_parquet(tmp_path / "local" / name)
        )
