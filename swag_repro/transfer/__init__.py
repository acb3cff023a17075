"""The optimisation of images: the engine, its guards, its canvases and its optimisers."""

from swag_repro.transfer.canvas import Canvas, LaplacianPyramid, NormalizedPixels, Pixels, finest_level
from swag_repro.transfer.engine import Transfer
from swag_repro.transfer.guards import Guards, Plateau
from swag_repro.transfer.records import Losses, PairRecord, Status, Step, TooLargeError

__all__ = [
    "Canvas",
    "Guards",
    "LaplacianPyramid",
    "Losses",
    "NormalizedPixels",
    "PairRecord",
    "Pixels",
    "Plateau",
    "Status",
    "Step",
    "TooLargeError",
    "Transfer",
    "finest_level",
]
