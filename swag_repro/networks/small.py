"""Networks small enough to train on a laptop, which differ in one thing each (`conf/network/small_*.yaml`).

They have ResNet-18's shape for small images (He et al., CVPR 2016, section 4.2: a 3×3 stem of stride 1, no
max-pooling), with a quarter of its width.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import make_layers
from torchvision.ops.misc import Conv2dNormActivation

from swag_repro.errors import check_number
from swag_repro.networks.variants import BeforeReLU

STAGES = 4
"""The number of stages; each halves the sides of the one before, and has twice its channels."""

MOST_UNITS = 200
"""Most units of a stage: 1602 layers; with thousands, a network takes minutes to build."""


class BeforeReLUBasicBlock(BeforeReLU, BasicBlock):
    """A unit of ResNet-18 whose shortcut is taken before the ReLU."""

    def branch(self, x: Tensor) -> Tensor:
        """Return the residual branch, `(B, C, H, W)` → `(B, planes, H', W')`."""
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))  # type: ignore[no-any-return]


class SmallResNet(nn.Module):
    """The network of `small_resnet`."""

    def __init__(
        self,
        *,
        width: int,
        units: int,
        unit: type[BasicBlock],
        norm: type[nn.Module],
        pooled: bool,
        num_classes: int,
    ) -> None:
        super().__init__()
        before_relu = unit is BeforeReLUBasicBlock

        def stage(width_in: int, width_out: int, stride: int) -> nn.Sequential:
            pool = [nn.MaxPool2d(2)] if pooled and stride > 1 else []
            stride = 1 if pooled else stride
            projection = None
            if stride > 1 or width_in != width_out:
                projection = nn.Sequential(
                    nn.Conv2d(width_in, width_out, kernel_size=1, stride=stride, bias=False), norm(width_out)
                )
            first = unit(width_in, width_out, stride, projection, norm_layer=norm)
            rest = (unit(width_out, width_out, norm_layer=norm) for _ in range(units - 1))
            return nn.Sequential(*pool, first, *rest)

        # If the shortcut starts before the ReLU, the stem's ReLU is in the first unit.
        activation = None if before_relu else nn.ReLU
        self.stem = Conv2dNormActivation(3, width, bias=False, norm_layer=norm, activation_layer=activation)
        self.layer1 = stage(width, width, 1)
        self.layer2 = stage(width, 2 * width, 2)
        self.layer3 = stage(2 * width, 4 * width, 2)
        self.layer4 = stage(4 * width, 8 * width, 2)
        self.relu = nn.ReLU(inplace=False) if before_relu else nn.Identity()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, num_classes)
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(B, 3, H, W)` → logits `(B, num_classes)`."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(self.avgpool(self.relu(x)).flatten(1))  # type: ignore[no-any-return]


def _initialize(network: nn.Module) -> None:
    """Draw Kaiming normal weights (fan-out), as in torchvision's ResNet."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def small_resnet(
    *,
    width: int,
    units: int,
    unit: Literal["basic", "before_relu"],
    batchnorm: bool,
    downsampling: Literal["stride", "max_pool"],
    leak: float,
    num_classes: int,
) -> nn.Module:
    """Return a ResNet of two-layer units in four stages; each stage after the first halves the sides.

    Args:
        width: channels of the first stage; each later stage has twice as many as the one before.
        units: the number of units of each stage, at most `MOST_UNITS`.
        unit: `basic` is torchvision's, `before_relu` takes the shortcut before the previous unit's ReLU.
        batchnorm: False leaves normalisation out. Then the last convolution of each residual branch begins
            at 0, without which no depth trains (Zhang et al., Fixup, ICLR 2019).
        downsampling: how a stage halves the sides, by its first convolution's stride or by max-pooling
            before the stage.
        leak: slope of the activation below 0; 0 for ReLU.
        num_classes: the number of classes.

    Raises:
        SettingError: a number that makes no network.
    """
    _check_sizes(width=width, units=units, num_classes=num_classes)
    check_number("network.builder.leak", leak, least=0, below=1)
    network = SmallResNet(
        width=width,
        units=units,
        unit=BasicBlock if unit == "basic" else BeforeReLUBasicBlock,
        norm=nn.BatchNorm2d if batchnorm else nn.Identity,
        pooled=downsampling == "max_pool",
        num_classes=num_classes,
    )
    if not batchnorm:
        for module in network.modules():
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.conv2.weight)
    if leak:
        _leak(network, leak)
    return network


def _leak(network: nn.Module, slope: float) -> None:
    """Turn each ReLU into a LeakyReLU."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(parent, name, nn.LeakyReLU(slope, inplace=child.inplace))


class SmallVGG(nn.Module):
    """The network of `small_vgg`."""

    def __init__(self, *, width: int, units: int, num_classes: int) -> None:
        super().__init__()
        layers: list[str | int] = [width]
        for stage in range(STAGES):
            layers += [*(["M"] if stage else []), *[width * 2**stage] * 2 * units]
        self.features = make_layers(layers, batch_norm=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, num_classes)
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(B, 3, H, W)` → logits `(B, num_classes)`."""
        return self.fc(self.avgpool(self.features(x)).flatten(1))  # type: ignore[no-any-return]


def small_vgg(*, width: int, units: int, num_classes: int) -> nn.Module:
    """Return the VGG that corresponds to `small_resnet`.

    It has as many 3×3 convolutions of the same widths, max-pooling and no shortcuts.

    Args:
        width: channels of the first stage; each later stage has twice as many as the one before.
        units: pairs of convolutions in each stage, at most `MOST_UNITS`; one more convolution is the stem.
        num_classes: the number of classes.

    Raises:
        SettingError: a number that makes no network.
    """
    _check_sizes(width=width, units=units, num_classes=num_classes)
    return SmallVGG(width=width, units=units, num_classes=num_classes)


def _check_sizes(*, width: int, units: int, num_classes: int) -> None:
    check_number("network.builder.width", width, least=1, whole=True)
    check_number("network.builder.units", units, least=1, most=MOST_UNITS, whole=True)
    check_number("network.builder.num_classes", num_classes, least=1, whole=True)
