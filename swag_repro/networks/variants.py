"""Networks that torchvision doesn't have: SWAG's controls, and average-pooling.

NoResNet and pseudo-VGG are not here: they are ResNet-50 and pseudo-ResVGG whose shortcuts are scaled by 0,
see `shortcuts.py`. The paper doesn't give the layers of its pseudo-VGG and pseudo-ResVGG, and its authors
haven't published them; the choice made here is declared in the docstring of `pseudo_resvgg`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops.misc import Conv2dNormActivation

RESNET50_GROUPS = (3, 4, 6, 3)


class BeforeReLU:
    """`P^l = R(ReLU(P^{l−1})) + P^{l−1}`: the shortcut starts before the previous unit's ReLU.

    To be mixed into one of torchvision's residual units. The activations in the paper's sense are
    `F^l = ReLU(P^l)`: the output of `activation` in the next unit.
    """

    downsample: nn.Module | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.activation = nn.ReLU(inplace=False)  # its input goes on into the shortcut

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` of any sign → `(B, C', H', W')` of any sign."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.branch(self.activation(x)) + shortcut

    def branch(self, x: Tensor) -> Tensor:
        """The residual branch R."""
        raise NotImplementedError


class BeforeReLUBottleneck(BeforeReLU, Bottleneck):
    """ResNet-50's unit, its shortcut taken before the ReLU."""

    def branch(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` → `(B, 4·planes, H', W')`."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))  # type: ignore[no-any-return]


class BeforeReLUResNet(ResNet):
    """ResNet-50 of `BeforeReLUBottleneck`s; parameters have torchvision's names and shapes."""

    def __init__(self, *, num_classes: int) -> None:
        super().__init__(BeforeReLUBottleneck, list(RESNET50_GROUPS), num_classes)
        self.relu = nn.ReLU(inplace=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, 3, H, W)` → logits `(B, num_classes)`."""
        # The stem's ReLU stands in layer1.0.activation: it commutes with max-pooling.
        x = self.maxpool(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(self.relu(x)).flatten(1))  # type: ignore[no-any-return]


def resnet50_before_relu(*, num_classes: int = 1000) -> ResNet:
    """ResNet-50 with the residual taken before the ReLU (SWAG's ablation)."""
    return BeforeReLUResNet(num_classes=num_classes)


class ConvolutionGroup(nn.Module):
    """Three 3×3 convolutions, as deep as a bottleneck; `F^l = ReLU(R(F^{l−1}) + shortcut(F^{l−1}))`."""

    def __init__(self, width_in: int, width: int, *, batchnorm: bool) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _convolution(width_in, width, batchnorm=batchnorm),
            _convolution(width, width, batchnorm=batchnorm),
            _convolution(width, width, batchnorm=batchnorm, activation=None),
        )
        # Named as in torchvision's units, although it changes the width only.
        self.downsample = None if width_in == width else _projection(width_in, width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, width_in, H, W)` → `(B, width, H, W)`, never negative."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.residual(x) + shortcut)  # type: ignore[no-any-return]


def _convolution(
    width_in: int, width: int, *, batchnorm: bool, activation: type[nn.Module] | None = nn.ReLU
) -> nn.Module:
    norm = nn.BatchNorm2d if batchnorm else None
    return Conv2dNormActivation(width_in, width, kernel_size=3, norm_layer=norm, activation_layer=activation)  # type: ignore[no-any-return]


def _projection(width_in: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width_in, width, kernel_size=1, bias=False))


class PseudoResVGG(nn.Module):
    """As deep as ResNet-50, of 3×3 convolutions and max-pooling only; see `pseudo_resvgg`."""

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
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, num_classes)
        _initialize_as_torchvision_vgg(self)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, 3, H, W)` → logits `(B, num_classes)`."""
        x = self.maxpool(self.stem(x))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def _initialize_as_torchvision_vgg(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def pseudo_resvgg(*, batchnorm: bool = False, num_classes: int = 1000) -> PseudoResVGG:
    """VGG's ingredients in ResNet-50's shape, with shortcuts (declared choice, see science of the README).

    1 + 3·(3+4+6+3) convolutions, all 3×3, of 64, 128, 256 and 512 channels; max-pooling where ResNet-50
    strides; a shortcut around each three convolutions, 1×1 where the width changes; weights Kaiming normal
    (fan-out), as torchvision's VGG. Pseudo-VGG is the same with its shortcuts scaled by 0.
    """
    return PseudoResVGG(batchnorm=batchnorm, num_classes=num_classes)


def average_pooled(*, model: str, **settings: Any) -> nn.Module:
    """A network of torchvision whose max-pooling has become average-pooling (Gatys et al., CVPR 2016).

    Args:
        model: torchvision's name; its pooling must be modules of an `nn.Sequential`, as in VGG.
        settings: what else torchvision's builder takes, such as `weights`.
    """
    network: nn.Module = get_model(model, **settings)
    for parent in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                parent.add_module(name, nn.AvgPool2d(child.kernel_size, child.stride))
    return network
