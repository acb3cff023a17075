"""Sweeps as a user runs them: what they compute, what they leave, and how they end."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from experiments.measure_activations import main  # noqa: F401  (the fixture `run` calls it)
from experiments.sweeps.states import FAILURES
from experiments.sweeps.sweep import Sweep
from swag_repro.runs.records import all_runs

ROOT = Path(__file__).parents[2]
TINY = [f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]", "network=tiny"]
S = [*TINY, "images.size=32", "images.source.limit=1", "compute.threads=1"]
LONG = ["images.size=224", "images.source.limit=7", "compute.batch_size=1"]


def sweep_of(output):
    *_, newest = sorted(output.glob("sweeps/*"))
    return Sweep.read(newest)


# --- One process ---------------------------------------------------------------------------------------


def test_a_million_cells_are_refused(run, tmp_path):
    status, printed = run("-m", *S, "weights.seed=range(0,1000000)")
    assert status == 1
    assert "should be a sweep of at most 10000 cells; found 1000000. If you mean it, add" in printed
    assert not (tmp_path / "out" / "sweeps").exists()


def test_a_sweep_over_nothing_is_refused(run):
    status, printed = run("-m", *S, "weights.seed=range(0,0)")
    assert status == 1
    assert "`weights.seed` should have at least one value in a sweep; found none." in printed


def test_a_dry_run_lists_cells_and_computes_none(run, tmp_path):
    status, printed = run("-m", "--dry-run", *S, "weights.seed=range(0,30)", "smoothing=none,swag")
    assert status == 0
    assert "[2/60] weights.seed=0 smoothing=swag\n" in printed
    assert "... and 40 more\n60 cells for 1 workers. Nothing was computed." in printed
    assert not (tmp_path / "out" / "runs").exists()


def test_a_dry_run_refuses_what_the_cells_would_refuse(run, tmp_path):
    status, printed = run("-m", "--dry-run", *S, "weights.seed=0,1,-1")
    assert status == 1
    assert "[3/3] weights.seed=-1 error: `weights.seed` should be a whole number from 0" in printed
    assert "3 cells for 1 workers, of which 1 can't be computed. Nothing was computed." in printed
    assert "[1/3] weights.seed=0\n" in printed
    status, printed = run("--dry-run", *S, "weights=file", "weights.path=nowhere.pth")
    assert status == 1
    assert "`weights.path` should be a readable file" in printed
    assert not (tmp_path / "out" / "runs").exists()


def test_an_unknown_key_is_refused_before_anything_is_computed(run, tmp_path):
    status, printed = run("-m", *S, "weights.sede=1,2")
    assert status == 1
    assert "`weights.sede` should be a setting of this command" in printed
    assert not (tmp_path / "out" / "runs").exists()


def test_the_folder_of_a_sweep_tells_each_cell_and_its_run(run, tmp_path):
    status, printed = run("-m", *S, "weights.seed=0,1", "smoothing=none,swag")
    assert status == 0, printed
    sweep = sweep_of(tmp_path / "out")
    assert [sweep.grid.own(number) for number in range(4)] == [
        [f"weights.seed={seed}", f"smoothing={smoothing}"]
        for seed in (0, 1)
        for smoothing in ("none", "swag")
    ]
    runs = {record.path: record.config for record in all_runs(tmp_path / "out")}
    for number, found in enumerate(sweep.cells()):
        config = runs[Path(found.path)]
        assert sweep.grid.own(number) == [
            f"weights.seed={config['weights']['seed']}", f"smoothing={config['smoothing']['name']}"
        ]  # fmt: skip


def test_one_failing_cell_stops_no_other_and_is_left_after_three_failures_alike(run):
    arguments = ["-m", *S, "network.builder.channels=0,4"]
    for number in range(FAILURES):
        status, printed = run(*arguments)
        assert status == 1
        assert ("1 failed, 1 skipped." if number else "1 computed, 1 failed.") in printed
        assert "no channels" in printed
    status, printed = run(*arguments)
    assert status == 1
    assert "1 left, 1 skipped." in printed
    assert "failed 3 times alike: `network.builder` should be" in printed
    assert "1 failed, 1 skipped." in run(*arguments, "sweep=retry_failed")[1]
    status, printed = run(*arguments, "sweep=only_missing")
    assert status == 1
    assert "failed before: `network.builder` should be" in printed


def test_alone_a_failed_run_is_always_tried_again(run):
    for _ in range(FAILURES + 1):
        status, printed = run(*S, "network.builder.channels=0")
        assert status == 1
        assert "no channels" in printed


# --- Processes -----------------------------------------------------------------------------------------


@pytest.fixture
def sweep_over(launch):
    """Starts a sweep in a process of its own: `sweep_over(*arguments) -> Launched`."""
    return lambda *arguments: launch("measure_activations", "-m", *S, *arguments)


def until(sweep, outcome, number=1):
    """The sweep that was started, as soon as so many cells came to this."""

    def look():
        begun = any(sweep.output.glob("sweeps/*/plan.json"))
        found = sweep_of(sweep.output) if begun else None
        return found if found is not None and found.outcomes()[outcome] >= number else None

    return sweep.until(look)


def loky_workers(sweep):
    """Processes that joblib has started for a sweep."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"popen_loky" in (process / "cmdline").read_bytes() and os.getpgid(int(process.name)) == (
                sweep.process.pid
            ):
                yield int(process.name)


