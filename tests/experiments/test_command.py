"""Commands with an evident mistake are refused before anything runs."""

import re

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments.command import CONF, check_overrides, entry_of, experiments
from experiments.config import checked
from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro.errors import SettingError


@pytest.mark.parametrize("experiment", experiments())
def test_an_experiment_says_which_entry_point_it_is_for(experiment):
    lines = (CONF / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    assert f"python experiments/{entry_of(experiment)}.py -m experiment={experiment}" in lines[1]


def composed(experiment):
    """Return its config with Hydra's own part, which tells what was chosen and what is swept."""
    entry = entry_of(experiment)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(entry, [f"experiment={experiment}"], return_hydra_config=True)


@pytest.mark.parametrize("experiment", experiments())
def test_every_experiment_composes_and_none_takes_a_picture_s_defaults_by_accident(experiment):
    """A stylisation's defaults are for a picture by itself: what is compared says its schedule and balance."""
    config = composed(experiment)
    assert config.name == experiment
    if config.entry == "train_feedforward":
        assert config.objective.balance == "sides"  # the balance of AdaIN and of Johnson et al.
    if config.entry != "stylize":
        return
    swept = (config.hydra.sweeper.params or {}).get("preset")
    if config.hydra.runtime.choices.preset is not None or swept is not None:
        return
    own = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml")
    assert {"steps", "evaluations"} <= own.keys()
    assert "balance" in own.objective


@pytest.mark.parametrize("name", ["fig3", "fig1,fig3"])
def test_a_sweep_of_another_entry_point_is_refused_whole(name):
    with pytest.raises(SettingError, match="Type: swag measure -m experiment=fig3"):
        check_overrides("stylize", [f"experiment={name}"])
    check_overrides("measure_activations", ["experiment=fig3", "network=vgg19,resnet50"])


def test_help_lists_the_entry_point_s_experiments_only(run):
    status, printed = run("--help")
    assert status == 0, printed
    [listed] = re.findall(r"^experiment: (.*)$", printed, re.MULTILINE)
    assert set(listed.split(", ")) == {name for name in experiments() if entry_of(name) == "stylize"}
    assert "python experiments/stylize.py" in printed


def test_one_cell_of_a_sweep_needs_no_m(run):
    """Each setting that the experiment sweeps has one value; what is refused then is its missing picture."""
    status, printed = run(
        "experiment=fig1", "network=resnet18", "weights=random", "smoothing=none", "content=nowhere.png"
    )
    assert status == 1
    assert "`content` should be an image file" in printed


def test_every_wrong_choice_names_the_right_ones():
    assert (CONF / "weights").is_dir()
    with pytest.raises(
        SettingError,
        match="`weights` should be one of file, imagenet, pretrained, random, run, trained; found 2",
    ):
        check_overrides("stylize", ["weights=2"])
    with pytest.raises(SettingError, match="`preset` should be one of .*; found nothing"):
        check_overrides("stylize", ["preset=null"])  # Hydra would raise a ValueError
    check_overrides("stylize", ["~preset", "weights=random,file", "~experiment"])


@pytest.mark.parametrize("override", ["output='~/x'", "content='~/x'", "+weights.folder='~/x'"])
def test_a_path_may_begin_at_home(override, monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = checked(compose("stylize", [override]), "stylize")
    key = override.lstrip("+").partition("=")[0]
    assert OmegaConf.select(config, key) == "/somewhere/x"
