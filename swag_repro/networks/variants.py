"""Networks that torchvision doesn't have: SWAG's controls, ResNet-50 with parts of later networks, and more.

NoResNet and pseudo-VGG are not here. They are ResNet-50 and pseudo-ResVGG with shortcuts scaled by 0, see
`architecture.py`. The paper doesn't give the layers of its pseudo-VGG and pseudo-ResVGG, and its authors
haven't published them; the docstring of `pseudo_resvgg` declares the choice made here.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer, get_model
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops.misc import Conv2dNormActivation, SqueezeExcitation

from swag_repro.errors import check_choice

RESNET50_GROUPS = (3, 4, 6, 3)
RESNET50_WIDTHS = (64, 128, 256, 512)


class BeforeReLU:
    """A unit `P^l = R(ReLU(P^{l−1})) + P^{l−1}` whose shortcut starts before the previous unit's ReLU.

    This is a mixin for torchvision's residual units. The activations in the paper's sense are
    `F^l = ReLU(P^l)`, the output of `activation` in the next unit.
    """

    downsample: nn.Module | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.activation = nn.ReLU(inplace=False)  # the shortcut reads its input too

    def forward(self, x: Tensor) -> Tensor:
        """Return `(B, C, H, W)` of any sign → `(B, C', H', W')` of any sign."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.branch(self.activation(x)) + shortcut

    def branch(self, x: Tensor) -> Tensor:
        """Return the residual branch R."""
        raise NotImplementedError


