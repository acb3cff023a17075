"""A second collection gives what a new one gives, whatever happened to the runs or to the kept tables."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from analysis.tables import MEASURES, TERMS, reading
from analysis.tables import collect as collecting_module
from analysis.tables.collect import collect, read_table
from analysis.tables.kept import COLLECTED, FILES, tables_of
from analysis.tables.reading import parse_settings
from analysis.tables.runs import settings_of
from experiments.asking import computing
from experiments.settings import comment_of
from swag_repro.errors import StoreError
from swag_repro.runs.files import OtherVersionError
from swag_repro.runs.identity import Identity
from swag_repro.runs.records import read_status
from swag_repro.runs.schema import LOSSES, MEANINGS, NUMBERS, PAIRS, RUNS, SCHEMA_KEY, STATISTICS, TABLES
from swag_repro.runs.store import Store

LAYERS = ("conv2_1", "conv1_1")
PAIR = {
    "content": "astronaut", "style": "waves", "image": "images/a.png", "content_image": "images/c.png",
    "style_image": "images/s.png", "styles": [{"name": "waves", "image": "images/s.png", "weight": 1.0}],
    "status": "finished", "iterations": 3,
}  # fmt: skip


def config_of(seed: int, setting: Any = 0) -> dict[str, Any]:
    """Settings of several types, some of which not all runs have."""
    group = {"seed": seed, "scale": seed / 2, "taps": list(LAYERS), "path": None}
    return {
        "name": "sweep",
        "setting": setting,
        "weights": group,
        "smoothing": {"temperature": 1.5} if seed % 2 else {},
    }


def identity_of(seed: int, experiment: str = "measure_activations") -> Identity:
    return Identity(experiment, 1, {"weights": {"seed": seed}}, {"content/astronaut": "a" * 64})


def compute(
    root: Path, seed: int, *, value: float = 0.5, fails: bool = False, force: bool = False, setting: Any = 0
) -> Path:
    """A run of the store's own: of two layers; one of three stylises a pair, too."""
    who = identity_of(seed, "measure_activations" if seed % 3 else "stylize")
    with (
        suppress(MemoryError),
        Store(root).claim(
            who, config=config_of(seed, setting), name="sweep", device="cpu", force=force
        ) as run,
    ):
        if fails:
            raise MemoryError(f"of {seed % 2}")
        about = {"network": f"n{seed % 2}", "seed": seed, "statistic": "maximum", "value": value}
        run.write_rows([about | {"layer": layer, "position": 2 - at} for at, layer in enumerate(LAYERS)])
        if who.experiment == "stylize":
            run.write_pairs([PAIR])
    return Store(root).directory(who.run_id)


def kill(path: Path, *, named: bool = True) -> None:
    """Leaves a run as a process that was killed leaves it: soon after its start, or before it wrote who it is."""
    started = replace(read_status(path), state="running", reason=None, seconds=None, rows=None, files=None)
    (path / "status.json").unlink()
    (path / "status.json").write_text(started.to_json())
    for name in ("rows.parquet", "pairs.parquet", *(() if named else ("identity.json", "config.yaml"))):
        (path / name).unlink(missing_ok=True)


def tables(root: Path, out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in collect(root, out).files}


