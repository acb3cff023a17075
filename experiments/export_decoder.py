"""The export of a trained decoder as a small file, with its config, for `run=shipped` of `transfer`.

python experiments/export_decoder.py --run <id> --to swag_repro/feedforward/shipped
"""

from __future__ import annotations

import experiments  # noqa: F401  (before torch: it sets how threads wait)

# isort: split
import argparse
import sys
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load, save

from experiments.feedforward.training import FeedforwardExperiment
from experiments.stored import check_stored, stored
from experiments.sweeps.progress import console
from swag_repro.errors import WeightsError
from swag_repro.program import Parser, ended
from swag_repro.runs.files import SafeDumper, path_of, whole_file, write_text
from swag_repro.runs.records import RunRecord, read_status
from swag_repro.weights import WEIGHTS

ELSEWHERE = {"output": "outputs", "content": None, "style": None}
"""The settings that name places on the machine of the training, and their values in the exported config."""


def main() -> int:
    """Export one run."""
    parser = Parser(description=__doc__ or "", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="outputs", help="folder of the run directories")
    parser.add_argument("--run", required=True, help="id of a finished training of train_feedforward")
    parser.add_argument("--to", type=path_of, required=True, help="folder of the files")
    parser.add_argument(
        "--config-dir", type=path_of, help="folder of your own files that the run was made by"
    )
    arguments = parser.parse_args()
    own = [] if arguments.config_dir is None else [arguments.config_dir]
    write_decoder(Path(arguments.output) / "runs" / arguments.run, arguments.to, *own)
    return 0


def write_decoder(directory: Path, folder: Path, *own: Path) -> None:
    """Write the weights in float16, the config and the run's identity, without the machine's paths.

    Args:
        directory: The run's directory.
        folder: The folder of the exported files.
        own: The user's own folders, beside `conf/`, whose files name what the run may build.

    Raises:
        UserError: No such finished run exists, it is damaged, or its config builds what no file names.
    """
    if not (directory / "status.json").is_file():
        raise WeightsError("--run", "should be the id of a finished training", f"no {directory}", "Check it.")
    record = RunRecord(directory, read_status(directory))
    if (record.status.experiment, record.status.state) != (FeedforwardExperiment.name, "finished"):
        found = f"{record.status.state} {record.status.experiment}: {directory}"
        raise WeightsError("--run", "should be the id of a finished training", found, "Choose another.")
    check_stored(record.config, directory, *own)
    with stored(directory):
        state = load(record.read(WEIGHTS))
        portable, identity = _portable(record.config), record.identity.to_json()
    halved = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    with whole_file(folder / WEIGHTS) as file:
        file.write(save(halved))
    config = yaml.dump(portable, Dumper=SafeDumper, sort_keys=False, allow_unicode=True)
    write_text(folder / "config.yaml", config)
    write_text(folder / "identity.json", identity)
    console.print(f"{record.path.name} → {folder}")


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    corpus = {**config["corpus"], "content": "content", "style": "style"}
    corpus["source"] = {
        **corpus["source"],
        **{k: corpus[k] for k in ("content", "style") if k in corpus["source"]},
    }
    return {**config, **ELSEWHERE, "corpus": corpus}


if __name__ == "__main__":
    sys.exit(ended(main))
