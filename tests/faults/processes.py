"""Commands as processes that start at once: children of a process that has imported everything."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import experiments.measurements
import experiments.running
import experiments.stylization.stylization  # noqa: F401  (what the entry points import when they are called)
from analysis.commands import main as analyse
from experiments import measure_activations, stylize
from experiments.launching import launch

MAINS = {"stylize": stylize.main, "measure_activations": measure_activations.main}
LONGEST = 900.0
"""Seconds after which a command counts as hanging."""


@dataclass
class Child:
    """A process of a group of its own.

    Attributes:
        pid: of the process, and of its group.
        printed: where its output goes.
        status: as a shell has it, once it has ended.
    """

    pid: int
    printed: Path
    status: int | None = None

    def ended(self) -> bool:
        """Return whether it has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code
        return self.status is not None

    def wait(self) -> int:
        """Return its exit status.

        Raises:
            TimeoutError: it hangs; it is killed.
        """
        began = time.monotonic()
        while not self.ended():
            if time.monotonic() - began > LONGEST:
                os.killpg(self.pid, signal.SIGKILL)
                raise TimeoutError(self.output())
            time.sleep(0.005)
        assert self.status is not None
        return self.status

    def output(self) -> str:
        """What it has printed."""
        return self.printed.read_text(errors="replace")


def start(call: Callable[[], object], printed: Path, *, largest_file: int | None = None) -> Child:
    """A child that calls this; `largest_file` in bytes stands for a disk with no more room."""
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return Child(pid, printed)
    status = 70
    try:
        os.setsid()
        file = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        if largest_file is not None:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
        call()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def command(entry: str, arguments: list[str]) -> Callable[[], None]:
    """`python experiments/<entry>.py <arguments>`."""

    def call() -> None:
        sys.argv = [f"{entry}.py", *arguments]
        launch(MAINS[entry])

    return call


def collect(output: Path, out: Path) -> Callable[[], None]:
    """`swag collect`."""

    def call() -> None:
        sys.exit(analyse(["collect", "--output", str(output), "--results", str(out)]))

    return call
