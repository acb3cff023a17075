"""Sweeps under SLURM and Ray end as they do in one process."""

import pytest

from swag_repro.runs.records import all_runs
from tests.clusters.sweeps import ROOT, SMOKE, table
from tests.wandb_files import read_offline

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRAINED = ROOT / "swag_repro" / "trained" / "small_residual-0.safetensors"


def test_a_sweep_gives_the_table_of_one_process_and_a_wandb_run_for_each_cell(engine, undisturbed, tmp_path):
    status, printed = engine.run(tmp_path, *SMOKE, "tracking=offline")
    assert status == 0, printed
    records = list(all_runs(tmp_path / "out"))
    assert [record.status.state for record in records] == ["finished"] * 4
    assert [record.damage() for record in records] == [[]] * 4
    assert table(tmp_path) == undisturbed
    mirrored = [read_offline(record.path)["run"][0] for record in records]
    assert [about["run_id"] for about in mirrored] == [record.path.name for record in records]
    assert {about["run_group"] for about in mirrored} == {"smoke"}


def test_a_failing_cell_stops_no_other(engine, tmp_path):
    weights = ["weights=file", f"weights.path={TRAINED},missing.safetensors"]
    cells = ["network=small_residual", "smoothing=none,softmax", "images.size=32", "images.source.limit=1"]
    status, printed = engine.run(tmp_path, *cells, *weights, "compute.threads=1", "tracking=disabled")
    assert status == 1, printed
    finished = [record for record in all_runs(tmp_path / "out") if record.status.state == "finished"]
    assert sorted(record.config["smoothing"]["name"] for record in finished) == ["none", "softmax"]
    assert "missing.safetensors" in printed
    assert "Traceback" not in printed
