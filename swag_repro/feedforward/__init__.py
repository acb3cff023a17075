"""Style transfer in one pass: AdaIN, networks of one style, and their training."""

from swag_repro.feedforward.adain import Moments, Normalization, blended
from swag_repro.feedforward.corpus import Corpus, Cropping, bundled, equalized, folders
from swag_repro.feedforward.generators import AdaIN, Generator, Johnson
from swag_repro.feedforward.mirror import Stage, mirrored, reach, reflect, stages, stride
from swag_repro.feedforward.recipe import Recipe
from swag_repro.feedforward.stylizer import Stylizer
from swag_repro.feedforward.training import Encoder, FeedforwardTraining, Score, fitted

__all__ = [
    "AdaIN",
    "Corpus",
    "Cropping",
    "Encoder",
    "FeedforwardTraining",
    "Generator",
    "Johnson",
    "Moments",
    "Normalization",
    "Recipe",
    "Score",
    "Stage",
    "Stylizer",
    "blended",
    "bundled",
    "equalized",
    "fitted",
    "folders",
    "mirrored",
    "reach",
    "reflect",
    "stages",
    "stride",
]
