"""Commands with an evident mistake are refused before anything runs."""

import re
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments import help as helping
from experiments.command import check_overrides, entry_asked
from experiments.config import checked
from experiments.settings import CONF, comment_of, entries, entry_of, experiments, settings_of
from experiments.stylize import main
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


@pytest.fixture
def helped(monkeypatch, capsys):
    """Calls the entry point for its help: `helped(arguments) -> what was printed`."""

    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["stylize.py", *arguments])
        main()
        return capsys.readouterr().out

    return called


def test_help_is_short_and_names_what_is_used_most(helped):
    printed = helped("--help")
    assert len(printed.splitlines()) < 60
    assert re.search(r"images\.size=256 +pixels", printed)
    assert len(re.findall("^  swag stylize ", printed, re.MULTILINE)) == 4


def test_help_of_a_group_explains_its_choices_and_lists_the_entry_point_s_experiments_only(helped):
    printed = helped("--help", "smoothing")
    assert "default: none" in printed
    assert re.search("^  log1p +Extension of the paper", printed, re.MULTILINE)
    printed = helped("--help", "experiment")
    listed = set(re.findall(r"^  (\w+) ", printed, re.MULTILINE)) - {""}
    assert listed == {name for name in experiments() if entry_of(name) == "stylize"}


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("seed", ["seed of the noise", "type: a whole number", "default: 0"]),
        (
            "smoothing.temperature",
            [
                "type: a number or text",
                "1 (smoothing/channel_softmax, smoothing/swag)",
                "peak/2 (smoothing/softmax)",
                "a number, or peak/k",
            ],
        ),
        ("objective.style.normalizer", ["default:", "paper (loss/gram, loss/robust_gram)"]),
        ("images.size=512", ["pixels", "type: a whole number", "default: 256"]),
        ("measures.network.shortcut", ["λ in ReLU", "0.5 (network/small_half_shortcut)"]),
        ("stop", ["a pair ends early", "change ", "every "]),
        ("smoothing@objective.like", ["shares of the style layers", "softmax "]),
    ],
)
def test_help_of_a_setting_says_its_comment_type_and_default(helped, key, parts):
    printed = helped("--help", key)
    assert all(part in " ".join(printed.split()) for part in parts), printed


def test_help_of_an_unknown_setting_names_the_nearest(run):
    status, printed = run("--help=smothing")
    assert status == 1
    assert "Did you mean smoothing" in printed


UNSET = "${oc.env:SWAG_UNSET}"

