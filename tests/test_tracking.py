"""W&B for real: offline runs read back; servers that refuse, vanish, or never existed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from swag_repro.errors import SettingError
from swag_repro.tracking import About, name_of, tracked
from tests.wandb_files import read_offline as records
from tests.wandb_server import KEY, NOWHERE, serving

# W&B leaves its temporary directories to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")

CONFIG = {"network": {"name": "resnet50", "taps": {"conv1": "relu"}}, "seed": 0, "tags": ["a"]}
FLAT = {
    "network/name": "resnet50", "network/taps/conv1": "relu", "seed": 0, "tags": ["a"],
    "run_id": "0123456789abcdef", "sweep": "2026-11-22_04-18-51_000001",
}  # fmt: skip
ROWS = pd.DataFrame({"layer": ["conv1", "conv2"], "value": [3.8, 15.9]})


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """A user without W&B settings."""
    # W&B itself sets WANDB_SERVICE to the address of this process's service.
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "no-config"))


ABOUT = About(
    run_id="0123456789abcdef",
    project="swag-repro",
    entity=None,
    name="resnet50 none 0",
    group="fig3",
    job_type="measure_activations",
    tags=("one", "two"),
    sweep="2026-11-22_04-18-51_000001",
)


def tracking(directory: Path, *, mode: str = "offline", timeout: float = 15, **changes: object):
    directory.mkdir(exist_ok=True)
    return tracked(replace(ABOUT, **changes), mode=mode, directory=directory, config=CONFIG, timeout=timeout)


def test_two_cells_of_one_process_are_two_runs(tmp_path, capfd):
    for cell in ("one", "two"):
        with tracking(tmp_path / cell, name=cell) as tracker:
            tracker.axis("depth", "loss")
            tracker.log({"depth": 1, "loss": 2.0})
            tracker.log({"depth": 7, "loss": 1.0})
            tracker.table("statistics", ROWS)
            tracker.images("seen", [(Image.new("RGB", (8, 8)), "astronaut"), (Image.new("RGB", (8, 8)), "")])
            tracker.summary({"maximum": 15.9})
    assert capfd.readouterr() == ("", "")
    for cell in ("one", "two"):
        found = records(tmp_path / cell)
        (run,) = found["run"]
        assert (run["display_name"], run["run_group"], run["project"]) == (cell, "fig3", "swag-repro")
        assert (run["job_type"], run["tags"]) == (
            "measure_activations",
            ["one", "two", "2026-11-22_04-18-51_000001"],
        )
        settings = {name: value for name, value in run["config"]["update"].items() if name != "_wandb"}
        assert settings == FLAT
        assert run["run_id"] == "0123456789abcdef"
        metrics = {metric["name"]: metric.get("step_metric") for metric in found["metric"]}
        assert metrics["loss"] == "depth"
        curve = [record["item"]["loss"] for record in found["history"] if "loss" in record["item"]]
        assert curve == [2, 1]
        assert any(record.get("update", {}).get("maximum") == 15.9 for record in found["summary"])
        assert [record.get("exit_code", 0) for record in found["exit"]] == [0]


def test_tables_and_images_lie_below_the_run_directory(tmp_path):
    with tracking(tmp_path / "run") as tracker:
        tracker.table("statistics", ROWS)
        tracker.images("seen", [(Image.new("RGB", (8, 8)), "astronaut")])
    (table,) = tmp_path.glob("run/wandb/*run-*/files/media/table/**/*.json")
    assert json.loads(table.read_text()) == {
        "columns": ["layer", "value"],
        "data": [["conv1", 3.8], ["conv2", 15.9]],
    }
    (image,) = tmp_path.glob("run/wandb/*run-*/files/media/images/*.png")
    with Image.open(image) as mirrored:
        assert mirrored.size == (8, 8)
    (artifact,) = records(tmp_path / "run")["artifact"]
    (entry,) = artifact["manifest"]["contents"]
    assert Path(entry["local_path"]).is_relative_to(tmp_path / "run")
    assert Path(entry["local_path"]).exists()


def test_a_failure_is_marked_and_passed_on(tmp_path):
    with pytest.raises(ZeroDivisionError), tracking(tmp_path / "run"):
        _ = 1 / 0
    found = records(tmp_path / "run")
    assert [record["exit_code"] for record in found["exit"]] == [1]
    summary = {key: value for record in found["summary"] for key, value in record.get("update", {}).items()}
    assert (summary["state"], summary["reason"]) == ("failed", "ZeroDivisionError: division by zero")


def test_the_environment_is_as_before(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", "/elsewhere")
    before = dict(os.environ)
    with tracking(tmp_path / "run"):
        assert os.environ["WANDB_DATA_DIR"].startswith(str(tmp_path))
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("mode", "on-line", r"`tracking.mode` should be one of online, offline, disabled; found 'on-line'"),
        ("timeout", 0, r"`tracking.timeout` should be a number above 0; found 0"),
        ("timeout", float("nan"), r"`tracking.timeout` should be a number above 0; found nan"),
    ],
)
def test_bad_settings(tmp_path, setting, value, message):
    with pytest.raises(SettingError, match=message), tracking(tmp_path / "run", **{setting: value}):
        pass
    assert list(tmp_path.glob("run/*")) == []


def test_a_project_that_wandb_refuses_costs_only_the_mirror(tmp_path, caplog):
    with tracking(tmp_path / "run", project="a/b") as tracker:
        tracker.log({"loss": 1.0})
        tracker.table("statistics", ROWS)
    assert "goes on with W&B disabled" in caplog.text


# W&B reads the user's settings once a process, and one test breaks its service, so each has a process.
ALONE = """
import logging, os, signal, sys
from pathlib import Path
from swag_repro.tracking import About, tracked
logging.basicConfig(format="%(message)s", stream=sys.stdout)
def tracking(mode, cell="run", timeout=2):
    directory = Path(sys.argv[1]) / cell
    directory.mkdir()
    names = dict.fromkeys(("project", "name", "group", "job_type"), "x")
    about = About(run_id=cell, entity=None, **names)
    return tracked(about, mode=mode, timeout=timeout, directory=directory, config={"seed": 0})
