"""Each layer's share of the style loss, and of its gradient, at the start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from experiments.stylization.batches import Batch
from swag_repro.losses import Network, Objective, gradient_norms, shares


def start_shares(network: Network, objective: Objective, batch: Batch, kind: str) -> Iterator[dict[str, Any]]:
    """Rows: each style layer's share of the style term between content and style image, and the term itself.

    Args:
        network: images → features of the objective's taps.
        objective: as it is minimised.
        batch: as the objective sees it.
        kind: `loss`; or `gradient`, for the shares of the gradients' norms at the content image as well.
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