REFUSED = {
    "an unknown key": (["netwrk=vgg16"], "`netwrk` should be a setting of this command; found none of that name. Did you mean network"),
    "an unknown key of a group": (["optimizer.lrr=1"], "Did you mean optimizer.lr?"),
    "a key with another's start": (["smoothing.scal=1"], "found none of that name. smoothing has "),
    "a key of another choice": (["smoothing.factor=1"], "--help smoothing.factor says which choices of its group have it."),
    "an unknown package": (["smoothing@objective.lik=softmax"], "Did you mean smoothing@objective.like"),
    "an unknown choice": (["network=resnet5"], "`network` should be one of"),
    "the nearest choice": (["network=resnet5"], "found 'resnet5'. Did you mean resnet50 or"),
    "an unset variable": ([f"name={UNSET}"], "`$SWAG_UNSET` should be set, because name refers to it"),
    "an unset variable of the output's": ([f"output={UNSET}"], "`$SWAG_UNSET` should be set"),
    "an unset variable of Hydra's": ([f"hydra.run.dir={UNSET}"], "`$SWAG_UNSET` should be set"),
    "an unknown reference": (["name=${iamges.size}"], "Did you mean images.size "),
    "an agent's flags": (["--network=vgg16", "--seed=1"], "Write network=vgg16, without hyphens; as an agent of W&B: ${args_no_hyphens}."),
    "an unknown flag": (["--multirunn"], "unknown argument: --multirunn. Did you mean --multirun?"),
    "a flag's value": (["--cfg=nope"], "argument -c/--cfg: invalid choice: 'nope'"),
    "two forms": (["-m", "--cfg=job"], "not allowed with argument"),
    "a flag alone": (["--resolve"], "`--resolve` should stand beside --cfg"),
    "a missing folder": (["--config-dir=nowhere"], "`--config-dir` should be a folder; found nowhere."),
    "no =": (["content"], "should be key=value; found 'content' (no =). Write content=VALUE."),
    "no key": (["=3"], "should be key=value; found '=3'"),
    "signs": (["content=a b(1).jpg"], "go in two kinds of quotes"),
    "a sweep's node": (["hydra.sweeper.params=nope"], "`hydra.sweeper.params` should have keys"),
    "the same in a sweep": (["-m", "hydra.sweeper.params=nope"], "`hydra.sweeper.params` should have keys"),
    "a sweep without -m": (["network=vgg16,vgg19"], "`network` should have one value; found several. -m computes a sweep"),
    "a sweep of lists without -m": (["content=a.jpg,b.jpg"], "found several. -m computes a sweep; a list is content=[a,b]."),
    "another sweep of lists": (["scales=1,0.5"], "a list is scales=[a,b]."),
    "a sweep of single values": (["network=vgg16,vgg19"], "found several. -m computes a sweep."),
    "two pictures": (["photo.jpg", "a painting.jpg"], "found 'photo.jpg' (no =). Write content=photo.jpg 'style=a painting.jpg'."),
    "a second picture": (["content=photo.jpg", "painting.jpg"], "Write style=painting.jpg."),
    "a setting as a flag": (["seed=1", "--content", "photo.jpg"], "unknown argument: --content. Write content=photo.jpg, without hyphens."),
    "a setting as a flag alone": (["--seed"], "Write seed=VALUE, without hyphens."),
    "a comma at the end": (["network=vgg16,"], "found 'network=vgg16,' (a comma without a value on both sides). Write network=vgg16."),
    "two commas": (["-m", "network=vgg16,,vgg19"], "Write network=vgg16,vgg19."),
    "a comma at the start": (["network=,vgg19"], "Write network=vgg19."),
    "no grammar": (["name=[1,2"], "found 'name=[1,2' (no viable alternative at input '[1,2')."),
    "+ of what is there": (["+seed=1"], "should have no + before it"),
    "+ of a group that is there": (["+network=vgg16"], "should have no + before it"),
    "deletion of what is not there": (["~optimizer.lrr"], "Did you mean ~optimizer.lr "),
    "a value that decodes to nothing": (["name=${oc.decode:null}"], "`name` should be"),
    "a type of Hydra's": (["hydra.job=3"], "error: `hydra.job` should be"),
    "an index": (["scales.7=3"], "error: `scales"),
    "a key of Hydra's": (["hydra.nope=3"], "`hydra.nope` should be a setting"),
    "a launcher": (["-m", "hydra/launcher=basik"], "`hydra/launcher` should be one of basic"),
    "a resolver": (["name=${nope:3}"], "error: `name` should be"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_hydra_would_refuse_is_one_line_with_a_remedy(run, monkeypatch, arguments, message):
    monkeypatch.delenv("SWAG_UNSET", raising=False)
    status, printed = run(*arguments)
    assert status == 1, printed
    assert message in printed
    assert printed.startswith("error: "), printed
    assert len(printed.splitlines()) == 1, printed


def test_a_file_that_lies_below_its_group_names_its_first_line(run, tmp_path):
    (folder := tmp_path / "conf" / "experiment").mkdir(parents=True)
    (folder / "mine.yaml").write_text("entry: stylize\nsteps: 2\n")
    status, printed = run(f"--config-dir={folder.parent}", "experiment=mine")
    assert status == 1
    assert "`experiment` should be a file that begins with `# @package _global_`" in printed


def test_an_unknown_experiment_of_a_command_that_reads_names_what_is_missing(tmp_path):
    with pytest.raises(SettingError, match="found 'mine'. Of one of your own, .*--config-dir=conf"):
        entry_asked(["experiment=mine"])
    with pytest.raises(SettingError, match=r"Did you mean fig3\?"):
        entry_asked(["experiment=fig33"])
    with pytest.raises(SettingError, match="found 'mine'. `swag experiments`"):
        entry_asked(["experiment=mine"], tmp_path)


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


def test_the_page_of_all_settings_is_made_of_todays_comments():
    page = CONF.parent / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == helping.page(), "stale: make settings"


@pytest.mark.parametrize("entry", entries())
def test_every_setting_of_an_entry_point_has_a_comment(entry):
    silent = [one.key for one in settings_of(entry) if not comment_of(one.key) and one.group != "hydra"]
    assert not silent


@pytest.mark.parametrize("override", ["output='~/x'", "content='~/x'", "+weights.folder='~/x'"])
def test_a_path_may_begin_at_home(override, monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = checked(compose("stylize", [override]), "stylize")
    key = override.lstrip("+").partition("=")[0]
    assert config.select(key) == "/somewhere/x"
