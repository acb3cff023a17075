"""The part that is special to Ray, each in a process of its own, where Ray is installed."""

import json
import signal
import subprocess

import pytest

from swag_repro.runs.records import all_runs
from tests.clusters.engines import free_ports, wait_until
from tests.clusters.sweeps import ROOT, SMOKE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ASK = """
import json, sys
from experiments.sweeps import launchers
from tests.clusters.sweeps import launcher
config = launcher("hydra/launcher=ray", *sys.argv[1:])
try:
    launchers.check_launcher(config)
    print(json.dumps(launchers.workers(config)))
except launchers.SettingError as error:
    print(json.dumps(str(error)))
"""


CONNECT = """
import os, signal
from experiments.sweeps import launchers
from tests.clusters.sweeps import launcher
came = []
signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
launchers.check_launcher(launcher("hydra/launcher=ray"))
os.kill(os.getpid(), signal.SIGTERM)
print(came)
"""


@pytest.fixture
def asked(ray_cluster):
    """How many workers there would be, or why none: `asked(*overrides)`, where Ray is installed."""

    def ask(*settings, cluster=True):
        overrides = [f"++hydra.launcher.ray.{setting}" for setting in settings]
        environment = {**ray_cluster.environment, "PYTHONPATH": str(ROOT)}
        if not cluster:
            del environment["RAY_ADDRESS"]
        command = [str(ray_cluster.python), "-c", ASK, *overrides]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    return ask


@pytest.mark.parametrize(
    ("takes", "workers"),
    [(["num_cpus=1"], 2), (["num_cpus=0.5"], 4), (["num_cpus=2"], 1), (["num_cpus=0"], None)],
)
def test_as_many_workers_as_fit_into_the_cluster(takes, workers, asked):
    assert asked(*(f"remote.{setting}" for setting in takes)) == workers


def test_ray_of_its_own_has_the_cores_of_this_machine(asked):
    assert asked("init.address=null", "init.num_cpus=3", cluster=False) == 3


@pytest.mark.parametrize("takes", ["num_cpus=3", "num_gpus=1", "resources.tpu=1"])
def test_what_no_node_has_is_refused(takes, asked):
    message = asked(f"remote.{takes}")
    assert (
        "`hydra.launcher.ray.remote` should be at most what a node of the cluster has (2 CPUs, 0 GPUs"
        in message
    )


def test_an_address_without_a_cluster_is_told_within_seconds(asked):
    [port] = free_ports(1)
    message = asked(f"init.address='127.0.0.1:{port}'", cluster=False)
    assert f"found 127.0.0.1:{port} ([Errno 111] Connection refused)" in message
    assert "ray start --head" in message
    assert "found garbage (Invalid address" in asked("init.address=garbage", cluster=False)


def test_signals_stay_the_commands_own(ray_cluster):
    environment = {**ray_cluster.environment, "PYTHONPATH": str(ROOT)}
    command = [str(ray_cluster.python), "-c", CONNECT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[15]"
    assert "SIGTERM received" not in done.stderr


def test_ctrl_c_leaves_no_worker_at_a_cell(ray_engine, tmp_path):
    process = ray_engine.start(tmp_path, *SMOKE, "weights.seed=range(0,20)", "tracking=disabled")
    place = tmp_path / "out" / "runs"

    def states():
        runs = all_runs(tmp_path / "out", skipped=lambda *_: None) if place.is_dir() else ()
        return [record.status.state for record in runs]

    wait_until(lambda: "finished" in states(), "a cell is finished", seconds=120)
    process.send_signal(signal.SIGINT)
    printed = process.communicate()[0]
    assert process.returncode == 130, printed
    assert "running" not in states()
    assert states().count("finished") < 80
