"""A W&B server: what it knows of runs, and what is sent to it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swag_repro.errors import TrackingError
from swag_repro.tracking.about import About
from swag_repro.tracking.tracker import ATTEMPTS

WAIT = 5.0
"""Seconds between two of W&B's attempts to reach a server that is away."""


class Server:
    """The server of the user's W&B settings.

    Args:
        timeout: Seconds after which a server that does not answer counts as gone.

    Raises:
        TrackingError: There is no key, or the server refuses it, or does not answer.
    """

    def __init__(self, *, timeout: float) -> None:
        self.timeout = timeout
        remedy = "Check the network, WANDB_BASE_URL and the key (`wandb login`)."
        try:
            import wandb

            wandb.setup(settings=wandb.Settings(**ATTEMPTS))
            if not wandb.login(prompt=False, verify=False):
                remedy = "`wandb login` stores one."
                raise wandb.errors.UsageError("no API key is configured")
            self.api: Any = wandb.Api(timeout=max(1, int(timeout)))
            self.entity = self.api.default_entity
        except Exception as error:  # W&B passes on errors of any kind from its parts
            raise TrackingError("W&B's server", "should answer", line_of(error), remedy) from error

    def points(self, about: About) -> list[dict[str, Any]] | None:
        """Return the whole history that the server has of a run; None if it does not know the run.

        Raises:
            TrackingError: The server does not answer.
        """
        run = self._run(about)
        return None if run is None else list(run.scan_history(use_cache=False))

    def has_ended(self, about: About) -> bool:
        """Return whether a run has arrived at the server with its end.

        Raises:
            TrackingError: The server does not answer.
        """
        run = self._run(about)
        return run is not None and run.state in ("finished", "failed")

    def _run(self, about: About) -> Any:
        path = f"{about.entity or self.entity}/{about.project}/{about.run_id}"
        try:
            self.api.flush()  # without this, W&B's client answers from memory
            return self.api.run(path)
        except Exception as error:  # W&B passes on errors of any kind from its parts
            if "Could not find run" in str(error):
                return None
            raise TrackingError(path, "should be read", line_of(error), "Try again later.") from error

    def send(self, logs: Sequence[Path]) -> None:
        """Upload logs by `wandb sync`, which marks them, and prints what becomes of them."""
        if not logs:
            return
        # The command gets a service of its own; by WANDB_SERVICE it would use this process's.
        own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        command = [sys.executable, "-m", "wandb", "sync", "--include-online", *map(str, logs)]
        subprocess.run(command, env={**own, **self._patience(), "WANDB_SILENT": "false"}, check=False)

    def _patience(self) -> dict[str, str]:
        """Return settings that make W&B give up a server that is away; by default it tries for seven days."""
        limits = {"MAX": math.ceil(self.timeout / WAIT), "WAIT_MIN_SECONDS": 1, "WAIT_MAX_SECONDS": WAIT}
        kinds = ("FILE_STREAM", "FILE_TRANSFER", "GRAPHQL")
        return {
            f"WANDB_X_{kind}_RETRY_{name}": str(limit) for kind in kinds for name, limit in limits.items()
        }


def line_of(error: Exception) -> str:
    """Return an error's type and message, in one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
