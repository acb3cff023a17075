"""How far a sweep is, by what its workers wrote."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from analysis.progress import CellStatus, Progress
from experiments.sweeps.ledger import Attempt, Ledger, Outcome
from experiments.sweeps.sweep import Sweep
from swag_repro.errors import SettingError

DONE = ("computed", "judged", "skipped")


def newest_sweep(output: Path) -> Path:
    """The folder of the sweep that was begun last.

    Raises:
        SettingError: there is none.
    """
    plans = [path.parent for path in output.glob("sweeps/*/plan.json")]
    if not plans:
        rule = "should be an output folder with a sweep, or the folder of one"
        raise SettingError("--runs", rule, output, "Begin one with -m.")
    return max(plans, key=lambda path: path.name)


def of_sweep(directory: Path) -> Progress:
    """How far a multirun is, by what its workers wrote.

    Raises:
        StoreError: the folder is none of a sweep.
    """
    sweep = Sweep.read(directory)
    ledger = sweep.ledger.read()
    alive = {worker for worker in ledger.workers if ledger.alive(worker)}
    cells = [_cell(sweep, number, alive) for number in range(len(sweep.grid))]
    experiment = next((item for item in sweep.command if item.startswith("experiment=")), sweep.entry)
    return Progress(
        f"{experiment}, {sweep.launcher}, {directory}",
        cells,
        len(alive),
        sweep.seconds_left() if alive else None,
        shlex.join(["python", f"experiments/{sweep.entry}.py", "-m", *sweep.command]),
    )


def _cell(sweep: Sweep, number: int, alive: set[str]) -> CellStatus:
    own = tuple(sweep.grid.own(number))
    attempt = sweep.ledger.latest.get(number)
    if attempt is None:
        return CellStatus(number, own, "missing")
    if attempt.outcome is not None:
        return _ended(sweep, number, own, attempt.outcome)
    return _open(sweep.ledger, number, own, attempt, alive=attempt.worker in alive)


def _open(ledger: Ledger, number: int, own: tuple[str, ...], attempt: Attempt, *, alive: bool) -> CellStatus:
    worker = ledger.workers[attempt.worker]
    deaths = ledger.deaths(number)
    reason = (
        None if alive else f"worker {worker.pid} ended without a word" + f", {deaths} times" * (deaths > 1)
    )
    heard = ledger.heartbeat(attempt.worker)
    return CellStatus(
        number, own, "running" if alive else "killed", reason, attempt.since, worker.host, heard
    )


def _ended(sweep: Sweep, number: int, own: tuple[str, ...], outcome: Outcome) -> CellStatus:
    state = {"busy": "waiting", **dict.fromkeys(DONE, "done")}.get(outcome.state, outcome.state)
    path = None if outcome.path is None else os.path.join(sweep.folder, outcome.path)  # noqa: PTH118  (quick)
    if state == "done" and path is not None and not os.path.exists(f"{path}/status.json"):  # noqa: PTH110
        return CellStatus(number, own, "lost", "its run's directory is gone", path=path)
    return CellStatus(number, own, state, outcome.reason, path=path)
