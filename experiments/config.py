"""The types of a config, and what turns a composed config into values the science takes.

Torch-free: `analysis` checks configs as the experiments do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from swag_repro.errors import SettingError, UserError

PRECISIONS = ("float64", "float32", "bfloat16", "float16")
"""Of a network, by torch's names."""


@dataclass
class Network:
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
    imagenet: str | None = None
    head: list[str] = field(default_factory=list)
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])


@dataclass
class Images:
    """`conf/images`: where they come from and how they are resized."""

    name: str = MISSING
    source: dict[str, Any] = MISSING
    size: int = MISSING
    resize: str = MISSING
    interpolation: str = MISSING
    path: str | None = None


@dataclass
class Tracking:
    """`conf/tracking`: arguments of `swag_repro.tracking.track`."""

    mode: str = MISSING
    project: str = MISSING
    entity: str | None = None
    tags: list[str] = field(default_factory=list)
    timeout: float = MISSING


@dataclass
class Compute:
    """Where and in what portions; no result depends on it."""

    device: str = MISSING
    batch_size: Any = MISSING
    threads: int | None = None


@dataclass
class Config:
    """What every entry point's config has."""

    network: Network = MISSING
    weights: dict[str, Any] = MISSING
    smoothing: dict[str, Any] = MISSING
    images: Images = MISSING
    tracking: Tracking = MISSING
    compute: Compute = MISSING
    name: str = MISSING
    output: str = MISSING
    force: bool = MISSING
    progress: bool = MISSING
    batchnorm: str = MISSING
    precision: str = MISSING


@dataclass
class Objective:
    """`conf/objective`: what a stylisation minimises, see `swag_repro.losses.Objective`."""

    name: str = MISSING
    label: str = MISSING
    style: dict[str, Any] = MISSING
    content: dict[str, Any] = MISSING
    content_weight: float = MISSING
    style_weight: float = MISSING
    total_variation_weight: float = MISSING
    balance: str = MISSING
    taps: str = MISSING
    content_taps: str = MISSING
    tap_weights: Any = MISSING
    layers: int | None = None
    content_layer: int | None = None
    content_decay: float = MISSING
    smoothed_deepest: int | None = None
    smoothed_taps: str | None = None
    smoothed_content: bool = True


@dataclass
class Stop:
    """When a pair ends before its last step, see `swag_repro.transfer.Plateau`."""

    change: float | None = None
    every: int = MISSING
    of: str = MISSING


@dataclass
class Keep:
    """What a stylisation writes while it goes on."""

    checkpoint_seconds: float = MISSING
    every: int = MISSING
    animation: bool = MISSING


@dataclass
class StylizeConfig(Config):
    """All of `conf/stylize.yaml`."""

    content: Any = None
    style: Any = None
    pairing: str = MISSING
    style_weights: Any = None
    masks: Any = None
    feather: float = MISSING
    color: str = MISSING
    objective: Objective = MISSING
    optimizer: dict[str, Any] = MISSING
    canvas: dict[str, Any] = MISSING
    start: str = MISSING
    seed: int = MISSING
    steps: int = MISSING
    evaluations: int | None = None
    result: str = MISSING
    stop: Stop = MISSING
    scales: list[float] = MISSING
    last_step_scale: float = MISSING
    coarsest: int = MISSING
    mean_one: bool = MISSING
    demystifying_units: str = MISSING
    guards: dict[str, Any] = MISSING
    levers: dict[str, Any] = MISSING
    measures: dict[str, Any] = MISSING
    keep: Keep = MISSING


SCHEMAS = {"measure_activations": Config, "stylize": StylizeConfig}
"""By entry point."""


def checked(composed: DictConfig, entry: str = "measure_activations") -> DictConfig:
    """The config of an entry point with its types; interpolations are resolved.

    Raises:
        SettingError: a key is unknown, a value of the wrong type, or a mandatory one missing.
    """
    for missing in sorted(OmegaConf.missing_keys(composed)):
        raise SettingError(missing, "should be given", "nothing", f"Add {missing}=... to the command.")
    try:
        plain = OmegaConf.to_container(composed, resolve=True)
        config = OmegaConf.merge(OmegaConf.structured(SCHEMAS[entry]), plain)
    except OmegaConfBaseException as error:
        raise SettingError(
            str(error.full_key or "config"),
            "should be a known key with a value of its type",
            str(error).splitlines()[0],
            "conf/ shows the keys and their values.",
        ) from error
    _check_compute(config.compute, auto=entry == "stylize")
    if config.precision not in PRECISIONS:
        raise SettingError("precision", f"should be one of {PRECISIONS}", config.precision, "Choose one.")
    return config  # type: ignore[return-value]


def _check_compute(compute: DictConfig, *, auto: bool) -> None:
    for setting in ("batch_size", "threads"):
        value = compute[setting]
        if value is None and setting == "threads":
            continue
        if value == "auto" and auto and setting == "batch_size":
            continue
        if not isinstance(value, int) or value < 1:
            rule = "should be a whole number from 1" + (", or auto" if auto else "")
            raise SettingError(f"compute.{setting}", rule, repr(value), "Choose one.")


def build(node: DictConfig) -> Any:
    """What a node's `_target_` makes of it, from plain values.

    Raises:
        UserError: the target's own objection, or arguments that it doesn't take.
    """
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise SettingError(
            str(node._get_full_key(None)) or "config",
            f"should be arguments that {node.get('_target_')} takes",
            str(error).splitlines()[0],
            "conf/ shows the keys and their values.",
        ) from error
