"""All sides of a benchmark minimise the same function, and the runs that benchmarks make fit the store."""

from collections import Counter

import pytest
import torch
import yaml

from analysis.tables.answers import answered
from analysis.tables.kept import tables_of
from experiments.asking import compose_cells
from swag_repro.runs.records import all_runs
from tests.benchmarks.collection import collection
from tests.benchmarks.engine import FULL, Engine, Setup, Textbook, architecture_of
from tests.benchmarks.feedforward import feedforward
from tests.benchmarks.kinship import linear_cka
from tests.benchmarks.synthetic import OVERRIDES, PICTURE, make_run


def test_the_engine_comes_to_the_textbook_s_loss():
    architecture = architecture_of("resnet18")
    setup = Setup(architecture=architecture, size=32, batch=2, closures=3, device=torch.device("cpu"))
    expected = Textbook(setup, frozen=True)()
    assert Engine(setup, FULL)() == pytest.approx(expected, rel=1e-3)


def test_synthetic_runs_are_as_the_store_writes_them(tmp_path):
    paths = [make_run(tmp_path, number, rows=7) for number in range(8)]
    (tmp_path / "runs").mkdir()
    for path in paths:
        path.rename(tmp_path / "runs" / path.name)
    records = list(all_runs(tmp_path))
    finished = [record for record in records if record.status.state == "finished"]
    assert Counter(record.status.state for record in records) == {"finished": 6, "failed": 1, "running": 1}
    for record in finished:
        assert record.damage() == [PICTURE]  # none was made
        assert len(record.rows()) == record.status.rows == 7
        assert len(record.pairs()) == (record.status.experiment == "stylize")
        assert record.identity.run_id == record.path.name
        text = (record.path / "config.yaml").read_text()
        assert text == yaml.safe_dump(record.config, sort_keys=False, allow_unicode=True)
    [judge] = [record for record in finished if record.status.experiment == "judge"]
    assert judge.identity.config["stylization"] in {record.path.name for record in finished}
    cells = compose_cells(
        [*OVERRIDES, "weights.seed=2,3", "smoothing.temperature=1.2,1.3"], "measure_activations"
    )
    with tables_of(tmp_path) as kept:
        runs = answered(cells, kept, [], partial=True)
    found = [cell.overrides for cell, run in zip(cells, runs, strict=True) if run is not None]
    assert [{"weights.seed=2", "smoothing.temperature=1.2"} <= {*found[0]}, len(found)] == [True, 2]


def test_cka_is_1_up_to_a_rotation_and_small_for_strangers():
    torch.manual_seed(0)
    features, strangers = torch.randn(2000, 8), torch.randn(2000, 8)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8))
    assert linear_cka(features, 3 * features @ rotation + 1) == pytest.approx(1)
    assert linear_cka(features, strangers) < 0.02


@pytest.mark.slow
def test_collection_is_measured():
    table = collection(16, new=8, rows=3)
    assert table.row_count == 5
    assert "do not differ" in str(table.caption)


@pytest.mark.slow
def test_one_pass_is_measured_beside_the_bare_one():
    use, training = feedforward("small_no_shortcut", [64], repeats=1, steps=1, device="cpu")
    assert [use.row_count, training.row_count] == [1, 1]
    [share] = training.columns[3].cells
    assert 0 < float(share.rstrip("%")) < 200
