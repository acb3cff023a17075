"""Networks whose layers are read by their names in the literature."""

from swag_repro.networks.architecture import Architecture
from swag_repro.networks.levers import Levers
from swag_repro.networks.tapped import TappedNetwork
from swag_repro.networks.variants import average_pooled

__all__ = ["Architecture", "Levers", "TappedNetwork", "average_pooled"]
