"""`docs/own_project`, copied to an empty folder: a user's own network, loss, smoothing, experiment and figure."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from analysis.commands import main as analyse
from experiments import show_network
from experiments.asking import UsersSettings
from experiments.measure_activations import main as measure
from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro.runs.records import all_runs

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "docs" / "own_project"
TINY = ["images.size=32", "compute.threads=1", "tracking=disabled"]
MORE = {
    "stylize": [*TINY, "steps=2"],
    "figure": [*TINY, "steps=2"],
    "measure": [*TINY, "images.source.limit=1"],
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the folder; this process forgets its settings and modules."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(UsersSettings, "folder", None)
    yield Path(shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__")))
    sys.modules.pop("mine", None)


def shell(folder, command):
    """Return the exit status of a command in a shell whose Python knows nothing of the folder, and its words."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "experiments" / "plugins")]),
        "OMP_NUM_THREADS": "1",
    }
    words = ["bash", "-c", command]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_its_page(project):
    readme = (project / "README.md").read_text()
    commands = re.findall(
        r"^swag (\S+) .*$", re.search(r"```sh\n(.*?)```", readme, re.DOTALL)[1], re.MULTILINE
    )
    lines = [line for line in readme.splitlines() if line.startswith("swag ")]
    assert commands == ["network", "stylize", "measure", "stylize", "status", "sheet", "figure"]
    for name, line in zip(commands, lines, strict=True):
        status, said = shell(project, " ".join([line, *MORE.get(name, [])]))
        assert status == 0, f"{line}: {said}"
    with Image.open(project / "results" / "bars" / "bars.png") as drawn:
        assert drawn.size == (1000, 600)
    numbers = pd.read_csv(project / "results" / "bars" / "bars.csv").query("statistic == 'style_distance'")
    assert len(numbers) == 8  # two pairs of four arms
    runs = {record.path.name: record.rows().to_pandas() for record in all_runs(project / "outputs")}
    rows = [runs[name] for name in numbers["run_id"].unique()]
    names = {(row["smoothing"].iloc[0], row["loss"].iloc[0]) for row in rows}
    assert names == {(s, o) for s in ("none", "saturation(half=1)") for o in ("gram", "quantiles")}
    losses = [row.groupby("statistic")["value"].sum() for row in rows]
    assert all(loss["total_loss"] < loss["first_total_loss"] for loss in losses)
    assert len({loss["total_loss"] for loss in losses}) == 4


ONE = [
    "content=chelsea",
    "style=edith",
    "network=shallow",
    "weights=random",
    "measures=none",
    *TINY,
    "steps=1",
]


def test_its_modules_are_found_beside_its_settings(run, project):
    status, printed = run(
        f"--config-dir={project / 'conf'}", *ONE, "smoothing=saturation", "objective=quantiles"
    )
    assert status == 0, printed


def test_a_module_that_is_nowhere_is_one_message(run, project):
    file = project / "conf" / "network" / "shallow.yaml"
    file.write_text(file.read_text().replace("mine.Shallow", "nowhere.Shallow"))
    status, printed = run(f"--config-dir={project / 'conf'}", *ONE)
    assert status == 1
    assert " ".join(printed.split()) == (
        "error: `network.builder._target_` should be the path of a class or function; found 'nowhere.Shallow' "
        "(ModuleNotFoundError: No module named 'nowhere'). A module of your own should lie beside the folder of "
        "--config-dir, or on PYTHONPATH."
    )


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("conf/network/shallow.yaml", "mine.Shallow", "mine.Shalow", "found no Shalow in mine. Did you mean Shallow?"),
        ("conf/network/shallow.yaml", "channels: 32", "chanels: 3", "found an unknown key. Did you mean channels?"),
        ("conf/network/shallow.yaml", "filters: relu", "filters: rlu", "found 'rlu'. Did you mean relu?"),
        ("conf/network/shallow.yaml", "filters: relu", "filters: x", "`swag network shallow` lists them, one of your own"),
        ("mine.py", "class Shallow(", "class Shallow((", "(mine.py, line 19)). Mend PROJECT/mine.py, line "),
        ("mine.py", "class Shallow(", "nonsense\n\nclass Shallow(", "(NameError: name 'nonsense' is not defined). Mend PROJECT/mine.py, line "),
        ("mine.py", "class Shallow(", "import nonsense\n\nclass Shallow(", "No module named 'nonsense'). Mend PROJECT/mine.py, line "),
    ],
)  # fmt: skip
def test_a_fault_of_a_module_or_a_network_names_its_place(run, project, file, old, new, message):
    path = project / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    status, printed = run(f"--config-dir={project / 'conf'}", *ONE)
    assert status == 1
    assert message.replace("PROJECT", str(project)) in " ".join(printed.split())


def test_what_the_user_got_wrong_is_said(run, project):
    arguments = [f"--config-dir={project / 'conf'}", *ONE]
    for override, message in {
        "smoothing.half=large": "`smoothing.half` should be a number; found 'large'",
        "smoothing.half=-1": "`smoothing.half` should be a number above 0; found -1",
        "smoothing.hlaf=1": "`smoothing.hlaf` should be a setting of this command; found none of that name",
    }.items():
        status, printed = run(*arguments, "smoothing=saturation", override)
        assert (status, message in " ".join(printed.split())) == (1, True), printed
    status, printed = run(*arguments, "smoothing=saturated")
    assert (status, "`smoothing` should be one of " in printed) == (1, True)


def test_commands_that_read_know_its_experiments_and_modules(project, capfd):
    settings = ["--config-dir", str(project / "conf")]
    output = ["--output", str(project / "outputs")]
    (project / "outputs" / "runs").mkdir(parents=True)
    assert show_network.main(["shallow", *settings]) == 0
    assert "filters" in capfd.readouterr().out
    assert analyse(["status", "experiment=mine", *settings, *output]) == 0
    assert capfd.readouterr().out.splitlines()[1] == "4 cells: 4 missing"
    assert analyse(["figure", "mine", "experiment=mine", *settings, *output]) == 1
    assert (
        "`figure` should be a module with load, make and save; found mine without load"
        in capfd.readouterr().err
    )
    assert analyse(["figure", "no_such_figure", *settings, *output]) == 1
    said = capfd.readouterr().err
    assert "`figure` should be one of fig1" in said
    assert "A module of your own should lie beside the folder of --config-dir, or on PYTHONPATH." in said


def test_an_experiment_of_another_command_is_refused(call, project):
    status, printed = call(measure, f"--config-dir={project / 'conf'}", "experiment=mine")
    assert status == 1
    assert f"Type: swag stylize -m --config-dir={project / 'conf'} experiment=mine" in " ".join(
        printed.split()
    )
