"""State dicts as people have them: inside checkpoints, behind prefixes, with names of older versions."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint

from swag_repro.errors import WeightsError
from swag_repro.networks import Architecture
from swag_repro.networks.architecture import idle_modules

StateDict: TypeAlias = Mapping[str, Tensor]

USUAL = ("state_dict", "model_state_dict", "model", "net", "model_ema")
"""Keys under which checkpoints keep a state dict."""

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that DataParallel, torch.compile, FSDP and checkpoints add to what they wrap."""

OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")
"""Old names in torchvision's DenseNet files: `norm.1` for `norm1`. Its builders rename them on loading."""

HEADS = ("fc.", "classifier.", "last_linear.", "head.", "head_dist.", "heads.", "fc_norm.", "pre_logits.")
"""Classifiers' names in torchvision, timm and Cadene. A file may have one that the network lacks."""


def read_tensors(path: Path) -> Any:
    """Return the tensors and plain values in a file of `torch.save` or safetensors; nothing is executed.

    Raises:
        WeightsError: the file is damaged, or needs classes that are not loaded safely.
    """
    try:
        if _is_safetensors(path):
            from safetensors.torch import load_file  # imported here, because no other kind of file needs it

            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # it warns of the pickle's protocol; an error follows
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        if classes := _refused(path, error):
            rule = "should hold tensors and plain values only"
            found = f"{_listing(classes)} in {path}"
            remedy = f"If you trust the file, save its tensors alone: {_saving_anew(path)}"
            raise WeightsError("weights.path", rule, found, remedy) from error
        raise _not_a_state_dict(path, f"{type(error).__name__} on loading it") from error


def _is_safetensors(path: Path) -> bool:
    """Return whether a file starts as safetensors do: with the length of a JSON header, then the header."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _refused(path: Path, error: Exception) -> list[str]:
    """Return the classes and functions for which a file was refused."""
    with suppress(Exception):  # it fails on old and damaged files
        return sorted(get_unsafe_globals_in_checkpoint(path))
    return re.findall(r"GLOBAL ([\w.]+)", str(error))


def _saving_anew(path: Path) -> str:
    code = (
        f"import torch; x = torch.load({str(path)!r}, map_location='cpu', weights_only=False); "
        f"x = next((x[key] for key in {USUAL} if isinstance(x, dict) and key in x), x); "
        f"torch.save(x.state_dict() if isinstance(x, torch.nn.Module) else x, "
        f"{str(path.with_name(path.stem + '_tensors.pth'))!r})"
    )
    return shlex.join(["python", "-c", code]) if set('"$`\\!') & set(code) else f'python -c "{code}"'


def _not_a_state_dict(path: Path | str, found: str) -> WeightsError:
    return WeightsError(
        "weights.path",
        "should be a file of torch.save(network.state_dict()), or of safetensors",
        f"{found}: {path}",
        "Save the state dict again, or download the file again.",
    )


@dataclass(frozen=True)
class Part:
    """Tensors of a file that could be those of a network.

    Attributes:
        name: their place in the file: the keys, then the common prefix of their names.
        state: the tensors, by the names that the network would have for them.
    """

    name: str
    state: StateDict


@dataclass(frozen=True)
class Wanted:
    """The tensors that a network needs.

    Attributes:
        state: the network's own tensors.
        optional: starts of the names that a file may lack: the head's, and those of projections of shortcuts
            scaled by 0.
    """

    state: StateDict
    optional: tuple[str, ...]

    @property
    def required(self) -> list[str]:
        """The names that a file should have."""
        # num_batches_tracked counts training steps: old files lack it and no output depends on it.
        return [
            key
            for key in self.state
            if not key.startswith(self.optional) and not key.endswith("num_batches_tracked")
        ]

    def usable(self, state: StateDict) -> StateDict:
        """Return a state without heads that the network lacks, and without heads of another shape."""
        return {
            key: value
            for key, value in state.items()
            if not (key.startswith((*self.optional, *HEADS)) and self._differs(key, value))
        }

    def _differs(self, key: str, value: Tensor) -> bool:
        if key not in self.state:
            return True
        return key.startswith(self.optional) and self.state[key].shape != value.shape

    def problems(self, state: StateDict, *, unexpected: bool = True) -> list[str]:
        """Return the reasons, in words, why a usable state can't be loaded; none if it can."""
        found = {
            "missing": [key for key in self.required if key not in state],
            "unexpected": [key for key in state if key not in self.state] if unexpected else [],
            "of another shape": [
                f"{key} {tuple(value.shape)} instead of {tuple(self.state[key].shape)}"
                for key, value in state.items()
                if key in self.state and value.shape != self.state[key].shape
            ],
        }
        return [f"{what}: {_listing(keys)}" for what, keys in found.items() if keys]


