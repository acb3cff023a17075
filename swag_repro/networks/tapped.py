"""A network that is read at named taps and runs no further than the deepest one."""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from swag_repro.errors import SettingError, check_choice
from swag_repro.networks.architecture import IMAGENET_MEAN, IMAGENET_STD, Architecture
from swag_repro.networks.execution import Execution
from swag_repro.networks.layouts import SQUARES, check_layouts, outputs
from swag_repro.networks.receptive import Field, UnboundedError, fields

BATCHNORM_MODES = ("eval", "batch")
_OUT_OF_PLACE = {operator.iadd: operator.add, operator.imul: operator.mul, operator.isub: operator.sub}


class TappedNetwork(nn.Module):
    """A network that returns the activations of its taps.

    Layers with channels last, or of tokens, are read as maps; see `layouts`. Every operation runs out of
    place, so that a tapped tensor keeps its value at the tap: torchvision's ReLUs and shortcut additions
    would overwrite it. Parameters are frozen.

    Args:
        network: any module that torch.fx can trace.
        taps: name → module path, as torchvision's feature extraction names nodes.
        mean: the mean of the network's training images, RGB in [0, 1].
        std: the standard deviation of these images.
        batchnorm: `eval` uses the running statistics (the identity in a network with fresh weights);
            `batch` normalises each image by its own statistics, whatever the rest of the batch.
        dtype: the type in which the network computes.
        execution: switches for speed and memory.

    Raises:
        SettingError: a path that the network doesn't have, or of a layer without positions, an unknown mode,
            an untraceable network, one of a fixed size, or a switch that doesn't fit the mode.
    """

    mean: Tensor
    std: Tensor
    fields: dict[str, Field] | str
    """Tap → what its positions see; or the name of an operation that is unknown or sees the whole image."""

    def __init__(
        self,
        network: nn.Module,
        taps: Mapping[str, str],
        *,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        batchnorm: str = "eval",
        dtype: torch.dtype = torch.float32,
        execution: Execution | None = None,
    ) -> None:
        super().__init__()
        check_choice("batchnorm", batchnorm, BATCHNORM_MODES)
        extractor = _extractor(network.eval(), taps).requires_grad_(requires_grad=False).to(dtype)
        small, large = outputs(extractor)
        self.layouts = check_layouts({tap: (small[tap].shape, large[tap].shape) for tap in taps})
        self.depths = _depths(extractor)
        self.one_by_one = batchnorm == "batch" and _use_batch_statistics(extractor)
        self.fields = _fields(extractor)
        self.execution = execution or Execution()
        self.extractor = self.execution.apply(extractor)
        self.register_buffer("mean", torch.tensor(mean, dtype=dtype).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=dtype).view(3, 1, 1))

    @classmethod
    def of(
        cls, architecture: Architecture, network: nn.Module, taps: Sequence[str], **settings: Any
    ) -> TappedNetwork:
        """Return a network of an architecture, read at these of its taps, with the other arguments."""
        paths = architecture.paths(taps)
        return cls(network, paths, mean=architecture.mean, std=architecture.std, **settings)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the activations at each tap.

        Args:
            images: `(B, 3, H, W)`, RGB in [0, 1].

        Returns:
            tap → `(B, D, H', W')`, in the network's dtype.

        Raises:
            SettingError: the images are too small for the network, or of a size that it doesn't take.
        """
        normalized = (images.to(self.mean.dtype) - self.mean) / self.std
        if not self.one_by_one:
            return self._extract(normalized)
        each = [self._extract(image) for image in torch.split(normalized, 1)]
        return {tap: torch.cat([features[tap] for features in each]) for tap in each[0]}

    def with_autocast(self, dtype: str | None) -> TappedNetwork:
        """Return a network that shares this one's memory, with another `execution.autocast`."""
        other = copy(self)
        other.execution = replace(self.execution, autocast=dtype)
        return other

    def _extract(self, normalized: Tensor) -> dict[str, Tensor]:
        height, width = normalized.shape[-2:]
        try:
            with self.execution.precision(normalized.device):
                features = self.extractor(self.execution.arrange(normalized))
            return {
                tap: self.layouts[tap].as_maps(layer, tap, height, width) for tap, layer in features.items()
            }
        except AssertionError as error:  # torch's and timm's way to refuse a size
            rule, remedy = "should be a size that the network takes", f"Choose another. {SQUARES}"
            raise SettingError("images.size", rule, f"{height}×{width} pixels", remedy) from error
        except (RuntimeError, ValueError) as error:
            if not _is_too_small(error):
                raise
            raise SettingError(
                "images.size",
                "should leave every layer of the network at least one position",
                f"{height}×{width} pixels",
                "Choose a larger images.size.",
            ) from error


def _is_too_small(error: Exception) -> bool:
    return any(
        phrase in str(error)
        for phrase in (
            "Kernel size can't be greater",
            "Output size is too small",
            "more than 1 value per channel",
        )
    )


