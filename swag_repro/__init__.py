"""Reproduction of SWAG (CVPR 2021), Demystifying Neural Style Transfer and AdaIN.

from swag_repro import stylize
image = stylize("photo.jpg", "painting.jpg", "images.size=512")
"""

from __future__ import annotations

from typing import Any

__version__ = "1.0.0"


def __getattr__(name: str) -> Any:
    """Import `stylize` when it is first asked for: the module that it lies in imports this package."""
    if name == "stylize":
        from swag_repro.parts import find_parts

        find_parts()
        from experiments.python import stylize

        return stylize
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
