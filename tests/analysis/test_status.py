"""The progress of a sweep, by the reports of its workers and by its runs."""

import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from rich.console import Console

from analysis.commands import main
from analysis.progress import of_command, of_sweep
from analysis.tables.collect import collect
from experiments.asking import compose_cells
from experiments.science import EXPERIMENT_VERSIONS, scientific
from experiments.sweeps.composing import Grid
from experiments.sweeps.states import FAILURES
from experiments.sweeps.sweep import CellPlace, find
from swag_repro.errors import SettingError
from swag_repro.runs.identity import Identity
from swag_repro.runs.records import read_status
from swag_repro.runs.store import Store
from tests.sweeps.started import started

ENTRY = "measure_activations"
COMMAND = ["experiment=smoke", "weights.seed=0,1"]


@pytest.fixture
def sweep(tmp_path):
    axes = (("network=a", "network=b"), ("seed=0", "seed=1", "seed=2", "seed=3"), ("experiment=smoke",))
    about = {"entry": ENTRY, "label": "smoke", "command": ["experiment=smoke", "seed=0,1,2,3"]}
    return started(tmp_path / "out", Grid(axes), name="2026-01-01", **about)


def ran(sweep, number, error=None, *, sweep_name=None):
    """A run of a cell, that is finished or failed."""
    store = Store(sweep.directory.parents[1])
    who = Identity(ENTRY, 1, {"cell": number}, {})
    with (
        suppress(RuntimeError, KeyboardInterrupt),
        store.claim(who, config={}, name="n", device="cpu", sweep=sweep_name or sweep.name) as run,
    ):
        CellPlace(sweep, number).note_runs([run.path], anew=False)
        if error is not None:
            raise error
        run.write_rows([{"statistic": "one", "value": 1.0}])
    return run


def left_running(run):
    """What a killed process leaves."""
    status = replace(read_status(run.path), state="running", reason=None)
    (run.path / "status.json").write_text(status.to_json())


def drawn(progress):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(progress.shown())
    return capture.get()


def test_cells_of_a_sweep_are_told_by_their_runs(sweep):
    ran(sweep, 0)
    ran(sweep, 1, sweep_name="earlier")
    ran(sweep, 2, RuntimeError("so failed"))
    ran(sweep, 3, RuntimeError("so left"), sweep_name="earlier")
    ran(sweep, 4, KeyboardInterrupt())
    left_running(ran(sweep, 5, RuntimeError()))
    left_running(running := ran(sweep, 6, RuntimeError()))
    with Store(sweep.directory.parents[1]).at_rest(running.path.name):
        progress = of_sweep(sweep)
    states = [cell.state for cell in progress.cells]
    assert states == ["done", "done", "failed", "left", "interrupted", "killed", "running", "missing"]
    assert progress.counts == {
        "done": 2, "running": 1, "failed": 1, "left": 1, "killed": 1, "interrupted": 1, "missing": 1
    }  # fmt: skip
    assert progress.workers == 1
    assert not progress.complete
    assert progress.cells[2].reason == "RuntimeError: so failed"
    assert progress.cells[6].heartbeat == pytest.approx(time.time(), abs=60)
    assert progress.command == "swag measure -m experiment=smoke seed=0,1,2,3"
    shown = drawn(progress)
    assert "8 cells: 2 done, 1 running, 1 failed, 1 left" in shown
    assert "running network=b seed=2 on " in shown
    assert "failed network=a seed=2\n    RuntimeError: so failed" in shown
    assert ["network=a", "2", "·", "1", "1", "·", "·", "·"] in [line.split() for line in shown.splitlines()]


def test_a_cell_whose_run_is_deleted_is_missing(sweep):
    run = ran(sweep, 0)
    shutil.rmtree(run.path)
    assert of_sweep(sweep).cells[0].state == "missing"


