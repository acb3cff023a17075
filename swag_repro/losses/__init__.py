"""The losses that a stylisation minimises: pure functions state the equations, classes hold the settings."""

from swag_repro.losses.balance import MATCHES, gradient_norms, shares
from swag_repro.losses.base import (
    PIXELS,
    LayerLoss,
    Loss,
    LossContext,
    total_variation,
)
from swag_repro.losses.bn import BatchNormLoss
from swag_repro.losses.content import CONTENT_NORMALIZERS, ContentLoss, content_distance
from swag_repro.losses.fusion import Fusion
from swag_repro.losses.gram import (
    NORMALIZERS,
    GramLoss,
    GramTarget,
    RobustGramLoss,
    gram_distance_in_style_basis,
    gram_distance_to,
    largest,
    robust_squares,
    share_of_entries,
    takes_style_basis,
)
from swag_repro.losses.measured import LossMeasures, MeasuredTerms
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
    "CONTENT_NORMALIZERS",
    "MATCHES",
    "NORMALIZERS",
    "PIXELS",
    "BatchNormLoss",
    "BorrowedShares",
    "ContentLoss",
    "Fusion",
    "GaussianMMD",
    "GramLoss",
    "GramTarget",
    "LayerLoss",
    "LinearMMD",
    "Loss",
    "LossContext",
    "LossMeasures",
    "MeasuredTerms",
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
    "gram_distance_in_style_basis",
    "gram_distance_to",
    "largest",
    "robust_squares",
    "share_of_entries",
    "shares",
    "style_weights",
    "takes_style_basis",
    "total_variation",
]