def whole(output, number):
    records = list(all_runs(output))
    return len(records) == number and all(record.damage() == [] for record in records)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(sweep_over):
    sweep = sweep_over(*LONG, "weights.seed=range(0,6)", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    until(sweep, "running", 2)
    os.kill(next(loky_workers(sweep)), signal.SIGKILL)
    status, printed = sweep.wait()
    assert status == 0, printed
    assert "workers were lost, so others are started" in printed
    assert "6 computed." in printed
    assert "Traceback" not in printed
    assert whole(sweep.output, 6)


@pytest.mark.slow
def test_the_launcher_and_its_workers_killed_at_once_lose_nothing(sweep_over):
    arguments = [*LONG, "weights.seed=range(0,6)", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    sweep = sweep_over(*arguments)
    until(sweep, "computed")
    workers = list(loky_workers(sweep))
    os.killpg(sweep.process.pid, signal.SIGKILL)
    for pid in workers:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    sweep.process.wait()
    done = {r.path.name: r.status.started_at for r in all_runs(sweep.output) if r.status.state == "finished"}
    again = sweep_over(*arguments)
    status, printed = again.wait()
    assert status == 0, printed
    assert f"{len(done)} skipped" in printed
    after = {record.path.name: record.status.started_at for record in all_runs(sweep.output)}
    assert done.items() <= after.items()
    assert whole(sweep.output, 6)


@pytest.mark.slow
def test_two_launchers_share_one_grid(sweep_over):
    launched = [sweep_over(*LONG, "weights.seed=range(0,16)") for _ in range(2)]
    ends = [sweep.wait() for sweep in launched]
    assert [status for status, _ in ends] == [0, 0], ends
    computed = [re.search(r"(\d+) computed[,.]", printed) for _, printed in ends]
    assert sum(int(found[1]) for found in computed if found) == 16
    assert whole(launched[0].output, 16)


@pytest.mark.slow
def test_a_folder_that_goes_away_for_a_while_is_waited_for(tmp_path, sweep_over):
    sweep = sweep_over(*LONG, "weights.seed=range(0,4)")
    until(sweep, "computed")
    sweep.output.rename(away := tmp_path / "away")
    time.sleep(6)
    assert not sweep.output.exists()
    away.rename(sweep.output)
    status, printed = sweep.wait()
    assert status == 0, printed
    assert "waiting for the sweep's folder" in printed
    assert "4 computed." in printed
    assert whole(sweep.output, 4)


@pytest.mark.slow
def test_a_lock_whose_holder_is_not_heard_of_is_taken_over(tmp_path, monkeypatch):
    from swag_repro.runs import store

    held = tmp_path / "held"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "out" / "locks" / "a.lock"), str(held)], cwd=ROOT
    )
    while not held.exists():
        time.sleep(0.01)
    monkeypatch.setattr(store, "ABANDONED", 1.0)
    waited = []
    with store.Store(tmp_path / "out")._locked(tmp_path / "out" / "runs" / "a", waited.append):
        assert holder.poll() is None
    assert waited == [tmp_path / "out" / "runs" / "a"]
    holder.kill()
    holder.wait()


HOLDER = """
import sys, time, pathlib
from filelock import FileLock
lock = pathlib.Path(sys.argv[1])
lock.parent.mkdir(parents=True)
with FileLock(lock):
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(60)
"""
