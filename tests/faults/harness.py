"""Faults one by one: after each fault the same command must give the result of an undisturbed run."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from swag_repro.errors import StoreError
from swag_repro.runs import files
from swag_repro.runs.records import all_runs
from tests.faults.processes import Child, collect, command, start
from tests.tables import measured

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
CELL = ["network=small_residual", "weights=random", "compute.threads=1", "tracking=disabled"]
STYLIZE = [
    *CELL, "preset=equation", "images.size=32", "measures=none", "keep.checkpoint_seconds=0",
]  # fmt: skip
TINY = "64k"  # the smallest disk; the largest leaves room for everything
DISKS = (TINY, "100k", "140k", "200k", "300k", "420k", "600k", "900k")
ROUND = 25
"""Kills in one output folder, at most: then both launchers may come to their end."""
PAUSE = 2.0
"""Seconds between two of them, at most: a sweep of six cells takes some."""
LARGEST_FILES = (300, 1500, 5000, 20000, 66000, 120000)


@dataclass(frozen=True)
class Scenario:
    """A command whose result is known.

    Attributes:
        entry: of `experiments`.
        arguments: but for the output folder.
        seconds: that it took undisturbed.
        truth: of its output folder, see `Harness.truth`.
        template: its output folder.
    """

    entry: str
    arguments: list[str]
    seconds: float
    truth: dict[str, str]
    template: Path


@dataclass
class Harness:
    """Scenarios, faults so far, and what was found wrong.

    Attributes:
        place: an empty folder for all of it.
        rng: decides when and where.
        counts: faults by kind.
        ends: how commands ended under each kind.
        problems: what should not have been.
    """

    place: Path
    rng: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    ends: dict[str, Counter[int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _number: int = 0

    # --- Commands and their results ---

    def fresh(self) -> Path:
        """A new folder."""
        self._number += 1
        (folder := self.place / f"{self._number:04}").mkdir(parents=True)
        return folder

    def begin(self, scenario: Scenario, folder: Path, **limits: int) -> Child:
        """The scenario's command, with its output below this folder."""
        arguments = [*scenario.arguments, f"output={folder / 'out'}"]
        return start(command(scenario.entry, arguments), folder.parent / f"{folder.name}.log", **limits)

    def scenario(self, entry: str, *arguments: str) -> Scenario:
        """A command, run once undisturbed."""
        folder, began = self.fresh(), time.monotonic()
        child = self.begin(planned := Scenario(entry, list(arguments), 0.0, {}, folder), folder)
        if child.wait():
            raise RuntimeError(child.output())
        seconds = time.monotonic() - began
        return Scenario(entry, planned.arguments, seconds, self.truth(folder / "out"), folder)

    def truth(self, output: Path) -> dict[str, str]:
        """SHA-256 of the collected table and of each picture, by name."""
        tables = self.fresh()
        if (child := start(collect(output, tables), tables / "log")).wait():
            raise StoreError("collect", "should be possible", child.output(), "")
        pictures = (path for run in output.glob("runs/*") for path in run.rglob("*.png"))
        contents = {str(path.relative_to(output)): path.read_bytes() for path in pictures}
        contents["table"] = measured(tables / "table.csv")
        return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}

    def finished(self, output: Path) -> dict[str, str]:
        """When each finished run of an output folder began."""
        records = all_runs(output, skipped=lambda *_: None)
        return {r.path.name: r.status.started_at for r in records if r.status.state == "finished"}

    # --- One fault ---

    def note(self, kind: str, status: int) -> None:
        """Counts a fault, and how its command ended."""
        self.counts[kind] += 1
        sys.stderr.write(f"{sum(self.counts.values())} {kind}: {status}; {len(self.problems)} problems\n")
        self.ends.setdefault(kind, Counter())[status] += 1

    def expect(self, right: bool, kind: str, child: Child, what: str) -> None:
        """Notes what is wrong."""
        if not right:
            self.problems.append(f"{kind}: {what}; exit status {child.status}\n{child.output()}")

    def again(self, kind: str, scenario: Scenario, folder: Path, *, lossless: bool = True) -> Child:
        """The same command: it succeeds, keeps what was finished, and comes to the undisturbed result."""
        before = self.finished(folder / "out") if lossless else {}
        child = self.begin(scenario, folder)
        status = child.wait()
        self.expect(status == 0 and "Traceback" not in child.output(), kind, child, "the same command failed")
        after = self.finished(folder / "out")
        self.expect(before.items() <= after.items(), kind, child, "a finished run was lost or repeated")
        with suppress(StoreError):
            self.expect(self.truth(folder / "out") == scenario.truth, kind, child, "another result")
            whole = [record.damage() for record in all_runs(folder / "out")]
            self.expect(not any(whole), kind, child, f"still damaged: {whole}")
            left = [str(path) for path in (folder / "out" / "runs").rglob(".*")]
            self.expect(not left, kind, child, f"left over: {left}")
            shutil.rmtree(folder, ignore_errors=True)
            return child
        self.expect(right=False, kind=kind, child=child, what="nothing can be collected")
        return child

    def signalled(
        self, scenario: Scenario, number: int, *, to: str = "group", once: str | None = None
    ) -> None:
        """A signal to the group, the launcher or one worker of joblib's.

        At a random moment, or as soon as a file fits the pattern `once`.
        """
        folder, kind = self.fresh(), f"{signal.Signals(number).name} to the {to}"
        child = self.begin(scenario, folder)
        if once is None:
            wait_until(child, self.rng.uniform(0.0, 1.0) * scenario.seconds)
        else:
            wait_for(child, folder, once)
        target = worker_of(child) if to == "worker" else child.pid
        if not child.ended() and target is not None:
            with suppress(ProcessLookupError):
                (os.killpg if to == "group" else os.kill)(target, number)
        status = child.wait()
        self.note(kind, status)
        if number in SIGNALS:
            allowed = {0, 128 + number} | ({1} if to == "worker" else set())
            self.expect(status in allowed, kind, child, f"exit status is none of {allowed}")
            self.expect("Traceback" not in child.output(), kind, child, "a traceback")
            if status == 128 + number:
                said = "The same command goes on" in child.output()
                self.expect(said, kind, child, "nothing told")
            states = [(r.status.state, r.status.reason) for r in all_runs(folder / "out")]
            whole = all(state in (("finished", None), ("failed", "interrupted")) for state in states)
            self.expect(whole, kind, child, f"states {states}")
        self.again(kind, scenario, folder)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # workers that outlived their launcher

    def together(self, scenario: Scenario) -> None:
        """The same command twice at once: each cell is computed by one of them."""
        folder, kind = self.fresh(), "twice at once"
        both = [self.begin(scenario, folder) for _ in range(2)]
        status = max(child.wait() for child in both)
        self.note(kind, status)
        computed, cells = both[0].output().count(" computed in "), len(self.finished(folder / "out"))
        self.expect(status == 0, kind, both[0], "one of them failed")
        self.expect(computed == cells, kind, both[0], f"{cells} cells computed {computed} times")
        self.again(kind, scenario, folder)

    def chaos(self, scenario: Scenario, kills: int) -> None:
        """Two launchers on one grid, either of which is killed at random moments and started again."""
        kind, left = "SIGKILL to one of two launchers", kills
        while left > 0:
            folder, most = self.fresh(), min(left, ROUND)
            both = [self.begin(scenario, folder) for _ in range(2)]
            while not all(child.ended() for child in both):
                index = self.rng.randrange(2)
                wait_until(both[index], self.rng.uniform(0.0, PAUSE))
                if most > 0 and not both[index].ended():
                    before = self.finished(folder / "out")
                    os.killpg(both[index].pid, signal.SIGKILL)
                    self.note(kind, both[index].wait())
                    after = self.finished(folder / "out")
                    lost = not before.items() <= after.items()
                    self.expect(not lost, kind, both[index], "a finished run was lost")
                    both[index] = self.begin(scenario, folder)
                    most, left = most - 1, left - 1
            for child in both:
                self.expect(child.status == 0, kind, child, "a launcher that was not killed failed")
                self.expect("Traceback" not in child.output(), kind, child, "a traceback")
            self.again(kind, scenario, folder)

    def full_disk(self, scenario: Scenario, size: str) -> None:
        """A file system that is too small, and then is not."""
        folder = self.fresh()
        with small_disk(folder, size) as enlarge:
            if enlarge is None:
                return
            child = self.begin(scenario, folder)
            self._refused("full disk", child, 0 if size == DISKS[-1] else None)
            enlarge()
            self.again("full disk", scenario, folder)

    def large_file(self, scenario: Scenario, largest: int) -> None:
        """No file may grow beyond some bytes: the writing layer's quota."""
        folder = self.fresh()
        child = self.begin(scenario, folder, largest_file=largest)
        self._refused("file size quota", child, None)
        self.again("file size quota", scenario, folder)

    def _refused(self, kind: str, child: Child, wanted: int | None) -> None:
        status = child.wait()
        self.note(kind, status)
        self.expect(status in ({0, 1} if wanted is None else {wanted}), kind, child, "another exit status")
        self.expect("Traceback" not in child.output(), kind, child, "a traceback")
        if status:
            self.expect(
                "should be a folder that can be written to" in child.output(), kind, child, "no reason"
            )

    def damaged(self, scenario: Scenario, *, interrupted: Path | None = None) -> None:
        """A flipped, cut or missing byte, or no file, anywhere in a finished or an interrupted run."""
        folder = self.fresh()
        shutil.copytree((interrupted or scenario.template) / "out", folder / "out")
        path = self.rng.choice(sorted(p for p in folder.glob("out/runs/*/**/*") if p.is_file()))
        harm, spoil = self.rng.choice(list(HARMS.items()))
        spoil(path, self.rng)
        kind = f"{harm} in {'an interrupted' if interrupted else 'a finished'} run"
        if interrupted is None:
            self._read(kind, scenario, folder, path)
        child = self.again(kind, scenario, folder, lossless=interrupted is not None)
        self.note(kind, child.status or 0)
        result = path.relative_to(next(folder.glob("out/runs/*"), folder)) if folder.exists() else path
        if interrupted is None and path.name not in files.UNSEALED:
            self.expect("damaged or missing" in child.output(), kind, child, f"nothing told of {result}")

    def _read(self, kind: str, scenario: Scenario, folder: Path, path: Path) -> None:
        """Readers refuse what is damaged, or it decides nothing."""
        child = start(collect(folder / "out", folder / "tables"), folder / "collect.log")
        status, output = child.wait(), child.output()
        if status == 0 and "1 running or killed" not in output:
            same = hashlib.sha256(measured(folder / "tables" / "table.csv")).hexdigest()
            self.expect(same == scenario.truth["table"], kind, child, f"a damaged {path} is in the table")
        elif status:
            self.expect("should be a complete file of a run" in output, kind, child, f"no message of {path}")
        with suppress(StoreError):
            for record in all_runs(folder / "out", skipped=lambda *_: None):
                name = path.relative_to(record.path).as_posix()
                if name in (record.status.files or {}):
                    record.read(name)
                    self.expect(False, kind, child, f"a damaged {name} is read")


