"""The types of the configs. Every entry point checks the config that Hydra composes against them.

This module imports no torch, so `analysis` can check configs as the experiments do.
"""

from __future__ import annotations

import math
import os
import pickle
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, TypeAlias

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from experiments.complaints import complaint
from swag_repro.errors import SettingError, check_choice

PRECISIONS = ("float64", "float32", "bfloat16", "float16")
"""The precisions of a network, by torch's names."""

RETRIES = ("retry", "always", "never")
"""The choices for runs that have failed before."""


@dataclass
class NetworkConfig:
    """`conf/network`: arguments of `swag_repro.networks.Architecture`."""

    _target_: str = MISSING
    name: str = MISSING
    label: str = MISSING
    builder: dict[str, Any] = MISSING
    taps: dict[str, str] = MISSING
    style_taps: list[str] = MISSING
    hypercolumn_taps: list[str] | None = None
    content_tap: str = MISSING
    statistic_taps: list[str] = MISSING
    shortcut: Any = None
    imagenet: str | None = None
    head: list[str] = field(default_factory=list)
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])


@dataclass
class ImagesConfig:
    """`conf/images`: where the images come from and how they are resized."""

    name: str = MISSING
    source: dict[str, Any] = MISSING
    size: int = MISSING
    resize: str = MISSING
    interpolation: str = MISSING
    path: str | None = None


@dataclass
class Tracking:
    """`conf/tracking`: arguments of `swag_repro.tracking`, and how often pictures are sent to W&B."""

    mode: str = MISSING
    project: str = MISSING
    entity: str | None = None
    tags: list[str] = field(default_factory=list)
    timeout: float = MISSING
    every: int = MISSING


@dataclass
class Compute:
    """The device of a cell. Results depend on `tf32` alone, which the settings of earlier runs lack."""

    device: str = MISSING
    threads: int | None = None
    tf32: bool | None = None


@dataclass
class Batched(Compute):
    """The device of a network, and the number of images that it takes at once."""

    batch_size: Any = MISSING


@dataclass
class Sweeping:
    """`conf/sweep`: how a multirun is computed; no result depends on it."""

    workers: int | None = None
    max_cells: int = MISSING
    failed: str = MISSING
    dry_run: bool = MISSING


@dataclass
class Frame:
    """The settings that every entry point's config has."""

    tracking: Tracking = MISSING
    sweep: Sweeping = MISSING
    compute: Compute = MISSING
    entry: str = MISSING
    name: str = MISSING
    output: str = MISSING
    force: bool = MISSING
    progress: bool = MISSING


@dataclass
class Config(Frame):
    """The settings of every entry point that runs a network of `conf/network`."""

    network: NetworkConfig = MISSING
    weights: dict[str, Any] = MISSING


@dataclass
class UnitsConfig(Config):
    """All of `conf/measure_units.yaml`."""

    compute: Batched = MISSING
    images: ImagesConfig = MISSING


@dataclass
class MeasureConfig(UnitsConfig):
    """All of `conf/measure_activations.yaml`."""

    smoothing: dict[str, Any] = MISSING
    batchnorm: str = MISSING
    precision: str = MISSING


@dataclass
class ObjectiveConfig:
    """`conf/objective`: what a stylisation minimises, see `swag_repro.losses.Objective`."""

    name: str = MISSING
    label: str = MISSING
    style: dict[str, Any] = MISSING
    content: dict[str, Any] = MISSING
    content_weight: float = MISSING
    style_weight: float = MISSING
    total_variation_weight: float = MISSING
    balance: str = MISSING
    like: dict[str, Any] | None = None
    match: str = MISSING
    taps: str = MISSING
    content_taps: str = MISSING
    tap_weights: Any = MISSING
    layers: int | None = None
    content_layer: int | None = None
    content_decay: float = MISSING
    smoothed_deepest: int | None = None
    smoothed_taps: str | None = None
    smoothed_content: bool = MISSING


@dataclass
class ArmConfig:
    """`conf/arm`: the name that figures give to a choice of smoothing and weights."""

    name: str = MISSING
    label: str = MISSING


@dataclass
class Stop:
    """The rule by which a pair ends before its last step, see `swag_repro.optimisation.Plateau`."""

    change: float | None = None
    every: int = MISSING
    of: str = MISSING


@dataclass
class Keep:
    """The files that a stylisation writes while it runs."""

    checkpoint_seconds: float = MISSING
    every: int = MISSING
    animation: bool = MISSING


