"""Networks that stylise in one pass: their parts, their inputs, and the targets of their training.

Adaptive instance normalisation, with its controls, is from Huang and Belongie, ICCV 2017; the transformation
network of one style from Johnson, Alahi, Fei-Fei, ECCV 2016, supplementary material.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from swag_repro.errors import SettingError, check_choice, check_number
from swag_repro.feedforward.decoder import NORMS, mirror_decoder, stages

Upsampling = Literal["transposed", "nearest"]

BORDER = 40
"""Pixels of reflection padding; the residual units don't pad, and crop 4·2·5 pixels of it."""

JOHNSON_UNITS = 5


class ResidualUnit(nn.Module):
    """A residual unit of two 3×3 convolutions without padding, whose shortcut is cropped to their size."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *_layer(nn.Conv2d(channels, channels, 3), norm),
            *_layer(nn.Conv2d(channels, channels, 3), norm)[:-1],
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's output, without a ReLU: `(B, D, H, W)` → `(B, D, H − 4, W − 4)`."""
        cropped: Tensor = x[..., 2:-2, 2:-2] + self.branch(x)
        return cropped


class JohnsonNetwork(nn.Module):
    """The network `c9s1-32, d64, d128, R128 × 5, u64, u32, c9s1-3`.

    Args:
        norm: the norm behind each convolution but the last: one of `NORMS`.
        upsampling: `transposed`, the paper's convolutions of stride ½, or `nearest` followed by a
            convolution.
    """

    def __init__(self, *, norm: str, upsampling: Upsampling) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_layer(nn.Conv2d(3, 32, 9, padding=4), norm),
            *_layer(nn.Conv2d(32, 64, 3, stride=2, padding=1), norm),
            *_layer(nn.Conv2d(64, 128, 3, stride=2, padding=1), norm),
            *(ResidualUnit(128, norm) for _ in range(JOHNSON_UNITS)),
            *_up(128, 64, norm, upsampling),
            *_up(64, 32, norm, upsampling),
            nn.Conv2d(32, 3, 9, padding=4),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return stylised images, `(B, 3, H, W)`, in [0, 1] by a scaled tanh.

        Raises:
            SettingError: a side has 40 pixels or fewer.
        """
        height, width = images.shape[2:]
        if min(height, width) <= BORDER:
            rule = f"should leave Johnson's network more than {BORDER} pixels a side"
            raise SettingError("crop.size and images.size", rule, f"{height}×{width}", "Choose larger ones.")
        more = (BORDER, BORDER + -width % 4, BORDER, BORDER + -height % 4)
        painted = self.layers(F.pad(images - 0.5, more, mode="reflect"))[..., :height, :width]
        scaled: Tensor = (painted.tanh() + 1) / 2
        return scaled


def _layer(convolution: nn.Module, norm: str) -> list[nn.Module]:
    made = NORMS[norm]
    channels: int = convolution.out_channels  # type: ignore[assignment]
    return [convolution, *([made(channels)] if made is not None else []), nn.ReLU()]


def _up(channels_in: int, channels_out: int, norm: str, upsampling: Upsampling) -> list[nn.Module]:
    if upsampling == "transposed":
        up = nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1)
        return _layer(up, norm)
    return [nn.Upsample(scale_factor=2), *_layer(nn.Conv2d(channels_in, channels_out, 3, padding=1), norm)]


NOWHERE = 1e-9
"""Share of a style below which it counts as none."""


@dataclass(frozen=True)
class ChannelMoments:
    """Mean and deviation of each channel over the positions of a layer.

    Attributes:
        mean: `(B, D, 1, 1)`.
        deviation: `(B, D, 1, 1)`.
    """

    mean: Tensor
    deviation: Tensor


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """The way deviations are taken: the paper and its code divide the sum of squares by M, the port by M − 1.

    Attributes:
        correction: 0 divides by M, 1 by M − 1.
        eps: added to the variance of what is normalised.

    Raises:
        SettingError: a number is out of range.
    """

    correction: int
    eps: float

    def __post_init__(self) -> None:
        check_number("generator.normalization.correction", self.correction, least=0, most=1, whole=True)
        check_number("generator.normalization.eps", self.eps, least=0)

    def moments(self, features: Tensor, where: Tensor | None = None) -> ChannelMoments:
        """Return the moments of features `(B, D, H, W)`, or of some positions only.

        No `eps` is added to a deviation: that of a constant channel is 0.

        Args:
            features: `(B, D, H, W)`.
            where: weights of positions, `(B, 1, H, W)` in [0, 1]; None for all positions.
        """
        if where is None:
            variance, mean = torch.var_mean(features, (2, 3), correction=self.correction, keepdim=True)
            return ChannelMoments(mean, variance.sqrt())
        shares = where / where.sum((2, 3), keepdim=True)
        mean = (shares * features).sum((2, 3), keepdim=True)
        squared = (shares * (features - mean).square()).sum((2, 3), keepdim=True)
        positions = where.sum((2, 3), keepdim=True)
        return ChannelMoments(mean, (squared * positions / (positions - self.correction).clamp_min(1)).sqrt())

    def __call__(self, content: Tensor, style: ChannelMoments, where: Tensor | None = None) -> Tensor:
        """Return `σ(y) (x − μ(x)) / √(σ²(x) + ε) + μ(y)` (eq. 8).

        Args:
            content: x, `(B, D, H, W)`.
            style: the moments of y.
            where: weights of positions for μ(x) and σ(x), `(B, 1, H, W)`; None for all positions.

        Returns:
            `(B, D, H, W)`.
        """
        own = self.moments(content, where)
        scale = style.deviation * (own.deviation.square() + self.eps).rsqrt()
        return (content - own.mean) * scale + style.mean


def blended(
    normalize: Normalization,
    content: Tensor,
    styles: Sequence[ChannelMoments],
    *,
    weights: Sequence[float],
    alpha: float,
    masks: Sequence[Tensor | None],
) -> Tensor:
    """Return a content mixed with several styles, each with its weight and place (section 7.2).

    The mix is `(1 − αm) x + αm Σ_s w_s m_s AdaIN(x, y_s) / Σ_s w_s m_s`. Here m_s is the mask of a style, and
    m that of all styles together: x stays where no style is wanted. The content's own moments are taken by
    the style's mask, too.

    Args:
        normalize: how deviations are taken.
        content: x, `(B, D, H, W)`.
        styles: moments of each style.
        weights: weight of each style, 0 or more, not all 0.
        alpha: strength of the styles, from 0, the content, to 1.
        masks: mask of each style, `(B, 1, H', W')` in [0, 1]; None for everywhere.

    Returns:
        `(B, D, H, W)`.
    """
    places = [None if mask is None else _pooled(mask, content) for mask in masks]
    whole = content.new_ones(len(content), 1, *content.shape[2:])
    shares = [w * (whole if place is None else place) for w, place in zip(weights, places, strict=True)]
    total = torch.stack(shares).sum(dim=0)
    mixed = torch.zeros_like(content)
    for style, share, place in zip(styles, shares, places, strict=True):
        mixed = mixed + share / total.clamp_min(NOWHERE) * normalize(content, style, place)
    masked = [place for place in places if place is not None]
    covered = torch.stack(masked).sum(dim=0).clamp(max=1) if len(masked) == len(places) else whole
    return content.lerp(mixed, alpha * covered)


def _pooled(mask: Tensor, like: Tensor) -> Tensor:
    height, width = like.shape[2:]
    return F.adaptive_avg_pool2d(mask, (height, width))


Norm = Literal["none", "batch", "instance"]
StyleInput = Literal["adain", "concat"]
ContentTarget = Literal["adain", "content"]


class Generator(ABC):
    """A kind of network that stylises: one choice of `conf/generator`.

    Attributes:
        name: its name in rows.
        reads_styles: whether it gets a style with each picture; otherwise it learns one.
    """

    name: str
    reads_styles: bool

    @abstractmethod
    def network(self, encoder: nn.Module, path: str, *, seed: int) -> nn.Module:
        """Return the network to be trained, with fresh weights; the global random state stays as it was.

        Args:
            encoder: the network whose layers it may mirror.
            path: path of the module that it decodes.
            seed: seed of the weights.
        """

    @abstractmethod
    def given(self, contents: Tensor, of_content: Tensor, of_style: Tensor) -> Tensor:
        """Return the input of the network.

        Args:
            contents: `(B, 3, H, W)`, RGB in [0, 1].
            of_content: features of the contents at the tap, `(B, D, H', W')`.
            of_style: features of the styles at the tap.
        """

    @abstractmethod
    def wanted(self, given: Tensor, of_content: Tensor) -> Tensor:
        """Return the features that the picture should have at the tap: the target of the content term.

        Args:
            given: the input of the network.
            of_content: features of the contents at the tap, `(B, D, H', W')`.
        """


@dataclass(frozen=True, kw_only=True)
class AdaIN(Generator):
    """A generator that decodes features whose moments are the style's (Huang and Belongie, ICCV 2017).

    Attributes:
        name: its name in rows.
        norm: the decoder's norm; `none` in the paper, the others are its ablation (section 7.1).
        fusion: `adain`, or `concat`: both features side by side (Enc-Concat-Dec, section 7.1).
        content_target: target of the content term: `adain`, the decoded features (eq. 12), or `content`, the
            content's own.
        normalization: how deviations are taken.

    Raises:
        SettingError: an unknown choice, or `concat` with the target `adain`.
    """

    name: str
    norm: Norm
    fusion: StyleInput
    content_target: ContentTarget
    normalization: Normalization
    reads_styles = True

    def __post_init__(self) -> None:
        check_choice("generator.norm", self.norm, get_args(Norm))
        check_choice("generator.fusion", self.fusion, get_args(StyleInput))
        check_choice("generator.content_target", self.content_target, get_args(ContentTarget))
        if self.fusion == "concat" and self.content_target == "adain":
            rule = "should be content where features are not normalised"
            raise SettingError("generator.content_target", rule, "adain with fusion=concat", "Change one.")

    def network(self, encoder: nn.Module, path: str, *, seed: int) -> nn.Module:
        """Return the mirrored decoder."""
        path_, channels = stages(encoder, path)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return mirror_decoder(path_, channels * (2 if self.fusion == "concat" else 1), norm=self.norm)

    def given(self, contents: Tensor, of_content: Tensor, of_style: Tensor) -> Tensor:  # noqa: ARG002
        """Return the features to decode, `(B, D, H', W')`; `concat` puts both together, `(B, 2D, H', W')`."""
        if self.fusion == "concat":
            return torch.cat([of_content, of_style], dim=1)
        return self.normalization(of_content, self.normalization.moments(of_style))

    def wanted(self, given: Tensor, of_content: Tensor) -> Tensor:
        """Return the decoded features or the content's own, `(B, D, H', W')`."""
        return of_content if self.content_target == "content" else given

    def moments(self, of_style: Tensor) -> ChannelMoments:
        """Return the moments of a style, which serve for any content."""
        return self.normalization.moments(of_style)


@dataclass(frozen=True, kw_only=True)
class Johnson(Generator):
    """A generator of one style (Johnson, Alahi, Fei-Fei, ECCV 2016).

    Attributes:
        name: its name in rows.
        norm: the network's norm: `batch` in the paper, `instance` since Ulyanov et al. 2016, or `none`.
        upsampling: see `JohnsonNetwork`.

    Raises:
        SettingError: an unknown choice.
    """

    name: str
    norm: Norm
    upsampling: Upsampling
    reads_styles = False

    def __post_init__(self) -> None:
        check_choice("generator.norm", self.norm, NORMS)
        check_choice("generator.upsampling", self.upsampling, get_args(Upsampling))

    def network(self, encoder: nn.Module, path: str, *, seed: int) -> nn.Module:  # noqa: ARG002
        """Return the transformation network; it has no part of the encoder."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return JohnsonNetwork(norm=self.norm, upsampling=self.upsampling)

    def given(self, contents: Tensor, of_content: Tensor, of_style: Tensor) -> Tensor:  # noqa: ARG002
        """Return the contents themselves."""
        return contents

    def wanted(self, given: Tensor, of_content: Tensor) -> Tensor:  # noqa: ARG002
        """Return the content's own features."""
        return of_content
