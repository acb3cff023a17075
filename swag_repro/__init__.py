"""Reproduction of SWAG (CVPR 2021), Demystifying Neural Style Transfer and AdaIN.

from swag_repro import stylize
image = stylize("photo.jpg", "painting.jpg", "images.size=512")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from swag_repro.parts import find_parts

if TYPE_CHECKING:
    from analysis.tables import load_tables
    from experiments.python import (
        load_image,
        load_network,
        load_smoothing,
        statistics_of,
        style_loss,
        stylize,
    )
    from swag_repro.errors import UserError

__all__ = [
    "UserError",
    "load_image",
    "load_network",
    "load_smoothing",
    "load_tables",
    "statistics_of",
    "style_loss",
    "stylize",
]

__version__ = "1.0.0"

_MODULES = {"UserError": "swag_repro.errors", "load_tables": "analysis.tables"}
"""Name → the module that it lies in, where this is not `experiments.python`."""


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: torch takes a second, and its module imports this package."""
    if name in __all__:
        find_parts()
        return getattr(import_module(_MODULES.get(name, "experiments.python")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names; all others may change from one version to the next."""
    return [*__all__, "__version__"]
