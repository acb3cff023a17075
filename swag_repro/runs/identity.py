"""The identity of a run, a hash of the settings that decide its result; and the origin of its numbers."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from swag_repro import __version__
from swag_repro.errors import SettingError


def normal(config: Mapping[str, Any], left_out: Collection[str]) -> dict[str, Any]:
    """Return a plain config without some keys, in one normal form.

    Equal settings become equal: `1.0` is `1`, `-0.0` is `0`, and a tuple is a list. The order of keys doesn't
    matter to a hash. `True` is not `1`, and `null` is not a missing key.

    Args:
        config: Nested mappings, lists and plain values.
        left_out: Dotted keys to leave out.

    Raises:
        SettingError: A number is NaN or infinite.
        TypeError: A value is none of mapping, list, tuple, string, number, boolean and None.
    """
    kept: dict[str, Any] = _normal(config, "", left_out)
    return kept


def _normal(value: Any, key: str, left_out: Collection[str]) -> Any:
    match value:
        case Mapping():
            return {
                name: _normal(item, at, left_out)
                for name, item in value.items()
                if (at := f"{key}.{name}" if key else name) not in left_out
            }
        case list() | tuple():
            return [_normal(item, f"{key}.{index}", left_out) for index, item in enumerate(value)]
        case float() if not math.isfinite(value):
            raise SettingError(key, "should be a finite number", value, "Choose another value.")
        case float() if value.is_integer():
            return int(value)
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"`{key}` should be a plain value; found {type(value).__name__}")


def leaves(config: Mapping[str, Any], separator: str, above: str = "") -> dict[str, Any]:
    """Return a config with one key, `network/name`, for each value. Lists and empty mappings are values."""
    values: dict[str, Any] = {}
    for name, value in config.items():
        at = f"{above}{name}"
        nested = isinstance(value, Mapping) and len(value) > 0
        values |= leaves(value, separator, f"{at}{separator}") if nested else {at: value}
    return values


def content_key(content: object) -> str:
    """Return a digest of plain content. Only equal content has the same; True is not 1, unlike for `==`."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Identity:
    """All settings and files that decide the result of one run.

    Attributes:
        experiment: The name of the experiment, such as `measure_activations`.
        version: The version of the experiment's own code, raised when the same settings give other numbers.
        config: The part of the config that `scientific` keeps.
        images: SHA-256 of each image by its name, such as `content/astronaut`.
        weights: SHA-256 of the weights, or None where settings alone make them.
    """

    experiment: str
    version: int
    config: dict[str, Any]
    images: dict[str, str]
    weights: str | None = None

    @property
    def run_id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of this identity's canonical JSON.

        Raises:
            ValueError: A number in `config` is NaN or infinite.
        """
        canonical = json.dumps(vars(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def config_key(self) -> str:
        """A digest of the experiment and its settings; images, weights and versions don't change it."""
        return content_key([self.experiment, self.config])

    def to_json(self) -> str:
        """Return this identity as JSON for people to read; `from_json` reads it back."""
        return json.dumps(vars(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the identity that `to_json` wrote.

        Raises:
            ValueError: The text is not JSON.
            TypeError: The JSON is not an identity.
        """
        return cls(**json.loads(text))


def peak_memory() -> int | None:
    """Return the most memory, in bytes, that this process has had so far; None if the system doesn't say.

    It is what CUDA has allocated if it is in use, otherwise resident memory.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python, this package, torch and torchvision, without importing them."""
    installed = {name: metadata.version(name) for name in ("torch", "torchvision")}
    return {"python": platform.python_version(), "swag_repro": __version__, **installed}


@cache
def commit() -> str | None:
    """Return the commit of this package's checkout, with the suffix `-dirty` if tracked files differ from it.

    Return None outside a checkout, and where the package is installed inside another project's checkout.
    """
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
    return tracked and _git("describe", "--always", "--exclude=*", "--abbrev=40", "--dirty")


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
