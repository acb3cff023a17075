import pytest
import torch
import torchvision
from torch import fx, nn
from torch.nn import functional as F

from swag_repro.errors import SettingError
from swag_repro.networks import Execution, TappedNetwork
from swag_repro.networks.receptive import Window, fields
from swag_repro.tiles import TiledFeatures


class Mixed(nn.Module):
    """All kinds of layers that can be cut: without padding, dilated, oblong, branched, pooled up to the edge."""

    def __init__(self):
        super().__init__()
        self.valid = nn.Conv2d(3, 8, 3, stride=2)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.wide = nn.Conv2d(8, 8, (1, 7), padding=(0, 3))
        self.norm = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.last = nn.Sequential(nn.Conv2d(16, 8, 5, padding=2), nn.ReLU())

    def forward(self, x):
        x = F.relu(self.norm(self.dilated(self.valid(x))))
        pooled = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        x = self.pool(torch.cat([self.wide(x) + x, pooled], dim=1))
        return self.last(F.max_pool2d(x, 2, 2))


MIXED = {"valid": "valid", "wide": "wide", "pool": "pool", "last": "last"}


def tapped(network, taps, **settings):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return TappedNetwork(network, taps, dtype=torch.float64, **settings)


@pytest.fixture(scope="module")
def mixed():
    torch.manual_seed(0)
    return tapped(Mixed(), MIXED)


NETWORKS = {
    "mixed": lambda: (Mixed(), MIXED, {}),
    "resnet18": lambda: (
        torchvision.models.resnet18(),
        {"conv1": "relu", "conv3_1": "layer2.0"},
        {"execution": Execution(fold_batchnorm=True, in_place=True, channels_last=True)},
    ),
    "checkpoints": lambda: (
        torchvision.models.resnet18(),
        {"conv1": "relu", "conv2_2": "layer1.1"},
        {"execution": Execution(fold_batchnorm=True, checkpoints=True)},
    ),
    "squeezenet": lambda: (
        torchvision.models.squeezenet1_1(), {"a": "features.3", "b": "features.6"}, {}
    ),
    "inception": lambda: (
        torchvision.models.inception_v3(init_weights=False),
        {"a": "Conv2d_2b_3x3", "b": "Mixed_5b"},
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("height", "width", "size"), [(110, 67, 32), (86, 101, 50)])
def test_tiles_give_the_features_of_the_whole_image(name, height, width, size):
    torch.manual_seed(0)
    network, taps, settings = NETWORKS[name]()
    network = tapped(network, taps, **settings)
    images = torch.rand(1, 3, height, width, dtype=torch.float64)
    tiled = TiledFeatures(network, images, size)
    assert len(tiled.tiles) > 3
    with torch.no_grad():
        whole = network(images)
        assert list(tiled) == list(whole)
        for tap, features in whole.items():
            torch.testing.assert_close(tiled[tap], features, rtol=1e-9, atol=1e-12)


def test_a_position_sees_the_pixels_of_its_field_and_no_others(mixed):
    images = torch.rand(1, 3, 90, 110, dtype=torch.float64, requires_grad=True)
    for tap, layer in mixed(images).items():
        row, column = (length // 2 for length in layer.shape[2:])
        (gradient,) = torch.autograd.grad(layer[..., row, column].sum(), images, retain_graph=True)
        seen = gradient[0].abs().sum(dim=0)
        for along, position, reach in zip((1, 0), (row, column), mixed.fields[tap], strict=True):
            touched = seen.sum(dim=along).nonzero().flatten()
            first, last = position * reach.stride + reach.first, position * reach.stride + reach.last
            assert touched.min() >= first
            assert touched.max() <= last
            if tap in ("valid", "wide"):  # only one position gets the gradient of a maximum
                assert (touched.min(), touched.max()) == (first, last)


@pytest.mark.parametrize("ceil", [False, True])
def test_windows_count_as_torch_does(ceil):
    for length in range(4, 30):
        for size, stride, padding in ((3, 2, 1), (2, 2, 0), (3, 3, 1), (4, 3, 2), (3, 2, 0)):
            pooled = F.max_pool1d(torch.zeros(1, 1, length), size, stride, padding, ceil_mode=ceil)
            assert Window(size, stride, padding, ceil=ceil).positions(length) == pooled.shape[2]


def test_a_tile_is_never_much_larger_than_asked_for(mixed):
    tiling = TiledFeatures(mixed, torch.zeros(1, 3, 400, 400), 64)
    around = max(reach.last - reach.first for field in mixed.fields.values() for reach in field)
    assert tiling.most <= (64 + 32 + around + 8) ** 2  # the last part may be half as large again
    assert len(TiledFeatures(mixed, torch.zeros(1, 3, 60, 60), 64).tiles) == 1


class Squeezed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = self.conv(x)
        return x * self.pool(x).sigmoid()


class Stacked(nn.Module):
    def forward(self, x):
        return torch.cat([x, x], dim=2)


@pytest.mark.parametrize(
    ("network", "taps", "settings", "named"),
    [
        (nn.Sequential(Stacked(), nn.ReLU()), {"out": "1"}, {}, "cat of positions"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")), {"out": "0"}, {}, "Conv2d"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding="same")), {"out": "0"}, {}, "Conv2d"),
        (Squeezed(), {"out": "mul"}, {}, "AdaptiveAvgPool2d"),
        (Mixed(), MIXED, {"batchnorm": "batch"}, "BatchNorm2d"),
    ],
)
def test_what_sees_the_whole_image_is_named(network, taps, settings, named):
    network = TappedNetwork(network, taps, **settings)
    with pytest.raises(SettingError, match=f"`tile` should be null for a network .*{named}"):
        TiledFeatures(network, torch.zeros(1, 3, 64, 64), 32).tiles  # noqa: B018


def test_strides_that_differ_are_no_common_field():
    class Broadcast(nn.Module):
        def forward(self, x):
            return x + F.avg_pool2d(x, 2, 2)

    traced = fx.symbolic_trace(Broadcast())
    with pytest.raises(Exception, match="different strides"):
        fields(traced)
