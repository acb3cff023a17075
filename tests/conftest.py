"""Settings and fixtures for all tests."""

import gc
import os
import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Under `nohup ... &`, processes that tests start would ignore Ctrl-C, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # otherwise workers compete for the cores

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import pytest
from hypothesis import HealthCheck, settings

from tests.composing import composed_once

# The time of an example depends on the machine; the first text also waits for tables of Unicode.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Garbage is not looked for in all that tests import: that takes half a second, at the end of each cell."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionfinish():
    gc.unfreeze()  # triton lists what is left at the end of the process


@pytest.fixture(scope="session", autouse=True)
def _composed_once():
    with composed_once():
        yield


@pytest.fixture(autouse=True)
def _subnormals():
    """An entry point called in this process changes how the processor treats them, for all that follows."""
    yield
    if "torch" in sys.modules:  # tests of tables and figures need none, nor does who hands out tests
        sys.modules["torch"].set_flush_denormal(False)
