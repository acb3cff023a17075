"""Each default stands once: no signature repeats what `conf/` says."""

import inspect
from collections.abc import Iterator
from typing import Any

from hydra.utils import get_object
from omegaconf import OmegaConf

from experiments.settings import CONF
from swag_repro.images import Resize
from swag_repro.losses import BorrowedShares, Objective
from swag_repro.networks import Execution, TappedNetwork
from swag_repro.optimisation import Guards, Optimisation, Plateau
from swag_repro.tracking import tracked

OURS = ("swag_repro.", "experiments.")

# Functions that take values of nodes without a `_target_`: file, key of the node, and renamed arguments.
FED = [
    (Resize, "images/bundled", None, {"resize": "policy"}),
    (Objective, "objective/gram", None, {}),
    (BorrowedShares, "objective/gram", None, {}),
    (Optimisation, "stylize", None, {}),
    (TappedNetwork, "stylize", None, {"precision": "dtype"}),
    (Guards, "stylize", "guards", {}),
    (Plateau, "stylize", "stop", {}),
    (Execution, "stylize", "execution", {}),
    (tracked, "tracking/offline", None, {}),
]

NAMED = (
    "NoSmoothing", "Softmax", "Scale", "Log1p", "Power", "DropOutliers", "RandomWeights", "ImageNetWeights", "FileWeights",
)  # fmt: skip
EXCEPTIONS = {
    **dict.fromkeys((f"{part}.name" for part in NAMED), "what tables call it: no setting"),
    "TappedNetwork.batchnorm": "of a judge it is no setting: it measures as it was trained",
    "TappedNetwork.dtype": "likewise",
}


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """All that name a target of ours."""
    if isinstance(node, dict):
        if str(node.get("_target_", "")).startswith(OURS):
            yield node
        node = list(node.values())
    for inner in node if isinstance(node, list) else ():
        yield from nodes(inner)


def stated_twice(takes: Any, names: set[str]) -> Iterator[str]:
    for name, parameter in inspect.signature(takes).parameters.items():
        default = parameter.default
        left_out = default is None or default is False or default == ()
        if name in names and default is not parameter.empty and not left_out:
            yield f"{takes.__name__}.{name}"


def test_conf_and_signatures_state_no_default_twice():
    loaded = {
        path.relative_to(CONF).with_suffix("").as_posix(): OmegaConf.to_container(OmegaConf.load(path))
        for path in CONF.rglob("*.yaml")
    }
    found = {
        twice
        for content in loaded.values()
        for node in nodes(content)
        for twice in stated_twice(get_object(node["_target_"]), set(node))
    }
    for takes, file, key, renamed in FED:
        node = loaded[file] if key is None else loaded[file][key]
        found |= set(stated_twice(takes, {renamed.get(name, name) for name in node}))
    assert found == set(EXCEPTIONS)
