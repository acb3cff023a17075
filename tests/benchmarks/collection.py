"""The time and memory to collect many runs: at first, and again when some are new."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from tests.benchmarks.synthetic import synthesize

COLLECT = "from analysis.tables.collect import collect; collect(Path(sys.argv[1]), Path(sys.argv[2]))"

STATUSES = "from analysis.listing import load_listing; load_listing(Path(sys.argv[1]))"

MOMENT = 0.05
"""Seconds from one look at a process's memory to the next."""


@dataclass(frozen=True)
class _Step:
    name: str
    script: str
    new: int = 0
    out: str = "out"
    forgets: bool = False


def collection(runs: int, *, new: int, rows: int) -> Table:
    """Seconds and peak memory of collections of synthetic runs, each in a process of its own.

    Args:
        runs: How many there are at first.
        new: How many more there are each time.
        rows: How many numbers each of them measured.
    """
    table = Table(title=f"{runs} runs of {rows} rows")
    for column in ("", "seconds", "peak memory (GiB)"):
        table.add_column(column, justify="right" if column else "left")
    with TemporaryDirectory() as folder:
        place = Path(folder)
        synthesize(place / "outputs", range(runs), rows=rows)
        for step in _steps(new):
            synthesize(place / "outputs", range(runs, runs := runs + step.new), rows=rows)
            if step.forgets:
                shutil.rmtree(place / "outputs" / ".collected")
            seconds, peak = _measured(step.script, place / "outputs", place / step.out)
            table.add_row(step.name, f"{seconds:.1f}", f"{peak / 2**30:.2f}")
        table.caption = f"Tables {_difference(place / 'out', place / 'anew')} from a collection from nothing"
    return table


def _steps(new: int) -> Sequence[_Step]:
    return (
        _Step("first collection", COLLECT),
        _Step(f"again, {new} more runs", COLLECT, new),
        _Step(f"states of all runs, {new} more", STATUSES, new),
        _Step("again, the same runs", COLLECT),
        _Step("from nothing", COLLECT, out="anew", forgets=True),
    )


def _measured(script: str, *arguments: Path) -> tuple[float, int]:
    """Seconds of a Python process, and the most memory that it and its own processes had, in bytes."""
    command = [sys.executable, "-c", f"import sys; from pathlib import Path; {script}", *map(str, arguments)]
    start, peak = time.perf_counter(), 0
    with subprocess.Popen(command, start_new_session=True) as process:
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(MOMENT)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - start, peak


def _resident(session: int) -> int:
    """Bytes of memory that all processes of a session hold; 0 where the system has no /proc."""
    pages = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended
            fields = path.read_text().rpartition(")")[2].split()
            pages += int(fields[21]) if int(fields[3]) == session else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _difference(one: Path, other: Path) -> str:
    names = sorted(path.name for path in one.iterdir())
    different = filecmp.cmpfiles(one, other, names, shallow=False)[1:]
    return "differ" if any(different) else "do not differ"
