"""The part of launchers that needs no cluster: how many workers there are, and what each may use."""

import os
from importlib.util import find_spec

import pytest
from omegaconf import OmegaConf

from experiments import command
from experiments.sweeps import launchers
from swag_repro.errors import SettingError
from tests.clusters.sweeps import MERGED, launcher

pytestmark = MERGED

CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def without_ray(monkeypatch):
    """Make Ray look as if it were not installed."""
    monkeypatch.setattr(launchers, "find_spec", lambda name: None if "ray" in name else find_spec(name))


@pytest.mark.usefixtures("without_ray")
def test_a_launcher_that_is_not_installed_is_told_with_its_extra():
    message = r"`hydra/launcher` should be installed; found ray, which is not. .*'swag-repro\[ray\]'"
    with pytest.raises(SettingError, match=message):
        command.check_overrides("measure_activations", ["hydra/launcher=ray"])
    command.check_overrides("measure_activations", ["hydra/launcher=joblib"])


@pytest.mark.parametrize(
    ("overrides", "workers"),
    [
        ([], 1),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=3"], 3),
        (["hydra/launcher=joblib"], CORES),
        (["hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1"], CORES),
        (["hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1000"], 1),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.array_parallelism=7"], 7),
    ],
)
def test_as_many_workers_as_a_launcher_runs_at_once(overrides, workers):
    assert launchers.workers(launcher(*overrides)) == workers


def test_of_a_launcher_of_others_nothing_is_known():
    config = OmegaConf.create({"_target_": "elsewhere.Launcher"})
    launchers.check_launcher(config)
    assert launchers.workers(config) is None


def test_joblib_without_processes_is_refused():
    with pytest.raises(
        SettingError, match="`hydra.launcher.n_jobs` should be a number of processes; found 0"
    ):
        launchers.check_launcher(launcher("hydra/launcher=joblib", "hydra.launcher.n_jobs=0"))


def test_workers_share_the_cores_that_their_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    assert [launchers.threads(started) for started in (1, 3, 8, 20)] == [8, 2, 1, 1]
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert launchers.threads(100) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    assert launchers.threads(100) == 3
