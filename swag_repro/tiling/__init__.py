"""Pictures that are read part by part, so that no layer is ever whole: `tile=1024`.

An option: networks tell what their positions see, and nothing else below knows of it. What makes a loss or a
smoothing fit stands here, in `MEANS` and `POINTWISE`.
"""

from swag_repro.tiling.features import TiledFeatures
from swag_repro.tiling.means import MEANS, Means
from swag_repro.tiling.objective import TiledObjective, can_be_tiled, whole
from swag_repro.tiling.softmax import POINTWISE

__all__ = ["MEANS", "POINTWISE", "Means", "TiledFeatures", "TiledObjective", "can_be_tiled", "whole"]
