"""Launchers, which start a sweep's workers: checks, the number of workers, and each worker's resources.

This module and its imports need no torch. A launcher's packages are imported only when the launcher is used.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from socket import create_connection
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.signals import ENDING
from swag_repro.errors import SettingError

EXTRAS = {
    "joblib": ("hydra_joblib_launcher", "launchers"),
    "submitit_local": ("hydra_submitit_launcher", "launchers"),
    "submitit_slurm": ("hydra_submitit_launcher", "launchers"),
    "ray": ("hydra_ray_launcher", "ray"),
}
"""The plugin of each launcher except Hydra's own, and the extra of this package that installs it."""

CLUSTER_PATIENCE = 20.0
"""Seconds in which a cluster must answer."""

ASK_EVERY = 10.0
"""Seconds between two queries of SLURM's jobs."""

OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
"""States of SLURM's jobs that have ended."""

CANCELLED = "its jobs were cancelled"
"""The reason for the end of all workers if a user or an administrator cancelled them."""

# Hydra 1.3 merges the files of conf/hydra/launcher over the plugins' configs of the same names.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore", UserWarning)


def check_installed(name: str) -> None:
    """Raise if a launcher of `EXTRAS` is not installed; Hydra looks for all others.

    Raises:
        SettingError: Its plugin is not installed.
    """
    plugin, extra = EXTRAS.get(name, ("", ""))
    if plugin and not (find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{plugin}")):
        rule, remedy = "should be installed", f"Install it: pip install 'swag-repro[{extra}]'"
        raise SettingError("hydra/launcher", rule, f"{name}, which is not", remedy)


def check_launcher(config: DictConfig) -> None:
    """Raise unless a launcher can start workers, before anything is computed.

    Args:
        config: The node `hydra.launcher`.

    Raises:
        SettingError: Its cluster does not answer, or has no node for a worker.
    """
    if (name := _class(config)) in CHECKS:
        CHECKS[name](config)


def workers(config: DictConfig) -> int | None:
    """Return how many processes a launcher runs at once; None if nothing limits them.

    Args:
        config: The node `hydra.launcher`, checked.
    """
    name = _class(config)
    return WORKERS[name](config) if name in WORKERS else None


def threads(started: int) -> int:
    """Return how many threads this worker should use, so that workers do not compete for cores.

    Ray and joblib set OMP_NUM_THREADS for their workers.

    Args:
        started: The number of workers that the sweep has started.
    """
    given = os.environ.get("OMP_NUM_THREADS") or os.environ.get("SLURM_CPUS_PER_TASK")
    return int(given.partition(",")[0]) if given else max(1, _cores() // started)


def _class(config: DictConfig) -> str:
    """Return the name of a launcher's class."""
    return str(config.get("_target_", "")).rpartition(".")[2]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- joblib and submitit_local: this machine ---


def _check_joblib(config: DictConfig) -> None:
    if config.n_jobs == 0:
        rule, remedy = "should be a number of processes", "-1 stands for as many as there are cores."
        raise SettingError("hydra.launcher.n_jobs", rule, 0, remedy)


def _joblib_workers(config: DictConfig) -> int:
    from joblib import effective_n_jobs  # type: ignore[import-untyped]

    return int(effective_n_jobs(config.n_jobs))


def _local_workers(config: DictConfig) -> int:
    return max(1, _cores() // (config.cpus_per_task or 1))


# --- SLURM ---


def _check_slurm(_: DictConfig) -> None:
    if shutil.which("sbatch") is None or shutil.which("sinfo") is None:
        rule, remedy = "needs SLURM's commands", "Give the command on a machine that submits to the cluster."
        raise SettingError("hydra/launcher", rule, "no sbatch on the PATH", remedy)
    rule, remedy = "needs SLURM's controller", "Is slurmctld running? `sinfo` should show partitions."
    try:
        done = subprocess.run(
            ["sinfo"], capture_output=True, text=True, timeout=CLUSTER_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        found = f"no answer to sinfo in {CLUSTER_PATIENCE:.0f} s"
        raise SettingError("hydra/launcher", rule, found, remedy) from error
    if done.returncode:
        raise SettingError("hydra/launcher", rule, done.stderr.strip(), remedy)


def check_submitted(problem: Exception) -> None:
    """Raise if a launcher could not submit its workers because SLURM does not give what it asks for.

    Raises:
        SettingError: SLURM refused; the error has what it said.
    """
    if type(problem).__name__ == "FailedJobError":
        rule = "should ask for what SLURM gives"
        said = "; ".join(line.removeprefix("sbatch: ") for line in str(problem).strip().splitlines())
        remedy = "`sinfo -o '%P %l %c %m %G'` shows partitions, their time, CPUs, memory and GPUs."
        raise SettingError("hydra.launcher", rule, f"an objection of sbatch ({said})", remedy) from problem


@dataclass
class Jobs:
    """The workers of a sweep, as far as their launcher reports on them: SLURM's and joblib's do.

    Attributes:
        config: The node `hydra.launcher`.
        directory: The sweep's directory; the log folders below it are named by SLURM's jobs.
        cancelled: Whether somebody has cancelled a job.
    """

    config: DictConfig
    directory: Path
    cancelled: bool = False
    _asked: float = -math.inf
    _alive: bool | None = None

    def alive(self, *, waited_for: bool) -> bool:
        """Return whether a job runs or waits, as of some seconds ago.

        Args:
            waited_for: Whether the launcher waits for its jobs, which decides if nothing else is known.
        """
        if self._numbers and time.monotonic() - self._asked > ASK_EVERY:
            command = ["squeue", "--me", "--noheader", "--states=all", "--format=%F %T"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            self._asked = time.monotonic()
            if not done.returncode:  # else the controller does not answer for a while
                jobs = [line.split() for line in done.stdout.splitlines()]
                states = {state for number, state in jobs if number in self._numbers}
                self._alive = not states <= OVER
                self.cancelled |= "CANCELLED" in states
        return waited_for if self._alive is None else self._alive

    def cancel(self, *, waiting: bool = False) -> None:
        """Cancel SLURM's jobs, or only those that wait; the workers of other launchers end by themselves."""
        if self._numbers:
            only = ["--state=PENDING"] if waiting else []
            subprocess.run(["scancel", *only, *self._numbers], capture_output=True, check=False)

    def kill(self) -> None:
        """End all workers at once."""
        self.cancel()
        if _class(self.config) == "JoblibLauncher":
            from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

            get_reusable_executor().shutdown(wait=False, kill_workers=True)

    @property
    def _numbers(self) -> set[str]:
        if _class(self.config) != "SlurmLauncher":
            return set()
        return {path.name.partition("_")[0] for path in self.directory.glob(".submitit/[0-9]*")}


# --- Ray ---


def _check_ray(config: DictConfig) -> None:
    _connect(config)
    if _ray_workers(config) == 0:
        largest = "; ".join(_amounts(node) for node in _nodes())
        rule, remedy = f"should be at most what a node of the cluster has ({largest})", "See `ray status`."
        raise SettingError("hydra.launcher.ray.remote", rule, _amounts(_resources(config)), remedy)


def _connect(config: DictConfig) -> None:
    """Connect this process to Ray, and restore the handlers of signals that Ray replaces.

    Raises:
        SettingError: There is no cluster.
    """
    import ray  # type: ignore[import-not-found]

    init: Any = OmegaConf.to_container(config.ray.init, resolve=True)
    address = os.environ.get("RAY_ADDRESS") or init.get("address")
    handlers = {number: signal.getsignal(number) for number in ENDING}
    try:
        _check_port(str(address))
        ray.init(**init, ignore_reinit_error=True)
    except Exception as error:  # Ray has many of its own
        rule, found = "should be a Ray cluster's: host:port, or auto", f"{address} ({error})"
        remedy = "Start one with `ray start --head`; or address=null starts one for the sweep alone."
        raise SettingError("hydra.launcher.ray.init.address", rule, found, remedy) from error
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _check_port(address: str) -> None:
    """Raise unless something listens at `host:port`: `ray.init` would wait two minutes.

    Raises:
        OSError: Nothing does.
    """
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if port.isdecimal():
        create_connection((host, int(port)), CLUSTER_PATIENCE).close()


def _ray_workers(config: DictConfig) -> int | None:
    """Return how many workers fit into the nodes together; None if they request no resources."""
    wanted = _resources(config)
    if not wanted:
        return None
    return sum(min(int(node.get(name, 0) / amount) for name, amount in wanted.items()) for node in _nodes())


def _resources(config: DictConfig) -> dict[str, float]:
    """Return the resources of a job by Ray's names."""
    remote = config.ray.remote
    named = {"CPU": remote.get("num_cpus", 1), "GPU": remote.get("num_gpus", 0)}
    return {name: amount for name, amount in {**named, **remote.get("resources", {})}.items() if amount}


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}s" for name in ("CPU", "GPU"))


def _nodes() -> list[dict[str, float]]:
    """Return the resources of each node of the cluster that this process is connected to."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


CHECKS: Mapping[str, Callable[[DictConfig], None]] = {
    "JoblibLauncher": _check_joblib,
    "SlurmLauncher": _check_slurm,
    "RayLauncher": _check_ray,
}

WORKERS: Mapping[str, Callable[[DictConfig], int | None]] = {
    "BasicLauncher": lambda _: 1,
    "JoblibLauncher": _joblib_workers,
    "LocalLauncher": _local_workers,
    "SlurmLauncher": lambda config: int(config.array_parallelism),
    "RayLauncher": _ray_workers,
}
