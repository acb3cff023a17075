"""Launchers, which start a sweep's workers: checks, the number of workers, and each worker's resources.

This module and its imports need no torch. A launcher's packages are imported only when the launcher is used.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
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

LAUNCHER_NAMES = {
    "BasicLauncher": "basic",
    "JoblibLauncher": "joblib",
    "LocalLauncher": "submitit_local",
    "SlurmLauncher": "submitit_slurm",
    "RayLauncher": "ray",
}
"""The name of each launcher, by its class."""

CLUSTER_PATIENCE = 20.0
"""Seconds in which a cluster must answer."""

ASK_EVERY = 10.0
"""Seconds between two queries of SLURM's jobs."""

SUBMITIT = frozenset(
    {
        "_target_",
        "submitit_folder",
        "name",
        "stderr_to_stdout",
        "setup",
        "array_parallelism",
        "signal_delay_s",
        "max_num_timeout",
        "additional_parameters",
    }
)
"""Settings of the launcher `submitit_slurm` that request no resources; all others are options of sbatch."""

RENAMED = {"timeout_min": "time", "mem_gb": "mem", "tasks_per_node": "ntasks_per_node"}
"""submitit's names for options of sbatch, and sbatch's own."""

OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
"""States of SLURM's jobs that have ended."""

CANCELLED = "its jobs were cancelled"
"""The reason for the end of all workers if a user or an administrator cancelled them."""

PROBE = """
import json, ray, sys
ray.init(**json.loads(sys.argv[1]), logging_level="error", log_to_driver=False)
print(json.dumps([node["Resources"] for node in ray.nodes() if node["Alive"]]))
"""
"""A probe for a process of its own, because `ray.init` waits two minutes for a missing cluster."""

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
    """Raise unless a launcher can start the requested workers, before anything is computed.

    Args:
        config: The node `hydra.launcher`.

    Raises:
        SettingError: It is not installed, its cluster does not answer, or the cluster lacks the resources.
    """
    check_installed(name := _name(config))
    if name in CHECKS:
        CHECKS[name](config)


def connect(config: DictConfig) -> None:
    """Connect this process to Ray, and restore the handlers of signals that Ray replaces.

    Args:
        config: The node `hydra.launcher`, checked.
    """
    if _name(config) == "ray":
        import ray  # type: ignore[import-not-found]

        init: Any = OmegaConf.to_container(config.ray.init, resolve=True)
        handlers = {number: signal.getsignal(number) for number in ENDING}
        ray.init(**init)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def workers(config: DictConfig) -> int | None:
    """Return how many processes a launcher runs at once; None if nothing limits them.

    Args:
        config: The node `hydra.launcher`, checked.

    Raises:
        SettingError: Ray does not answer.
    """
    name = _name(config)
    return WORKERS[name](config) if name in WORKERS else None


