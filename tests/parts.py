"""Parts of the science with the settings of `conf/`, which a test can change.

`LBFGS(start, history=3)` makes an instance of that class with a history of 3; all other settings are those in
`conf/optimizer/lbfgs.yaml`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from hydra.utils import get_object
from omegaconf import OmegaConf

from experiments.settings import CONF
from swag_repro import images, losses, optimisation


def settings(file: str) -> dict[str, Any]:
    """What a file of `conf/` says by itself, such as `loss/gram`: below a node, as Hydra puts it."""
    config = OmegaConf.create({"node": OmegaConf.load(CONF / f"{file}.yaml")})
    return OmegaConf.to_container(config, resolve=True)["node"]


def part(file: str) -> Callable[..., Any]:
    """What a file's `_target_` names, with its settings."""
    found = settings(file)
    return partial(get_object(found["_target_"]), **{k: v for k, v in found.items() if not k.startswith("_")})


LaplacianPyramid = part("canvas/laplacian")

BatchNormLoss = part("loss/bn")
ContentLoss = part("loss/content")
GaussianMMD = part("loss/mmd_gaussian")
GramLoss = part("loss/gram")
LinearMMD = part("loss/mmd_linear")
PolynomialMMD = part("loss/mmd_poly")
RobustGramLoss = part("loss/robust_gram")
SelfSimilarity = part("loss/self_similarity")
SlicedWasserstein = part("loss/sliced_wasserstein")
Strotss = part("loss/strotss")

Adam = part("optimizer/adam")
LBFGS = part("optimizer/lbfgs")
RMSprop = part("optimizer/rmsprop")
SGD = part("optimizer/sgd")

RandomTransformations = part("transformations/random")
RandomWeights = part("weights/random")
Softmax = part("smoothing/softmax")

_BUNDLED, _GRAM, _STYLIZE = settings("images/bundled"), settings("objective/gram"), settings("stylize")
_EQUATION = settings("preset/equation")["objective"]

Resize = partial(
    images.Resize,
    size=_BUNDLED["size"],
    policy=_BUNDLED["resize"],
    interpolation=_BUNDLED["interpolation"],
)
BorrowedShares = partial(losses.BorrowedShares, match=_GRAM["match"])
Objective = partial(
    losses.Objective,
    balance=_EQUATION["balance"],
    total_variation_weight=_GRAM["total_variation_weight"],
)
Guards = partial(optimisation.Guards, **_STYLIZE["guards"])
Plateau = partial(optimisation.Plateau, **_STYLIZE["stop"])
Optimisation = partial(optimisation.Optimisation, guards=Guards(), result=_STYLIZE["result"])
