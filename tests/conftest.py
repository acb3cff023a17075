"""For all tests."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers would fight for the cores

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import pytest
import torch


@pytest.fixture(autouse=True)
def _subnormals():
    """An entry point called in this process changes how the processor treats them, for all that follows."""
    yield
    torch.set_flush_denormal(False)
