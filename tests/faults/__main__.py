"""Faults over real processes, disks and files; exit status 1 if a result was lost, repeated or damaged.

python -m tests.faults            over a hundred, some minutes
python -m tests.faults --short    one of each kind
python -m tests.faults --chaos 200   kills of two launchers on one grid
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: children of a process with OpenMP threads hang

import argparse
import gc
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.harness import (
    CELL,
    DISKS,
    LARGEST_FILES,
    SIGNALS,
    STYLIZE,
    Harness,
    Scenario,
    interrupted_run,
    photographs,
    report,
)


def short(harness: Harness) -> None:
    """One of each kind."""
    harness.rng = random.Random(0)
    one = harness.scenario(
        "stylize", *STYLIZE, *photographs(harness.place), "steps=12", "keep.every=3", "scales=[0.5,1.0]"
    )
    harness.signalled(one, signal.SIGKILL, once="out/runs/*/checkpoints/*.pt")
    harness.signalled(one, signal.SIGTERM, to="launcher")
    harness.full_disk(one, "140k")
    harness.damaged(one)
    harness.damaged(one, interrupted=interrupted_run(harness, one))
    harness.together(measured(harness))
    chaos(harness, 4)


def measured(harness: Harness) -> Scenario:
    """A sweep of the other entry point."""
    few = ["images.size=32", "images.source.limit=1", "weights.seed=0,1"]
    return harness.scenario("measure_activations", "-m", *CELL, *few)


def long(harness: Harness) -> None:
    """All kinds, many times."""
    pictures = photographs(harness.place)
    one = harness.scenario("stylize", *STYLIZE, *pictures, "steps=12", "keep.every=3", "scales=[0.5,1.0]")
    sweep = harness.scenario("stylize", "-m", *STYLIZE, *pictures, "steps=4", "weights.seed=0,1")
    activations = measured(harness)
    for scenario, repeats in ((one, 4), (sweep, 3), (activations, 1)):
        harness.together(scenario)
        for _ in range(repeats):
            harness.signalled(scenario, signal.SIGKILL)
            for number in SIGNALS:
                harness.signalled(scenario, number, to=harness.rng.choice(["group", "launcher"]))
    for size in DISKS:
        harness.full_disk(harness.rng.choice([one, sweep, activations]), size)
    for largest in LARGEST_FILES:
        harness.large_file(harness.rng.choice([one, sweep, activations]), largest)
    for _ in range(40):
        harness.damaged(one)
    interrupted = interrupted_run(harness, one)
    for _ in range(14):
        harness.damaged(one, interrupted=interrupted)
    joblib(harness, pictures)


def chaos(harness: Harness, kills: int) -> None:
    """Kills at all stages of a stylisation with checkpoints, and of a measurement."""
    arguments = [*STYLIZE, *photographs(harness.place), "steps=12", "keep.every=4", "weights.seed=range(0,6)"]
    harness.chaos(harness.scenario("stylize", "-m", *arguments), kills - kills // 4)
    few = ["images.size=32", "images.source.limit=1", "weights.seed=range(0,6)"]
    harness.chaos(harness.scenario("measure_activations", "-m", *CELL, *few), kills // 4)


def joblib(harness: Harness, pictures: list[str]) -> None:
    """Workers are processes of their own, each of which has to import all: slow."""
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    sweep = harness.scenario("stylize", "-m", *STYLIZE, *pictures, "steps=60", "weights.seed=0,1", *launcher)
    for to in ("group", "launcher", "worker"):
        harness.signalled(sweep, signal.SIGKILL, to=to)
    for number, to in zip(SIGNALS, ("launcher", "worker", "group"), strict=True):
        harness.signalled(sweep, number, to=to)


def main() -> int:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="one fault of each kind")
    parser.add_argument("--chaos", type=int, metavar="KILLS", help="only kills of two launchers on one grid")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    gc.freeze()  # children need not scan imported objects for garbage
    began = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        harness = Harness(Path(place), random.Random(options.seed))
        if options.chaos:
            chaos(harness, options.chaos)
        else:
            (short if options.short else long)(harness)
    gc.unfreeze()
    sys.stdout.write(report(harness, options.seed, time.monotonic() - began) + "\n")
    return int(bool(harness.problems))


if __name__ == "__main__":
    sys.exit(main())
