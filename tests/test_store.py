"""Run directories with real processes, kills and full disks."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from swag_repro.errors import ImageError, StoreError
from swag_repro.runs import identity as run_identity
from swag_repro.runs.files import whole_file
from swag_repro.runs.identity import Identity
from swag_repro.runs.records import STATUS_VERSION, all_runs, damage_of, is_finished, read_status
from swag_repro.runs.schema import NUMBERS, SCHEMA_KEY, parse_table
from swag_repro.runs.store import Run, Store

IDENTITY = Identity("measure_activations", 1, {"seed": 0}, {"content/astronaut": "00" * 32})
CONFIG = {"seed": 0, "name": "fig3", "weight": 1e17, "title": "Größe", "network": {"taps": {"conv1": "relu"}}}
DETAILS = {"config": CONFIG, "name": "fig3", "overrides": ["seed=0"], "device": "cpu"}

# A process that computes one run slowly: argv is the root, the seconds of work, and whether to force.
WORKER = """
import sys, time
from pathlib import Path
from test_store import DETAILS, IDENTITY, rows
from swag_repro.runs.store import Store
root, seconds, force = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "force"
waiting = lambda path: print("waiting", path.name, flush=True)
with Store(root).claim(IDENTITY, **DETAILS, force=force, waiting=waiting) as run:
    print("skips" if run.finished else "computes", flush=True)
    if not run.finished:
        with run.write_file("images/one.png") as file:
            file.write(b"one")
        time.sleep(seconds)
        run.write_rows(rows())
