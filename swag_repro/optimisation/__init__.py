"""The optimisation of images: the engine, its guards, its canvases and its optimisers."""

from swag_repro.optimisation.canvas import Canvas
from swag_repro.optimisation.engine import Optimisation
from swag_repro.optimisation.records import (
    Guards,
    Losses,
    PairRecord,
    PairStatus,
    Plateau,
    Step,
    TooLargeError,
)

__all__ = [
    "Canvas",
    "Guards",
    "Losses",
    "Optimisation",
    "PairRecord",
    "PairStatus",
    "Plateau",
    "Step",
    "TooLargeError",
]
