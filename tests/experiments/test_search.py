"""Searches as a user runs them: what they try, what they resume, and how processes share one."""

import re
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("optuna")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from experiments.search import main  # noqa: F401  (the fixture `run` calls it)
from experiments.searching import Journal, as_overrides, distributions, ends
from swag_repro.errors import SettingError
from swag_repro.runs.records import all_runs

ROOT = Path(__file__).parents[2]
TINY = [
    f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]",
    "preset=equation",
    "network=tiny",
    "weights=random",
    "network@measures.network=tiny",
    "network@measures.alternative=tiny",
    "weights@measures.weights=random",
    "measures.weights.seed=7",
    "images.size=32",
    "images.source.limit=1",
    "compute.threads=1",
]
SHORT = [*TINY, "steps=2"]


def study_of(folder, name="style"):
    return Journal(folder / "out" / "studies", name).study


def started(folder):
    """Run id → when it was computed."""
    return {record.path.name: record.status.started_at for record in all_runs(folder / "out")}


def completed(study):
    return study.get_trials(states=(TrialState.COMPLETE,))


# --- One process ---------------------------------------------------------------------------------------


def test_the_same_command_goes_on_to_as_many_trials_as_asked_for(run, tmp_path):
    status, printed = run(*SHORT, "search.trials=2")
    assert status == 0, printed
    assert "2 of 2 trials done; 0 of them failed." in printed
    before = started(tmp_path)
    status, printed = run(*SHORT, "search.trials=3")
    assert status == 0, printed
    assert re.findall(r"^\[(.+?)\]", printed, re.MULTILINE) == ["3/3"]
    assert before.items() < started(tmp_path).items()

    trials = completed(study_of(tmp_path))
    assert [trial.number for trial in trials] == [0, 1, 2]
    table = pd.read_csv(tmp_path / "out" / "studies" / "style.csv")
    assert list(table["style_distance"]) == sorted(trial.value for trial in trials)
    assert table["best"].tolist() == [True, False, False]
    for record in all_runs(tmp_path / "out"):
        assert record.status.name == "style"
        if record.status.experiment == "judge":
            [row] = table[table["judge"] == record.path.name].to_dict("records")
            rows = record.rows().to_pandas()
            [measured] = rows[rows["statistic"] == "style_distance"]["value"]
            assert row["style_distance"] == pytest.approx(measured)
            assert row["smoothing.temperature"] == pytest.approx(record.config["smoothing"]["temperature"])

    status, printed = run(*SHORT, "search.show=true")
    assert status == 0, printed
    assert str(table["run_id"][0]) in printed
    assert len(started(tmp_path)) == 6


def test_another_search_of_the_same_name_is_refused(run, tmp_path):
    assert run(*SHORT, "search.trials=1")[0] == 0
    before = started(tmp_path)
    for other, differs in (
        (["+search.space={seed:[0,1]}"], "search.space."),
        (["steps=3"], "the other settings, or pictures"),
        (["search.objectives.style_distance.aggregate=max"], "search.objectives"),
    ):
        status, printed = run(*SHORT, *other, "search.trials=2")
        assert status == 1
        if differs is not None:
            assert f"a study of that name that differs in {differs}" in printed
    assert started(tmp_path) == before


def test_of_two_objectives_the_best_are_those_no_other_beats(run, tmp_path):
    status, printed = run("search=tradeoff", *SHORT, "search.trials=3")
    assert status == 0, printed
    table = pd.read_csv(tmp_path / "out" / "studies" / "tradeoff.csv")
    pairs = table[["style_distance", "cfsd"]]
    beaten = [bool((pairs < row).all(axis=1).any()) for _, row in pairs.iterrows()]
    assert table["best"].tolist() == [not one for one in beaten]


def test_a_query_that_fits_no_row_ends_the_search_and_may_be_mended(run, tmp_path):
    wrong = """search.objectives.style_distance.query='statistic == "nothing"'"""
    status, printed = run(*SHORT, "search.trials=3", wrong)
    assert status == 1
    assert "should fit at least one row of a trial" in printed
    assert "cfsd" in printed
    assert len(study_of(tmp_path).trials) == 1
    status, printed = run(*SHORT, "search.trials=1")
    assert status == 0, printed
    assert len(completed(study_of(tmp_path))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["+search.space={objective.style_wieght:[1,2]}"],
            "`objective.style_wieght` should be a setting of this command",
        ),
        (["+search.space={seed:{low:3,high:1}}"], "`low <= high` must hold, but got (low=3"),
        (["objective.style_weight=3"], "`objective.style_weight` should be searched or given; found both."),
        (
            ["search.objectives.style_distance.query='statistics == 1'"],
            "should be a query of pandas over the columns",
        ),
        (["search.objectives.style_distance.aggregate=mode"], "should be one of mean, median, min, max"),
        (["search.name=a/b"], "`search.name` should be the name of a file; found 'a/b'"),
        (["search.trials=0"], "`search.trials` should be a whole number from 1; found 0"),
        (["search.trials=many"], "`search.trials` should be a whole number; found 'many'"),
        (["search.show=true"], "`search.name` should be the name of a study that was begun"),
        (["+search.space={smoothing.over:[layer,world]}"], "world"),
    ],
)
def test_what_can_t_be_meant_is_refused_before_anything_is_computed(run, tmp_path, arguments, message):
    status, printed = run(*SHORT, *arguments)
    assert status == 1
    assert message in printed
    assert printed.count("error:") == 1
    assert "Error executing job" not in printed
    assert not (tmp_path / "out" / "runs").exists()