@dataclass
class GuardsConfig:
    """The arguments of `swag_repro.optimisation.Guards`."""

    explosion: float = MISSING
    patience: int = MISSING
    recoveries: int = MISSING
    step_scale: float = MISSING


@dataclass
class ExecutionConfig:
    """The arguments of `swag_repro.networks.Execution`."""

    fold_batchnorm: bool = MISSING
    in_place: bool = MISSING
    channels_last: bool = MISSING
    autocast: Any = None
    checkpoints: bool = MISSING


@dataclass
class StylizeConfig(MeasureConfig):
    """All of `conf/stylize.yaml`."""

    save: str | None = None
    content: Any = None
    style: Any = None
    pairing: str = MISSING
    style_weights: Any = None
    masks: Any = None
    feather: float = MISSING
    color: str = MISSING
    objective: ObjectiveConfig = MISSING
    optimizer: dict[str, Any] = MISSING
    canvas: dict[str, Any] = MISSING
    transformations: dict[str, Any] | None = None
    start: str = MISSING
    start_noise: float = MISSING
    seed: int = MISSING
    steps: Any = MISSING
    evaluations: Any = None
    result: str = MISSING
    stop: Stop = MISSING
    scales: list[float] = MISSING
    last_step_scale: float = MISSING
    coarsest: int = MISSING
    mean_one: bool = MISSING
    demystifying_units: str = MISSING
    tile: int | None = None
    guards: GuardsConfig = MISSING
    execution: ExecutionConfig = MISSING
    measures: dict[str, Any] = MISSING
    measured_steps: list[int] = MISSING
    shares: str = MISSING
    arm: ArmConfig | None = None
    keep: Keep = MISSING


@dataclass
class DataConfig:
    """`conf/data`: labelled images, and arguments of `swag_repro.training.Preparation`."""

    name: str = MISSING
    source: dict[str, Any] = MISSING
    path: str | None = None
    size: int = MISSING
    crop: str = MISSING
    flip: bool = MISSING


@dataclass
class TrainingConfig(Compute):
    """The device and workers of a training; no result depends on them."""

    workers: int | None = None
    keep_images: bool = MISSING
    compile: bool = MISSING


@dataclass
class TrainConfig(Config):
    """All of `conf/train_classifier.yaml`."""

    compute: TrainingConfig = MISSING
    data: DataConfig = MISSING
    recipe: dict[str, Any] = MISSING
    seed: int = MISSING
    precision: str = MISSING
    snapshots: list[float] = MISSING
    checkpoint_seconds: float = MISSING


@dataclass
class CorpusConfig:
    """`conf/corpus`: the contents and styles on which a network is trained."""

    name: str = MISSING
    source: dict[str, Any] = MISSING
    content: str | None = None
    style: str | None = None


@dataclass
class CropConfig:
    """The arguments of `swag_repro.feedforward.Cropping`."""

    short: int = MISSING
    size: int = MISSING
    look: str = MISSING
    style: str | None = None


@dataclass
class TrainFeedforwardConfig(Config):
    """All of `conf/train_feedforward.yaml`."""

    compute: TrainingConfig = MISSING
    images: ImagesConfig = MISSING
    smoothing: dict[str, Any] = MISSING
    batchnorm: str = MISSING
    precision: str = MISSING
    mean_one: bool = MISSING
    content: Any = None
    style: Any = None
    pairing: str = MISSING
    objective: ObjectiveConfig = MISSING
    generator: dict[str, Any] = MISSING
    corpus: CorpusConfig = MISSING
    crop: CropConfig = MISSING
    padding: str = MISSING
    recipe: dict[str, Any] = MISSING
    seed: int = MISSING
    measures: dict[str, Any] = MISSING
    snapshots: list[float] = MISSING
    shown: list[float] = MISSING
    checkpoint_seconds: float = MISSING
    arm: ArmConfig | None = None


@dataclass
class TransferConfig(Frame):
    """All of `conf/transfer.yaml`."""

    save: str | None = None
    compute: Batched = MISSING
    images: ImagesConfig = MISSING
    run: str = MISSING
    content: Any = None
    style: Any = None
    pairing: str = MISSING
    style_weights: Any = None
    masks: Any = None
    feather: float = MISSING
    color: str = MISSING
    alpha: float = MISSING
    tile: int | None = None
    precision: str = MISSING
    measures: dict[str, Any] = MISSING


