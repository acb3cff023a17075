"""Whack-a-mole as users call it."""

from experiments.measure_units import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro.runs.records import all_runs

SMALL = ["images.size=32", "images.source.limit=2"]


def test_each_unit_is_measured_for_each_picture(run, tmp_path):
    status, printed = run(*SMALL, "network=small_residual")
    assert status == 0, printed
    [record] = all_runs(tmp_path / "out")
    rows = record.rows().to_pandas()
    assert len(rows) == 4 * 8 * 7  # images × units × statistics
    assert rows.drop_duplicates("position")["layer"].tolist() == [
        "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1", "conv5_2",
    ]  # fmt: skip
    assert rows.query("statistic == 'peaks_shrunk'")["value"].between(0, 1).all()
    assert set(rows["quantity"]) == {"unit"}


def test_without_shortcuts_there_is_no_peak_to_shrink(run, tmp_path):
    assert run(*SMALL, "network=small_no_shortcut")[0] == 0
    [record] = all_runs(tmp_path / "out")
    rows = record.rows().to_pandas()
    assert rows["value"].isna().all()
    assert set(rows["reason"]) == {"no channel has a positive peak"}


def test_a_network_without_units_is_refused(run):
    status, printed = run(*SMALL, "network=small_vgg")
    assert status == 1
    assert "`network` should have residual units; found small_vgg. Choose a ResNet." in printed.replace(
        "\n", " "
    )
