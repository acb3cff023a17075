"""Networks whose layers are read by their names in the literature."""

from swag_repro.networks.architecture import Architecture
from swag_repro.networks.execution import Execution
from swag_repro.networks.tapped import TappedNetwork
from swag_repro.networks.variants import average_pooled
from swag_repro.networks.zoo import by_name, timm_model, torchvision_model

__all__ = [
    "Architecture",
    "Execution",
    "TappedNetwork",
    "average_pooled",
    "by_name",
    "timm_model",
    "torchvision_model",
]
