"""The weights that ship: they are complete, fit the networks of conf/, and come from listed trainings."""

import pandas as pd
import pytest

from experiments.building import build
from experiments.config import Config, checked
from experiments.training.training import ClassifierTraining
from swag_repro.errors import WeightsError
from swag_repro.runs.files import digest
from swag_repro.runs.identity import Identity
from swag_repro.trained import TABLE, TRAINED_FOLDER, TrainedWeights
from tests.benchmarks.timing import composed

MOST = 20e6
"""Bytes of all files together."""

TRAINED = pd.read_csv(TRAINED_FOLDER / TABLE)
TABLED = TRAINED.dropna(subset="file").set_index("file")
"""Without those that are too large to ship."""


def settings(entry: str, *overrides: str) -> Config:
    """The checked config of an entry point."""
    return checked(composed(entry, *overrides), entry)


def test_the_table_is_of_all_files_and_they_are_small():
    assert set(TABLED.index) == {path.name for path in TRAINED_FOLDER.glob("*.safetensors")}
    assert sum((TRAINED_FOLDER / name).stat().st_size for name in TABLED.index) < MOST


@pytest.mark.parametrize(("network", "seed", "run_id"), TRAINED[["network", "seed", "run_id"]].to_numpy())
def test_each_training_says_what_decided_it(network, seed, run_id):
    assert Identity.from_json((TRAINED_FOLDER / f"{network}-{seed}.json").read_text()).run_id == run_id


@pytest.mark.parametrize("name", TABLED.index)
def test_each_file_is_what_its_run_trained(name):
    row, path = TABLED.loc[name], TRAINED_FOLDER / name
    assert digest(path.read_bytes()) == row["sha256"]
    trained = Identity.from_json(path.with_suffix(".json").read_text())
    config = settings("train_classifier", f"network={row['network']}", "experiment=family")
    of_today = ClassifierTraining.build(config).settings
    assert trained.config["network"] == of_today["network"]
    target = {"_target_": of_today["recipe"]["_target_"]}  # its class has had another name
    assert trained.config["recipe"] | target == of_today["recipe"]
    assert row["test_accuracy_as_stored"] == pytest.approx(row["test_accuracy"], abs=0.003)
    config = settings(
        "measure_activations", f"network={row['network']}", "weights=trained", f"weights.seed={row['seed']}"
    )
    network = build(config.weights).build(build(config.network))
    assert all(value.isfinite().all() for value in network.state_dict().values())


@pytest.mark.parametrize("figure", ["fig1", "fig2", "fig6", "fig7", "mechanism_trained", "fig2_trained"])
def test_the_papers_figures_take_them(figure):
    config = settings("stylize", f"experiment={figure}", "network=small_residual", "weights=trained")
    architecture = build(config.network)
    assert build(config.weights).digest(architecture) == TABLED.loc["small_residual-0.safetensors", "sha256"]


@pytest.mark.parametrize(
    "content", [b"", b"network,seed\na,0\n", b"network,seed,file,sha256\na,0,a-0\n", b"\xff\xfe"]
)
def test_a_damaged_table_is_told(tmp_path, content):
    (tmp_path / TABLE).write_bytes(content)
    architecture = build(settings("measure_activations", "network=small_residual").network)
    with pytest.raises(WeightsError):
        TrainedWeights(seed=0, folder=str(tmp_path), name="trained").digest(architecture)
