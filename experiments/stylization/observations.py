"""What a stylisation tells beside its finished pictures: the layers' shares, and measures on the way."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from experiments.stylization.batches import Batch
from swag_repro.losses import Network, Objective, gradient_norms, shares, style_weights
from swag_repro.measures import HeldOut, Measure
from swag_repro.transfer import Step


@dataclass(frozen=True)
class Judge:
    """Measures pictures of pairs; of a mix, means over its styles by their weights."""

    held_out: HeldOut

    def __call__(self, images: Tensor, batch: Batch) -> Iterator[Sequence[Measure]]:
        """The measures of each picture `(B, 3, H, W)` of a batch."""
        by_style = [
            self.held_out(images, batch.contents, [style.image for style in styles])
            for styles in zip(*batch.styles, strict=True)
        ]
        for mixed, measures in zip(batch.styles, zip(*by_style, strict=True), strict=True):
            weights = style_weights(mixed)
            yield [_mean(same, weights) for same in zip(*measures, strict=True)]


def _mean(measures: Sequence[Measure], weights: Sequence[float]) -> Measure:
    values = [measure.value for measure in measures if measure.value is not None]
    if len(values) < len(measures):
        return next(measure for measure in measures if measure.value is None)
    return replace(measures[0], value=sum(w * v for w, v in zip(weights, values, strict=True)))


def early(
    judge: Judge | None, batch: Batch, images: Tensor, step: Step, wanted: Collection[int]
) -> list[dict[str, Any]]:
    """Rows of pictures on their way, where this step is one of those wanted; step 0 is the start."""
    if judge is None or step.step not in wanted:
        return []
    return [
        {
            "content": pair.content.name,
            "style": pair.style_name,
            "iteration": step.step,
            "statistic": measure.statistic,
            "definition": measure.definition,
            "value": measure.value,
        }
        for pair, measures in zip(batch.pairs, judge(images, batch), strict=True)
        for measure in measures
        if measure.value is not None
    ]


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
