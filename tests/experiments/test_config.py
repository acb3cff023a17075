"""Types of configs: a config that differs little from the last one gets them as any other does."""

from itertools import pairwise

import pytest
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from experiments import config
from experiments.config import checked
from experiments.settings import CONF
from experiments.sweeps.composing import Composer
from swag_repro.errors import SettingError

COMMANDS = [
    ("stylize", []),
    ("stylize", ["weights=random", "weights.seed=1"]),
    (
        "stylize",
        ["weights=random", "weights.seed=1", "objective.style_weight=3"],
    ),  # an integer where a float is wanted
    (
        "stylize",
        ["weights=random", "weights.seed=1", "objective.style_weight=3.5", "compute.threads=2"],
    ),  # these were null before
    ("stylize", ["network=resnet50", "smoothing=swag"]),
    ("stylize", ["network=resnet50", "smoothing=swag", "smoothing.temperature=peak/4"]),
    ("stylize", ["content=[a,b]", "style=[c,d]"]),
    ("stylize", ["content=[a,b]", "style=[c,e]"]),
    ("stylize", ["measures=none", "scales=[0.5,1]"]),
    ("measure_activations", ["weights.seed=1"]),
    ("measure_activations", ["weights.seed=2", "progress=false"]),
    ("measure_activations", ["weights.seed=2", "force=1"]),  # 1 means true
]

MISTAKES = [
    ("coarsest=many", "coarsest"),
    ("images.size=large", "images.size"),
    ("+color2=red", "color2"),
    ("images.size=null", "images.size"),
]


@pytest.fixture(scope="module")
def composers():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield {entry: Composer(entry) for entry in ("stylize", "measure_activations")}


def test_after_another_config_types_are_the_same(composers):
    """One after the other, there and back: each command has two others before it."""
    for before, (entry, overrides) in pairwise([*COMMANDS, *reversed(COMMANDS)]):
        composed = composers[entry](overrides)
        config._last.clear()
        alone = checked(composed, entry)
        checked(composers[before[0]](before[1]), before[0])
        after = checked(composed, entry)
        plain = [repr(OmegaConf.to_container(found)) for found in (after, alone)]
        assert plain[0] == plain[1], (before, overrides)
        assert after._metadata.object_type is alone._metadata.object_type


@pytest.mark.parametrize(("override", "name"), MISTAKES)
def test_after_another_config_a_mistake_is_the_same_mistake(composers, override, name):
    messages = []
    for before in ([], ["weights=random", "weights.seed=1"]):
        config._last.clear()
        for overrides in before and [before]:
            checked(composers["stylize"](overrides), "stylize")
        with pytest.raises(SettingError) as raised:
            checked(composers["stylize"]([override]), "stylize")
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
    assert name in messages[0]


def test_a_config_that_is_changed_changes_no_other(composers):
    composed = composers["stylize"]([])
    first = checked(composed, "stylize")
    first.steps = 7
    assert checked(composed, "stylize").steps != 7