"""

ONLINE = """
with tracking("online") as tracker:
    tracker.log({"loss": 1.0})
"""


def alone(directory: Path, script: str, *, within: Sequence[str] = (), **environment: str) -> str:
    """What the script prints, errors and warnings too, once it has ended well."""
    command = [*within, sys.executable, "-c", ALONE + script, str(directory)]
    own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    place = {**own, **environment}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 240}
    return subprocess.run(command, env=place, check=True, **options).stdout


def test_disabled_leaves_nothing_and_does_not_import_wandb(tmp_path):
    script = """
with tracking("disabled") as tracker:
    tracker.log({"loss": 1.0})
    tracker.table("statistics", None)
    tracker.images("seen", [(None, "astronaut")])
    tracker.summary({"maximum": 1.0})
assert "wandb" not in sys.modules
"""
    assert alone(tmp_path, script) == ""
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["tracking.json"]


OFFLINE = """
for cell in ("one", "two"):
    with tracking("offline", cell) as tracker:
        tracker.log({"loss": 1.0})
"""


def test_an_agents_variables_that_were_left_over_make_no_mixed_run(tmp_path):
    left = {"WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "r", "WANDB_RESUME": "must", "WANDB_NAME": "n",
            "WANDB_RUN_GROUP": "g", "WANDB_TAGS": "a, b", "WANDB_SWEEP_PARAM_PATH": "/gone"}  # fmt: skip
    (warning,) = alone(tmp_path, OFFLINE, **left).splitlines()
    assert warning.startswith(
        "WANDB_SWEEP_ID, WANDB_RUN_ID, WANDB_NAME, WANDB_RUN_GROUP, WANDB_RESUME ignored:"
    )
    for cell in ("one", "two"):
        [run] = records(tmp_path / cell)["run"]
        assert (run["run_id"], run["display_name"], run["run_group"]) == (cell, "x", "x")
        assert run["tags"] == ["a", "b"]
        assert not run.get("sweep_id")


@pytest.mark.parametrize(
    ("tracking", "said", "counts"),
    [
        ("offline", "disabled", "disabled"),
        ("online", "disabled", "disabled"),
        ("online", "dryrun", "offline"),
        ("offline", "online", "offline"),
    ],
)
def test_the_stricter_mode_counts(tmp_path, tracking, said, counts):
    (warning,) = alone(tmp_path, OFFLINE.replace("offline", tracking), WANDB_MODE=said).splitlines()
    assert warning == f"W&B is {counts}: the stricter of WANDB_MODE={said} and tracking={tracking} counts"
    written = list((tmp_path / "one").glob("wandb/offline-run-*/*.wandb"))
    assert len(written) == (counts == "offline")
    assert (counts != "disabled") or [path.name for path in (tmp_path / "one").iterdir()] == ["tracking.json"]


HOMELESS = "mount --bind /dev/null /etc/passwd && mount --bind /dev/null /etc/nsswitch.conf"
"""A command after which no user has an entry in the list of users, as in many containers."""


def can_be_homeless() -> bool:
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(["unshare", "-m", "sh", "-c", HOMELESS], check=False, capture_output=True).returncode
        == 0
    )


@pytest.mark.skipif(not can_be_homeless(), reason="needs mounts of its own")
def test_without_a_home_only_the_mirror_is_lost(tmp_path, monkeypatch):
    for name in ("HOME", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name)
    script = f'{HOMELESS} && exec "$@"'
    lines = alone(tmp_path, OFFLINE + "print('complete')", within=("unshare", "-m", "sh", "-c", script, "-"))
    *warnings, last = lines.splitlines()
    assert last == "complete"
    assert len(warnings) == 2
    assert all(
        "goes on with W&B disabled: RuntimeError: Could not determine home" in line for line in warnings
    )


@pytest.mark.parametrize(
    ("own", "images", "name"),
    [
        (["arm=swag", "content=/home/me/a.jpg"], ["a__b"], "arm=swag content=a.jpg · vgg19 none"),
        (["smoothing.temperature=peak/2"], [], "smoothing.temperature=peak/2 · vgg19 none"),
        (["style=[~/p/a.jpg,../b.jpg]"], [], "style=[a.jpg,b.jpg] · vgg19 none"),
        ([], ["photo__painting"], "photo × painting · vgg19 none"),
        ([], ["a__b", "c__d"], "vgg19 none"),
    ],
)
def test_names_begin_with_what_differs(own, images, name):
    assert name_of("vgg19 none", own=own, images=images) == name


def test_images_of_unequal_size_are_padded_to_one(tmp_path, caplog):
    with tracking(tmp_path / "run") as tracker:
        tracker.images("seen", [(Image.new("RGB", (8, 4)), "wide"), (Image.new("RGB", (2, 6)), "high")])
    sizes = set()
    for path in tmp_path.glob("run/wandb/*run-*/files/media/images/*.png"):
        with Image.open(path) as image:
            sizes.add(image.size)
    assert sizes == {(8, 6)}
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_online_without_a_key_goes_offline(tmp_path):
    (warning,) = alone(tmp_path, ONLINE).splitlines()
    assert "goes on with W&B offline: UsageError: no API key is configured" in warning
    assert len(records(tmp_path / "run")["history"]) == 1


def test_online_without_a_server_goes_offline_within_seconds(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        start = time.monotonic()
        (warning,) = alone(tmp_path, ONLINE, WANDB_BASE_URL=url, WANDB_API_KEY="0" * 40).splitlines()
    assert time.monotonic() - start < 20
    assert "goes on with W&B offline: CommError" in warning
    assert len(records(tmp_path / "run")["history"]) == 1  # of the only run; the refused one is gone


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the service's process in /proc")
def test_a_killed_service_costs_only_the_mirror(tmp_path):
    script = """
