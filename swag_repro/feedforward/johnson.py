"""The transformation network of one style (Johnson, Alahi, Fei-Fei, ECCV 2016, supplementary material)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from swag_repro.errors import SettingError
from swag_repro.feedforward.decoder import NORMS

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
