"""Signals, damaged files, full disks and mistakes in a sweep, with real entry points in this process."""

import hashlib
import io
import logging
import os
import re
import resource
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from rich.console import Console

from experiments.checkpoints import Checkpoints
from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from experiments.sweeps import progress
from experiments.sweeps.composing import as_typed
from experiments.sweeps.progress import _LogFile
from swag_repro.runs.records import all_runs

pytestmark = pytest.mark.slow

TINY = [f"hydra.searchpath=[file://{Path(__file__).parents[1] / 'conf'}]", "network=tiny"]
S = ["preset=equation", "weights=random", "images.size=32", *TINY, "measures=none", "compute.threads=1"]


@pytest.fixture
def photos(tmp_path):
    """Two small pictures of noise."""
    rng = np.random.default_rng(0)
    for name in ("content", "style"):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return [f"content={tmp_path / 'content.png'}", f"style={tmp_path / 'style.png'}"]


def records(tmp_path):
    return list(all_runs(tmp_path / "out"))


@contextmanager
def signalled_when(pattern, folder, number):
    """Within, this process gets a signal as soon as there is such a file."""

    def wait():
        while not ended.is_set():
            if list(folder.glob(pattern)):
                os.kill(os.getpid(), number)
                return
            time.sleep(0.001)

    ended = threading.Event()
    before = signal.signal(number, lambda *_: None)  # a signal that comes too late must not end a test
    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        signal.signal(number, before)


