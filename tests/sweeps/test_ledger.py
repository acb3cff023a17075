"""What workers write, and what is made of it."""

import itertools
import json
import multiprocessing
import os
import random
import signal
import time

import pytest

from experiments.sweeps.grid import Grid
from experiments.sweeps.ledger import DEATHS, Ledger, Log, Outcome, logged_worker
from experiments.sweeps.sweep import Sweep
from swag_repro.errors import StoreError
from swag_repro.runs import files

SPAWN = multiprocessing.get_context("spawn")


def sweep_of(tmp_path, cells):
    grid = Grid((tuple(f"a={number}" for number in range(cells)),))
    return Sweep.start(tmp_path, "stylize", grid, command=["a=x"], launcher="joblib", workers=2)


def written(folder, name, *events):
    """A worker's file, its process dead."""
    began = {"event": "began", "at": 0.0, "host": "there", "pid": 1}
    lines = [began, *({"at": float(number), **event} for number, event in enumerate(events))]
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def took(cell, attempt=0):
    return {"event": "took", "cell": cell, "attempt": attempt}


def ended(cell, state, attempt=0):
    return {"event": "ended", "number": cell, "attempt": attempt, "state": state, "seconds": 1.0}


def test_a_plan_is_read_as_it_was_written(tmp_path):
    sweep = sweep_of(tmp_path, 3)
    assert Sweep.read(tmp_path) == sweep
    (tmp_path / "plan.json").write_text(
        (tmp_path / "plan.json").read_text().replace('"schema": 1', '"schema": 2')
    )
    with pytest.raises(StoreError, match="should have schema 1; found 2"):
        Sweep.read(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(StoreError, match="should be a complete file of a run"):
        Sweep.read(tmp_path)


@pytest.mark.parametrize("names", list(itertools.permutations("abc")))
def test_the_latest_attempt_counts_in_whatever_order_files_are_read(tmp_path, names):
    interrupted, died, done = names
    written(tmp_path, interrupted, took(7), ended(7, "interrupted"))
    written(tmp_path, died, took(7, 1))
    written(tmp_path, done, took(7, 2), ended(7, "computed", 2))
    ledger = Ledger(tmp_path).read()
    assert ledger.outcomes == {7: Outcome(7, "computed", 1.0)}
    assert +ledger.counts == {"computed": 1}
    assert ledger.deaths(7) == 1
    assert not ledger.killed()
    assert list(ledger.remaining()) == []


def test_what_is_taken_again(tmp_path):
    written(
        tmp_path,
        "a",
        took(0),
        ended(0, "failed"),
        took(1),
        ended(1, "interrupted"),
        took(2),
        ended(2, "busy"),
    )
    written(tmp_path, "b", took(3))
    written(tmp_path, "c", took(4), ended(4, "computed"), took(5))
    ledger = Ledger(tmp_path).read()
    assert list(ledger.remaining()) == [1, 2, 3, 5]
    assert set(ledger.killed()) == {3, 5}
    for attempt in range(1, DEATHS):
        written(tmp_path, f"d{attempt}", took(3, attempt))
    assert list(ledger.read().remaining()) == [1, 2, 5]


def test_half_a_line_waits_for_its_end(tmp_path):
    written(tmp_path, "a", took(0))
    ledger = Ledger(tmp_path).read()
    line = json.dumps({"at": 1.0, **ended(0, "computed")})
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write(line[:20])
        file.flush()
        assert ledger.read().outcomes == {}
        file.write(f"{line[20:]}\n")
    assert ledger.read().outcomes == {0: Outcome(0, "computed", 1.0)}
    assert +ledger.counts == {"computed": 1}


def test_reading_bit_by_bit_is_reading_at_once(tmp_path):
    rng = random.Random(0)
    lines = {name: [] for name in "abc"}
    for attempt, cell in itertools.product(range(3), range(20)):
        name = rng.choice("abc")
        lines[name].append(took(cell, attempt))
        if rng.random() < 0.7:
            lines[name].append(ended(cell, rng.choice(["computed", "failed", "interrupted"]), attempt))
    grown = Ledger(tmp_path)
    for share in (0.3, 0.6, 1.0):
        for name, events in lines.items():
            written(tmp_path, name, *events[: round(share * len(events))])
        grown.read()
    whole = Ledger(tmp_path).read()
    assert (grown.outcomes, +grown.counts, grown.latest) == (whole.outcomes, +whole.counts, whole.latest)


def _take_all(folder, seed):
    sweep, rng = Sweep.read(folder), random.Random(seed)
    with logged_worker(folder / "workers") as log:
        while (number := sweep.take(log)) is not None:
            time.sleep(rng.random() / 1000)
            log.ended(Outcome(number, "computed", 0.0))


def test_workers_take_each_cell_once(tmp_path):
    sweep_of(tmp_path, 300)
    workers = [SPAWN.Process(target=_take_all, args=(tmp_path, seed)) for seed in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    ledger = Ledger(tmp_path / "workers").read()
    assert sorted(ledger.outcomes) == list(range(300))
    assert {attempt.number for attempt in ledger.latest.values()} == {0}
    assert len({attempt.worker for attempt in ledger.latest.values()}) > 1
    assert not any(map(ledger.alive, ledger.workers))


def _take_one_and_wait(folder):
    sweep = Sweep.read(folder)
    with logged_worker(folder / "workers") as log:
        sweep.take(log)
        time.sleep(60)


def test_a_killed_worker_is_told_at_once_and_its_cell_is_taken_again(tmp_path):
    sweep = sweep_of(tmp_path, 1)
    worker = SPAWN.Process(target=_take_one_and_wait, args=(tmp_path,))
    worker.start()
    while not sweep.ledger.read().running():
        time.sleep(0.01)
    log = Log(tmp_path / "workers")
    assert sweep.take(log) is None
    assert sweep.ledger.read().killed() == {}
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert sweep.ledger.read().killed().keys() == {0}
    assert sweep.take(log) == 0
    assert log.again
    log.ended(Outcome(0, "computed", 0.0))
    assert sweep.take(log) is None
    assert sweep.ledger.read().counts["computed"] == 1
    log.close()


def test_a_kill_between_the_log_and_the_queue_loses_no_cell(tmp_path):
    sweep = sweep_of(tmp_path, 2)
    written(tmp_path / "workers", "dead", took(0))
    log = Log(tmp_path / "workers")
    assert [sweep.take(log), sweep.take(log)] == [0, 1]
    log.close()


def test_a_worker_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BEAT", 0.05)
    with logged_worker(tmp_path) as log:
        os.utime(log.path, (0, 0))
        deadline = time.monotonic() + 10
        while not log.path.stat().st_mtime and time.monotonic() < deadline:
            time.sleep(0.01)
        assert log.path.stat().st_mtime > 0
