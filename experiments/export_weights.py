"""The export of finished trainings' weights in float16, with a table, for `weights=trained` to read.

python experiments/export_weights.py --output outputs --to my/family
python experiments/export_weights.py --to swag_repro/trained --numbers-only small_deep small_wide

Each network is tested with the stored weights on the held-out images of its run. The folder keeps its other
trainings.
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import argparse
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.torch import load, save

from experiments.config import checked
from experiments.programs import find_modules_beside
from experiments.science import NOT_SCIENCE
from experiments.settings import CONF
from experiments.stored import check_stored, stored
from experiments.sweeps.progress import console
from experiments.training.training import ClassifierTraining
from swag_repro.errors import WeightsError
from swag_repro.names import file_stem
from swag_repro.program import Parser, ended
from swag_repro.runs.files import digest, path_of, whole_file, write_text
from swag_repro.runs.records import RunRecord, all_runs
from swag_repro.trained import TABLE
from swag_repro.weights import WEIGHTS

CURVES_CSV = "curves.csv"


def main() -> int:
    """Export the trainings of one name."""
    parser = Parser(description=__doc__ or "", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="outputs", help="folder of the run directories")
    parser.add_argument("--name", default="family", help="of the runs: that of their experiment")
    parser.add_argument("--to", type=path_of, required=True, help="folder of the table and the files")
    parser.add_argument(
        "--numbers-only",
        nargs="+",
        default=[],
        metavar="NETWORK",
        help="those that are too large to store: they have a line of the table, and no file",
    )
    parser.add_argument(
        "--config-dir", type=path_of, help="folder of your own files that the runs were made by"
    )
    arguments = parser.parse_args()
    own = [] if arguments.config_dir is None else [arguments.config_dir]
    for folder in own:
        find_modules_beside(folder)
    write_weights(Path(arguments.output), arguments.name, arguments.to, arguments.numbers_only, own)
    return 0


def write_weights(
    output: Path,
    name: str,
    folder: Path,
    numbers_only: Collection[str] = (),
    own: Sequence[Path] = (),
) -> None:
    """Write the weights, their runs' identities, the table and the curves; add them to those of the folder.

    Args:
        output: The folder of the run directories.
        name: The name of the runs.
        folder: The folder of the table and the files.
        numbers_only: The networks whose weights are not stored.
        own: The user's own folders, beside `conf/`, whose files name what the runs may build.

    Raises:
        UserError: No such runs exist, two of them have the same network and seed, their data are missing, or
            a config builds what no file names.
    """
    trained = _by_network_and_seed(all_runs(output), name)
    if not trained:
        raise WeightsError(
            "--name", "should be that of finished trainings", f"none of {name!r} in {output}",
            "`swag train -m experiment=family` computes some.",
        )  # fmt: skip
    for network in numbers_only:
        if network not in {known for known, _ in trained}:
            raise WeightsError(
                "--numbers-only", "should be networks with a training", network, "Name others."
            )
    for record in trained.values():
        check_stored(record.config, record.path, *own)
    rows = []
    for key, record in trained.items():
        with stored(record.path):
            rows.append(_exported(record, folder, with_file=key[0] not in numbers_only))
    _add(folder / TABLE, pd.DataFrame(rows))
    _add(folder / CURVES_CSV, pd.concat(map(_curve, trained.values())))
    console.print(f"{len(rows)} trainings → {folder}")


def _add(path: Path, rows: pd.DataFrame) -> None:
    """Write rows to a table, in the place of those of the same trainings."""
    of = ["network", "seed"]
    if path.exists():
        there = pd.read_csv(path)
        others = ~pd.MultiIndex.from_frame(there[of]).isin(pd.MultiIndex.from_frame(rows[of]))
        rows = pd.concat([there[others], rows])
    write_text(path, rows.sort_values(of, kind="stable").to_csv(index=False))


def _by_network_and_seed(records: Iterable[RunRecord], name: str) -> dict[tuple[str, int], RunRecord]:
    found: dict[tuple[str, int], RunRecord] = {}
    for record in records:
        status = record.status
        if (status.experiment, status.name, status.state) != (ClassifierTraining.name, name, "finished"):
            continue
        with stored(record.path):
            key = str(record.config["network"]["name"]), int(record.config["seed"])
        if key in found:
            both = f"{found[key].path.name} and {record.path.name}"
            raise WeightsError(
                "--name", f"should have one training of {key[0]} with seed {key[1]}", both, "Move one."
            )
        found[key] = record
    return found


def _exported(record: RunRecord, folder: Path, *, with_file: bool) -> dict[str, Any]:
    """Write a training's identity, and its weights if `with_file`; return its row of the table."""
    network, seed = record.config["network"]["name"], record.config["seed"]
    state = load(record.read(WEIGHTS))
    halved = {
        key: value.half() if value.is_floating_point() else value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")  # no output depends on it
    }
    content, stem = save(halved), file_stem(f"{network}-{seed}")
    as_stored = _accuracy(record, halved)
    if with_file:
        with whole_file(folder / f"{stem}.safetensors") as file:
            file.write(content)
    write_text(folder / f"{stem}.json", record.identity.to_json())
    last = record.rows().to_pandas().groupby(["definition", "statistic"])["value"].last()
    return {
        "network": network,
        "seed": seed,
        "file": f"{stem}.safetensors" if with_file else None,
        "sha256": digest(content) if with_file else None,
        "epochs": record.config["recipe"]["epochs"],
        "test_accuracy": last["test", "accuracy"],
        "test_accuracy_as_stored": as_stored,
        "train_accuracy": last["fitted", "accuracy"],
        "minutes": round(last["fitted", "seconds"] / 60, 1),
        "device": record.status.device,
        "commit": record.status.commit,
        "run_id": record.path.name,
    }


def _accuracy(record: RunRecord, state: dict[str, torch.Tensor]) -> float:
    """Return the accuracy of the stored weights on the held-out images of the run."""
    config = checked(_todays(record.config), ClassifierTraining.reads)
    training = ClassifierTraining.build(config).training()
    training.network.load_state_dict(state, strict=False)
    return training.test().accuracy


def _todays(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's config with today's values of the settings that decide no result."""
    entry = ClassifierTraining.reads
    with initialize_config_dir(str(CONF), version_base="1.3"):
        today: Any = OmegaConf.to_container(compose(entry))
    scientific = {name: value for name, value in config.items() if name not in NOT_SCIENCE}
    return today | scientific  # type: ignore[no-any-return]


def _curve(record: RunRecord) -> pd.DataFrame:
    columns = ["network", "seed", "iteration", "definition", "statistic", "value"]
    rows: pd.DataFrame = record.rows().to_pandas()[columns]
    return rows[rows["statistic"] != "seconds"]


if __name__ == "__main__":
    sys.exit(ended(main))