def wait_until(child: Child, seconds: float) -> None:
    """Some seconds, or as long as the child lives."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not child.ended():
        time.sleep(0.002)


def wait_for(child: Child, folder: Path, pattern: str) -> None:
    """Until there is such a file.

    Raises:
        RuntimeError: the child ended before.
    """
    while not list(folder.glob(pattern)):
        if child.ended():
            raise RuntimeError(child.output())
        time.sleep(0.002)


def worker_of(child: Child) -> int | None:
    """A worker of joblib's that the child has started."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            of_group = os.getpgid(int(process.name)) == child.pid
            if of_group and b"popen_loky" in (process / "cmdline").read_bytes():
                return int(process.name)
    return None


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[], None] | None]:
    """A file system of this size at a folder, and what enlarges it; None where one may not mount."""
    options = ["-o", f"size={size}"]
    mount = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=64M", str(folder)], check=True) and None
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def flip(path: Path, rng: random.Random) -> None:
    """Turns one bit."""
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def drop(path: Path, rng: random.Random) -> None:
    """Leaves one byte out."""
    content = path.read_bytes()
    at = rng.randrange(len(content)) if content else 0
    path.write_bytes(content[:at] + content[at + 1 :])


HARMS: dict[str, Callable[[Path, random.Random], object]] = {
    "flipped bit": flip,
    "missing byte": drop,
    "cut file": lambda path, rng: path.write_bytes(
        path.read_bytes()[: rng.randrange(path.stat().st_size or 1)]
    ),
    "missing file": lambda path, _: path.unlink(),
}


