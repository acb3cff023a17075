"""The provenance that files carry, and what `explain` reports when runs have changed since."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from analysis import points
from analysis.commands import main
from analysis.drawing import style
from analysis.explaining import explain
from analysis.tables import provenance
from analysis.tables.provenance import DIGITS, SUFFIX, ProvenanceError, made_by
from experiments.asking import compose_cells
from swag_repro.errors import StoreError
from swag_repro.runs.identity import content_key
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.runs.store import Store
from tests.analysis.made import Outputs, activations, measured, trained

SWEEP = ["network=resnet50,vgg19", "smoothing=none", "weights.seed=0"]
EXPERIMENT = ["experiment=fig3", *SWEEP]
COMMIT = "0123456789012345678901234567890123456789"


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return Outputs.of(tmp_path_factory.mktemp("computed"), EXPERIMENT, "measure_activations")


@pytest.fixture
def outputs(computed: Outputs, tmp_path: Path) -> Outputs:
    """Runs to be spoilt."""
    root = tmp_path / "outputs"
    shutil.copytree(computed.root, root)
    return Outputs(root, computed.cells, [root / "runs" / path.name for path in computed.paths])


def written(root: Path, out: Path, *command: str) -> list[Path]:
    """The files of a small figure of these runs."""
    with made_by(command):
        data = points.load_points(EXPERIMENT, root, partial=False)
    return style.save(Figure(figsize=(1, 1)), data, out, "fig3")


def states(file: Path, root: Path | None = None) -> dict[str, str]:
    return {run.run_id: run.state for run in explain(file, root).runs}


class TestCarried:
    def test_by_every_kind_of_file(self, computed: Outputs, tmp_path: Path) -> None:
        files = written(computed.root, tmp_path, "figure", "fig3", *SWEEP)
        assert {path.suffix for path in files} == {".png", ".pdf", ".csv", ".json"}
        stored = [provenance.read_provenance(path) for path in files[:-1]]
        assert stored[0] == stored[1] == stored[2]
        assert stored[0].command == ("figure", "fig3", *SWEEP)
        assert stored[0].steps == (("swag", "measure", "-m", *EXPERIMENT, f"output={computed.root}"),)
        assert list(stored[0].runs) == [path.name for path in computed.paths]
        for source, path in zip(stored[0].runs.values(), computed.paths, strict=True):
            status = read_status(path)
            assert source.origin.commit == status.commit
            assert source.origin.versions == status.versions
            assert source.result == content_key(status.files)[:DIGITS]
        assert stored[0].drawn.versions["seaborn"]
        rows = pd.read_csv(tmp_path / "fig3.csv")
        assert rows["config_key"].str[:16].isin([one.config for one in stored[0].runs.values()]).all()
        beside = tmp_path / f"fig3{SUFFIX}"
        assert files[-1] == beside
        assert set(json.loads(beside.read_text())["files"]) == {path.name for path in files[:-1]}

    @pytest.mark.parametrize("odd", [r"a (b) \c", "ünïcode ✓", 'quo"te', "unbalanced)", "line\nbreak", "\\"])
    def test_whatever_the_command_was(self, computed: Outputs, tmp_path: Path, odd: str) -> None:
        for path in written(computed.root, tmp_path, "figure", odd)[:-1]:
            assert provenance.read_provenance(path).command == ("figure", odd)

    def test_only_the_digest_of_configs_counts(self, computed: Outputs, tmp_path: Path) -> None:
        [path, *_] = written(computed.root, tmp_path)
        stored = provenance.read_provenance(path)
        other = dict(reversed(stored.runs.items()))
        assert replace(stored, runs=other).config == stored.config
        one = {run_id: source for run_id, source in stored.runs.items() if run_id == computed.paths[0].name}
        assert replace(stored, runs=one).config != stored.config

    def test_trainings_come_first(self, tmp_path: Path) -> None:
        [training] = compose_cells(["network=small_residual", "experiment=family"], "train_classifier")
        path = trained(tmp_path, training)
        digests = read_status(path).files or {}
        [cell] = compose_cells(["network=small_residual"], "measure_activations")
        measured(tmp_path, cell, weights=digests["rows.parquet"])
        stored = points.load_points(["network=small_residual"], tmp_path, partial=False).tables.provenance
        assert [step[1] for step in stored.steps] == ["train", "measure"]
        assert next(iter(stored.runs)) == path.name

    @pytest.mark.parametrize("name", ["table.parquet", "runs.parquet", "pairs.parquet", "table.csv"])
    def test_by_collected_tables(self, computed: Outputs, tmp_path: Path, name: str) -> None:
        arguments = ["collect", "--output", str(computed.root), "--results", str(tmp_path)]
        assert main(arguments) == 0
        known = explain(tmp_path / name, None)
        assert known.provenance.command == tuple(arguments)
        expected = {} if name == "pairs.parquet" else {path.name: "unchanged" for path in computed.paths}
        assert {run.run_id: run.state for run in known.runs} == expected


class TestRuns:
    def test_unchanged(self, outputs: Outputs, tmp_path: Path) -> None:
        [file, *_] = written(outputs.root, tmp_path)
        assert set(states(file).values()) == {"unchanged"}
        assert set(states(file, tmp_path / "elsewhere").values()) == {"missing"}

    def test_elsewhere(self, outputs: Outputs, tmp_path: Path) -> None:
        [file, *_] = written(outputs.root, tmp_path)
        outputs.root.rename(tmp_path / "moved")
        assert set(states(file).values()) == {"missing"}
        assert set(states(file, tmp_path / "moved").values()) == {"unchanged"}

    def test_spoilt(self, outputs: Outputs, tmp_path: Path) -> None:
        [file, *_] = written(outputs.root, tmp_path)
        first, second = outputs.paths
        rows = bytearray((first / "rows.parquet").read_bytes())
        rows[100] ^= 1
        (first / "rows.parquet").write_bytes(rows)
        (second / "status.json").write_text("{")
        assert [(run.state, run.found) for run in explain(file, None).runs] == [
            ("damaged", "rows.parquet"), ("damaged", "status.json"),
        ]  # fmt: skip

    def test_computed_anew(self, outputs: Outputs, tmp_path: Path) -> None:
        [file, *_] = written(outputs.root, tmp_path)
        record = RunRecord(outputs.paths[0], read_status(outputs.paths[0]))
        claimed = Store(outputs.root).claim(
            record.identity, config=record.config, name="fig3", device="cpu", force=True
        )
        with claimed as run:
            run.write_rows(list(activations(record.config))[1:])
        assert list(states(file).values()) == ["changed", "unchanged"]

    def test_that_failed_since(self, outputs: Outputs, tmp_path: Path) -> None:
        [file, *_] = written(outputs.root, tmp_path)
        status = replace(read_status(outputs.paths[0]), state="failed", reason="no memory")
        (outputs.paths[0] / "status.json").write_text(status.to_json())
        [run, _] = explain(file, None).runs
        assert (run.state, run.found) == ("failed", "no memory")


class TestCommand:
    def test_in_words(self, outputs: Outputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        [file, *_] = written(outputs.root, tmp_path, "figure", "fig3", "--output", "my outputs")
        shutil.rmtree(outputs.paths[1])
        assert main(["explain", str(file)]) == 0
        said = capsys.readouterr().out
        assert "1 unchanged" in said
        assert "1 missing" in said
        listed = [line.split()[0] for line in said.splitlines() if line.startswith("    ")]
        assert listed == [outputs.paths[1].name, outputs.paths[0].name]  # runs with a fault come first
        assert said.endswith("  swag figure fig3 --output 'my outputs'\n")
        assert "-m experiment=fig3 network=resnet50,vgg19 smoothing=none weights.seed=0 output=" in said

    def test_of_an_older_file_has_options_of_today(self, computed: Outputs, tmp_path: Path) -> None:
        [file, *_] = written(computed.root, tmp_path, "figure", "fig3", "--runs", "a", "--out", "b")
        assert explain(file, None).commands[-1] == (
            "swag",
            "figure",
            "fig3",
            "--output",
            "a",
            "--results",
            "b",
        )

    def test_of_a_sweep_means_the_one_that_is_begun_anew(self, computed: Outputs, tmp_path: Path) -> None:
        for given, anew in (
            (["outputs/sweeps/2026-01-01"], ["last"]),
            (["my/sweeps/2026-01-01"], ["last", "--output", "my"]),
            (["my/sweeps/2026-01-01", "--output", "my"], ["last", "--output", "my"]),
        ):
            [file, *_] = written(computed.root, tmp_path, "figure", "fig3", *given)
            assert explain(file, None).commands[-1] == ("swag", "figure", "fig3", *anew)

    def test_for_machines(self, outputs: Outputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        [file, *_] = written(outputs.root, tmp_path, "figure", "fig3")
        assert main(["explain", str(file), "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert [run["run_id"] for run in printed["runs"]] == [path.name for path in outputs.paths]
        assert {run["state"] for run in printed["runs"]} == {"unchanged"}
        assert {run["commit"] for run in printed["runs"]} == {read_status(outputs.paths[0]).commit}
        assert printed["commands"][-1] == ["swag", "figure", "fig3"]
        assert (printed["cells"], printed["missing_cells"]) == (2, 0)

    def test_of_many_runs_lists_some(self, computed: Outputs, tmp_path: Path) -> None:
        [file, *_] = written(computed.root, tmp_path)
        known = explain(file, None)
        many = replace(known, runs=known.runs * 20)
        assert sum("unchanged" in line for line in many.lines(every_run=True)) == 41
        short = list(many.lines(every_run=False))
        assert "    ... and 30 more: --all lists them" in short

    def test_code_comes_back_by_its_commit(self, outputs: Outputs, tmp_path: Path) -> None:
        for path, commit in zip(outputs.paths, (COMMIT, f"{COMMIT}-dirty"), strict=True):
            (path / "status.json").write_text(replace(read_status(path), commit=commit).to_json())
        [file, *_] = written(outputs.root, tmp_path)
        said = "\n".join(explain(file, None).lines(every_run=False))
        assert "git checkout" not in said  # no single commit computed the runs
        assert "several commits" in said
        assert "not committed" in said
        one = compose_cells(["experiment=fig3", "network=resnet50", *SWEEP[1:]], "measure_activations")
        data = points.load_points(list(one[0].overrides), outputs.root, partial=False)
        [file, *_] = style.save(Figure(figsize=(1, 1)), data, tmp_path, "one")
        assert explain(file, None).commands[0] == ("git", "checkout", COMMIT)

    @pytest.mark.parametrize(
        ("name", "make"),
        [
            ("nothing.png", lambda _: None),
            ("plain.png", lambda path: Image.new("RGB", (1, 1)).save(path)),
            ("torn.png", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n")),
            ("plain.csv", lambda path: path.write_text("a,b\n1,2\n")),
            ("torn.csv", lambda path: path.with_name(f"torn{SUFFIX}").write_text('{"files": ')),
        ],
    )
    def test_of_what_says_nothing(
        self, name: str, make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make(tmp_path / name)
        assert main(["explain", str(tmp_path / name)]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"error: `{tmp_path / name}` should be a file of a run, or of results")
        assert said.err.count("\n") == 1

    def test_another_version_is_refused(self, computed: Outputs, tmp_path: Path) -> None:
        [file, *_, beside] = written(computed.root, tmp_path)
        beside.write_text(json.dumps(json.loads(beside.read_text()) | {"schema": 99}))
        with pytest.raises(StoreError, match="should have schema 2; found 99"):
            explain(file, None)

    def test_a_file_that_was_changed_since(self, computed: Outputs, tmp_path: Path) -> None:
        [file, *_] = written(computed.root, tmp_path)
        assert explain(file, None).what == ""
        file.write_bytes(b"other")
        assert explain(file, None).what == "changed since it was written"


class TestPicture:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        overrides = ["network=vgg19", "weights=random", "measures=none"]
        [path] = Outputs.of(tmp_path, overrides, pairs=[("cat", "waves")]).paths
        return path

    @pytest.mark.parametrize(
        ("name", "what"),
        [
            ("images/0.png", "cat in the style of waves (finished), as it was written, of run "),
            ("images/content/cat.png", "the content cat, "),
            ("images/style/waves.png", "the style waves, "),
            ("rows.parquet", "rows.parquet, "),
            ("status.json", "not among what was written"),
            ("", "run "),
        ],
    )
    def test_says_what_it_is(self, run: Path, name: str, what: str) -> None:
        known = explain(run / name, None)
        assert known.what.startswith(what)
        assert run.name in known.what
        assert [(one.run_id, one.state) for one in known.runs] == [(run.name, "unchanged")]
        assert known.commands[-1] == ("swag", "stylize")

    def test_that_was_changed(self, run: Path) -> None:
        (run / "images/0.png").write_bytes(b"other")
        known = explain(run / "images/0.png", None)
        assert "changed since" in known.what
        assert [(one.state, one.found) for one in known.runs] == [("damaged", "images/0.png")]

    def test_copied_out_of_its_run(self, run: Path, tmp_path: Path) -> None:
        copy, text = tmp_path / "copy.png", PngInfo()
        text.add_text("run_id", run.name)
        Image.new("RGB", (1, 1)).save(copy, pnginfo=text)
        assert explain(copy, run.parents[1]).runs[0].state == "unchanged"
        with pytest.raises(StoreError, match="status.json"):
            explain(copy, tmp_path / "elsewhere")

    def test_of_a_run_that_did_not_finish(self, run: Path) -> None:
        status = replace(read_status(run), state="running", files=None)
        (run / "status.json").write_text(status.to_json())
        known = explain(run / "images/0.png", None)
        assert [one.state for one in known.runs] == ["running"]
        assert list(known.lines(every_run=False))


def test_no_error_hides_another(tmp_path: Path) -> None:
    with pytest.raises(ProvenanceError, match="no such file"):
        provenance.read_provenance(tmp_path / "nothing.csv")