def threads(config: DictConfig, started: int) -> int:
    """Return how many threads this worker should use, so that workers do not compete for cores.

    Args:
        config: The node `hydra.launcher`.
        started: The number of workers that the sweep has started.
    """
    name = _name(config)
    if name == "ray":
        return max(1, int(_resources(config).get("CPU", 0)))
    if name == "submitit_slurm":
        return int(os.environ.get("SLURM_CPUS_PER_TASK", _cores()))
    return max(1, _cores() // started)


def _name(config: DictConfig) -> str:
    return LAUNCHER_NAMES.get(str(config.get("_target_", "")).rpartition(".")[2], "")


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


def _check_slurm(config: DictConfig) -> None:
    if shutil.which("sbatch") is None or shutil.which("sinfo") is None:
        rule, remedy = "needs SLURM's commands", "Give the command on a machine that submits to the cluster."
        raise SettingError("hydra/launcher", rule, "no sbatch on the PATH", remedy)
    rule, remedy = "needs SLURM's controller", "Is slurmctld running? `sinfo` should show partitions."
    partitions = _slurm("hydra/launcher", rule, remedy, "sinfo", "--noheader", "--format=%R").split()
    if config.partition is not None and config.partition not in partitions:
        rule = f"should be one of {', '.join(partitions)}"
        raise SettingError("hydra.launcher.partition", rule, config.partition, "`sinfo` shows them.")
    rule = "should ask for what SLURM gives"
    remedy = "`sinfo -o '%P %l %c %m %G'` shows partitions, their time, CPUs, memory and GPUs."
    _slurm("hydra.launcher", rule, remedy, "sbatch", "--test-only", *_options(config), "--wrap=true")


def _slurm(name: str, rule: str, remedy: str, *command: str) -> str:
    """Return the output of a SLURM command; raise if it fails, because a setting then breaks its rule."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLUSTER_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        found = f"no answer to {command[0]} in {CLUSTER_PATIENCE:.0f} s"
        raise SettingError(name, rule, found, remedy) from error
    if done.returncode:
        said = "; ".join(line.removeprefix(f"{command[0]}: ") for line in done.stderr.strip().splitlines())
        raise SettingError(name, rule, f"an objection of {command[0]} ({said})", remedy)
    return done.stdout


def _options(config: DictConfig) -> list[str]:
    """Return the resources of a job as options of sbatch."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    taken = {key: value for key, value in plain.items() if key not in SUBMITIT and value is not None}
    if "mem_gb" in taken:
        taken["mem_gb"] = f"{taken['mem_gb']}G"
    options = {RENAMED.get(key, key): value for key, value in taken.items()} | plain["additional_parameters"]
    return [_option(key.replace("_", "-"), value) for key, value in options.items()]


def _option(name: str, value: Any) -> str:
    return f"--{name}" if value is True else f"--{name}={value}"


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

    def alive(self) -> bool | None:
        """Return whether a job runs or waits, as of some seconds ago; None if only the launcher knows."""
        if self._numbers and time.monotonic() - self._asked > ASK_EVERY:
            command = ["squeue", "--me", "--noheader", "--states=all", "--format=%F %T"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            self._asked = time.monotonic()
            if done.returncode:  # the controller does not answer for a while
                return self._alive
            jobs = [line.split() for line in done.stdout.splitlines()]
            states = {state for number, state in jobs if number in self._numbers}
            self._alive = not states <= OVER
            self.cancelled |= "CANCELLED" in states
        return self._alive

    def cancel(self, *, waiting: bool = False) -> None:
        """Cancel SLURM's jobs, or only those that wait; the workers of other launchers end by themselves."""
        if self._numbers:
            only = ["--state=PENDING"] if waiting else []
            subprocess.run(["scancel", *only, *self._numbers], capture_output=True, check=False)

    def kill(self) -> None:
        """End all workers at once."""
        self.cancel()
        if _name(self.config) == "joblib":
            from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

            get_reusable_executor().shutdown(wait=False, kill_workers=True)

    @property
    def _numbers(self) -> set[str]:
        if _name(self.config) != "submitit_slurm":
            return set()
        return {path.name.partition("_")[0] for path in self.directory.glob(".submitit/[0-9]*")}


# --- Ray ---


def _check_ray(config: DictConfig) -> None:
    if _ray_workers(config) == 0:
        largest = "; ".join(_amounts(node) for node in _nodes(config))
        rule, remedy = f"should be at most what a node of the cluster has ({largest})", "See `ray status`."
        raise SettingError("hydra.launcher.ray.remote", rule, _amounts(_resources(config)), remedy)


def _ray_workers(config: DictConfig) -> int | None:
    """Return how many workers fit into the nodes together; None if they request no resources."""
    wanted = _resources(config)
    if not wanted:
        return None
    return sum(
        min(int(node.get(name, 0) / amount) for name, amount in wanted.items()) for node in _nodes(config)
    )


def _resources(config: DictConfig) -> dict[str, float]:
    """Return the resources of a job by Ray's names."""
    remote = config.ray.remote
    named = {"CPU": remote.get("num_cpus", 1), "GPU": remote.get("num_gpus", 0)}
    return {name: amount for name, amount in {**named, **remote.get("resources", {})}.items() if amount}


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}s" for name in ("CPU", "GPU"))


def _nodes(config: DictConfig) -> list[dict[str, float]]:
    """Return the resources of each node of the cluster, also of a cluster that the sweep will start."""
    init: Any = OmegaConf.to_container(config.ray.init, resolve=True)
    address = os.environ.get("RAY_ADDRESS") or init.get("address")
    if address in (None, "local"):
        return [{"CPU": init.get("num_cpus") or _cores(), "GPU": init.get("num_gpus") or 0}]
    return _cluster(json.dumps({**init, "address": address}))


@cache
def _cluster(init: str) -> list[dict[str, float]]:
    command = [sys.executable, "-W", "ignore", "-c", PROBE, init]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLUSTER_PATIENCE, check=False)
        problem = (done.stderr.strip().splitlines() or ["no message"])[-1]
    except subprocess.TimeoutExpired:
        done, problem = None, f"no answer in {CLUSTER_PATIENCE:.0f} s"
    if done is None or done.returncode:
        rule, address = "should be a Ray cluster's: host:port, or auto", json.loads(init)["address"]
        remedy = "Start one with `ray start --head`; or address=null starts one for the sweep alone."
        raise SettingError("hydra.launcher.ray.init.address", rule, f"{address} ({problem})", remedy)
    nodes: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return nodes


CHECKS: Mapping[str, Callable[[DictConfig], None]] = {
    "joblib": _check_joblib,
    "submitit_slurm": _check_slurm,
    "ray": _check_ray,
}

WORKERS: Mapping[str, Callable[[DictConfig], int | None]] = {
    "basic": lambda _: 1,
    "joblib": _joblib_workers,
    "submitit_local": _local_workers,
    "submitit_slurm": lambda config: int(config.array_parallelism),
    "ray": _ray_workers,
}
