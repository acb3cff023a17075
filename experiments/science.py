"""The settings that decide a result, and those that only say how, where and by what name it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from swag_repro.runs.identity import leaves, normal

EXPERIMENT_VERSIONS = {
    "judge": 2,
    "measure_activations": 3,
    "measure_units": 1,
    "stylize": 4,
    "train_classifier": 1,
    "train_feedforward": 2,
    "transfer": 1,
}
"""The versions of the experiments' code: raise one when the same settings give other numbers."""

NOT_SCIENCE = frozenset(
    {
        "entry",
        "name",
        "output",
        "save",
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
        # All switches of `execution` but autocast change values only by rounding.
        "execution.fold_batchnorm",
        "execution.in_place",
        "execution.channels_last",
        "execution.checkpoints",
        # These say where images and weights come from; the hashes in `Identity` stand for their contents.
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
"""Dotted keys of settings that change no measured number. All other settings count as deciding the result."""

LATER = frozenset({"transformations", "compute.tf32", "tile"})
"""Dotted keys of settings that are younger than some runs: no id covers them if they are empty or false."""

OF_TRAINING = frozenset({"checkpoint_seconds", "compute.workers", "compute.keep_images", "compute.compile"})
"""Dotted keys of settings that say how a training is computed."""

NOT_SCIENCE_OF = {
    # These change only rounding, which nothing amplifies here. In a stylisation, each step builds on the one
    # before: with other neighbours in its batch, nearly all pixels of a picture change.
    "measure_activations": frozenset({"compute.batch_size"}),
    "measure_units": frozenset({"compute.batch_size"}),
    # Another judge changes no picture.
    "stylize": frozenset({"measures"}),
    # These say where the data are and how they are read; a digest in `Identity` stands for their contents.
    # A digest also stands for the trained weights. Tiles and neighbours change only rounding.
    "transfer": frozenset({"run", "tile", "compute.batch_size", "measures", "corpus"}),
    "train_feedforward": OF_TRAINING | {"corpus", "crop.style", "measures"},
    "train_classifier": OF_TRAINING | {"data.name", "data.path", "data.source"},
}
"""Dotted keys of settings that change no number of this experiment."""


UNDRAWN = ("content", "style", "laplacian", "recoloured", "histogram")
"""The starts of a stylisation that draw no noise."""

IDLE: Mapping[str, tuple[Any, Callable[[Mapping[str, Any]], bool]]] = {
    "feather": (0.02, lambda config: _at(config, "masks") is None),
    "mean_one": (True, lambda config: not _has(config, "mean_one")),
    "demystifying_units": ("mean", lambda config: not _has(config, "demystifying_units", "normalizer")),
    "objective.match": ("loss", lambda config: _at(config, "objective.like") is None),
    "stop.every": (50, lambda config: _at(config, "stop.change") is None),
    "stop.of": ("loss", lambda config: _at(config, "stop.change") is None),
    "seed": (0, lambda config: _at(config, "start") in UNDRAWN and not _at(config, "start_noise")),
    "coarsest": (0, lambda config: len(_at(config, "scales") or ()) == 1),
    "objective.smoothed_deepest": (None, lambda config: _smooths_nothing(config)),
    "objective.smoothed_taps": (None, lambda config: _smooths_nothing(config)),
}
"""Dotted keys of settings, the value that ids cover while they have no effect, and when they have none."""


def _smooths_nothing(config: Mapping[str, Any]) -> bool:
    return _at(config, "smoothing.name") == "none" and _at(config, "objective.like") is None


def _has(config: Mapping[str, Any], setting: str, taken_as: str | None = None) -> bool:
    """Return whether a smoothing or loss takes over a setting's value, under this name or another."""
    parts = {name: config[name] for name in ("smoothing", "objective") if name in config}
    ending = f".{taken_as or setting}"
    return any(key.endswith(ending) and value == config[setting] for key, value in leaves(parts, ".").items())


def scientific(config: Mapping[str, Any], experiment: str) -> dict[str, Any]:
    """Return the part of an experiment's resolved, plain config that decides the result, in a normal form.

    Raises:
        SettingError: A number is NaN or infinite.
        TypeError: A value is none of mapping, list, tuple, string, number, boolean and None.
    """
    unset = {key for key in LATER if not _at(config, key)}
    kept = normal(_without_idle(config), NOT_SCIENCE | NOT_SCIENCE_OF.get(experiment, frozenset()) | unset)
    if not kept.get("compute", True):
        del kept["compute"]
    return kept


def _without_idle(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config in which settings without effect have the value that ids cover."""
    for key, (value, is_idle) in IDLE.items():
        node, _, name = key.rpartition(".")
        if _at(config, key) not in (None, value) and is_idle(config):
            config = {**config, **({node: {**config[node], name: value}} if node else {name: value})}
    return config


def _at(config: Any, key: str) -> Any:
    """Return the value of a dotted key; None if there is none."""
    for name in key.split("."):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def wants_judge(config: Mapping[str, Any]) -> bool:
    """Return whether a stylisation's settings name a judge."""
    return "_target_" in config.get("measures", {})


def settings_of_judge(config: Mapping[str, Any]) -> Any:
    """Return the settings of a stylisation's judge that decide its measures, in a normal form.

    Raises:
        SettingError, TypeError: The same as for `scientific`.
    """
    return normal({"measures": config["measures"]}, NOT_SCIENCE)["measures"]
