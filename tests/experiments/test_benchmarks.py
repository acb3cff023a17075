"""What the benchmarks compare minimises one and the same."""

import pytest
import torch

from experiments.benchmarks.engine import FULL, Engine, Setup, Textbook, architecture_of


def test_the_engine_comes_to_the_textbook_s_loss():
    architecture = architecture_of("resnet18")
    setup = Setup(architecture=architecture, size=32, batch=2, closures=3, device=torch.device("cpu"))
    expected = Textbook(setup, frozen=True)()
    assert Engine(setup, FULL)() == pytest.approx(expected, rel=1e-3)
