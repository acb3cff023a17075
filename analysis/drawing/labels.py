"""What networks, weights and smoothings are called in figures: SWAG's signs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

import conf

PREFIX = {"random": "r-", "imagenet": "p-", "file": "p-"}
"""SWAG's signs: `r-` is randomly initialised, `p-` pretrained."""

MARKS = ("*", "†", "‡", "§", "¶")
"""Behind a network's name, one for each smoothing; SWAG's sign is the first."""


def marks(smoothings: Iterable[str]) -> dict[str, str]:
    """The mark of each smoothing, in their order; none has no mark."""
    others = [smoothing for smoothing in smoothings if smoothing != "none"]
    return {"none": ""} | {
        smoothing: MARKS[index % len(MARKS)] * (index // len(MARKS) + 1)
        for index, smoothing in enumerate(others)
    }


def scale(network: Mapping[str, Any]) -> str:
    """`, λ = 0.5` where a network's shortcuts are not scaled as its name says, else nothing.

    Args:
        network: `conf/network` of a run; its name stands for its own file's scale: ResNet-50 for 1, NoResNet
            for 0.
    """
    told = network.get("shortcut")
    return "" if told is None or told == _own_scale(network["name"]) else f", λ = {told:g}"


@cache
def _own_scale(name: str) -> float:
    path = Path(conf.__file__).parent / "network" / f"{name}.yaml"
    own: float = OmegaConf.select(OmegaConf.load(path), "shortcut", default=1) if path.is_file() else 1
    return own


def weights(config: Mapping[str, Any]) -> str:
    """`conf/weights` as a caption tells it: ImageNet, a file's name, or a random seed."""
    if config["name"] == "random":
        init = config.get("init", "torchvision")
        return f"random, seed {config['seed']}" + ("" if init == "torchvision" else f", {init}")
    return Path(config["path"]).name if config["name"] == "file" else "ImageNet"


def call(name: str, settings: Mapping[str, Any]) -> str:
    """A named part of the config with its settings: `softmax(over=layer, temperature=1)`."""
    told = [f"{key}={value}" for key, value in settings.items() if key not in ("_target_", "name")]
    return f"{name}({', '.join(told)})" if told else name


def judge(network: str) -> str:
    """A held-out network of the rows, such as `vgg19(random)`, in words."""
    return network.replace("(", " (").replace("(random)", "(random weights)") or "none"
