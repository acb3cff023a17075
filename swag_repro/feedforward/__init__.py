"""Style transfer in one pass: AdaIN, networks of one style, and their training."""

from swag_repro.feedforward.corpus import Corpus, Cropping, bundled_corpus, equalized, folders
from swag_repro.feedforward.decoder import Stage, reflect, stages
from swag_repro.feedforward.generators import (
    AdaIN,
    Generator,
    Johnson,
    Normalization,
)
from swag_repro.feedforward.stylizer import Stylizer
from swag_repro.feedforward.training import Encoder, FeedforwardRecipe, FeedforwardTraining, MeanTerms

__all__ = [
    "AdaIN",
    "Corpus",
    "Cropping",
    "Encoder",
    "FeedforwardRecipe",
    "FeedforwardTraining",
    "Generator",
    "Johnson",
    "MeanTerms",
    "Normalization",
    "Stage",
    "Stylizer",
    "bundled_corpus",
    "equalized",
    "folders",
    "reflect",
    "stages",
]
