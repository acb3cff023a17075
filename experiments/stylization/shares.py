"""Each layer's share of the style loss and of its gradient at the start, and the largest entries' share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from experiments.pictures.batches import PairBatch
from swag_repro.losses import (
    Network,
    Objective,
    Targets,
    gradient_norms,
    largest,
    share_of_entries,
    shares,
)
from swag_repro.statistics import gram

LARGEST_ENTRIES = "entries"
"""The kind of shares that also concerns the finished picture."""

PART = 0.01
"""The part of a Gram matrix's entries that count as the largest: a choice of ours."""


def start_shares(
    network: Network, objective: Objective, batch: PairBatch, kind: str
) -> Iterator[dict[str, Any]]:
    """Yield rows of each style layer's share of the style term at the content image, and of the term itself.

    Args:
        network: Images → features of the objective's taps.
        objective: The objective of the stylisation.
        batch: The batch as the objective sees it.
        kind: The setting `shares`; for `gradient`, also shares of the gradients' norms at the content image.
    """
    targets = objective.targets(network, batch.contents, batch.styles)
    images = batch.contents.detach().requires_grad_(kind == "gradient")
    with torch.set_grad_enabled(kind == "gradient"):
        parts = objective.style_parts(network, images, targets)
    if not parts:
        return
    values = {"loss": parts}
    if kind == "gradient":
        values["gradient"] = gradient_norms(parts, images)
    with torch.no_grad():
        plain = objective.style_parts(network, batch.contents, targets.unbalanced())
    for index, pair in enumerate(batch.pairs):
        about = {"content": pair.content.name, "style": pair.style_name}
        total = float(torch.stack([part[index] for part in plain.values()]).sum())
        yield {**about, "statistic": "start_style_loss", "definition": "unbalanced", "value": total}
        for definition, of_parts in values.items():
            for layer, share in shares(
                {part: value[index].detach() for part, value in of_parts.items()}
            ).items():
                yield {
                    **about,
                    "layer": layer,
                    "statistic": "style_share",
                    "definition": definition,
                    "value": float(share),
                }


@torch.no_grad()
def entry_shares(
    network: Network, objective: Objective, batch: PairBatch, finished: Tensor
) -> Iterator[dict[str, Any]]:
    """Yield rows of the share of `‖G/M − G_s/M_s‖²` that its largest entries hold, per smoothed style layer.

    `start` and `finished` take the largest entries of the content image and of the finished picture. `same`
    takes the largest entries of the start and measures their part in the finished picture. For a mix, only
    the first style counts.

    Args:
        network: Images → features of the objective's taps.
        objective: The objective of the stylisation.
        batch: The B pairs, as the objective sees them.
        finished: The pairs' finished pictures, `(B, 3, H, W)`.
    """
    targets = objective.targets(network, batch.contents, batch.styles)
    before, after = (
        _differences(network, objective, batch, targets, images) for images in (batch.contents, finished)
    )
    for layer, at_start in before.items():
        at_end, first = after[layer], largest(at_start, PART)
        found = {
            "start": share_of_entries(at_start, first),
            "finished": share_of_entries(at_end, largest(at_end, PART)),
            "same": share_of_entries(at_end, first),
        }
        for definition, values in found.items():
            for pair, value in zip(batch.pairs, values, strict=True):
                yield {
                    "content": pair.content.name,
                    "style": pair.style_name,
                    "layer": layer,
                    "statistic": "largest_entries",
                    "definition": definition,
                    "value": float(value),
                }


def _differences(
    network: Network, objective: Objective, batch: PairBatch, targets: Targets, images: Tensor
) -> dict[str, Tensor]:
    """Return each layer's Gram matrices per position, images minus styles, `(B, D, D)`."""
    own = objective.style_features(network, images, targets)
    styles = [
        objective.style_features(network, mixed[0].image[None], targets.of([index]))
        for index, mixed in enumerate(batch.styles)
    ]
    return {
        layer: _per_position(features) - torch.cat([_per_position(style[layer]) for style in styles])
        for layer, features in own.items()
    }


def _per_position(features: Tensor) -> Tensor:
    """Return the Gram matrices `(B, D, D)` divided by the number of positions."""
    matrix = features.flatten(2)
    return gram(matrix) / matrix.shape[2]
