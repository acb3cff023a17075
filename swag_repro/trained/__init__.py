"""Weights of the small family, which this project has trained and ships; see `conf/experiment/family.yaml`.

They were trained on a copy, in JPEG, of CIFAR-10 (Krizhevsky, "Learning multiple layers of features from
tiny images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html). Its authors state no licence; none of its
images ships. `table.csv` beside this file says which run made each file, and how well it tells classes;
`curves.csv` holds its scores during training. A JSON file for each holds all that decided its run.
`experiments/export_weights.py` writes all these files.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from swag_repro.errors import WeightsError
from swag_repro.networks import Architecture
from swag_repro.weights import FileWeights, StoredWeights

TRAINED_FOLDER = Path(__file__).parent
TABLE = "table.csv"
COLUMNS = {"network", "seed", "file", "sha256"}


@dataclass(frozen=True, kw_only=True)
class TrainedWeights(StoredWeights):
    """Weights of the family, found by network and seed, and stored as float16.

    Attributes:
        seed: the seed of the training.
        folder: the folder of the table and the files; None for those that ship.
    """

    seed: int
    folder: str | None
    name: str

    def file(self, architecture: Architecture) -> FileWeights:
        """Return the file of this network and seed; its values are read as float32.

        Raises:
            WeightsError: there are none for this network and seed, or no table.
        """
        folder = TRAINED_FOLDER if self.folder is None else Path(self.folder).expanduser()
        rows = [row for row in _rows(folder) if row["file"]]  # some rows have numbers, but no file
        for row in rows:
            if (row["network"], row["seed"]) == (architecture.name, str(self.seed)):
                return FileWeights(path=str(folder / row["file"]), sha256=row["sha256"], name=self.name)
        known = ", ".join(f"{row['network']} seed {row['seed']}" for row in rows)
        raise WeightsError(
            "weights", "should be trained weights that there are",
            f"none of {architecture.name} with seed {self.seed} in {folder}",
            f"There are {known}; `swag train` trains others.",
        )  # fmt: skip


def _rows(folder: Path) -> list[dict[str, str]]:
    try:
        with (folder / TABLE).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if damaged := [row for row in rows if None in row.values() or not row.keys() >= COLUMNS]:
            raise ValueError(f"a damaged row: {damaged[0]}")
    except (OSError, ValueError, csv.Error) as error:
        rule, remedy = f"should be a folder with {TABLE}", "experiments/export_weights.py writes one."
        raise WeightsError("weights.folder", rule, f"{folder} ({error})", remedy) from error
    return rows
