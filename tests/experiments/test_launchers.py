"""Sweeps under launchers that start processes on one machine; the other tests of sweeps use none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swag_repro.runs.records import all_runs

ROOT = Path(__file__).parents[2]
CHEAP = {
    "measure_activations": ["images.size=32", "images.source.limit=1"],
    "stylize": ["weights=random", "images.size=32", "images.source.limit=1", "steps=2", "measures=none"],
}
JUDGE = [
    "measures=default", "network@measures.network=resnet34", "network@measures.alternative=resnet34",
    "weights@measures.weights=random",
]  # fmt: skip
LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"],
}


def swept(entry, folder, *arguments):
    """The runs that two cells of a sweep compute."""
    script = str(ROOT / "experiments" / f"{entry}.py")
    fixed = ["network=resnet18", "compute.threads=1", "tracking=disabled", f"output={folder / 'out'}"]
    command = [sys.executable, script, "-m", *fixed, "weights.seed=0,1", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 cells in" in done.stderr
    assert "2 computed." in done.stderr
    records = [record for record in all_runs(folder / "out") if record.status.experiment == entry]
    assert sorted(record.config["weights"]["seed"] for record in records) == [0, 1]
    assert [record.damage() for record in records] == [[], []]
    return records


@pytest.mark.slow
def test_an_entry_point_runs_under_submitit(tmp_path):
    """What a launcher pickles and awaits is the frame's, and the same for all entry points."""
    records = swept(
        "measure_activations", tmp_path, *CHEAP["measure_activations"], *LAUNCHERS["submitit_local"]
    )
    assert records == list(all_runs(tmp_path / "out"))


@pytest.mark.slow
def test_pictures_and_their_judges_are_computed_under_joblib(tmp_path):
    painted = swept("stylize", tmp_path, *CHEAP["stylize"], *JUDGE, *LAUNCHERS["joblib"])
    judged = [record for record in all_runs(tmp_path / "out") if record.status.experiment == "judge"]
    assert {record.identity.config["stylization"] for record in judged} == {run.path.name for run in painted}
    assert all(record.rows().num_rows == 7 for record in judged)


@pytest.mark.slow
def test_trainings_under_joblib_have_processes_that_read(tmp_path):
    smallest = ["recipe=decoder", "recipe.steps=2", "recipe.batch_size=2", "crop.short=48", "crop.size=44"]
    small = [
        "network=small_no_shortcut",
        "weights=trained",
        "images.size=48",
        "images.source.limit=1",
        "shown=[]",
    ]
    swept("train_feedforward", tmp_path, *smallest, *small, "compute.workers=1", *LAUNCHERS["joblib"])