"""


def row(**changes: object) -> dict[str, object]:
    origin = {"network": "resnet50", "weights": "random", "smoothing": "none", "seed": 0, "loss": None}
    measured = {"layer": "conv1", "depth": 1, "position": 1, "quantity": "activation", "statistic": "maximum"}
    return {**origin, "content": "astronaut", **measured, "value": 3.8, **changes}


def rows() -> list[dict[str, object]]:
    return [row(layer=f"conv{depth}", depth=depth, value=depth / 3) for depth in range(1, 51)]


@contextmanager
def worker(root: Path, *, seconds: float = 0.0, force: bool = False) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WORKER, str(root), str(seconds), "force" if force else "once"]
    place = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=place) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == line


def compute(root: Path, *, force: bool = False, value: float | None = None) -> None:
    with Store(root).claim(IDENTITY, **DETAILS, force=force) as run:
        assert not run.finished
        run.write_rows(rows() if value is None else [row(value=value)])


def fill(run: Run) -> None:
    with run.write_file("images/one.png") as file:
        file.write(b"one")
    run.write_rows(rows())


def filled(root: Path) -> None:
    with Store(root).claim(IDENTITY, **DETAILS) as run:
        fill(run)


def directory(root: Path) -> Path:
    return root / "runs" / IDENTITY.run_id


def read_numbers(path: Path) -> pa.Table:
    return parse_table(path, path)


def values(root: Path) -> list[float]:
    return read_numbers(directory(root) / "rows.parquet")["value"].to_pylist()


def test_a_finished_run_describes_itself(tmp_path):
    with Store(tmp_path).claim(IDENTITY, **DETAILS) as run:
        assert read_status(run.path).state == "running"
        run.write_rows(rows())
    (record,) = all_runs(tmp_path)
    status = record.status
    assert (status.state, status.reason, status.rows, status.name) == ("finished", None, 50, "fig3")
    assert (status.experiment, status.overrides, status.device) == ("measure_activations", ["seed=0"], "cpu")
    assert abs(datetime.fromisoformat(status.started_at) - datetime.now(UTC)).total_seconds() < 60
    assert 0 <= status.seconds < 60
    assert 10e6 < status.peak_memory_bytes < 100e9
    assert set(status.versions) == {"python", "swag_repro", "torch", "torchvision"}
    assert record.identity == IDENTITY
    assert record.path.name == IDENTITY.run_id
    assert record.config == CONFIG
    assert list(record.config) == list(CONFIG)
    assert {path.name for path in record.path.iterdir()} == {
        "config.yaml",
        "identity.json",
        "rows.parquet",
        "status.json",
    }


def test_rows_come_back_in_the_declared_schema(tmp_path):
    compute(tmp_path)
    table = next(all_runs(tmp_path)).rows()
    assert table.schema.equals(NUMBERS, check_metadata=True)
    assert table.schema.metadata[SCHEMA_KEY] == b"3"
    origin = {"experiment": "measure_activations", "run_id": IDENTITY.run_id}
    expected = [{**dict.fromkeys(NUMBERS.names), **origin, **row} for row in rows()]
    assert table.to_pylist() == expected
    assert (
        pq.ParquetFile(directory(tmp_path) / "rows.parquet").metadata.row_group(0).column(0).compression
        == "SNAPPY"
    )


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"valeu": 1.0}, ValueError, "unknown columns: .'valeu'."),
        ({"statistic": None}, ValueError, "null values to non-nullable"),
        ({"depth": "deep"}, pa.ArrowException, "deep"),
    ],
)
def test_rows_of_another_shape_are_refused(tmp_path, bad, error, message):
    with pytest.raises(error, match=message), Store(tmp_path).claim(IDENTITY, **DETAILS) as run:
        run.write_rows([row(), row(**bad)])
    assert read_status(directory(tmp_path)).state == "failed"
    assert not (directory(tmp_path) / "rows.parquet").exists()


def test_a_finished_run_is_skipped_and_may_not_be_written(tmp_path):
    compute(tmp_path)
    before = (directory(tmp_path) / "rows.parquet").stat()
    with Store(tmp_path).claim(IDENTITY, **DETAILS) as run:
        assert run.finished
        with pytest.raises(RuntimeError, match="is finished"):
            run.write_rows(rows())
    assert (directory(tmp_path) / "rows.parquet").stat() == before


def test_force_computes_again(tmp_path):
    compute(tmp_path, value=1.0)
    (directory(tmp_path) / "images").mkdir()
    for value in (2.0, 3.0):
        with Store(tmp_path).claim(IDENTITY, **DETAILS, force=True) as run:
            run.write_rows([row(value=value)])
            absolute = run.path / "rows.parquet"
            assert values(tmp_path) == [value - 1]  # the old result stays until the new one is complete
        assert run.path == directory(tmp_path)
        assert values(tmp_path) == [value]
        assert absolute.exists()  # `wandb sync` needs the path at which the run was written
    assert not (directory(tmp_path) / "images").exists()
    assert len(list(all_runs(tmp_path))) == 1


def test_force_that_fails_keeps_the_old_result(tmp_path):
    compute(tmp_path, value=1.0)
    with suppress(ZeroDivisionError), Store(tmp_path).claim(IDENTITY, **DETAILS, force=True) as run:
        run.write_rows([row(value=2.0)])
        _ = 1 / 0
    assert values(tmp_path) == [1.0]
    assert read_status(directory(tmp_path)).state == "finished"
    with Store(tmp_path).claim(IDENTITY, **DETAILS) as run:
        assert run.finished


def test_force_killed_between_the_two_renames_loses_nothing(tmp_path):
    target = directory(tmp_path)
    for suffix, value in ((".kept", 1.0), (".new", 2.0)):
        compute(tmp_path, value=value)
        target.rename(target.with_suffix(suffix))
    target.with_suffix(".kept").rename(target.with_suffix(".old"))
    with Store(tmp_path).claim(IDENTITY, **DETAILS) as run:
        assert run.finished
    assert values(tmp_path) == [2.0]
    assert [path.name for path in target.parent.iterdir()] == [IDENTITY.run_id]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no such tap"), "ValueError: no such tap"),
        (KeyboardInterrupt(), "interrupted"),
        (
            ImageError("a.png", "should be readable", "nothing", "Mend it."),
            "`a.png` should be readable; found",
        ),
    ],
)
def test_a_failure_is_recorded_and_done_again(tmp_path, error, reason):
    def fail() -> None:
        with Store(tmp_path).claim(IDENTITY, **DETAILS) as run:
            with run.write_file("images/half.png") as file:
                file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        fail()
    (record,) = all_runs(tmp_path)
    assert record.status.state == "failed"
    assert record.status.reason.startswith(reason)
    assert record.identity == IDENTITY
    compute(tmp_path)
    assert read_status(directory(tmp_path)).reason is None
    assert not (directory(tmp_path) / "images").exists()


@pytest.mark.parametrize("damage", ["status.json", "rows.parquet"])
def test_a_finished_run_that_lost_a_file_is_done_again(tmp_path, damage):
    compute(tmp_path)
    for content in (b"", b'{"schema": 1', None):
        path = directory(tmp_path) / damage
        path.unlink() if content is None else path.write_bytes(content)
        compute(tmp_path)
    assert len(values(tmp_path)) == 50


def _flip(path, position, bit):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def _seen(root):
    """All that a reader takes from the one run: what is in it, or the error."""
    try:
        (record,) = all_runs(root, skipped=lambda _, why: (_ for _ in ()).throw(why))
        kept = record.read("images/one.png"), record.rows().to_pylist(), record.config, record.identity
        return kept, replace(record.status, started_at="", seconds=0, peak_memory_bytes=0)
    except StoreError as error:
        return str(error)


def test_no_damaged_byte_of_any_file_passes(tmp_path):
    """A seeded twentieth of all bytes of every file: readers refuse it, and the next claim computes it again."""
    filled(tmp_path)
    whole, names = _seen(tmp_path), sorted(path for path in directory(tmp_path).rglob("*") if path.is_file())
    assert {path.name for path in names} == {
        "config.yaml", "identity.json", "one.png", "rows.parquet", "status.json",
    }  # fmt: skip
    rng, harmless = random.Random(0), 0
    for path in names:
        content = path.read_bytes()
        for position in rng.sample(range(len(content)), min(len(content), 1 + len(content) // 20)):
            _flip(path, position, rng.randrange(8))
            seen = _seen(tmp_path)
            assert seen == whole or "should be a complete file of a run" in seen, (path, position)
            harmless += seen == whole
            assert (damage_of(directory(tmp_path)) == []) == (seen == whole)
            path.write_bytes(content)
    assert harmless <= 5  # white space in status.json
    assert _seen(tmp_path) == whole


def test_pages_of_rows_have_checksums_of_their_own(tmp_path):
    """The table by itself knows no status: of all bytes of the values none passes."""
    compute(tmp_path)
    path = directory(tmp_path) / "rows.parquet"
    whole, content = read_numbers(path), path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(NUMBERS.names.index("value"))
    first = column.dictionary_page_offset or column.data_page_offset
    refused = 0
    positions = range(first, first + column.total_compressed_size, 3)
    for position in positions:
        _flip(path, position, 3)
        try:
            assert read_numbers(path) == whole
        except StoreError:
            refused += 1
        path.write_bytes(content)
    assert refused > 0.8 * len(positions)  # a page's header holds minimum and maximum, which no reader uses


@pytest.mark.parametrize(
    "name", ["config.yaml", "identity.json", "images/one.png", "rows.parquet", "status.json"]
)
@pytest.mark.parametrize("missing", [True, False])
def test_a_damaged_run_is_told_and_computed_again(name, missing, tmp_path):
    filled(tmp_path)
    whole, path = _seen(tmp_path), directory(tmp_path) / name
    if missing:
        path.unlink()
    else:
        _flip(path, 20 if name != "images/one.png" else 1, 0)
    reports = []
    with Store(tmp_path).claim(
        IDENTITY, **DETAILS, damaged=lambda at, files: reports.append((at, files))
    ) as run:
        assert not run.finished
        fill(run)
    gone = missing and name == "status.json"  # it looks like a run that was killed before it had a status
    assert reports == ([] if gone else [(directory(tmp_path), [name])])
    assert _seen(tmp_path) == whole


def test_what_a_killed_forced_attempt_left_is_cleared_when_the_run_is_next_asked_for(tmp_path):
    compute(tmp_path, value=1.0)
    left = directory(tmp_path).with_suffix(".new")
    with worker(tmp_path, seconds=60, force=True) as killed:
        said(killed, "computes")
        with Store(tmp_path).claim(IDENTITY, **DETAILS) as run:  # this does not wait for the forced one
            assert run.finished
        assert left.is_dir()
        killed.send_signal(signal.SIGKILL)
    assert left.is_dir()
    with Store(tmp_path).claim(IDENTITY, **DETAILS) as run:
        assert run.finished
    assert not left.exists()


def test_what_is_resumable_stays_but_for_torn_files(tmp_path):
    with suppress(ZeroDivisionError), Store(tmp_path).claim(IDENTITY, **DETAILS) as run:
        for name in ("images/steps/a/1.png", "images/steps/a/.2.png.0", "images/a.png", "checkpoints/b.pt"):
            (run.path / name).parent.mkdir(parents=True, exist_ok=True)
            (run.path / name).write_text("")
        _ = 1 / 0
    resumable = ("checkpoints", "images/steps")
    with Store(tmp_path).claim(IDENTITY, **DETAILS, resumable=resumable) as run:
        found = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
        run.write_rows(rows())
    assert found == {
        "images/steps/a/1.png", "checkpoints/b.pt", "config.yaml", "identity.json", "status.json",
    }  # fmt: skip


def test_two_processes_at_once_compute_once(tmp_path):
    with worker(tmp_path, seconds=6) as first:
        said(first, "computes")
        with worker(tmp_path) as second:
            said(second, f"waiting {IDENTITY.run_id}")
            said(second, "skips")
            assert (first.wait(), second.wait()) == (0, 0)
    assert values(tmp_path) == [row["value"] for row in rows()]


def test_many_processes_started_together_compute_once(tmp_path):
    with ExitStack() as stack:
        processes = [stack.enter_context(worker(tmp_path, seconds=0.2)) for _ in range(4)]
        outputs = [process.communicate()[0] for process in processes]
    assert sum("computes" in output for output in outputs) == 1
    assert sum("skips" in output for output in outputs) == 3
    assert values(tmp_path) == [row["value"] for row in rows()]


def test_kill_9_in_the_middle_and_again_gives_the_same_rows(tmp_path):
    image = directory(tmp_path) / "images" / "one.png"
    compute(tmp_path / "undisturbed")
    with worker(tmp_path, seconds=60) as killed:
        said(killed, "computes")
        while not image.exists():
            assert killed.poll() is None
        killed.send_signal(signal.SIGKILL)
    assert read_status(directory(tmp_path)).state == "running"
    assert not (directory(tmp_path) / "rows.parquet").exists()
    compute(tmp_path)
    undisturbed = directory(tmp_path / "undisturbed") / "rows.parquet"
    assert read_numbers(directory(tmp_path) / "rows.parquet") == read_numbers(undisturbed)
    assert not image.exists()


def test_kill_9_of_a_forced_run_keeps_the_old_result(tmp_path):
    compute(tmp_path, value=1.0)
    with worker(tmp_path, seconds=60, force=True) as killed:
        said(killed, "computes")
        killed.send_signal(signal.SIGKILL)
    with Store(tmp_path).claim(IDENTITY, **DETAILS) as run:
        assert run.finished
    assert values(tmp_path) == [1.0]
    compute(tmp_path, force=True)
    assert len(values(tmp_path)) == 50


def test_a_whole_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with suppress(ZeroDivisionError), whole_file(path) as file:
        file.write(b"half")
        _ = 1 / 0
    assert list(path.parent.iterdir()) == []
    for text in (b"first", b"second"):
        with whole_file(path) as file:
            file.write(text)
            assert not path.exists() or path.read_bytes() == b"first"
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask  # other users of a shared file system may read it


def test_what_a_library_cannot_encode_is_no_matter_of_the_disk(tmp_path):
    with pytest.raises(OSError, match="cannot write mode") as caught, whole_file(tmp_path / "a.jpg"):
        raise OSError("cannot write mode RGBA as JPEG")
    assert caught.type is OSError


def test_output_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="`output` should be a folder that can be written to; found"):
        compute(tmp_path / "file" / "outputs")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_output(tmp_path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(StoreError, match="Permission denied"):
            compute(tmp_path / "outputs")
    finally:
        tmp_path.chmod(0o755)


def test_a_read_only_output_still_says_what_is_finished(tmp_path):
    compute(tmp_path)
    (tmp_path / "locks").rename(tmp_path / "unlocked")
    (tmp_path / "locks").write_text("no folder: nothing can be locked")
    with Store(tmp_path).claim(IDENTITY, **DETAILS) as run:
        assert run.finished


@contextmanager
def _torch_like() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise RuntimeError("[enforce fail at inline_container.cc:664]") from None


def test_what_the_system_refused_is_told_whatever_a_library_makes_of_it(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        for made_of_it in (suppress(OSError), _torch_like()):
            with (
                pytest.raises(StoreError, match="File too large"),
                whole_file(tmp_path / "large") as file,
                made_of_it,
            ):
                file.write(bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk(small_disk):
    with (
        pytest.raises(StoreError, match=r"found .*No space left on device\. Make room there"),
        Store(small_disk).claim(IDENTITY, **DETAILS) as run,
        run.write_file("images/large.png") as file,
    ):
        file.write(bytes(1 << 20))
    status = read_status(directory(small_disk))
    assert status.state == "failed"
    assert "No space left on device" in status.reason
    assert list((directory(small_disk) / "images").iterdir()) == []
    compute(small_disk)
    assert len(values(small_disk)) == 50


def test_file_size_limit(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(StoreError, match="File too large"), whole_file(tmp_path / "large") as file:
            file.write(bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", [1, STATUS_VERSION - 1, STATUS_VERSION + 1])
def test_another_schema_is_refused_and_left_alone(tmp_path, version):
    compute(tmp_path)
    path = directory(tmp_path) / "status.json"
    status = json.loads(path.read_text())
    del status["sha256"]
    path.write_text(json.dumps({**status, "schema": version, "colour": "blue"}))
    for force in (False, True):
        with pytest.raises(StoreError, match=rf"should have schema {STATUS_VERSION}; found {version}"):
            compute(tmp_path, force=force)
    skipped = []
    assert list(all_runs(tmp_path, skipped=lambda at, why: skipped.append((at, str(why))))) == []
    assert skipped[0][0] == directory(tmp_path)
    assert len(values(tmp_path)) == 50


@pytest.mark.parametrize("version", [b"2", b"4"])
def test_rows_of_another_schema_are_refused(tmp_path, version):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"value": [1.0]}).replace_schema_metadata({SCHEMA_KEY: version}), path)
    with pytest.raises(StoreError, match=rf"should have schema 3; found {version.decode()}"):
        read_numbers(path)


def test_an_unreadable_folder_is_no_empty_one(tmp_path):
    compute(tmp_path)
    (tmp_path / "runs").rename(tmp_path / "away")
    (tmp_path / "runs").write_text("no folder")
    with pytest.raises(StoreError, match="runs"):
        list(all_runs(tmp_path))


def test_rows_of_no_schema_are_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"value": [1.0]}), path)
    with pytest.raises(StoreError, match="should be a complete file of a run"):
        read_numbers(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="should be a complete file of a run"):
        read_numbers(path)


def test_a_copy_under_another_name_is_refused(tmp_path):
    compute(tmp_path)
    shutil.copytree(directory(tmp_path), directory(tmp_path).with_name("0" * 16))
    copy, original = all_runs(tmp_path)
    assert original.identity == IDENTITY
    with pytest.raises(StoreError, match="two can't claim one id"):
        _ = copy.identity


def test_foreign_directories_are_skipped_and_reported(tmp_path):
    compute(tmp_path)
    for name, content in {
        "empty": None,
        "list": "[]",
        "torn": '{"schema": 1, "sta',
        "other": '{"a": 1}',
    }.items():
        (tmp_path / "runs" / name).mkdir()
        if content is not None:
            (tmp_path / "runs" / name / "status.json").write_text(content)
    (tmp_path / "runs" / "file").write_text("")
    skipped = {}
    (record,) = all_runs(tmp_path, skipped=lambda path, why: skipped.update({path.name: why}))
    assert record.path == directory(tmp_path)
    assert set(skipped) == {"empty", "list", "torn", "other", "file"}
    assert all(isinstance(why, StoreError) for why in skipped.values())


def test_no_output_folder_has_no_runs(tmp_path):
    assert list(all_runs(tmp_path / "nowhere")) == []


def test_thousands_of_runs_are_listed_quickly(tmp_path):
    compute(tmp_path)
    text = (directory(tmp_path) / "status.json").read_text()
    for number in range(3000):
        (tmp_path / "runs" / f"{number:016x}").mkdir()
        (tmp_path / "runs" / f"{number:016x}" / "status.json").write_text(text)
    start = time.perf_counter()
    assert sum(1 for _ in all_runs(tmp_path)) == 3001
    assert time.perf_counter() - start < 3


def test_versions_are_read_without_importing_torch():
    script = (
        "import sys; from swag_repro import tracking; from swag_repro.runs import identity, store; identity.versions();"
        "assert not {'torch', 'wandb', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git repository with one tracked file, taken for this package's."""
    monkeypatch.setattr(run_identity, "__file__", str(tmp_path / "identity.py"))
    run_identity.commit.cache_clear()
    (tmp_path / "identity.py").write_text("")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    yield tmp_path
    run_identity.commit.cache_clear()