def _extractor(network: nn.Module, taps: Mapping[str, str]) -> fx.GraphModule:
    paths = {path: tap for tap, path in taps.items()}
    try:
        extractor = _traced(network, paths)
    except re.error:
        _check_paths(network, taps)
        raise
    except Exception as error:  # tracing raises whatever the network does when it meets no values
        if isinstance(error, ValueError) and not isinstance(error, fx.proxy.TraceError):
            _check_paths(network, taps)
        raise SettingError(
            "network.builder",
            "should build a module that torch.fx can trace",
            f"{type(network).__name__} ({type(error).__name__}: {(str(error).splitlines() or [''])[0]})",
            "Move data-dependent control flow out of forward().",
        ) from error
    if len(_outputs(extractor)) < len(paths):  # `layer.` matches some paths as a pattern, but is no path
        _check_paths(network, taps)
    return _without_zeros(_out_of_place(extractor))


def _traced(network: nn.Module, paths: Mapping[str, str]) -> fx.GraphModule:
    """Return the traced network; modules without a tap inside stay whole where tracing can't follow them."""
    marked = _marked_by_timm()
    create = partial(create_feature_extractor, network, dict(paths), suppress_diff_warning=True)
    try:
        return create(tracer_kwargs=marked).eval()  # type: ignore[no-any-return]
    except Exception:  # tracing raises whatever the network does when it meets no values
        above = {path.rpartition(".")[0] for path in paths}
        parents = {name for path in above for name in accumulate(path.split("."), "{}.{}".format)} | {""}
        opened = {type(module) for name, module in network.named_modules() if name in parents}
        whole = {type(module) for module in network.modules()} - opened
        return create(tracer_kwargs={**marked, "leaf_modules": list(whole)}).eval()  # type: ignore[no-any-return]


def _marked_by_timm() -> dict[str, Any]:
    """Return the modules and functions that timm marks as not to be traced, once it has built a network."""
    if "timm.models" not in sys.modules:
        return {}
    timm = sys.modules["timm.models"]
    return {"leaf_modules": timm.get_notrace_modules(), "autowrap_functions": timm.get_notrace_functions()}


def _outputs(extractor: fx.GraphModule) -> dict[str, fx.Node]:
    outputs: dict[str, fx.Node] = extractor.graph.output_node().args[0]  # type: ignore[assignment]
    return outputs


def _check_paths(network: nn.Module, taps: Mapping[str, str]) -> None:
    """Raise an error that names a path that no module has; this traces the network once more."""
    known = get_graph_node_names(network, suppress_diff_warning=True)[1]
    for tap, path in taps.items():
        _check_path(tap, path, known)


def _check_path(tap: str, path: str, known: Sequence[str]) -> None:
    modules = {".".join(node.split(".")[:depth]) for node in known for depth in range(1, node.count(".") + 2)}
    if path not in modules:
        near = get_close_matches(path, sorted(modules), n=5)
        raise SettingError(
            f"network.taps.{tap}",
            "should be the path of a module that the network runs",
            repr(path),
            f"Near it: {', '.join(near)}." if near else "print(network) shows the paths.",
        )


def _out_of_place(extractor: fx.GraphModule) -> fx.GraphModule:
    for module in extractor.modules():
        if getattr(module, "inplace", False):
            setattr(module, "inplace", False)  # noqa: B010  (a plain assignment is typed as a tensor)
    for node in extractor.graph.nodes:
        if node.kwargs.get("inplace"):
            node.update_kwarg("inplace", arg=False)
        if node.op == "call_function":
            node.target = _OUT_OF_PLACE.get(node.target, node.target)
        elif node.op == "call_method" and node.target.endswith("_") and not node.target.endswith("__"):
            node.target = node.target.removesuffix("_")
    extractor.recompile()
    return extractor


def _without_zeros(extractor: fx.GraphModule) -> fx.GraphModule:
    """Replace `F + 0` by F, so that a shortcut that is scaled by 0 computes nothing."""
    for node in extractor.graph.nodes:
        if node.target is operator.add and isinstance(node.args[1], float) and node.args[1] == 0:
            node.replace_all_uses_with(node.args[0])
            extractor.graph.erase_node(node)
    extractor.recompile()
    return extractor


def _use_batch_statistics(extractor: nn.Module) -> bool:
    normalizations = [module for module in extractor.modules() if isinstance(module, _BatchNorm)]
    for module in normalizations:
        module.train()
        module.track_running_stats = False  # an image must leave no trace for the next
    return bool(normalizations)


def _fields(extractor: fx.GraphModule) -> dict[str, Field] | str:
    try:
        return fields(extractor)
    except UnboundedError as error:
        return str(error)


def _depths(extractor: fx.GraphModule) -> dict[str, int]:
    """Return the number of convolutions on the longest path from the input to each tap."""
    modules = dict(extractor.named_modules())
    depth: dict[fx.Node, int] = {}
    for node in extractor.graph.nodes:
        before = max((depth[source] for source in node.all_input_nodes), default=0)
        depth[node] = before + (_convolutions(modules[node.target]) if node.op == "call_module" else 0)
        if node.op == "output":
            return {tap: depth[source] for tap, source in node.args[0].items()}
    raise RuntimeError("a traced graph has an output")


def _convolutions(traced: nn.Module) -> int:
    # Tracing keeps torchvision's own blocks whole; they contain several modules.
    return sum(isinstance(module, _ConvNd) for module in traced.modules())
