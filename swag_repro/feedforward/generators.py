"""Networks that stylise in one pass: their parts, their inputs, and the targets of their training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from swag_repro.errors import SettingError, check_choice
from swag_repro.feedforward.adain import ChannelMoments, Normalization
from swag_repro.feedforward.decoder import NORMS, mirror_decoder, stages
from swag_repro.feedforward.johnson import JohnsonNetwork, Upsampling

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
