"""The bar of a cell."""

import io
import re
import time

import pytest
from rich.console import Console

from experiments.sweeps import progress


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
    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "\n", console.file.getvalue()).replace("\n", "")
    assert re.search(r"cell 3/40[^…]*….{1,40} 50[01]/1000 evaluations", told), told
    assert re.search(rf"\d:\d\d:\d\d left {left}", told)
