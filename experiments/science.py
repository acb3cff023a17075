"""Which settings decide a result, and which only how, where and under what name it is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swag_repro.runs.identity import normal

VERSIONS = {
    "judge": 2,
    "measure_activations": 3,
    "measure_units": 1,
    "stylize": 4,
    "train_classifier": 1,
    "train_feedforward": 2,
    "transfer": 1,
}
"""Of the experiments' own code: raised when the same settings come to give other numbers."""

NOT_SCIENCE = frozenset(
    {
        "entry",
        "name",
        "output",
        "force",
        "progress",
        "tracking",
        "sweep",
        "compute.device",
        "compute.threads",
        "keep",
        "arm",
        "network.label",
        "objective.label",
        # Of the levers, all but autocast change values by rounding only.
        "levers.fold_batchnorm",
        "levers.in_place",
        "levers.channels_last",
        "levers.checkpoints",
        # Where images and weights come from; the hashes in `Identity` stand for what they are.
        "images.name",
        "images.path",
        "images.source",
        "content",
        "style",
        "masks",
        "measures.weights.path",
        "measures.weights.sha256",
        "measures.weights.part",
        "weights.path",
        "weights.output",
        "weights.folder",
        "weights.run",
        "weights.sha256",
        "weights.part",
    }
)
"""Settings, by dotted key, that leave every measured number as it is. All others are taken to decide."""

LATER = frozenset({"transformations", "compute.tf32", "tile"})
"""Settings, by dotted key, that came when there were runs already: empty or false they are in no id."""

NOT_SCIENCE_OF = {
    # Rounding only, and nothing amplifies it. In a stylisation each step goes on from the one before: with
    # other neighbours in its batch nearly all pixels of a picture come to differ.
    "measure_activations": frozenset({"compute.batch_size"}),
    "measure_units": frozenset({"compute.batch_size"}),
    # Another judge changes no picture.
    "stylize": frozenset({"measures"}),
    # Where the data are, and how they are read; a digest in `Identity` stands for what they are.
    # The trained weights have a digest; tiles and neighbours change rounding only.
    "transfer": frozenset({"run", "tile", "compute.batch_size", "measures", "corpus"}),
    "train_feedforward": frozenset(
        {
            "corpus",
            "crop.style",
            "checkpoint_seconds",
            "compute.workers",
            "compute.keep_images",
            "compute.compile",
            "measures",
        }
    ),
    "train_classifier": frozenset(
        {
            "data.name",
            "data.path",
            "data.source",
            "checkpoint_seconds",
            "compute.workers",
            "compute.keep_images",
            "compute.compile",
        }
    ),
}
"""Those that leave the numbers of one experiment as they are."""


def scientific(config: Mapping[str, Any], experiment: str) -> dict[str, Any]:
    """The part of an experiment's resolved, plain config that decides the result, in one normal form.

    Raises:
        SettingError: A number is NaN or infinite.
        TypeError: A value is none of mapping, list, tuple, string, number, boolean and None.
    """
    unset = {key for key in LATER if not _at(config, key)}
    kept = normal(config, NOT_SCIENCE | NOT_SCIENCE_OF.get(experiment, frozenset()) | unset)
    if not kept.get("compute", True):
        del kept["compute"]
    return kept


def _at(config: Any, key: str) -> Any:
    """The value of a dotted key; None without one."""
    for name in key.split("."):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def wants_judge(config: Mapping[str, Any]) -> bool:
    """Whether a stylisation's settings name a judge."""
    return "_target_" in config.get("measures", {})


def settings_of_judge(config: Mapping[str, Any]) -> Any:
    """Those of a stylisation's settings that decide its measures, in one normal form.

    Raises:
        As `scientific`.
    """
    return normal({"measures": config["measures"]}, NOT_SCIENCE)["measures"]
