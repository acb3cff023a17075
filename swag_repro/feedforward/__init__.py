"""Style transfer in one pass: AdaIN, networks of one style, and their training."""

from swag_repro.feedforward.corpus import Corpus, Cropping, bundled_corpus, equalized, folders
from swag_repro.feedforward.decoder import Stage, mirror_decoder, reach, reflect, stages, stride
from swag_repro.feedforward.generators import (
    AdaIN,
    Generator,
    Johnson,
    Normalization,
    blended,
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
    "blended",
    "bundled_corpus",
    "equalized",
    "folders",
    "mirror_decoder",
    "reach",
    "reflect",
    "stages",
    "stride",
]
