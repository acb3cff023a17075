"""Under the launchers of one machine that make processes; the tests beside this one use none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swag_repro.runs.records import all_runs

ROOT = Path(__file__).parents[2]
CHEAP = {
    "measure_activations": ["images.size=32", "images.source.limit=1"],
    "stylize": ["images.size=32", "images.source.limit=1", "steps=2", "measures=none"],
}
LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"],
}


def command(entry, folder, *arguments):
    script = str(ROOT / "experiments" / f"{entry}.py")
    fixed = ["network=resnet18", "compute.threads=1", "tracking=disabled", f"output={folder / 'out'}"]
    return [sys.executable, script, "-m", *CHEAP[entry], *fixed, *arguments]


@pytest.mark.slow
@pytest.mark.parametrize(("entry", "launcher"), list(zip(CHEAP, LAUNCHERS, strict=True)))
def test_every_entry_point_runs_under_a_launcher_and_every_launcher_runs_one(entry, launcher, tmp_path):
    """Not each under each: what a launcher pickles and awaits is the frame's, and the same for all."""
    arguments = command(entry, tmp_path, "weights.seed=0,1", *LAUNCHERS[launcher])
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        arguments, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 cells in" in done.stderr
    assert "2 computed." in done.stderr
    records = list(all_runs(tmp_path / "out"))
    assert {record.status.experiment for record in records} == {entry}
    assert sorted(record.config["weights"]["seed"] for record in records) == [0, 1]
    assert [record.damage() for record in records] == [[], []]
