"""Fixtures for the tests of entry points."""

import functools
import itertools
import sys
from contextlib import nullcontext

import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments import launching
from experiments.sweeps import worker
from experiments.sweeps.sweep import Sweep
from tests.experiments.launched import Launched


@pytest.fixture(scope="session", autouse=True)
def _collected_quickly():
    """A sweep that ends would undo what `tests/conftest.py` has done for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_quick_collections", nullcontext)
        yield


def exit_status(main, arguments, patch):
    """Return the exit status of an entry point, called in this process."""
    patch.setattr(sys, "argv", ["main.py", *arguments])
    patch.setattr(Sweep, "launched", None)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as exit_:
        launching.launch(main)
    return exit_.value.code or 0


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """Calls an entry point in this process: `call(main, arguments) -> exit status, what was printed`."""

    def called(main, *arguments, tracking="disabled"):
        output = [f"output={tmp_path / 'out'}", f"tracking={tracking}"]
        flags = list(itertools.takewhile(lambda argument: argument.startswith("-"), arguments))
        status = exit_status(main, [*flags, *output, *arguments[len(flags) :]], monkeypatch)
        printed = capfd.readouterr()
        return status, printed.out + printed.err

    return called


@pytest.fixture
def launch(tmp_path):
    """Starts an entry point in a process of its own: `launch(entry, *arguments) -> Launched`."""
    launched = []

    def start(entry, *arguments):
        launched.append(Launched(tmp_path, entry, *arguments))
        return launched[-1]

    yield start
    for one in launched:
        one.end()


@pytest.fixture
def run(request, call):
    """Call the test module's `main`, as `call` does: `run(arguments)`."""
    return functools.partial(call, request.module.main)


@pytest.fixture
def two_pairs():
    """Overrides: two small pairs of one size, and a small network."""
    return [
        "images.size=32",
        "images.source.limit=2",
        "images.resize=squash",
        "network=resnet18",
        "weights=random",
        "compute.threads=1",
    ]
