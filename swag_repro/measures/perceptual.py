"""LPIPS, if its package and its weights are on this machine; nothing is ever downloaded."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights, WeightsEnum

from swag_repro.runs.files import digest_of

PACKAGE = "torchmetrics.image.lpip"
# In smaller images the last AlexNet layer that LPIPS reads has no position left.
SMALLEST_SIDE = 31


def lpips(images: Tensor, contents: Tensor) -> Tensor | None:
    """Return the learned perceptual distance with AlexNet (Zhang et al., CVPR 2018), by torchmetrics.

    Args:
        images: `(B, 3, H, W)`, RGB in [0, 1].
        contents: `(B, 3, H, W)`, RGB in [0, 1].

    Returns:
        `(B,)` float64 from 0, on the CPU; None if `why_no_lpips` gives a reason.
    """
    if why_no_lpips(images) is not None:
        return None
    pairs = zip(images.float().cpu(), contents.float().cpu(), strict=True)
    with torch.inference_mode():
        distances = [_network()(image[None], content[None], normalize=True) for image, content in pairs]
    return torch.cat(distances).flatten().double()


def why_no_lpips(images: Tensor) -> str | None:
    """Return the reason why LPIPS of these images is not available here; None if it is."""
    if min(images.shape[-2:]) < SMALLEST_SIDE:
        return f"LPIPS needs {SMALLEST_SIDE} pixels a side"
    try:
        importlib.import_module(PACKAGE)
    except ImportError as error:
        return f"LPIPS needs torchmetrics ({error}): pip install swag-repro[measures]"
    return _why_no_backbone(cached_file(AlexNet_Weights.IMAGENET1K_V1))


def cached_file(weights: WeightsEnum) -> Path:
    """Return the path at which torch keeps the file of these weights; the file may be missing."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name


@cache
def _why_no_backbone(path: Path) -> str | None:
    if not path.is_file():
        return f"AlexNet's weights are not at {path}: put torchvision's file there"
    found = digest_of(path)
    announced = path.stem.rsplit("-", 1)[-1]
    return None if found.startswith(announced) else f"{path} is not torchvision's file (sha256 {found})"


@cache
def _network() -> nn.Module:
    metric = importlib.import_module(PACKAGE).LearnedPerceptualImagePatchSimilarity(net_type="alex")
    return metric.net  # type: ignore[no-any-return]  # the metric itself keeps every score it has seen
