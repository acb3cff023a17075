"""Optimisers for a batch of independent images, driven by ask and tell.

An optimiser never calls the network. It proposes the next points of the images still under way, is
given their losses and gradients, and proposes again::

    optimizer = LBFGS(start, **settings)  # those of conf/optimizer/lbfgs.yaml
    while not optimizer.done:
        optimizer.observe(*closure(optimizer.propose()))

Each image has its own history, step, line search and end, and is computed by itself. If the closure's values
for an image do not depend on the rest of the batch, its results don't either, to the last bit. Between any
two calls `state_dict` holds all that decides the future, even in the middle of a line search.
"""

from swag_repro.optimisation.optimizers.batch import SGD, Adam, Optimizer, RMSprop, StopReason
from swag_repro.optimisation.optimizers.lbfgs import LBFGS

__all__ = ["LBFGS", "SGD", "Adam", "Optimizer", "RMSprop", "StopReason"]