def test_commit_of_a_checkout_and_its_changes(checkout):
    def git(*arguments: str) -> str:
        person = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(checkout), *person, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert run_identity.commit() is None  # another project's repository: our file is not tracked in it
    run_identity.commit.cache_clear()
    git("add", ".")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert run_identity.commit() == head
    (checkout / "identity.py").write_text("changed")
    assert run_identity.commit() == head  # each process reads it once
    run_identity.commit.cache_clear()
    assert run_identity.commit() == f"{head}-dirty"


def test_identities_of_two_seeds_lie_side_by_side(tmp_path):
    for seed in range(3):
        identity = replace(IDENTITY, config={"seed": seed})
        with suppress(ZeroDivisionError), Store(tmp_path).claim(identity, **DETAILS) as run:
            run.write_rows([row(seed=seed, value=1 / seed)])
    assert sorted(record.status.state for record in all_runs(tmp_path)) == ["failed", "finished", "finished"]


def test_a_share_that_is_away_is_not_made_anew(tmp_path):
    root = tmp_path / "share"
    with (
        pytest.raises(StoreError, match="No such file or directory"),
        Store(root, there=True).claim(IDENTITY, **DETAILS),
    ):
        pass
    assert not root.exists()
    root.mkdir()
    with Store(root, there=True).claim(IDENTITY, **DETAILS) as run:
        run.write_rows([])
    assert Store(root).directory(IDENTITY.run_id).is_dir()


@pytest.mark.parametrize("write", [Run.write_rows, Run.write_pairs])
def test_a_share_that_goes_away_while_a_run_is_computed_is_not_made_anew(tmp_path, write):
    root = tmp_path / "share"
    with Store(root).claim(IDENTITY, **DETAILS) as run:
        root.rename(tmp_path / "away")
        with pytest.raises(StoreError, match="No such file or directory"):
            write(run, [])
        assert not root.exists()
        (tmp_path / "away").rename(root)
        write(run, [])
    assert is_finished(root / "runs" / IDENTITY.run_id)


def test_a_share_that_goes_away_while_a_run_is_begun_is_not_made_anew(tmp_path):
    class Leaving(Identity):
        """Its share leaves between two of a run's first files."""

        def to_json(self):
            (tmp_path / "share").rename(tmp_path / "away")
            return super().to_json()

    leaving = Leaving(**{field.name: getattr(IDENTITY, field.name) for field in fields(IDENTITY)})
    with (
        pytest.raises(StoreError, match="No such file or directory"),
        Store(tmp_path / "share").claim(leaving, **DETAILS),
    ):
        pass
    assert not (tmp_path / "share").exists()