def from_nothing(root: Path, out: Path) -> dict[str, bytes]:
    """What a collection gives that knows nothing; what was kept stays as it was."""
    kept = root / COLLECTED
    kept.rename(kept.with_name("aside"))
    made = tables(root, out)
    shutil.rmtree(kept)
    kept.with_name("aside").rename(kept)
    return made


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven runs: one failed, one killed, one killed before it wrote who it is."""
    root = tmp_path_factory.mktemp("runs")
    for seed in range(7):
        path = compute(root, seed, fails=seed == 4)
        if seed > 4:
            kill(path, named=seed == 5)
    return root


@pytest.fixture
def root(runs: Path, tmp_path: Path) -> Path:
    """Return a copy of these runs, which a test may change."""
    return shutil.copytree(runs, tmp_path / "outputs")


class Sweep:
    """An output folder to which things happen."""

    def __init__(self, root: Path, number: int) -> None:
        self.root, self.rng, self.seeds = root, random.Random(number), iter(range(10**6))
        (root / "runs").mkdir(parents=True)

    def any(self) -> Path | None:
        return self.rng.choice(sorted((self.root / "runs").iterdir()) or [None])

    def happen(self) -> str:
        happening = self.rng.choice(
            [self.new, self.new, self.fail, self.killed, self.vanish, self.again, self.torn]
        )
        happening()
        return happening.__name__

    def new(self) -> None:
        for _ in range(self.rng.randint(1, 3)):
            compute(self.root, next(self.seeds))

    def fail(self) -> None:
        compute(self.root, next(self.seeds), fails=True)

    def killed(self) -> None:
        kill(compute(self.root, next(self.seeds)), named=self.rng.random() < 0.5)

    def vanish(self) -> None:
        if path := self.any():
            shutil.rmtree(path)

    def again(self) -> None:
        """A finished run forced again with another result; a failed or killed one computed at last."""
        seed = self.rng.randrange(20)
        if Store(self.root).directory(identity_of(seed).run_id).exists():
            compute(self.root, seed, value=self.rng.random(), force=True)

    def torn(self) -> None:
        """What the kill of a collection leaves."""
        folder = self.root / COLLECTED
        if folder.is_dir():
            (folder / ".torn").mkdir(exist_ok=True)
            (folder / self.rng.choice(FILES)).write_bytes(b"PAR1")


def test_again_is_as_from_nothing(tmp_path: Path) -> None:
    sweep, happened = Sweep(tmp_path / "outputs", number=0), []
    for _ in range(14):
        happened.append(sweep.happen())
        assert tables(sweep.root, tmp_path / "again") == from_nothing(sweep.root, tmp_path / "anew"), happened
        assert not list((sweep.root / COLLECTED).glob(".*"))
    assert len(set(happened)) > 4


class TestWhatIsRead:
    def test_only_what_changed(self, root: Path, tmp_path: Path) -> None:
        before = tables(root, tmp_path / "out")
        [path, other] = [Store(root).directory(identity_of(seed).run_id) for seed in (1, 2)]
        (path / "rows.parquet").write_bytes(b"damaged")
        assert tables(root, tmp_path / "out") == before
        status = other / "status.json"
        status.write_text(replace(read_status(other), seconds=9.0).to_json())
        collect(root, tmp_path / "out")
        seconds = read_table(tmp_path / "out" / "runs.parquet").to_pandas().set_index("run_id")["seconds"]
        assert seconds[other.name] == 9.0
        os.utime(path / "status.json")
        with pytest.raises(StoreError, match="a checksum other than"):
            collect(root, tmp_path / "out")

    def test_a_failure_leaves_the_tables_as_they_were(self, root: Path, tmp_path: Path) -> None:
        before = tables(root, tmp_path / "out")
        damaged = compute(root, 8)
        rows = (damaged / "rows.parquet").read_bytes()
        (damaged / "rows.parquet").write_bytes(b"damaged")
        with pytest.raises(StoreError, match="1 damaged.*\n.*a checksum other than.*Type: swag "):
            collect(root, tmp_path / "out")
        assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before
        status = (damaged / "status.json").read_bytes()
        (damaged / "status.json").write_bytes(b"damaged")
        with pytest.raises(StoreError, match=f"1 damaged.*\n.*Delete {damaged}"):
            collect(root, tmp_path / "out")
        (damaged / "status.json").write_bytes(status)
        (damaged / "rows.parquet").write_bytes(rows)  # as where a network failed for a while
        assert tables(root, tmp_path / "out") == from_nothing(root, tmp_path / "anew")

    def test_a_full_disk_leaves_the_tables_as_they_were(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = tables(root, tmp_path / "out")
        compute(root, 8)

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(collecting_module, "_write_csv", full)
            with pytest.raises(StoreError, match="No space left"):
                collect(root, tmp_path / "out")
        assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before
        assert not list((tmp_path / "out").glob(".*"))

    def test_processes_read_what_threads_read(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        by_threads = tables(root, tmp_path / "threads")
        monkeypatch.setattr(reading, "MANY", 1)
        monkeypatch.setattr(reading, "PIECE", 2)
        assert from_nothing(root, tmp_path / "processes") == by_threads

    def test_settings_are_plain_values(self, tmp_path: Path) -> None:
        """Settings stay plain when runs of several types come and go one after the other."""
        root, values = tmp_path / "outputs", [1.5, "peak/2", True, "1", 1, ["a", 2.0], None]
        paths = [compute(root, seed, setting=value) for seed, value in enumerate(values)]
        for _ in values:
            collect(root, tmp_path)
        runs = read_table(tmp_path / "runs.parquet").to_pandas().set_index("run_id")["setting"]
        texts = [runs[path.name] for path in paths[:-1]]
        assert texts == ["1.5", "peak/2", "true", '"1"', "1", '["a", 2]']
        for path in (paths[1], paths[2], paths[3], paths[5]):
            shutil.rmtree(path)
        collect(root, tmp_path)
        runs = read_table(tmp_path / "runs.parquet").to_pandas().set_index("run_id")["setting"]
        assert [runs[path.name] for path in (paths[0], paths[4])] == [1.5, 1.0]


class TestKept:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda path: path.unlink(),
            lambda path: path.write_bytes(b""),
            lambda path: path.write_bytes(path.read_bytes()[:-50]),
            lambda path: path.write_bytes(flipped(path.read_bytes())),
        ],
        ids=["missing", "empty", "torn", "flipped"],
    )
    @pytest.mark.parametrize("name", FILES)
    def test_damage_is_mended(
        self, root: Path, tmp_path: Path, name: str, spoil: Callable[[Path], None]
    ) -> None:
        expected = tables(root, tmp_path / "out")
        spoil(root / COLLECTED / name)
        assert tables(root, tmp_path / "out") == expected

    def test_of_another_version_is_read_anew(self, root: Path, tmp_path: Path) -> None:
        expected = tables(root, tmp_path / "out")
        path = root / COLLECTED / FILES[-1]
        path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "0"}))
        for run in (root / "runs").glob("*/rows.parquet"):
            run.write_bytes(b"damaged")
        with pytest.raises(StoreError, match="damaged"):
            collect(root, tmp_path / "out")
        assert {name: (tmp_path / "out" / name).read_bytes() for name in expected} == expected

    def test_of_another_output_folder_is_no_use(self, root: Path, tmp_path: Path) -> None:
        """Copies are other files; all that was kept of the first ones is thrown away."""
        collect(root, tmp_path / "out")
        other = shutil.copytree(root, tmp_path / "copy")
        path = Store(other).directory(identity_of(1).run_id)
        (path / "rows.parquet").write_bytes(b"damaged")
        with pytest.raises(StoreError, match="a checksum other than"):
            collect(other, tmp_path / "out")

    def test_where_nothing_can_be_kept(
        self, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (root / COLLECTED).write_text("a file")
        made = tables(root, tmp_path / "out")
        assert "can't be kept" in caplog.text
        (root / COLLECTED).unlink()
        assert made == tables(root, tmp_path / "out")

    def test_a_malformed_status_is_never_passed_over(self, root: Path, tmp_path: Path) -> None:
        collect(root, tmp_path)
        path = Store(root).directory(identity_of(1).run_id)
        (path / "status.json").write_text("{")
        for _ in range(2):
            with pytest.raises(StoreError, match="status.json"):
                collect(root, tmp_path)

    @pytest.mark.slow
    def test_kills(self, tmp_path: Path) -> None:
        """Collections are killed at any moment; the last one may end."""
        root, rng = tmp_path / "outputs", random.Random(0)
        for seed in range(40):
            compute(root, seed)
        expected = tables(root, tmp_path / "expected")
        began = time.monotonic()
        assert collecting(root, tmp_path / "out").wait() == 0
        seconds = time.monotonic() - began
        for _ in range(5):
            if rng.random() < 0.5:
                shutil.rmtree(root / COLLECTED, ignore_errors=True)
            process = collecting(root, tmp_path / "out")
            time.sleep(rng.uniform(0.5, 1.0) * seconds)
            process.send_signal(signal.SIGKILL)
            process.wait()
        compute(root, 0, value=0.25, force=True)
        assert tables(root, tmp_path / "out") == from_nothing(root, tmp_path / "expected") != expected
        assert not list((root / COLLECTED).rglob(".*"))

    @pytest.mark.slow
    def test_several_at_the_same_time(self, tmp_path: Path) -> None:
        root = tmp_path / "outputs"
        for seed in range(40):
            compute(root, seed)
        processes = [collecting(root, tmp_path / f"out{number}") for number in range(3)]
        assert [process.wait() for process in processes] == [0, 0, 0]
        expected = from_nothing(root, tmp_path / "anew")
        for number in range(3):
            out = tmp_path / f"out{number}"
            assert {name: (out / name).read_bytes() for name in expected} == expected


def flipped(content: bytes) -> bytes:
    """Return the content with one bit of the first page flipped."""
    return content[:60] + bytes([content[60] ^ 1]) + content[61:]


def collecting(root: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "swag_repro", "collect", "--output", str(root), "--results", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


class TestRuns:
    def test_one_row_a_run(self, root: Path, tmp_path: Path) -> None:
        collect(root, tmp_path)
        runs = read_table(tmp_path / "runs.parquet").to_pandas()
        assert runs["run_id"].tolist() == sorted(path.name for path in (root / "runs").iterdir())
        assert runs["state"].value_counts().to_dict() == {"finished": 4, "running": 2, "failed": 1}
        [failed] = runs[runs["state"] == "failed"].to_dict("records")
        assert (failed["reason"], failed["experiment"]) == ("MemoryError: of 0", "measure_activations")
        assert failed["path"] == f"runs/{identity_of(4).run_id}"
        assert runs["config_key"].isna().sum() == 1

    def test_a_run_is_named_as_soon_as_it_says_who_it_is(self, root: Path, tmp_path: Path) -> None:
        who = identity_of(6, "stylize")
        collect(root, tmp_path)
        (Store(root).directory(who.run_id) / "identity.json").write_text(who.to_json())
        (Store(root).directory(who.run_id) / "config.yaml").write_text("a: 1")
        collect(root, tmp_path)
        runs = read_table(tmp_path / "runs.parquet").to_pandas().set_index("run_id")
        assert runs["config_key"][who.run_id] == who.config_key

    def test_each_column_is_explained(self, root: Path, tmp_path: Path) -> None:
        collect(root, tmp_path)
        known = pd.read_csv(tmp_path / "columns.csv", keep_default_na=False)
        for name in ("table", "runs", "pairs"):
            rows = known[(known["table"] == name) & ~known["column"].str.startswith("statistic: ")]
            assert rows["column"].tolist() == read_table(tmp_path / f"{name}.parquet").column_names
        declared = {"table": NUMBERS, "runs": RUNS, "pairs": PAIRS}
        assert {name: set(meanings) for name, meanings in MEANINGS.items()} == {
            name: set(schema.names) for name, schema in declared.items()
        }
        texts = dict(zip(known["column"], known["meaning"], strict=True))
        assert texts["weights.seed"] == comment_of("weights.seed") != ""
        assert "without any balance" in STATISTICS["start_style_loss"]
        assert {*MEASURES, *TERMS, *LOSSES.values(), "style_share"} <= set(STATISTICS)


NAMES = st.text("abc_d1: -#'\"\n", min_size=1, max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_settings_parsed_group_by_group(config: dict[str, Any]) -> None:
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    whole = settings_of(yaml.safe_load(text))
    assert parse_settings(text) == {name: json.dumps(value) for name, value in whole.items()}


@pytest.mark.parametrize(
    "text", ["a: &x [1]\nb: *x\n", "? a\n: 1\n", "{a: 1,\nb: 2}\n", "a: 1\n# b\nc: |\n  d\n\n  e\n"]
)
def test_settings_that_no_group_tells(text: str) -> None:
    whole = settings_of(yaml.safe_load(text))
    assert parse_settings(text) == {name: json.dumps(value) for name, value in whole.items()}


class TestTablesAlone:
    """A folder of collected tables stands for the runs behind them."""

    def test_it_says_what_its_runs_say(self, root: Path, tmp_path: Path) -> None:
        collect(root, tmp_path)
        with tables_of(root) as kept, tables_of(tmp_path) as alone:
            assert all(kept.read(name).equals(alone.read(name)) for name in TABLES)
        assert not (tmp_path / COLLECTED).exists()

    def test_collected_again_it_is_the_same(self, root: Path, tmp_path: Path) -> None:
        assert tables(root, tmp_path / "a") == tables(tmp_path / "a", tmp_path / "b")

    def test_what_is_missing_is_computed_elsewhere(self, root: Path, tmp_path: Path) -> None:
        collect(root, tmp_path)
        assert computing(["experiment=fig3"], root, "measure_activations")[-1] == f"output={root}"
        assert computing(["experiment=fig3"], tmp_path, "measure_activations")[-1] == "experiment=fig3"

    @pytest.mark.parametrize(
        ("content", "message"),
        [(b"", "pairs.parquet` should be"), (None, "no folder")],
        ids=["torn", "missing"],
    )
    def test_damaged_tables_are_refused(
        self, root: Path, tmp_path: Path, content: bytes | None, message: str
    ) -> None:
        collect(root, tmp_path)
        (tmp_path / "pairs.parquet").unlink()
        if content is not None:
            (tmp_path / "pairs.parquet").write_bytes(content)
        with pytest.raises(StoreError, match=message):
            collect(tmp_path, tmp_path / "out")

    def test_tables_of_another_version_are_refused(self, root: Path, tmp_path: Path) -> None:
        collect(root, tmp_path)
        path = tmp_path / "table.parquet"
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata({SCHEMA_KEY: b"1"}), path)
        with pytest.raises(OtherVersionError, match="Another version"), tables_of(tmp_path):
            pass