@dataclass
class Sought:
    """The arguments of `experiments.searching.space.SearchObjective`, except its name."""

    query: str = MISSING
    aggregate: str = MISSING
    direction: str = MISSING


@dataclass
class SearchGroupConfig:
    """`conf/search`: what is searched, by which sampler, and how long. Trials have their own config."""

    name: str = MISSING
    trials: int = MISSING
    seed: int = MISSING
    startup: int = MISSING
    show: bool = MISSING
    overrides: list[str] = MISSING
    space: dict[str, Any] = MISSING
    objectives: dict[str, Sought] = MISSING


GROUPS = (
    "network", "weights", "smoothing", "images", "data", "recipe", "generator", "corpus", "tracking", "sweep",
    "compute",
)  # fmt: skip
"""The nodes that must not be null in a config that has them."""

SCHEMAS = {
    "measure_activations": MeasureConfig,
    "measure_units": UnitsConfig,
    "stylize": StylizeConfig,
    "train_classifier": TrainConfig,
    "train_feedforward": TrainFeedforwardConfig,
    "transfer": TransferConfig,
}
"""The schema of each config, by the config's name, which is the name of its entry point."""

BATCHES_SETTLED_BY_RUN = frozenset({"stylize"})
"""The configs whose `compute.batch_size` may be `auto`."""


def checked(composed: DictConfig, name: str) -> DictConfig:
    """Return a config of `conf/` with its types and resolved interpolations.

    Args:
        composed: The config that Hydra composed.
        name: The config's name, a key of `SCHEMAS`.

    Raises:
        SettingError: A key is unknown, a value has the wrong type, or a mandatory value is missing.
    """
    config = _with_types(composed, SCHEMAS[name])
    for group in GROUPS:
        if group in config and OmegaConf.select(config, group) is None:
            raise SettingError(group, "should be a choice of its group", "null", f"conf/{group} shows them.")
    if config.entry != name:
        rule = f"should be an experiment of {name}.py"
        raise SettingError("experiment", rule, f"one of {config.entry}.py", f"Use {config.entry}.py.")
    _check_numbers(config)
    _check_compute(config.compute, auto=name in BATCHES_SETTLED_BY_RUN)
    check_choice("sweep.failed", config.sweep.failed, RETRIES)
    if "precision" in config:
        check_choice("precision", config.precision, PRECISIONS)
    return config


def checked_search(node: DictConfig) -> SearchGroupConfig:
    """Return `search` of `conf/search.yaml` with its types.

    Raises:
        SettingError: The same as for `checked`.
    """
    search: SearchGroupConfig = OmegaConf.to_object(_with_types(node, SearchGroupConfig, "search."))  # type: ignore[assignment]
    return search


def _with_types(composed: DictConfig, schema: type, below: str = "") -> DictConfig:
    """Return a node with its types and resolved interpolations; `below` precedes its keys in messages."""
    try:
        _check_given(OmegaConf.to_container(composed, resolve=False), below)
        plain = at_home(OmegaConf.to_container(composed, resolve=True))
        _check_text(plain)
        config = _merge(schema, plain)
        given = OmegaConf.to_container(config)
        _check_given(given, below)  # an override may have deleted values
        _check_switches(plain, given)
    except InterpolationResolutionError as error:
        raise complaint(error) from error
    except OmegaConfBaseException as error:
        raise SettingError(
            f"{below}{error.full_key or 'config'}",
            "should be a known key with a value of its type",
            str(error).splitlines()[0],
            "conf/ shows the keys and their values.",
        ) from error
    return config


def at_home(value: Any) -> Any:
    """Return a config in which each text that begins with `~` is a path below the home directory."""
    match value:
        case dict():
            return {key: at_home(item) for key, item in value.items()}
        case list():
            return [at_home(item) for item in value]
        case str() if value.startswith("~"):
            return os.path.expanduser(value)  # noqa: PTH111  (leaves an unknown user's name as it is)
    return value


_last: dict[type, tuple[Any, bytes]] = {}
"""The last plain config of each schema, and its typed config, pickled, because unpickling copies quickly."""


def _merge(schema: type, plain: Any) -> DictConfig:
    """Return the config with the types of its schema.

    Merging takes about 20 ms, most of a cell's time beside its computation. The cells of a sweep differ in
    few values, so these are set in a copy of the last config.
    """
    config = _changed_copy(schema, plain) or OmegaConf.unsafe_merge(OmegaConf.structured(schema), plain)
    _last[schema] = (plain, pickle.dumps(config))
    return config  # type: ignore[return-value]