def photographs(folder: Path) -> list[str]:
    """Two small pictures, as arguments."""
    for seed, name in enumerate(("content", "style")):
        noise = random.Random(seed).randbytes(40 * 40 * 3)
        Image.frombytes("RGB", (40, 40), noise).save(folder / f"{name}.png")
    return [f"content={folder / 'content.png'}", f"style={folder / 'style.png'}"]


def interrupted_run(harness: Harness, scenario: Scenario) -> Path:
    """An output folder whose run has a checkpoint and intermediate images, and was interrupted."""
    folder = harness.fresh()
    child = harness.begin(scenario, folder)
    wait_for(child, folder, "out/runs/*/images/steps/*/0-00006.png")
    os.kill(child.pid, signal.SIGTERM)
    child.wait()
    return folder


def report(harness: Harness, seed: int, seconds: float) -> str:
    """Counts and problems, to be printed."""
    lines = [f"{sum(harness.counts.values())} faults, seed {seed}, {seconds:.0f} s:"]
    for kind, count in sorted(harness.counts.items()):
        ends = ", ".join(f"{number}× {status}" for status, number in sorted(harness.ends[kind].items()))
        lines.append(f"  {count:3} {kind} (exit status {ends})")
    lines += [f"{len(harness.problems)} problems", *harness.problems]
    return "\n".join(lines)
