"""Ray on this machine: `ray start --head`, in an environment and a folder of its own."""

from __future__ import annotations

import importlib.util
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clusters.engines import daemon, environment, free_ports, rig, unavailable, wait_until

ROOT = Path(__file__).parents[2]
OWN = ROOT / ".venv-ray" / "bin"
"""Of the environment that `make ray` makes: Ray's launcher wants other libraries than the rest."""

UNHURRIED = "RAY_worker_niceness"
"""How far Ray's workers stand back behind other processes: 15 unless told, and then they starve on a busy machine."""


@dataclass(frozen=True)
class Ray:
    """A running cluster.

    Attributes:
        folder: where all of it lies.
        environment: of a process that uses it; in it, `address=auto` means this cluster.
        python: that has Ray.
        address: `host:port`.
    """

    folder: Path
    environment: dict[str, str]
    python: Path
    address: str


@contextmanager
def ray(*, cpus: int = 2) -> Iterator[Ray]:
    """A cluster of one node that runs so many jobs of one CPU, and none of its processes afterwards."""
    programs = _programs()
    with rig("ray") as folder:
        variables = environment(folder, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
        command = [str(programs / "ray"), "start", "--head", "--block", *_options(folder, cpus)]
        with daemon(command, folder / "ray.out", {**variables, UNHURRIED: "0"}):
            wait_until(lambda: "Ray runtime started" in (folder / "ray.out").read_text(), "Ray starts")
            address = (folder / "ray_current_cluster").read_text().strip()
            yield Ray(folder, {**variables, "RAY_ADDRESS": address}, programs / "python", address)


def _options(folder: Path, cpus: int) -> list[str]:
    client, agent, dashboard = free_ports(3)
    return [
        f"--num-cpus={cpus}",
        f"--temp-dir={folder}",
        "--node-ip-address=127.0.0.1",
        "--port=0",
        f"--ray-client-server-port={client}",
        f"--dashboard-agent-listen-port={agent}",
        f"--dashboard-port={dashboard}",
        "--include-dashboard=false",
        "--disable-usage-stats",
        "--object-store-memory=100000000",
    ]


def _programs() -> Path:
    if (OWN / "ray").exists():
        return OWN
    if importlib.util.find_spec("ray") is None:
        unavailable("Ray is not installed: make ray")
    return Path(sys.executable).parent
