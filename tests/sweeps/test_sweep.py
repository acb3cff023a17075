"""A sweep's folder, the states of its cells, and what its workers do."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from experiments.sweeps.composing import Grid
from experiments.sweeps.states import FAILURES
from experiments.sweeps.sweep import CellPlace, Sweep, find
from experiments.sweeps.worker import Outcome, Worker
from swag_repro.errors import SettingError, StoreError
from swag_repro.runs import store
from swag_repro.runs.identity import Identity
from swag_repro.runs.records import INTERRUPTED
from swag_repro.runs.store import BusyError, Store
from tests.sweeps.started import started

FORK = multiprocessing.get_context("fork")


def sweep_of(folder, cells, name="now"):
    grid = Grid((tuple(f"a={number}" for number in range(cells)),))
    return started(folder, grid, name=name)


def compute(place, *, body=lambda _: None, anew=False):
    """A cell whose run has one row, as `running.Cell` computes it."""
    sweep = place.sweep
    runs = Store(sweep.directory.parents[1])
    who = Identity("e", 1, {"cell": place.number}, {})
    noted = [runs.directory(who.run_id)]
    try:
        with runs.claim(
            who, config={}, name="n", device="cpu", sweep=sweep.name, waiting=None, force=anew
        ) as run:
            place.note_runs(noted, anew=anew)
            if run.finished:
                return Outcome("skipped", 0.0, path=str(run.path))
            body(place.number)
            run.write_rows([{"statistic": "one", "value": 1.0}])
    except BusyError:
        place.note_runs(noted, anew=anew)
        return Outcome("busy", 0.0)
    except KeyboardInterrupt:
        return Outcome("interrupted", 0.0, signal=signal.SIGTERM)
    except RuntimeError as error:
        return Outcome("failed", 0.0, str(error))
    return Outcome("computed", 0.0, path=str(run.path))


def work(sweep, *, first=0, stays=False, **how):
    """The cells that a worker of this process came to an end with, and how."""
    seen = []
    Worker(
        sweep,
        lambda place: compute(place, **how),
        lambda outcome, place: seen.append((place.number, outcome.state)),
    ).work(first=first, stays=stays)
    return seen


def fails(error):
    def body(_):
        raise error

    return body


def states(sweep):
    return [cell.state for cell in Sweep.read(sweep.directory).cells()]


def test_a_plan_is_read_as_it_was_written(tmp_path):
    sweep = sweep_of(tmp_path, 3)
    assert Sweep.read(sweep.directory) == sweep
    path = sweep.directory / "plan.json"
    path.write_text(path.read_text().replace('"schema": 3', '"schema": 4'))
    with pytest.raises(StoreError, match="should have schema 3; found 4"):
        Sweep.read(sweep.directory)
    path.write_text("{}")
    with pytest.raises(StoreError, match="should be a complete file of a run"):
        Sweep.read(sweep.directory)


def test_a_folder_without_plan_is_no_sweep(tmp_path):
    compute(CellPlace(sweep_of(tmp_path / "out", 1), 0))
    [run] = (tmp_path / "out" / "runs").iterdir()
    for folder, remedy in (
        (tmp_path / "out", f"Choose one of its sweeps: last --output {tmp_path}/out"),
        (tmp_path, "Choose last, the newest, or a folder in sweeps"),
        (run, "It is a run: choose its sweep, or last"),
    ):
        with pytest.raises(SettingError, match=f"should be a folder with plan.json; .*{remedy}"):
            find(str(folder), tmp_path / "out")


@pytest.mark.parametrize(
    ("output", "directory", "handle"),
    [
        ("outputs", "outputs/sweeps/now", ["last"]),
        ("my runs", "my runs/sweeps/now", ["last", "--output", "my runs"]),
        ("outputs", "plans/mine", ["plans/mine"]),
        ("my runs", "my runs/sweeps/a/b", ["my runs/sweeps/a/b"]),
    ],
)
def test_a_sweep_is_found_by_its_handle_and_knows_its_runs(tmp_path, monkeypatch, output, directory, handle):
    monkeypatch.chdir(tmp_path)
    begun = started(Path(output), Grid((("a=1",),)), directory=Path(directory).absolute())
    assert begun.handle == handle
    assert find(handle[0], Path(handle[-1] if "--output" in handle else "outputs")) == begun
    assert Sweep.read(Path(directory)).output == Path(output)
    assert Sweep.read(Path(directory)).handle == handle


def test_a_worker_computes_all_cells_and_the_next_sweep_none(tmp_path):
    sweep = sweep_of(tmp_path, 4)
    assert states(sweep) == ["missing"] * 4
    assert work(sweep, first=2) == [(2, "computed"), (3, "computed"), (0, "computed"), (1, "computed")]
    assert sweep.outcomes() == {"computed": 4}
    again = sweep_of(tmp_path, 4, "later")
    assert {state for _, state in work(again)} == {"skipped"}
    assert again.outcomes() == {"skipped": 4}


def test_a_sweep_that_computes_anew_does_so_once(tmp_path):
    work(sweep_of(tmp_path, 2))
    anew = sweep_of(tmp_path, 2, "anew")
    assert work(anew, anew=True) == [(0, "computed"), (1, "computed")]
    assert work(Sweep.read(anew.directory), anew=True) == []
    assert anew.outcomes() == {"computed": 2}


def test_what_failed_is_tried_once_a_sweep_and_what_was_interrupted_again(tmp_path):
    sweep = sweep_of(tmp_path, 1)
    assert work(sweep, body=fails(RuntimeError("broken"))) == [(0, "failed")]
    assert states(sweep) == ["failed"]
    assert sweep.state_of(0).reason == "RuntimeError: broken"
    assert work(sweep) == []
    other = sweep_of(tmp_path, 1, "other")
    assert work(other, body=fails(KeyboardInterrupt())) == [(0, "interrupted")]
    assert states(other) == [INTERRUPTED]
    assert work(other) == [(0, "computed")]


def test_a_cell_that_can_have_no_run_is_told_by_its_note(tmp_path):
    sweep = sweep_of(tmp_path, 1)
    CellPlace(sweep, 0).note_refusal("too small")
    assert states(sweep) == ["failed"]
    assert sweep.state_of(0).reason == "too small"
    assert work(sweep) == []


def test_a_cell_is_done_once_all_of_its_runs_are(tmp_path):
    sweep = sweep_of(tmp_path, 1)
    compute(place := CellPlace(sweep, 0))
    [painted] = (tmp_path / "runs").iterdir()
    place.note_runs([painted, None], anew=False)
    assert states(sweep) == ["missing"]
    with Store(tmp_path).claim(
        Identity("judge", 1, {}, {}), config={}, name="n", device="cpu", sweep=sweep.name
    ) as judged:
        place.note_runs([painted, judged.path], anew=False)
        assert states(sweep) == ["running"]
    assert states(sweep) == ["done"]


def test_notes_that_are_damaged_or_gone_cost_time_only(tmp_path):
    sweep = sweep_of(tmp_path, 3)
    work(sweep)
    (sweep.directory / "cells" / "0.json").write_text('{"ru')
    (sweep.directory / "cells" / "1.json").unlink()
    assert states(sweep) == ["missing", "missing", "done"]
    assert work(Sweep.read(sweep.directory)) == [(0, "skipped"), (1, "skipped")]


def test_a_sweep_that_was_stopped_begins_no_cell(tmp_path):
    sweep = sweep_of(tmp_path, 2)
    sweep.stop()
    assert work(sweep, stays=True) == []


def test_what_another_process_computes_is_left_to_it_or_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.sweeps.worker.WORKER_PAUSE", 0.01)
    sweep, seen = sweep_of(tmp_path, 3), []

    def looks_meanwhile(number):
        if number == 0:
            seen.append(work(Sweep.read(sweep.directory)))

    work(sweep, body=looks_meanwhile)
    assert seen == [[(1, "computed"), (2, "computed")]]
    assert sweep.outcomes() == {"computed": 3}


def _work_and_wait(folder, begun):
    def body(_):
        begun.set()
        time.sleep(60)

    work(Sweep.read(folder), body=body)


def _work(folder, first):
    work(Sweep.read(folder), first=first, body=lambda _: time.sleep(0.001))


def killed_at_a_cell(sweep):
    begun = FORK.Event()
    worker = FORK.Process(target=_work_and_wait, args=(sweep.directory, begun))
    worker.start()
    begun.wait()
    found = Sweep.read(sweep.directory).state_of(0)
    assert found.state == "running"
    assert found.heartbeat == pytest.approx(time.time(), abs=60)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()


@pytest.mark.slow
def test_a_cell_whose_worker_was_killed_is_taken_up_again_unless_it_killed_three(tmp_path):
    sweep = sweep_of(tmp_path, 1)
    killed_at_a_cell(sweep)
    assert states(sweep) == ["killed"]
    assert work(Sweep.read(sweep.directory)) == [(0, "computed")]
    deadly = sweep_of(tmp_path / "other", 1)
    for _ in range(FAILURES):
        killed_at_a_cell(deadly)
    assert states(deadly) == ["left"]
    assert work(Sweep.read(deadly.directory)) == []
    assert work(sweep_of(tmp_path / "other", 1, "next")) == [(0, "computed")]


@pytest.mark.slow
def test_several_workers_compute_each_cell_once(tmp_path):
    sweep = sweep_of(tmp_path, 60)
    workers = [FORK.Process(target=_work, args=(sweep.directory, 20 * index)) for index in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sweep.outcomes() == {"computed": 60}


def test_a_lock_whose_holder_is_not_heard_of_holds_nothing(tmp_path, monkeypatch):
    runs = Store(tmp_path)
    with runs.at_rest("a"):
        assert runs.is_held("a")
        monkeypatch.setattr(store, "ABANDONED", 0.0)
        assert not runs.is_held("a")
        with runs.at_rest("a") as rests:
            assert rests


def test_what_is_left_is_estimated_by_the_pace_so_far(tmp_path):
    sweep = sweep_of(tmp_path, 4)
    assert sweep.time_left() == ""
    compute(CellPlace(sweep, 0))
    status = next((tmp_path / "runs").iterdir()) / "status.json"
    assert json.loads(status.read_text())["sweep"] == "now"
    fresh = Sweep.read(sweep.directory)
    assert 0 < fresh.seconds_left() < 60
    assert fresh.time_left().startswith("about 0:0")
