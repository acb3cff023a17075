"""The features and the pixel similarity that measures of finished pictures read."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from swag_repro.errors import NonFiniteError
from swag_repro.networks import TappedNetwork
from swag_repro.statistics import Features

# Pixels across SSIM's Gaussian window, of deviation 1.5 and cut at 3.5 deviations (Wang et al. 2004).
WINDOW = 11


def read_features(network: TappedNetwork, image: Tensor) -> Features:
    """Return the features of one image `(3, H, W)` at the network's taps, on its device.

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


def shrunk(image: Tensor, size: int | None) -> Tensor:
    """Return an image `(3, H, W)` with a short side of at most `size` pixels, shrunk with antialiasing.

    An image that is small enough, and any image if `size` is None, is returned as it is.
    """
    height, width = image.shape[1:]
    if size is None or min(height, width) <= size:
        return image
    factor = size / min(height, width)
    sides = (round(height * factor), round(width * factor))
    return interpolate(image[None], sides, mode="bilinear", antialias=True)[0]


def ssim(images: Tensor, contents: Tensor) -> Tensor:
    """Return the structural similarity of pixels, the mean over RGB.

    As in Wang et al. 2004, the window is Gaussian and variances are the population's.

    Args:
        images: `(B, 3, H, W)`, RGB in [0, 1], of any size; below 11 pixels the window and the left-out
            border are smaller.
        contents: `(B, 3, H, W)`, RGB in [0, 1].

    Returns:
        `(B,)` float64 in [−1, 1]; 1 for equal images.
    """
    from skimage.metrics import structural_similarity  # here: only measures need it, and SciPy

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
