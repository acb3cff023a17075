"""Fixtures that start each engine once."""

import pytest

from tests.clusters.ray import ray
from tests.clusters.slurm import slurm
from tests.clusters.sweeps import SMOKE, Engine, table_alone


@pytest.fixture(scope="session")
def slurm_cluster():
    with slurm(grace=20) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ray_cluster():
    with ray() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def slurm_engine(slurm_cluster):
    arguments = [
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=main",
        "hydra.launcher.array_parallelism=2",
    ]
    return Engine(arguments, slurm_cluster.environment)


@pytest.fixture(scope="session")
def ray_engine(ray_cluster):
    return Engine(["hydra/launcher=ray"], ray_cluster.environment, ray_cluster.python)


@pytest.fixture(scope="session", params=["slurm", "ray"])
def engine(request):
    return request.getfixturevalue(f"{request.param}_engine")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The table of the smoke experiment's four cells, computed one after the other in one process."""
    return table_alone(tmp_path_factory.mktemp("basic"), *SMOKE)
