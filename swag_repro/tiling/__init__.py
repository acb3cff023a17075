"""Tiling, the option `tile=1024`: pictures are read part by part, so that no layer is ever whole.

Networks say what their positions see; no other code outside this package knows of tiles. `MEANS` and
`POINTWISE` list the losses and smoothings that fit.
"""

from swag_repro.tiling.features import TiledFeatures
from swag_repro.tiling.means import MEANS, POINTWISE, Means
from swag_repro.tiling.objective import TiledObjective, can_be_tiled, whole

__all__ = ["MEANS", "POINTWISE", "Means", "TiledFeatures", "TiledObjective", "can_be_tiled", "whole"]
