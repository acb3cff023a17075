"""The distances between a picture and its style or its content, in features and in pixels, and LPIPS."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize
from torchvision.models import AlexNet_Weights

from swag_repro.errors import NonFiniteError
from swag_repro.networks import TappedNetwork
from swag_repro.runs.files import digest_of
from swag_repro.smoothing import at_least_float32
from swag_repro.statistics import Features, common_quantiles, gram
from swag_repro.weights import announced_hash, cached_file

Distance = Callable[[Tensor, Tensor], Tensor]

# The numbers processed at a time: similarities of positions (32 MiB in float64), and sorted projections.
SIMILARITIES = 1 << 22
PROJECTIONS = 16


def relative_gram_distance(features: Tensor, style_features: Tensor) -> Tensor:
    """Return `‖G/M − G_s/M_s‖² / ‖G_s/M_s‖²`, a Gram distance in which layers and networks count alike.

    The style itself has 0, an image of zeros has 1, and there is no upper bound. The distance doesn't change
    when positions change places, or when both features are multiplied by one number.

    Args:
        features: `(B, D, ...)`; the trailing dimensions are the M positions.
        style_features: `(B, D, ...)`, with M_s positions.

    Returns:
        `(B,)` float64; infinite if only the style's features are zero.
    """
    actual, wanted = (
        gram(f).double() / f[0, 0].numel() for f in map(at_least_float32, (features, style_features))
    )
    return _ratio((actual - wanted).square().flatten(1).sum(dim=1), wanted.square().flatten(1).sum(dim=1))


def relative_sliced_wasserstein(
    features: Tensor, style_features: Tensor, *, projections: int, seed: int
) -> Tensor:
    """Return `E_θ W₂²(θᵀF, θᵀF_s) / E_θ ‖θᵀF_s‖²/M_s` over random unit vectors θ; positions are points.

    The one-dimensional distances are exact for any two numbers of positions. The sliced distance is that of
    Bonneel et al. 2015; the ratio is ours, so that layers count alike. The style itself has 0.

    Args:
        features: `(B, D, ...)`; the trailing dimensions are the M positions.
        style_features: `(B, D, ...)`, with M_s positions.
        projections: the number of vectors θ.
        seed: chooses θ; equal seeds compare all pictures along the same directions.

    Returns:
        `(B,)` float64; infinite if only the style's features are zero.
    """
    actual, wanted = (at_least_float32(f).flatten(2) for f in (features, style_features))
    generator = torch.Generator().manual_seed(seed)
    directions = normalize(torch.randn(projections, actual.shape[1], generator=generator), dim=1).to(actual)
    widths, at, at_wanted = common_quantiles(actual.shape[2], wanted.shape[2], actual.device)
    distance = torch.zeros(len(actual), dtype=torch.float64, device=actual.device)
    scale = torch.zeros_like(distance)
    for some in directions.split(PROJECTIONS):
        sorted_wanted = _sorted(some @ wanted)
        gaps = _sorted(some @ actual)[..., at] - sorted_wanted[..., at_wanted]
        distance += (gaps.square() @ widths.to(gaps.dtype)).double().sum(dim=1)
        scale += sorted_wanted.double().square().mean(dim=2).sum(dim=1)
    return _ratio(distance, scale)


def _sorted(values: Tensor) -> Tensor:
    """Return the values in order along the last dimension, without gradients.

    On CPUs NumPy sorts, which is many times as fast as torch.
    """
    values = values.detach()
    return torch.from_numpy(np.sort(values.numpy())) if values.device.type == "cpu" else values.sort().values


def frechet_distance(features: Tensor, style_features: Tensor) -> Tensor:
    """Return `‖μ − μ_s‖² + tr(Σ + Σ_s − 2 (Σ Σ_s)^½)` between Gaussians fitted to the positions.

    For early features this is the single-image FID (SIFID) of Shaham et al., SinGAN, ICCV 2019.

    Args:
        features: `(B, D, ...)`; the trailing dimensions are the positions.
        style_features: `(B, D, ...)`.

    Returns:
        `(B,)` float64, from 0.
    """
    mean, covariance = _moments(features)
    mean_wanted, covariance_wanted = _moments(style_features)
    # tr (ΣΣ_s)^½ = ‖Σ^½ Σ_s^½‖_* needs only roots of symmetric matrices.
    roots = _symmetric_root(covariance) @ _symmetric_root(covariance_wanted)
    overlap: Tensor = torch.linalg.svdvals(roots).sum(dim=1)
    traces = (covariance + covariance_wanted).diagonal(dim1=1, dim2=2).sum(dim=1)
    return ((mean - mean_wanted).square().sum(dim=1) + traces - 2 * overlap).clamp_min(0.0)


def art_fid(content_distances: Tensor, features: Tensor, style_features: Tensor) -> Tensor:
    """Return `(1 + mean LPIPS) (1 + FID)` of a set of pictures (Wright and Ommer, ArtFID, GCPR 2022).

    FID is biased in small samples, and its covariance singular with N ≤ D: below thousands of pictures values
    compare only sets of equal size, if any. The paper's features are those of an Inception-v3 trained on art.

    Args:
        content_distances: `(N,)`, LPIPS of each picture to its content.
        features: `(N, D)`, one vector for each picture.
        style_features: `(N_s, D)`, one vector for each style image.

    Returns:
        A float64 scalar from 1, the best.
    """
    fid = frechet_distance(features.mT[None], style_features.mT[None])[0]
    return (1 + content_distances.double().mean()) * (1 + fid)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    points = features.double().flatten(2)
    mean = points.mean(dim=2)
    centered = points - mean[..., None]
    return mean, gram(centered) / max(1, points.shape[2] - 1)


def _symmetric_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0.0).sqrt()[:, None]) @ vectors.mT
    return root


def structural_divergence(features: Tensor, content_features: Tensor) -> Tensor:
    """Return `1/M Σ_i KL(softmax(S_c)_i ‖ softmax(S)_i)` with `S_ij = cos(F_i, F_j)`.

    It is small if positions relate to each other as in the content. It differs in two things from CFSD of
    Chung et al., StyleID, CVPR 2024. Their released code has `F_iᵀF_j / D²` for S, which almost vanishes
    outside a pretrained VGG (1e-10 where the cosine gives 1e-3), and the sum over i in place of the mean. So
    values don't compare with the published ones. They don't change when either features are multiplied by a
    number.

    Args:
        features: `(B, D, ...)`; the trailing dimensions are the M positions.
        content_features: `(B, D, ...)`, at the same positions.

    Returns:
        `(B,)` float64, from 0 (the same structure). Its memory grows with M, not M².
    """
    if features.shape != content_features.shape:
        raise ValueError(f"positions differ: {tuple(features.shape)} and {tuple(content_features.shape)}")
    actual, wanted = (normalize(at_least_float32(f).flatten(2), dim=1) for f in (features, content_features))
    batch, _, positions = actual.shape
    total = torch.zeros(batch, dtype=torch.float64, device=actual.device)
    for rows in torch.arange(positions, device=actual.device).split(
        max(1, SIMILARITIES // (batch * positions))
    ):
        log_found, log_wanted = (_log_similarities(points, rows) for points in (actual, wanted))
        total += (log_wanted.exp() * (log_wanted - log_found)).flatten(1).sum(dim=1)
    return total.clamp_min(0.0) / positions


def _log_similarities(points: Tensor, rows: Tensor) -> Tensor:
    return torch.log_softmax(points[..., rows].mT @ points, dim=2, dtype=torch.float64)


def mean_over(taps: Sequence[str], distance: Distance, features: Features, references: Features) -> Tensor:
    """Return the mean over taps of a distance between two images' features, `(B,)`."""
    return torch.stack([distance(features[tap], references[tap]) for tap in taps]).mean(dim=0)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(numerator == 0, 0.0, numerator / denominator)


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


@cache
def _why_no_backbone(path: Path) -> str | None:
    if not path.is_file():
        return f"AlexNet's weights are not at {path}: put torchvision's file there"
    found = digest_of(path)
    return (
        None
        if found.startswith(announced_hash(path))
        else f"{path} is not torchvision's file (sha256 {found})"
    )


@cache
def _network() -> nn.Module:
    metric = importlib.import_module(PACKAGE).LearnedPerceptualImagePatchSimilarity(net_type="alex")
    return metric.net  # type: ignore[no-any-return]  # the metric itself keeps every score it has seen


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