for cell in ("one", "two"):
    with tracking("offline", cell) as tracker:
        if cell == "one":
            tracker.log({"loss": 1.0})
            (service,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            os.kill(int(service), signal.SIGKILL)
            os.waitpid(int(service), 0)
        tracker.log({"loss": 2.0})
        tracker.log({"loss": 3.0})
    print("complete")
"""
    lines = alone(tmp_path, script).splitlines()
    assert sum("mirrors this run no further" in line for line in lines) == 1
    assert lines.count("complete") == 2


@pytest.fixture
def server(monkeypatch):
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server


def test_online_sends_the_run(tmp_path, server):
    assert alone(tmp_path, ONLINE) == ""
    run = server.runs["run"]
    assert (run.project, run.about["groupName"], run.about["displayName"]) == ("x", "x", "x")
    assert (run.settings["seed"], run.settings["run_id"]) == (0, "run")
    assert [point["loss"] for point in run.history] == [1]
    assert run.exit_codes == [0]


def test_online_with_a_bad_key_goes_offline(tmp_path, server):
    server.denies = True
    (warning,) = alone(tmp_path, ONLINE).splitlines()
    assert "goes on with W&B offline: CommError" in warning
    assert len(records(tmp_path / "run")["history"]) == 1


@pytest.mark.usefixtures("server")
def test_an_unknown_entity_goes_offline(tmp_path):
    script = f"""
about = About(run_id="run", project="x", entity="{NOWHERE}", name="x", group="x", job_type="x")
directory = Path(sys.argv[1]) / "run"
directory.mkdir()
with tracked(about, mode="online", timeout=5, directory=directory, config={{}}) as tracker:
    tracker.log({{"loss": 1.0}})
"""
    (warning,) = alone(tmp_path, script).splitlines()
    assert "goes on with W&B offline: CommError" in warning
    assert NOWHERE in warning
    assert len(records(tmp_path / "run")["history"]) == 1


@pytest.mark.usefixtures("server")
def test_a_server_that_vanishes_costs_one_cell_its_timeout_and_the_next_nothing(tmp_path):
    script = """
import time
import pandas as pd
from urllib.request import Request, urlopen
for cell in ("one", "two"):
    start = time.monotonic()
    with tracking("online", cell) as tracker:
        tracker.log({"loss": 1.0})
        if cell == "one":
            urlopen(Request(os.environ["WANDB_BASE_URL"] + "/vanish", data=b"")).close()
            start = time.monotonic()
        tracker.log({"loss": 2.0})
        tracker.table("statistics", pd.DataFrame({"value": [1.0]}))
    print(cell, time.monotonic() - start)
"""
    lines = alone(tmp_path, script).splitlines()
    assert "mirrors this run no further" in lines[0]
    assert "W&B could not finish" in lines[1]
    assert [line.split()[0] for line in lines[2:]] == ["one", "two"]
    assert float(lines[2].split()[1]) < 12
    assert float(lines[3].split()[1]) < 3
    assert len(records(tmp_path / "one")["history"]) == 2
    assert len(records(tmp_path / "two")["history"]) == 3  # an offline run, with its table
    assert len(list((tmp_path / "two").glob("wandb/offline-run-*/complete"))) == 1
    assert list((tmp_path / "one").glob("wandb/run-*/complete")) == []


@pytest.mark.parametrize("mode", ["offline", "online", "disabled"])
def test_the_configs_are_arguments_of_track(tmp_path, mode):
    with initialize_config_dir(str(Path(__file__).parents[1] / "conf"), version_base="1.3"):
        settings = OmegaConf.to_container(compose("tracking/" + mode).tracking, resolve=True)
    assert settings.pop("mode") == mode
    assert settings.pop("every") == 50
    settings["tags"] = tuple(settings["tags"])
    with tracking(tmp_path / "run", mode="disabled", **settings):
        pass
    assert settings == {"project": "swag-repro", "entity": None, "tags": (), "timeout": 15}
