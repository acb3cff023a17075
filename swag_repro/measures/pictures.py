"""Measures of finished pictures: by a network that wasn't optimised, or of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor

from swag_repro.errors import NonFiniteError
from swag_repro.measures.distances import (
    Distance,
    Features,
    frechet_distance,
    mean_over,
    relative_gram_distance,
    relative_sliced_wasserstein,
    structural_divergence,
)
from swag_repro.networks import TappedNetwork

# Pixels across SSIM's Gaussian window: a deviation of 1.5, cut at 3.5 of them (Wang et al. 2004).
WINDOW = 11


def style_distance(
    network: TappedNetwork, taps: Sequence[str], images: Tensor, styles: Sequence[Tensor]
) -> Tensor:
    """Mean of `relative_gram_distance` over taps of a network: a held-out one, or the number is circular.

    Args:
        network: read at these taps, at least.
        taps: layers that count alike.
        images: `(B, 3, H, W)`, RGB in [0, 1].
        styles: one `(3, H', W')` of any size for each image.

    Returns:
        `(B,)` float64 on the CPU.
    """
    return _each_pair(network, taps, relative_gram_distance, images, styles)


def sliced_wasserstein(
    network: TappedNetwork,
    taps: Sequence[str],
    images: Tensor,
    styles: Sequence[Tensor],
    *,
    projections: int,
    seed: int,
) -> Tensor:
    """Mean of `relative_sliced_wasserstein` over taps; arguments and result as of `style_distance`."""
    distance = partial(relative_sliced_wasserstein, projections=projections, seed=seed)
    return _each_pair(network, taps, distance, images, styles)


def sifid(network: TappedNetwork, tap: str, images: Tensor, styles: Sequence[Tensor]) -> Tensor:
    """`frechet_distance` at one early tap: SIFID's own is Conv2d_2b_3x3 of a pretrained Inception-v3.

    Arguments and result as of `style_distance`.
    """
    return _each_pair(network, [tap], frechet_distance, images, styles)


def cfsd(network: TappedNetwork, tap: str, images: Tensor, contents: Tensor) -> Tensor:
    """`structural_divergence` at one tap of a network: CFSD's own is relu3_1 of a pretrained VGG-19.

    Args:
        network: read at this tap, at least.
        tap: the layer.
        images: `(B, 3, H, W)`, RGB in [0, 1].
        contents: likewise.

    Returns:
        `(B,)` float64 on the CPU.
    """
    return _each_pair(network, [tap], structural_divergence, images, contents)


def read(network: TappedNetwork, image: Tensor) -> Features:
    """Features of one image `(3, H, W)` at the network's taps, on its device.

    Raises:
        SettingError: the image is too small for the network.
        NonFiniteError: features hold NaN or infinity.
    """
    features: Features = network(image[None].to(network.mean.device))
    for tap, values in features.items():
        if not values.isfinite().all():
            raise NonFiniteError(
                f"activations at {tap}",
                "should be finite",
                "NaN or infinity",
                "Check the image and the weights.",
            )
    return features


@torch.inference_mode()
def _each_pair(
    network: TappedNetwork,
    taps: Sequence[str],
    distance: Distance,
    images: Tensor,
    references: Sequence[Tensor] | Tensor,
) -> Tensor:
    # One pair at a time: references may differ in size, and a batch's features may not fit.
    return torch.cat(
        [
            mean_over(taps, distance, read(network, image), read(network, reference)).cpu()
            for image, reference in zip(images, references, strict=True)
        ]
    )


def ssim(images: Tensor, contents: Tensor) -> Tensor:
    """Structural similarity of pixels, the mean over RGB (Wang et al. 2004: Gaussian window, population).

    Args:
        images: `(B, 3, H, W)`, RGB in [0, 1], of any size; below 11 pixels less of the border is left out.
        contents: likewise.

    Returns:
        `(B,)` float64 in [−1, 1]; 1 for equal images.
    """
    smaller_side = min(images.shape[-2:])
    pairs = zip(_channels_last(images), _channels_last(contents), strict=True)
    similarities = [
        structural_similarity(  # type: ignore[no-untyped-call]
            image,
            content,
            channel_axis=2,
            data_range=1.0,
            gaussian_weights=True,
            use_sample_covariance=False,
            win_size=min(WINDOW, smaller_side - 1 + smaller_side % 2),
        )
        for image, content in pairs
    ]
    return torch.tensor(similarities, dtype=torch.float64)


def _channels_last(images: Tensor) -> NDArray[np.float64]:
    return images.detach().double().movedim(1, 3).cpu().numpy()