def frames(record):
    paths = sorted((record.path / "images" / "steps").rglob("*.png"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


RESUMED = [*S, "steps=40", "keep.every=2", "keep.checkpoint_seconds=0", "scales=[0.5,1.0]"]
STEPS = [f"{scale}-{step:05}.png" for scale in (0, 1) for step in range(2, 41, 2)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_and_intermediate_images_go_on_in_step(number, run, tmp_path, photos):
    with signalled_when("out/runs/*/images/steps/*/0-00006.png", tmp_path, number):
        status, printed = run(*RESUMED, *photos)
    assert status == 128 + number
    assert "Interrupted. The same command goes on where it stopped." in printed
    assert "Traceback" not in printed
    [record] = records(tmp_path)
    assert (record.status.state, record.status.reason) == ("failed", "interrupted")
    assert len(list((record.path / "checkpoints").iterdir())) == 1
    before = frames(record)
    assert STEPS[2] in before
    assert STEPS[-1] not in before
    assert run(*RESUMED, *photos)[0] == 0
    [record] = records(tmp_path)
    assert list(frames(record)) == STEPS
    assert before.items() <= frames(record).items()
    assert record.damage() == []


@pytest.mark.parametrize("spoil", ["flip", "frame", "lost frame"])
def test_a_damaged_checkpoint_or_image_of_it_starts_over(spoil, run, tmp_path, photos):
    assert run(*RESUMED, *photos)[0] == 0
    [whole] = records(tmp_path)
    expected = frames(whole), whole.read("images/content__style.png")
    (whole.path / "status.json").unlink()
    for path in (whole.path / "images" / "steps").rglob("1-*.png"):
        path.unlink()
    with signalled_when("out/runs/*/images/steps/*/1-00004.png", tmp_path, signal.SIGTERM):
        run(*RESUMED, *photos)
    [record] = records(tmp_path)
    assert record.status.reason == "interrupted"
    frame = next((record.path / "images" / "steps").rglob("0-00002.png"))
    path = next((record.path / "checkpoints").iterdir()) if spoil == "flip" else frame
    if spoil == "lost frame":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    status, printed = run(*RESUMED, *photos)
    assert status == 0
    assert "no longer as written, so that what they belong to starts over" in " ".join(printed.split())
    assert path.name in printed
    [record] = records(tmp_path)
    assert (frames(record), record.read("images/content__style.png")) == expected


class Evil:
    """What a pickle may do."""

    def __reduce__(self):
        return (os.mkdir, ("evil",))


def test_nothing_in_a_checkpoint_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints(tmp_path, seconds=0)
    state = {"files": {}, "values": torch.arange(3)}
    checkpoints.save("a", state)
    assert torch.equal(checkpoints.load("a")["values"], state["values"])
    torch.save({**state, "evil": Evil()}, content := io.BytesIO())
    path = tmp_path / "checkpoints" / "a.pt"
    path.write_bytes(hashlib.sha256(content.getvalue()).digest() + content.getvalue())
    assert checkpoints.load("a") is None
    assert not (tmp_path / "evil").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file just opened is left
def test_an_interrupted_sweep_tells_what_is_left(run, tmp_path, photos):
    arguments = ["-m", *S, *photos, "steps=30", "weights.seed=0,1,2", "keep.checkpoint_seconds=0"]
    with signalled_when("out/runs/*/images/content__style.png", tmp_path, signal.SIGTERM):
        status, printed = run(*arguments)
    assert status == 143
    assert re.search(
        r"3 cells in .*: (1 computed, (1 interrupted, 1|2)|1 interrupted, 2) not begun\.", printed
    ), printed
    status, printed = run(*arguments)
    assert status == 0
    assert re.search(r"(2 computed, 1 skipped|3 computed)", printed), printed


def test_a_full_disk_fails_cells_and_not_the_sweep(run, photos):
    """A checkpoint is larger than a file may be."""
    arguments = [
        "-m",
        *S,
        *photos,
        "steps=2",
        "weights.seed=0,1",
        "keep.checkpoint_seconds=0",
        "images.size=64",
    ]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (66000, hard))
    try:
        status, printed = run(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 1
    assert "2 failed." in printed
    assert (
        printed.count("File too large. Make room there, or choose another folder.") == 4
    )  # the lines, and the summary
    assert "Traceback" not in printed
    assert run(*arguments)[0] == 0


def test_no_room_at_all_is_one_message(run, photos):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))
    try:
        status, printed = run("-m", *S, *photos, "steps=2", "weights.seed=0,1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 1
    assert printed.count("\n") == 1
    assert "`output` should be a folder that can be written to" in printed


def test_a_log_that_cannot_be_written_is_not_missed(tmp_path):
    log = _LogFile(tmp_path / "nowhere" / "run.log", delay=True)
    log.emit(logging.makeLogRecord({"msg": "lost"}))
    log.close()


def test_a_terminal_that_is_gone_stops_nothing(run, tmp_path, photos, monkeypatch):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stderr", full)
        assert run(*S, *photos, "steps=2")[0] == 0
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    assert records(tmp_path)[0].damage() == []


def test_one_wrong_choice_is_named_before_anything_is_computed(run, tmp_path, photos):
    status, printed = run("-m", *S, *photos, "network=resnet18,resnet81", "steps=2", "weights.seed=0,1")
    assert status == 1
    assert "found 'resnet81'. Did you mean resnet18" in printed
    assert printed.count("error:") == 1
    assert "without an outcome" not in printed
    assert "Traceback" not in printed
    assert not records(tmp_path)


def test_lines_name_what_tells_cells_apart_as_it_was_typed(run, tmp_path, photos):
    status, printed = run("-m", *S, *photos, "steps=1,2", "name=a${network.name},b")
    assert status == 0, printed
    lines = [line for line in printed.splitlines() if line.startswith("[")]
    names = [
        line.partition("]")[2].partition(" computed in")[0].partition(" skipped in")[0] for line in lines
    ]
    assert names == [
        " steps=1 name=a${network.name}",
        " steps=1 name=b",
        " steps=2 name=a${network.name}",
        " steps=2 name=b",
    ]
    assert {record.status.name for record in records(tmp_path)} == {"atiny"}
    assert as_typed(r"weights.path=my/$\{network.name\}\,\\.pth") == r"weights.path=my/${network.name},\.pth"


@pytest.mark.parametrize(
    ("bounds", "counted"), [(["steps=3"], "3/3 steps"), (["steps=9", "evaluations=4"], "4/4 evaluations")]
)
def test_the_bar_counts_to_what_ends_the_optimisation(bounds, counted, run, monkeypatch, photos):
    shown = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=shown, force_terminal=True, width=200))
    assert run(*S, *photos, *bounds)[0] == 0
    assert counted in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())


def test_a_cell_without_any_picture_fails(run, tmp_path, photos):
    state = torchvision.models.resnet18().state_dict()
    state["conv1.weight"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    status, printed = run(
        *S, *photos, "network=resnet18", "steps=2", "weights=file", f"weights.path={tmp_path / 'nan.pth'}"
    )
    assert status == 1
    assert "`loss` should be finite for at least one picture of a cell" in printed.replace("\n", " ")
    [record] = records(tmp_path)
    assert record.status.state == "failed"


def test_a_damaged_picture_is_told_and_made_again(run, tmp_path, photos):
    assert run(*S, *photos, "steps=2")[0] == 0
    [record] = records(tmp_path)
    whole = record.read("images/content__style.png")
    pd.read_parquet(record.path / "curves.parquet")
    for name in ("images/content__style.png", "pairs.parquet", "curves.parquet"):
        content = bytearray((record.path / name).read_bytes())
        content[len(content) // 2] ^= 4
        (record.path / name).write_bytes(content)
        status, printed = run(*S, *photos, "steps=2")
        assert status == 0
        assert f"damaged or missing: {name}" in printed
        assert " computed in" in printed
        [record] = records(tmp_path)
        assert record.read("images/content__style.png") == whole
        assert record.pairs()["status"].to_pylist() == ["finished"]
    assert " skipped in" in run(*S, *photos, "steps=2")[1]
