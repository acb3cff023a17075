"""A picture's own colours, kept in its stylisation.

There are two ways (Gatys, Bethge, Hertzmann, Shechtman, *Preserving Color in Neural Artistic Style Transfer*,
2016). In luminance-only transfer, style and content are made `grey`, and `with_luminance_of` colours the
result. In colour histogram matching, which AdaIN uses, too, `match_colors` gives the style the content's
colours before the transfer.

Images are RGB in [0, 1], `(3, H, W)` or `(B, 3, H, W)`. Each image of a batch has its own statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Y of YIQ (ITU-R BT.601). Their sum is 1, so adding a number to all channels adds it to Y.
LUMINANCE = (0.299, 0.587, 0.114)
# Standard deviation of rounding to 8 bits: a style that varies less has no contrast to scale up.
_ROUNDING = 1 / (255 * math.sqrt(12))


def luminance(images: Tensor) -> Tensor:
    """Return the luminance `Y = 0.299 R + 0.587 G + 0.114 B`: `(..., 3, H, W)` → `(..., 1, H, W)`."""
    weights = images.new_tensor(LUMINANCE).view(3, 1, 1)
    return (weights * images).sum(dim=-3, keepdim=True)


def grey(images: Tensor) -> Tensor:
    """Return the images' luminance in all three channels, for networks that expect three."""
    return _three(luminance(images))


def with_luminance_of(colors: Tensor, pictures: Tensor) -> Tensor:
    """Return images with the luminance (Y) of `pictures` and the colours (I and Q) of `colors`.

    The result is `C + (Y(P) − Y(C)) (1, 1, 1)`: a number added to all channels changes neither I nor Q. A
    channel that leaves [0, 1] is clamped; there the colour is weaker, and the luminance nearer to that of
    `colors`.

    Args:
        colors: `(..., 3, H, W)`.
        pictures: images of the same size.

    Returns:
        `(..., 3, H, W)` in [0, 1].
    """
    return (colors + (luminance(pictures) - luminance(colors))).clamp(0, 1)


def match_luminance(style: Tensor, content: Tensor) -> Tensor:
    """Return the style in grey, with the mean and the standard deviation of the content's luminance.

    `Y' = σ_c / σ_s (Y − μ_s) + μ_c` (ibid., "Luminance-only transfer"), clamped to [0, 1]. σ_s counts as
    `_ROUNDING` at least, so a style of one luminance becomes μ_c throughout.

    Args:
        style: `(..., 3, H, W)`.
        content: `(..., 3, H', W')`.

    Returns:
        `(..., 3, H, W)`, its channels equal, in the style's dtype.
    """
    own, wanted = luminance(style.double()), luminance(content.double())
    spread, mean = torch.std_mean(own, dim=(-3, -2, -1), correction=0, keepdim=True)
    wanted_spread, wanted_mean = torch.std_mean(wanted, dim=(-3, -2, -1), correction=0, keepdim=True)
    gain = wanted_spread / spread.clamp_min(_ROUNDING)
    return _three(((own - mean) * gain + wanted_mean).clamp(0, 1).to(style.dtype))


def match_colors(style: Tensor, content: Tensor) -> Tensor:
    """Return the style with the mean and the covariance of the content's colours.

    `x' = A (x − μ_s) + μ_c` with `A = Σ_c^½ Σ_s^−½` (ibid., "Color histogram matching", the form of Image
    Analogies), in float64, clamped to [0, 1]. Eigenvalues of Σ_s count as `ROUNDING²` at least. If the style
    doesn't vary along a colour axis, the result doesn't either; a grey image varies along one axis only.

    Args:
        style: `(..., 3, H, W)`.
        content: `(..., 3, H', W')`.

    Returns:
        `(..., 3, H, W)`, in the style's dtype.
    """
    centred, _, covariance = _color_statistics(style)
    _, wanted_mean, wanted_covariance = _color_statistics(content)
    whitening = _spectral(covariance, lambda values: values.clamp_min(_ROUNDING**2).rsqrt())
    coloring = _spectral(wanted_covariance, lambda values: values.clamp_min(0).sqrt())
    matched = coloring @ whitening @ centred + wanted_mean
    return matched.clamp(0, 1).to(style.dtype).view_as(style)


def _three(levels: Tensor) -> Tensor:
    """Return one channel as three: `(..., 1, H, W)` → `(..., 3, H, W)`, in memory of its own."""
    return torch.cat([levels] * 3, dim=-3)


def _color_statistics(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return pixels less their mean `(..., 3, M)`, the mean `(..., 3, 1)`, and the covariance `(..., 3, 3)`.

    All are in float64.
    """
    pixels = images.double().flatten(-2)
    mean = pixels.mean(dim=-1, keepdim=True)
    centred = pixels - mean
    return centred, mean, centred @ centred.mT / pixels.shape[-1]


def _spectral(matrix: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the function of a symmetric matrix, by its eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    transformed: Tensor = (vectors * function(values).unsqueeze(-2)) @ vectors.mT
    return transformed
