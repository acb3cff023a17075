"""For all tests."""

import os
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As behind `nohup ... &`: the processes that tests start would ignore Ctrl-C, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers would fight for the cores

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import pytest
import torch
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's doing; so is the first text, for which tables of Unicode are made.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _subnormals():
    """An entry point called in this process changes how the processor treats them, for all that follows."""
    yield
    torch.set_flush_denormal(False)
