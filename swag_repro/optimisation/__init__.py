"""The optimisation of images: the engine, its guards, its canvases and its optimisers."""

from swag_repro.optimisation.canvas import Canvas, LaplacianPyramid, NormalizedPixels, Pixels, finest_level
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
    "LaplacianPyramid",
    "Losses",
    "NormalizedPixels",
    "Optimisation",
    "PairRecord",
    "PairStatus",
    "Pixels",
    "Plateau",
    "Step",
    "TooLargeError",
    "finest_level",
]