def _changed_copy(schema: type, plain: Any) -> DictConfig | None:
    """Return the last config with the changed values; None if more has changed, or a value does not fit."""
    before, typed = _last.get(schema, (None, b""))
    changes = _changes(before, plain)
    if changes is None:
        return None
    config: DictConfig = pickle.loads(typed)
    try:
        for (*path, name), value in changes:
            reduce(lambda node, key: node[key], path, config)[name] = value
    except OmegaConfBaseException:
        return None
    return config


Change: TypeAlias = tuple[tuple[str, ...], str | int | float]
"""The parts of a dotted key, and the key's new value."""


def _changes(before: Any, now: Any, path: tuple[str, ...] = ()) -> list[Change] | None:
    """Return the values that differ; None if keys, lists or nulls differ."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        kinds = (str, int, float)
        if repr(before) == repr(now):
            return []
        return [(path, now)] if isinstance(before, kinds) and isinstance(now, kinds) else None
    if list(before) != list(now):
        return None
    parts = [_changes(before[key], value, (*path, key)) for key, value in now.items()]
    if None in parts:
        return None
    return [change for part in parts for change in part or ()]


def _values(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all values below a node with their dotted keys, also those in lists."""
    if not isinstance(node, dict | list):
        yield key, node
        return
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _values(value, f"{key}.{name}" if key else str(name))


def _check_given(config: Any, below: str = "") -> None:
    """Raise if a mandatory value is missing, and name it.

    `OmegaConf.missing_keys` would stop at an interpolation that refers to it.
    """
    for key, value in _values(config):
        if value == "???":
            name = f"{below}{key}"
            raise SettingError(name, "should be given", "nothing", f"Add {name}=... to the command.")


def _check_text(config: Any) -> None:
    """Raise if a text can't be stored in a file, or a name holds signs that a terminal should not print.

    The names of files may hold bytes that are not text.
    """
    for key, value in _values(config):
        if key.rpartition(".")[2] == "name" and any(unicodedata.category(c) == "Cc" for c in str(value)):
            raise SettingError(key, "should have no control characters", ascii(value), "Leave them out.")
        if key.rpartition(".")[2] == "name" and value == "":
            raise SettingError(key, "should have a letter", "''", "Leave it out for the default.")
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise SettingError(key, "should be text in UTF-8", ascii(value), "Rename the file.")


def _check_switches(plain: Any, typed: Any) -> None:
    """Raise if a switch is given a number, of which OmegaConf would make true or false."""
    found = dict(_values(plain))
    for key, value in _values(typed):
        number = found.get(key)
        if isinstance(value, bool) and isinstance(number, int | float) and number not in (0, 1):
            raise SettingError(key, "should be true or false", repr(number), "Choose one.")


def _check_numbers(config: DictConfig) -> None:
    """Raise if a number breaks a rule that the types of a schema can't state."""
    if "network" not in config:
        return
    mean, std = list(config.network.mean), list(config.network.std)
    for name, values, holds in (("mean", mean, True), ("std", std, all(value > 0 for value in std))):
        if len(values) != 3 or not all(map(math.isfinite, values)) or not holds:
            rule = f"should be three {'positive ' if name == 'std' else ''}numbers, of red, green and blue"
            raise SettingError(f"network.{name}", rule, values, "Leave it out for ImageNet's.")
    weights = OmegaConf.select(config, "objective.tap_weights", default=1.0)
    listed = list(weights) if OmegaConf.is_list(weights) else [weights]
    if not all(isinstance(weight, int | float) and not isinstance(weight, bool) for weight in listed):
        rule = "should be a number, or a list of one for each tap"
        raise SettingError("objective.tap_weights", rule, repr(weights), "1.0 weighs all alike.")


def _check_compute(compute: DictConfig, *, auto: bool) -> None:
    least = {"batch_size": 1, "threads": 1, "workers": 0}
    for setting in least.keys() & set(compute):
        value = compute[setting]
        if value is None and setting != "batch_size":
            continue
        if value == "auto" and auto and setting == "batch_size":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least[setting]:
            rule = f"should be a whole number from {least[setting]}" + (", or auto" if auto else "")
            raise SettingError(f"compute.{setting}", rule, repr(value), "Choose one.")
