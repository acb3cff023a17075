"""The common part of SLURM and Ray: daemons in a folder of their own, none of which survives the tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

REQUIRED = "SWAG_REPRO_CLUSTERS"
"""Where this is `required`, as in CI, an engine that is not installed is a failure."""

MARK = "SWAG_REPRO_RIG"
"""Names the engine's folder, in the environment of its processes and of what they start."""

PATIENCE = 60.0
"""Seconds after which what should happen soon counts as not happening."""


def unavailable(reason: str) -> None:
    """Skips the test, or fails it where the engines must be there."""
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def wait_until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Waits for it.

    Raises:
        TimeoutError: in vain.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not after {seconds:.0f} s: {what}")
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def rig(name: str) -> Iterator[Path]:
    """A new folder with a short path, for sockets; at the end its processes are killed, and it is removed."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir="/tmp", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            for pid in processes(folder):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """This process's, with the mark and more."""
    return {**os.environ, "OMP_NUM_THREADS": "1", MARK: str(folder), **variables}


def processes(folder: Path) -> dict[int, str]:
    """The processes whose environment names an engine's folder, with their command lines."""
    found, mark = {}, f"={folder}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended, or belongs to another user
            if mark in (place / "environ").read_bytes() and int(place.name) != os.getpid():
                found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return {pid: command for pid, command in found.items() if command}  # others have ended


@contextmanager
def daemon(command: Sequence[str], log: Path, variables: Mapping[str, str]) -> Iterator[subprocess.Popen]:
    """A process that stays in the foreground; asked to end in the end."""
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=variables, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, cwd="/"
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
