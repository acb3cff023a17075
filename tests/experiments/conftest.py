"""For the tests of entry points."""

import functools
import itertools
import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments.launching import launch
from experiments.sweeps.sweep import Sweep
from tests.composing import composed_once


@pytest.fixture(scope="session", autouse=True)
def _composed_once():
    with composed_once():
        yield


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """Calls an entry point in this process: `call(main, arguments) -> exit status, what was printed`."""

    def called(main, *arguments, tracking="disabled"):
        output = [f"output={tmp_path / 'out'}", f"tracking={tracking}"]
        flags = list(itertools.takewhile(lambda argument: argument.startswith("-"), arguments))
        monkeypatch.setattr(sys, "argv", ["main.py", *flags, *output, *arguments[len(flags) :]])
        monkeypatch.setattr(Sweep, "launched", None)
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as exit_:
            launch(main)
        printed = capfd.readouterr()
        return exit_.value.code or 0, printed.out + printed.err

    return called


@pytest.fixture
def run(request, call):
    """Calls the test module's `main` likewise: `run(arguments)`."""
    return functools.partial(call, request.module.main)


@pytest.fixture
def two_pairs():
    """Overrides: two small pairs of one size, and a small network."""
    return [
        "images.size=32",
        "images.source.limit=2",
        "images.resize=squash",
        "network=resnet18",
        "compute.threads=1",
    ]
