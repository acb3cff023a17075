"""What a W&B server knows of runs, and what it is sent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from swag_repro.errors import TrackingError
from swag_repro.tracking.about import About
from swag_repro.tracking.tracker import failures, probe, synced

POLL = 0.2
"""Seconds between two looks at what has arrived."""


class Server:
    """The one of the user's W&B settings.

    Args:
        timeout: Seconds after which a server that does nothing counts as gone.

    Raises:
        TrackingError: There is no key, or the server refuses it, or does not answer.
    """

    def __init__(self, *, timeout: float) -> None:
        import wandb

        self.timeout = timeout
        remedy = "Check the network, WANDB_BASE_URL and the key (`wandb login`)."
        try:
            if not wandb.login(prompt=False, verify=False):
                remedy = "`wandb login` stores one."
                raise wandb.errors.UsageError("no API key is configured")
            probe(wandb.setup().settings, timeout)
            self.api = wandb.Api(timeout=max(1, int(timeout)))
            self.entity = self.api.default_entity
        except failures() as error:
            raise TrackingError("W&B's server", "should answer", line_of(error), remedy) from error

    def points(self, about: About) -> list[dict[str, Any]] | None:
        """The whole history that the server has of a run; None where it does not know the run.

        Raises:
            TrackingError: It does not answer.
        """
        path = f"{about.entity or self.entity}/{about.project}/{about.run_id}"
        try:
            return list(self.api.run(path).scan_history(use_cache=False))
        except failures() as error:
            if "Could not find run" in str(error):
                return None
            raise TrackingError(path, "should be read", line_of(error), "Try again later.") from error

    def send(self, logs: Sequence[Path]) -> dict[Path, str]:
        """Uploads logs by `wandb sync`, and gives those that did not arrive, with what it said of them.

        A log that has arrived whole is marked. It ends once none has arrived for `timeout` seconds.
        """
        command = [sys.executable, "-m", "wandb", "sync", "--include-online", *map(str, logs)]
        with tempfile.TemporaryFile("w+") as output:
            late = self._watched(command, logs, output)
            output.seek(0)
            said = output.read()
        left = [log for log in logs if not synced(log).exists()]
        reason = f"no answer within {self.timeout:g} s" if late else "refused"
        return {log: _error_of(log, said) or reason for log in left}

    def _watched(self, command: Sequence[str], logs: Sequence[Path], output: IO[str]) -> bool:
        """Whether it had to be ended."""
        # A service of its own: by WANDB_SERVICE it would use this process's, which goes on when it is ended.
        own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        speaking = {**own, "WANDB_SILENT": "false"}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=speaking)
        arrived, since = 0, time.monotonic()
        try:
            while process.poll() is None:
                time.sleep(POLL)
                now = sum(synced(log).exists() for log in logs)
                if now > arrived:
                    arrived, since = now, time.monotonic()
                if time.monotonic() - since > self.timeout:
                    return True
        finally:
            if process.poll() is None:
                _end(process)
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends it with the service that it started, which would go on sending."""
    process.send_signal(signal.SIGSTOP)  # that it starts no more
    threads = Path(f"/proc/{process.pid}/task")  # any of which may have started it
    for children in threads.glob("*/children"):
        for child in children.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
    process.kill()
    process.wait()


def line_of(error: Exception) -> str:
    """What an error is, in one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _error_of(log: Path, said: str) -> str:
    """The last error that `wandb sync` printed of a log, or of all of them."""
    run_id = log.stem.removeprefix("run-")
    errors = [error for line in said.splitlines() if (error := line.partition("ERROR ")[2].strip())]
    own = [line for line in errors if run_id in line] or [line for line in errors if not line.startswith("[")]
    return own[-1] if own else ""