def test_a_search_is_not_swept(run):
    status, printed = run("-m", *SHORT, "search.seed=0,1")
    assert status == 1
    assert "`-m` should be left out; found a sweep over search.py." in printed


def test_an_experiment_may_sweep_what_is_searched(run):
    """Its other swept settings have one value each; what is refused then is a missing picture."""
    arguments = ["experiment=style_content_curve", *SHORT, "weights=random", "content=nowhere.png"]
    status, printed = run(*arguments, "smoothing=softmax")
    assert status == 1
    assert "`content` should be an image file" in printed
    status, printed = run(*arguments)
    assert status == 1
    assert "found a sweep over smoothing." in printed


def test_a_missing_package_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    status, printed = run(*SHORT)
    assert status == 1
    assert "`search` needs Optuna" in printed
    assert "Install it: pip install 'swag-repro[search]'" in printed


# --- The space, and the journal ------------------------------------------------------------------------


def test_a_space_is_of_floats_whole_numbers_or_choices():
    space = distributions(
        {
            "a": {"low": 1, "high": 10},
            "b": {"low": 1, "high": 7, "step": 2},
            "c": {"low": 0.1, "high": 10, "log": True},
            "d": ["none", "softmax", None],
        }
    )
    assert space == {
        "a": FloatDistribution(1, 10),
        "b": IntDistribution(1, 7, step=2),
        "c": FloatDistribution(0.1, 10, log=True),
        "d": CategoricalDistribution(["none", "softmax", None]),
    }
    assert list(ends(space)) == [
        {"a": 1, "b": 1, "c": 0.1, "d": "none"},
        {"a": 10, "b": 7, "c": 10, "d": "softmax"},
        {"a": 10, "b": 7, "c": 10, "d": None},
    ]
    assert as_overrides({"a": "softmax", "b": None, "c": True, "d": 1e-5}) == [
        "a=softmax", "b=null", "c=true", "d=1e-05"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low": 3, "high": 2}, "`low <= high` must hold"),
        ({"low": 0, "high": 1, "log": True}, "`low > 0` must hold for `log=True`"),
        ({"low": 1, "high": 2, "log": True, "step": 0.5}, "`step` is not supported when `log` is true"),
        ({"low": 1.0, "high": 2.0, "step": 3}, "is not divisible by `step`"),
        ({"low": "1e-3", "high": 2}, "'1e-3' is no number; 1e-3 is none in YAML, 1.0e-3 is"),
        ({"low": 1, "high": float("inf")}, "inf is no number"),
        ({"low": 1, "hihg": 2}, "unexpected keyword argument 'hihg'"),
        ([], "`choices` must contain one or more elements"),
        ([[1]], "Choices for a categorical distribution should be"),
    ],
)
def test_limits_that_leave_nothing_are_refused(given, message):
    with pytest.raises(SettingError, match=re.escape(message)) as refused:
        distributions({"x": given})
    assert "`search.space.x` should be a list of choices, or have low and high" in str(refused.value)


def test_a_torn_line_of_a_journal_is_cut_off(run, tmp_path):
    assert run(*SHORT, "search.trials=1")[0] == 0
    with (tmp_path / "out" / "studies" / "style.journal").open("ab") as file:
        file.write(b'{"to')
    status, printed = run(*SHORT, "search.trials=2")
    assert status == 0, printed
    assert len(completed(study_of(tmp_path))) == 2


# --- Processes -----------------------------------------------------------------------------------------


@pytest.fixture
def search(launch):
    """Starts a search in a process of its own: `search(*arguments) -> Launched`."""
    return lambda *arguments: launch("search", *TINY, *arguments)


LONG = ["steps=500", "evaluations=null", "optimizer=adam"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_trial_that_was_cut_short_is_taken_up_again(tmp_path, search, run, number):
    searching = search(*LONG, "search.trials=2")
    searching.until(lambda: list((tmp_path / "out" / "runs").glob("*/status.json")))
    searching.process.send_signal(number)
    status, printed = searching.wait()
    assert status == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in printed
    [begun] = study_of(tmp_path).trials
    assert begun.state == TrialState.RUNNING
    status, printed = run(*TINY, *LONG, "search.trials=2")
    assert status == 0, printed
    assert "2 of 2 trials done; 0 of them failed." in printed
    [again, other] = completed(study_of(tmp_path))
    assert again.params == begun.params
    assert again.number == begun.number
    assert other.params != begun.params
    assert len(started(tmp_path)) == 4


@pytest.mark.slow
def test_two_processes_share_a_study(tmp_path, search):
    searches = [search("steps=20", "search.trials=8") for _ in range(2)]
    ends_ = [searching.wait() for searching in searches]
    assert [status for status, _ in ends_] == [0, 0], ends_
    trials = completed(study_of(tmp_path))
    assert [trial.number for trial in trials] == list(range(8))
    assert len({tuple(trial.params.values()) for trial in trials}) == 8
    lines = [len(re.findall(r"^\[\d/8\]", printed, re.MULTILINE)) for _, printed in ends_]
    assert sum(lines) == 8
    assert min(lines) > 0
    assert len(started(tmp_path)) == 16
