"""The bar of a cell."""

import io
import re
import time

import pytest
from rich.console import Console

from experiments.frame import Context
from experiments.sweeps import progress
from experiments.sweeps.composing import Grid
from experiments.sweeps.sweep import CellPlace
from tests.sweeps.started import started


@pytest.mark.parametrize("left", ["", "sweep: about 1:02:03 left"])
@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_bar_keeps_its_numbers(monkeypatch, width, left):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, soft_wrap=True)
    monkeypatch.setattr(progress, "console", console)
    what = "cell 3/40 ResNet-50 of half width (pretrained) gram, 4 pairs at 256×384 px"
    items = ((1, number) for number in range(1000))
    for number in progress.track(items, total=1000, what=what, left=left, enabled=True, unit="evaluations"):
        if number == 500:
            time.sleep(0.3)
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", console.file.getvalue()).replace("\n", "")
    assert re.search(r"cell 3/40[^…]*….{1,40} 50[01]/1000 evaluations", printed), printed
    assert re.search(rf"\d:\d\d:\d\d left {left}", printed)


@pytest.mark.parametrize("workers", [1, 2])
def test_several_workers_show_no_bars(monkeypatch, tmp_path, workers):
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(progress, "console", console)
    sweep = started(tmp_path, Grid((("a=1", "a=2"),)), workers=workers)
    context = Context(run=None, tracker=None, place=CellPlace(sweep, 0), label="it", progress=True)
    assert list(context.shown([(1, "x")], total=1, unit="images")) == ["x"]
    assert bool(console.file.getvalue()) == (workers == 1)