DAMAGED = [
    b"",
    b"{",
    b"[]",
    b"5",
    b"null",
    b"{}",
    b'{"runs": 5}',
    b'{"runs": [7], "anew": false}',
    b'{"runs": []}',
    b"\xff",
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_cell_whose_note_is_damaged_is_missing(sweep, content):
    ran(sweep, 0)
    (sweep.directory / "cells" / "0.json").write_bytes(content)
    assert of_sweep(sweep).cells[0].state == "missing"


def test_a_sweep_without_its_notes_goes_on(sweep):
    ran(sweep, 0)
    shutil.rmtree(sweep.directory / "cells")
    assert [cell.state for cell in of_sweep(sweep).cells] == ["missing"] * 8
    ran(sweep, 0)
    assert of_sweep(sweep).cells[0].state == "done"


def test_a_complete_sweep(sweep):
    for number in range(8):
        ran(sweep, number)
    progress = of_sweep(sweep)
    assert progress.complete
    assert "computed by" not in drawn(progress)


def test_the_newest_sweep_is_meant(sweep, tmp_path, capsys):
    later = started(tmp_path / "out", sweep.grid, name="2026-01-02", entry=ENTRY).directory
    assert find("last", tmp_path / "out").directory == later
    assert main(["status", "--output", str(tmp_path / "out"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"missing": 8}
    assert report["cells"][7] == {"number": 7, "overrides": ["network=b", "seed=3"], "state": "missing"}
    for handle in (str(sweep.directory), "smoke", "2026-01-01"):
        assert main(["status", handle, "--output", str(tmp_path / "out")]) == 0
        assert "experiment=smoke, joblib" in capsys.readouterr().out


def test_what_is_no_sweep_is_told(tmp_path, capsys):
    with pytest.raises(SettingError, match="should be one that was begun"):
        find("last", tmp_path)
    for wrong in ([str(tmp_path)], ["last", "seed=1"], ["last", "smoke"]):
        assert main(["status", *wrong]) == 1
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.usefixtures("sweep")
def test_sweeps_that_there_are_stand_in_the_message(tmp_path, capsys):
    assert main(["runs", "smok", "--output", str(tmp_path / "out")]) == 1
    assert f"found 'smok'. There are last, smoke in {tmp_path / 'out'}." in capsys.readouterr().err


# --- The cells of a command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cells():
    return compose_cells(COMMAND, ENTRY)


def run_of(root, cell, *, version=EXPERIMENT_VERSIONS[ENTRY], error=None, images=()):
    who = Identity(ENTRY, version, scientific(cell.config, ENTRY), dict(images))
    with (
        suppress(RuntimeError),
        Store(root).claim(who, config=cell.config, name="smoke", device="cpu") as run,
    ):
        if error is not None:
            raise RuntimeError(error)
        run.write_rows([{"statistic": "one", "value": 1.0}])
    return run


def test_cells_of_a_command_are_told_by_their_runs(tmp_path, cells):
    run_of(tmp_path, cells[0])
    run_of(tmp_path, cells[1], version=1)
    run_of(tmp_path, cells[2], error="broken")
    for _ in range(FAILURES):
        run_of(tmp_path, cells[3], error="broken")
    left_running(killed := run_of(tmp_path, cells[4], error="killed"))
    progress = of_command(COMMAND, tmp_path)
    states = [cell.state for cell in progress.cells]
    assert states == ["done", "stale", "failed", "left", "killed", "missing", "missing", "missing"]
    now = EXPERIMENT_VERSIONS[ENTRY]
    assert progress.cells[1].reason == f"computed by version 1 of the experiment; it is {now} now"
    assert progress.cells[2].reason == "RuntimeError: broken"
    assert progress.cells[0].overrides == ("network=resnet18", "smoothing=none", "weights.seed=0")
    lock = Store(tmp_path).lock(killed.path.name)
    from filelock import FileLock

    with FileLock(lock):
        running = of_command(COMMAND, tmp_path).cells[4]
    assert running.state == "running"
    assert running.heartbeat == pytest.approx(time.time(), abs=60)


def test_the_newest_version_counts(tmp_path, cells):
    run_of(tmp_path, cells[0], version=1)
    run_of(tmp_path, cells[0])
    assert of_command(COMMAND, tmp_path).cells[0].state == "done"


def test_collected_tables_tell_the_cells_that_are_done(tmp_path, cells):
    run_of(tmp_path / "out", cells[0])
    run_of(tmp_path / "out", cells[2], error="broken")
    collect(tmp_path / "out", tmp_path / "results")
    found = of_command(COMMAND, tmp_path / "results")
    assert [cell.state for cell in found.cells[:2]] == ["done", "missing"]
    assert f"output={tmp_path}" not in found.command


def test_a_file_that_changed_since_makes_a_run_stale(tmp_path):
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"weights")
    os.utime(weights, (0, 0))
    command = [
        "experiment=smoke",
        "network=resnet18",
        "smoothing=none",
        "weights=file",
        f"weights.path={weights}",
    ]
    [cell] = compose_cells(command, ENTRY)
    run_of(tmp_path / "out", cell)
    assert of_command(command, tmp_path / "out").complete
    os.utime(weights)
    [cell] = of_command(command, tmp_path / "out").cells
    assert (cell.state, cell.reason) == ("stale", f"changed since: {weights}")
