"""The short form of the harness; `make faults` is the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)  # an idle machine needs less than half a minute
@pytest.mark.slow
def test_one_fault_of_each_kind_loses_and_damages_nothing():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.faults", "--short"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 problems" in done.stdout
    for kind in (
        "SIGKILL to the group",
        "SIGTERM to the launcher",
        "in a finished run",
        "in an interrupted run",
        "twice at once",
    ):
        assert kind in done.stdout
