"""For the tests of entry points."""

import itertools
import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from experiments.launching import launch
from experiments.sweeps.plan import SweepCallback
from tests.composing import composed_once


@pytest.fixture(scope="session", autouse=True)
def _composed_once():
    with composed_once():
        yield


@pytest.fixture
def run(request, tmp_path, monkeypatch, capfd):
    """Calls the test module's `main` in this process: `run(arguments) -> exit status, what was printed`."""

    def call(*arguments, tracking="disabled"):
        output = [f"output={tmp_path / 'out'}", f"tracking={tracking}"]
        flags = list(itertools.takewhile(lambda argument: argument.startswith("-"), arguments))
        monkeypatch.setattr(sys, "argv", ["main.py", *flags, *output, *arguments[len(flags) :]])
        monkeypatch.setattr(SweepCallback, "started", None)
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as exit_:
            launch(request.module.main)
        printed = capfd.readouterr()
        return exit_.value.code or 0, printed.out + printed.err

    return call