def load_weights(
    network: nn.Module, content: Any, architecture: Architecture, *, source: str, part: str | None = None
) -> None:
    """Load the state dict of a file into a network, in place.

    The state dict may lie in a checkpoint. A common prefix of its names is left out if the rest then fits.
    The head, and projections of shortcuts scaled by 0, keep their fresh values where the file has none of
    their shape.

    Args:
        network: a network of the architecture.
        content: what `read_tensors` returned.
        architecture: tells which modules are the head.
        source: the file, for messages.
        part: which of several state dicts; None for the only one.

    Raises:
        WeightsError: the file has no state dict, or one of another network, or several and none is named.
    """
    heads = (*architecture.head, *idle_modules(network))
    wanted = Wanted(network.state_dict(), tuple(f"{module}." for module in heads))
    found = dict(_mappings(content))
    if not found:
        raise _not_a_state_dict(source, f"a {type(content).__name__} of something else")
    whole = _whole(found, wanted, unwrapped=False) or _whole(found, wanted, unwrapped=True)
    chosen = _select(whole, source, part) if whole else _nearest(found, wanted)
    state = wanted.usable(chosen.state)
    if problems := wanted.problems(state):
        raise WeightsError(
            "weights",
            f"should fit {architecture.name}",
            f"{'; '.join(problems)} in {source}",
            "Choose the network that the weights were saved from.",
        )
    network.load_state_dict(state, strict=False)


def _mappings(content: Any, name: str = "", depth: int = 4) -> Iterator[tuple[str, StateDict]]:
    """Yield the keys and the tensors of each mapping in a checkpoint."""
    if not isinstance(content, Mapping) or not depth:
        return
    named = {str(key): value for key, value in content.items()}
    if tensors := {key: value for key, value in named.items() if isinstance(value, Tensor)}:
        yield name, tensors
    for key, value in named.items():
        yield from _mappings(value, f"{name}.{key}" if name else key, depth - 1)


def _whole(found: Mapping[str, StateDict], wanted: Wanted, *, unwrapped: bool) -> list[Part]:
    """Return the parts that have all tensors a network needs; they may have others."""
    parts = [part for name, state in found.items() for part in _parts(name, state, wanted, unwrapped)]
    return [part for part in parts if not wanted.problems(wanted.usable(part.state), unexpected=False)]


def _parts(name: str, state: StateDict, wanted: Wanted, unwrapped: bool) -> Iterator[Part]:  # noqa: FBT001
    """Yield the tensors behind each prefix with which the first required name occurs."""
    named = {_todays(key): value for key, value in state.items()} if unwrapped else state
    first = next(iter(wanted.required), "")
    for prefix in [key[: -len(first)] for key in named if f".{key}".endswith(f".{first}")]:
        below = {key[len(prefix) :]: value for key, value in named.items() if key.startswith(prefix)}
        yield Part(".".join(filter(None, (name, prefix.rstrip(".")))), below)


def _todays(key: str) -> str:
    plain = ".".join(part for part in key.split(".") if part not in WRAPPERS)
    return OLD_DENSENET.sub(r"\1\2.", plain)


def _select(parts: Sequence[Part], source: str, name: str | None) -> Part:
    named = {part.name or ".": part for part in parts}
    if name is None and len(parts) == 1:
        return parts[0]
    if name in named:
        return named[name]
    rule = f"should be one of {', '.join(named)}"
    remedy = f"Add weights.part={next(iter(named))}, or another."
    raise WeightsError("weights.part", rule, f"{name or 'none given'} for {source}", remedy)


def _nearest(found: Mapping[str, StateDict], wanted: Wanted) -> Part:
    """Return the part with the most names of the network; a message says what it lacks."""
    name = max(found, key=lambda name: len(found[name].keys() & wanted.state.keys()))
    return Part(name, found[name])


def _listing(keys: Sequence[str], most: int = 8) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