class BeforeReLUBottleneck(BeforeReLU, Bottleneck):
    """A unit of ResNet-50 whose shortcut is taken before the ReLU."""

    def branch(self, x: Tensor) -> Tensor:
        """Return the residual branch, `(B, C, H, W)` → `(B, 4·planes, H', W')`."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))  # type: ignore[no-any-return]


class BeforeReLUResNet(ResNet):
    """A ResNet-50 of `BeforeReLUBottleneck`s; its parameters have torchvision's names and shapes."""

    def __init__(self, *, num_classes: int) -> None:
        super().__init__(BeforeReLUBottleneck, list(RESNET50_GROUPS), num_classes)
        self.relu = nn.ReLU(inplace=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(B, 3, H, W)` → logits `(B, num_classes)`."""
        # The stem's ReLU is layer1.0.activation, because it commutes with max-pooling.
        x = self.maxpool(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(self.relu(x)).flatten(1))  # type: ignore[no-any-return]


def resnet50_before_relu(*, num_classes: int = 1000) -> ResNet:
    """Return ResNet-50 with the residual taken before the ReLU (SWAG's ablation)."""
    return BeforeReLUResNet(num_classes=num_classes)


def resnet50_parts(
    *,
    activation: Literal["GELU"] | None = None,
    norm: Literal["layer"] | None = None,
    squeeze: bool = False,
    zero_init: bool = False,
    num_classes: int = 1000,
) -> ResNet:
    """Return ResNet-50 with single parts of later networks.

    The convolutions have torchvision's names, and the same initial weights for all of these settings.

    Args:
        activation: `GELU` takes the place of every ReLU, as in ConvNeXt; None keeps them.
        norm: `layer` has LayerNorm over channels, as in ConvNeXt, in place of batch norm; None keeps that.
        squeeze: whether branches end in squeeze-and-excitation, reduced 16 times (Hu et al., CVPR 2018).
        zero_init: whether the last norm of each branch begins with 0 (Goyal et al., 2017): units begin as
            their shortcuts, as with the layer scale of ConvNeXt and SkipInit.
        num_classes: the number of classes.

    Raises:
        SettingError: an unknown `activation` or `norm`.
    """
    check_choice("network.builder.activation", activation or "ReLU", ("ReLU", "GELU"))
    check_choice("network.builder.norm", norm or "batch", ("batch", "layer"))
    layer = LayerNorm2d if norm == "layer" else None
    network = ResNet(Bottleneck, list(RESNET50_GROUPS), num_classes, norm_layer=layer)
    for unit in [module for module in network.modules() if isinstance(module, Bottleneck)]:
        if zero_init:
            nn.init.zeros_(unit.bn3.weight)
        if squeeze:
            width = unit.conv3.out_channels
            unit.bn3 = nn.Sequential(unit.bn3, SqueezeExcitation(width, width // 16))
    if activation == "GELU":
        for module in network.modules():
            if isinstance(module, (ResNet, Bottleneck)):
                module.relu = nn.GELU()
    return network


class Staged(nn.Module):
    """A network of a stem, four stages and a classifier, with torchvision's names and initial weights."""

    maxpool: nn.Module
    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def add_classifier(self, width: int, num_classes: int) -> None:
        """Add the last layers behind features of this width, and draw the initial weights."""
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, num_classes)
        _initialize_as_torchvision_vgg(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(B, 3, H, W)` → logits `(B, num_classes)`."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.maxpool(self.enter(x))))))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]

    def enter(self, x: Tensor) -> Tensor:
        """Return what the stem makes of images."""
        return self.stem(x)  # type: ignore[no-any-return, operator]


class HalfWidthResNet(Staged):
    """The network of `resnet50_half`; its parameters have torchvision's names."""

    def __init__(self, *, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
        widths = (64, *(2 * width for width in RESNET50_WIDTHS))
        stages = zip(widths, RESNET50_WIDTHS, RESNET50_GROUPS, (1, 2, 2, 2), strict=False)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _half_width_stage(width_in, width // 2, units, stride)
            for width_in, width, units, stride in stages
        )
        self.add_classifier(widths[-1], num_classes)

    def enter(self, x: Tensor) -> Tensor:
        """Return what the stem makes of images."""
        return self.relu(self.bn1(self.conv1(x)))  # type: ignore[no-any-return]


def _half_width_stage(width_in: int, planes: int, units: int, stride: int) -> nn.Sequential:
    width = planes * Bottleneck.expansion
    projection = nn.Sequential(
        nn.Conv2d(width_in, width, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(width)
    )
    first = Bottleneck(width_in, planes, stride, projection)
    # ResNet's first version, in Caffe, strides here; torchvision strides in the 3×3 convolution.
    first.conv1.stride, first.conv2.stride = first.conv2.stride, first.conv1.stride
    return nn.Sequential(first, *(Bottleneck(width, planes) for _ in range(units - 1)))


def resnet50_half(*, num_classes: int = 1000) -> HalfWidthResNet:
    """Return ResNet-50 of half width: bottleneck units 3, 4, 6, 3 with 32 to 256 inner channels.

    It is the architecture of Yahoo's open_nsfw (`resnet_50_1by2`, 2016) except for its classifier. It has a
    7×7 stem of 64 channels and unpadded max-pooling, and the first 1×1 convolution of a stage has the stride.
    """
    return HalfWidthResNet(num_classes=num_classes)


class ConvolutionGroup(nn.Module):
    """A unit `F^l = ReLU(R(F^{l−1}) + shortcut(F^{l−1}))` of three 3×3 convolutions, as in a bottleneck."""

    def __init__(self, width_in: int, width: int, *, batchnorm: bool) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _convolution(width_in, width, batchnorm=batchnorm),
            _convolution(width, width, batchnorm=batchnorm),
            _convolution(width, width, batchnorm=batchnorm, activation=None),
        )
        # The name is that of torchvision's units, although the module changes only the width.
        self.downsample = None if width_in == width else _projection(width_in, width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(B, width_in, H, W)` → `(B, width, H, W)`, never negative."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.residual(x) + shortcut)  # type: ignore[no-any-return]


def _convolution(
    width_in: int, width: int, *, batchnorm: bool, activation: type[nn.Module] | None = nn.ReLU
) -> nn.Module:
    norm = nn.BatchNorm2d if batchnorm else None
    return Conv2dNormActivation(width_in, width, kernel_size=3, norm_layer=norm, activation_layer=activation)  # type: ignore[no-any-return]


def _projection(width_in: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width_in, width, kernel_size=1, bias=False))


class PseudoResVGG(Staged):
    """A network as deep as ResNet-50, with only 3×3 convolutions and max-pooling; see `pseudo_resvgg`."""

    def __init__(self, *, batchnorm: bool, num_classes: int) -> None:
        super().__init__()

        def stage(width_in: int, width: int, groups: int) -> nn.Sequential:
            widths = [width_in] + [width] * groups
            return nn.Sequential(
                nn.MaxPool2d(2), *(ConvolutionGroup(i, o, batchnorm=batchnorm) for i, o in pairwise(widths))
            )

        self.stem = _convolution(3, 64, batchnorm=batchnorm)
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = stage(64, 64, 3)
        self.layer2 = stage(64, 128, 4)
        self.layer3 = stage(128, 256, 6)
        self.layer4 = stage(256, 512, 3)
        self.add_classifier(512, num_classes)


def _initialize_as_torchvision_vgg(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def pseudo_resvgg(*, batchnorm: bool = False, num_classes: int = 1000) -> PseudoResVGG:
    """Return VGG's layers in ResNet-50's shape, with shortcuts (declared choice, see analysis/reference).

    The network has 1 + 3·(3+4+6+3) convolutions, all 3×3, with 64, 128, 256 and 512 channels. It has
    max-pooling where ResNet-50 strides. A shortcut goes around each three convolutions; it is 1×1 where the
    width changes. Weights are Kaiming normal (fan-out), as in torchvision's VGG. Pseudo-VGG is this network
    with its shortcuts scaled by 0.
    """
    return PseudoResVGG(batchnorm=batchnorm, num_classes=num_classes)


class PlainNetwork(Staged):
    """The network of `between_resnet_and_vgg`."""

    def __init__(
        self,
        *,
        stem_kernel: int,
        expansion: int,
        kernel: int,
        strides: bool,
        stem_pooling: nn.Module,
        batchnorm: bool,
        num_classes: int,
    ) -> None:
        super().__init__()

        def convolution(width_in: int, width: int, size: int, stride: int = 1) -> nn.Module:
            norm = nn.BatchNorm2d if batchnorm else None
            step = stride if strides else 1
            return Conv2dNormActivation(width_in, width, size, step, norm_layer=norm)  # type: ignore[no-any-return]

        def group(width_in: int, width: int, stride: int) -> nn.Sequential:
            pooling = [] if strides or stride == 1 else [nn.MaxPool2d(stride)]
            return nn.Sequential(
                *pooling,
                convolution(width_in, width, kernel),
                convolution(width, width, 3, stride),
                convolution(width, width * expansion, kernel),
            )

        def stage(width_in: int, width: int, groups: int, stride: int) -> nn.Sequential:
            rest = (group(width * expansion, width, 1) for _ in range(groups - 1))
            return nn.Sequential(group(width_in, width, stride), *rest)

        self.stem = convolution(3, 64, stem_kernel, 2)
        self.maxpool = stem_pooling if strides else nn.Sequential(nn.MaxPool2d(2), stem_pooling)
        widths = (64, *(width * expansion for width in RESNET50_WIDTHS))
        stages = zip(widths, RESNET50_WIDTHS, RESNET50_GROUPS, (1, 2, 2, 2), strict=False)
        self.layer1, self.layer2, self.layer3, self.layer4 = (stage(*settings) for settings in stages)
        self.add_classifier(widths[-1], num_classes)


def between_resnet_and_vgg(
    *,
    stem_kernel: int,
    expansion: int,
    kernel: int,
    downsampling: Literal["stride", "max_pool"],
    stem_pooling: int,
    batchnorm: bool,
    num_classes: int = 1000,
) -> PlainNetwork:
    """Return a network between NoResNet and pseudo-VGG, without shortcuts.

    It has as many convolutions as ResNet-50, in groups of three. A chain of these networks changes one
    setting at a time. The first one, `7, 4, 1, stride, 3, True`, computes what ResNet-50 without shortcuts
    does. The last one, `3, 1, 3, max_pool, 2, False`, computes what pseudo-VGG does.

    Args:
        stem_kernel: side of the first convolution: 7 in ResNet-50, 3 in VGG.
        expansion: how many times more channels a group has at its end than inside: 4 in ResNet-50, 1 in VGG.
        kernel: side of the first and third convolution of a group: 1 in ResNet-50, 3 in VGG.
        downsampling: what halves the sides in the stem and at the start of stages: a convolution's stride,
            or max-pooling behind the stem and before the stage.
        stem_pooling: side of the max-pooling before the first stage, which halves the sides in any case: 3
            (overlapping and padded) in ResNet-50, 2 in VGG.
        batchnorm: whether it follows each convolution; else convolutions have biases, which begin at 0.
        num_classes: the number of classes.

    Raises:
        SettingError: an unknown `downsampling`.
    """
    check_choice("network.builder.downsampling", downsampling, ("stride", "max_pool"))
    return PlainNetwork(
        stem_kernel=stem_kernel,
        expansion=expansion,
        kernel=kernel,
        strides=downsampling == "stride",
        stem_pooling=nn.MaxPool2d(stem_pooling, stride=2, padding=(stem_pooling - 1) // 2),
        batchnorm=batchnorm,
        num_classes=num_classes,
    )


def average_pooled(*, model: str, **settings: Any) -> nn.Module:
    """Return a torchvision network with average-pooling in place of max-pooling (Gatys et al., CVPR 2016).

    Args:
        model: torchvision's name; its pooling must be modules of an `nn.Sequential`, as in VGG.
        settings: other keywords of torchvision's builder, such as `weights`.
    """
    network: nn.Module = get_model(model, **settings)
    for parent in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                parent.add_module(name, nn.AvgPool2d(child.kernel_size, child.stride))
    return network


class AnySizeViT(nn.Module):
    """torchvision's vision transformer, of which pictures may have any size; parameters keep their names.

    Position embeddings are interpolated to the grid of patches, as `interpolate_embeddings` of torchvision
    does for squares. What does not fill a patch at the right and the bottom is not seen.

    Args:
        network: torchvision's network, of any size.
    """

    def __init__(self, network: VisionTransformer) -> None:
        super().__init__()
        self.class_token, self.conv_proj = network.class_token, network.conv_proj
        self.encoder, self.heads = network.encoder, network.heads

    def forward(self, x: Tensor) -> Tensor:
        """Return `(B, 3, H, W)` → logits `(B, num_classes)`."""
        grid = self.conv_proj(x)
        patches = grid.flatten(2).mT
        tokens = torch.cat([self.class_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        placed = tokens + interpolated(self.encoder.pos_embedding, grid)
        seen = self.encoder.ln(self.encoder.layers(self.encoder.dropout(placed)))
        return self.heads(seen[:, 0])  # type: ignore[no-any-return]


@fx.wrap
def interpolated(embedding: Tensor, grid: Tensor) -> Tensor:
    """Return the position embeddings of a class token and of a grid of patches.

    Args:
        embedding: `(1, 1 + S², D)`, of the class token and S × S patches.
        grid: `(B, D, H, W)`, the patches.

    Returns:
        `(1, 1 + H·W, D)`.
    """
    side, (height, width) = math.isqrt(embedding.shape[1] - 1), grid.shape[-2:]
    if (height, width) == (side, side):
        return embedding
    known = embedding[:, 1:].mT.unflatten(-1, (side, side))
    wanted = F.interpolate(known, size=(height, width), mode="bicubic", align_corners=True)
    return torch.cat([embedding[:, :1], wanted.flatten(2).mT], dim=1)
