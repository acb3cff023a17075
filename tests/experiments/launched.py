"""Entry points in processes of their own, as users start them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Launched:
    """An entry point in a process group of its own, which `end` leaves nothing of.

    Args:
        folder: where it runs; its output folder is `out` there.
        entry: its name.
        arguments: of its command line, in which `-m` comes first.
    """

    def __init__(self, folder, entry, *arguments):
        self.output = folder / "out"
        self.log = folder / f"{time.monotonic_ns()}.log"
        script = str(ROOT / "experiments" / f"{entry}.py")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, script, *arguments, "tracking=disabled", f"output={self.output}"],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def wait(self):
        """Return its exit status and what it printed."""
        return self.process.wait(timeout=240), self.log.read_text()

    def until(self, look):
        """What `look` finds, as soon as that is something."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if found := look():
                return found
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise TimeoutError(self.log.read_text())

    def end(self):
        """Kills what is left of it: a test that fails must not slow down those after it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
