"""The losses that a stylisation minimises: pure functions state the equations, classes hold the settings."""

from swag_repro.losses.balance import MATCHES, gradient_norms, shares
from swag_repro.losses.base import (
    PIXELS,
    Fusion,
    Loss,
    LossContext,
)
from swag_repro.losses.bn import BatchNormLoss
from swag_repro.losses.gram import (
    NORMALIZERS,
    ContentLoss,
    GramLoss,
    RobustGramLoss,
    content_distance,
    largest,
    share_of_entries,
)
from swag_repro.losses.measured import LossMeasures
from swag_repro.losses.mmd import GaussianMMD, LinearMMD, PolynomialMMD
from swag_repro.losses.objective import (
    BALANCING_DRAWS,
    BorrowedShares,
    Network,
    Objective,
    Side,
    Style,
    Targets,
    Terms,
    style_weights,
)
from swag_repro.losses.sliced import SlicedWasserstein
from swag_repro.losses.strotss import SelfSimilarity, Strotss
from swag_repro.losses.transformations import RandomTransformations

__all__ = [
    "BALANCING_DRAWS",
    "MATCHES",
    "NORMALIZERS",
    "PIXELS",
    "BatchNormLoss",
    "BorrowedShares",
    "ContentLoss",
    "Fusion",
    "GaussianMMD",
    "GramLoss",
    "LinearMMD",
    "Loss",
    "LossContext",
    "LossMeasures",
    "Network",
    "Objective",
    "PolynomialMMD",
    "RandomTransformations",
    "RobustGramLoss",
    "SelfSimilarity",
    "Side",
    "SlicedWasserstein",
    "Strotss",
    "Style",
    "Targets",
    "Terms",
    "content_distance",
    "gradient_norms",
    "largest",
    "share_of_entries",
    "shares",
    "style_weights",
]
