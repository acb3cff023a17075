"""Cells of a sweep and their configs, against those that Hydra makes of the same command."""

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from experiments.settings import CONF, entry_of, experiments
from experiments.sweeps.composing import Composer, Grid, as_typed, common, grid_of


@pytest.fixture(scope="module", autouse=True)
def _hydra():
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def multirun(entry, *overrides):
    hydra = GlobalHydra.instance().hydra
    config = hydra.compose_config(
        entry, list(overrides), run_mode=RunMode.MULTIRUN, with_log_configuration=False
    )
    return config.hydra


def hydras_own(hydra):
    """Cells as Hydra's own sweeper counts them."""
    plain = OmegaConf.to_container(hydra, resolve=False)
    params = [f"{key}={value}" for key, value in (plain["sweeper"]["params"] or {}).items()]
    parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(
        [*params, *plain["overrides"]["task"]]
    )
    [cells] = BasicSweeper.split_arguments(parsed, None)
    return cells


def cells(grid):
    return [grid[number] for number in range(len(grid))]


@pytest.mark.parametrize("experiment", experiments())
def test_an_experiment_has_hydras_cells_and_configs(experiment):
    entry = entry_of(experiment)
    hydra = multirun(entry, f"experiment={experiment}")
    grid = grid_of(hydra)
    assert cells(grid) == hydras_own(hydra)
    composer = Composer(entry)
    mine, hydras = composer(grid[len(grid) - 1]), compose(entry, grid[len(grid) - 1])
    assert OmegaConf.to_container(mine, resolve=False) == OmegaConf.to_container(hydras, resolve=False)
    assert mine == hydras


@pytest.mark.parametrize(
    "overrides",
    [
        ["weights=random", "weights.seed=range(0,3)", "smoothing=glob(s*)"],
        ["network=vgg16,resnet18", "network=vgg19"],
        ["weights=random", "weights.seed=1,2", "name='a, b',c", "+tracking.tags=[x,y],[z]"],
        ["smoothing=none", "~measures"],
        ["smoothing@objective.like=softmax,power", "measures={seed:4}"],
        ["experiment=mechanism_style", "arm=plain", "images.size=sort(64,32)"],
        ["network=vgg16", "name=a${network.name},b"],
    ],
)
def test_any_command_has_hydras_cells_and_configs(overrides):
    hydra = multirun("stylize", *overrides)
    grid = grid_of(hydra)
    assert cells(grid) == hydras_own(hydra)
    composer = Composer("stylize")
    for cell in cells(grid):
        assert composer(cell) == compose("stylize", cell)


def test_a_cells_config_is_its_own():
    composer = Composer("stylize")
    first = composer(["network=resnet18", "steps=1"])
    first.network.taps.conv1 = "spoilt"
    assert composer(["network=resnet18", "steps=1"]).network.taps.conv1 != "spoilt"


def test_a_large_grid_is_not_listed():
    grid = grid_of(multirun("stylize", "steps=range(1,100000)", "seed=range(0,100000)"))
    assert len(grid) == 99_999 * 100_000
    assert grid[len(grid) - 1] == ["steps=99999", "seed=99999"]
    with pytest.raises(IndexError):
        grid[len(grid)]


def test_samples_have_each_choice_once():
    composer = Composer("stylize")
    grid = grid_of(
        multirun("stylize", "network=vgg16,vgg19,resnet18", "steps=range(1,50)", "optimizer=adam,sgd")
    )
    samples = [grid[number] for number in grid.samples(composer.is_choice)]
    assert samples[0] == grid[0]
    assert [cell[0] for cell in samples] == [
        "network=vgg16",
        "network=vgg19",
        "network=resnet18",
        "network=vgg16",
    ]
    assert [cell[2] for cell in samples[-1:]] == ["optimizer=sgd"]


def test_what_tells_cells_apart():
    grid = grid_of(multirun("stylize", "steps=1,2", "network=vgg16", "name=a${network.name},b"))
    assert grid.own(0) == ["steps=1", "name=a${network.name}"]
    assert Grid((("a=1",), ("b=2",))).own(0) == ["a=1", "b=2"]
    assert common(cells(grid)) == {"network=vgg16"}
    assert common([]) == frozenset()
    assert as_typed(r"weights.path=my/$\{network.name\}\,\\.pth") == r"weights.path=my/${network.name},\.pth"
