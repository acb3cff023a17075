from itertools import pairwise

import pytest
import torch
import torchvision
from hydra import compose, initialize_config_dir
from torch import nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.resnet import Bottleneck
from torchvision.ops.misc import SqueezeExcitation

from experiments.building import build
from experiments.config import checked
from experiments.settings import CONF
from swag_repro.errors import SettingError
from swag_repro.networks import TappedNetwork
from swag_repro.networks.architecture import scale_shortcuts
from swag_repro.networks.variants import (
    average_pooled,
    between_resnet_and_vgg,
    pseudo_resvgg,
    resnet50_before_relu,
    resnet50_parts,
)

IMAGES = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def architecture(name):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return build(
            checked(compose("measure_activations", [f"network={name}"]), "measure_activations").network
        )


def randomized(network, seed=0):
    """Batch norms with statistics that matter, so that agreement isn't an accident of the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return network.eval()


@pytest.fixture(scope="module")
def resnet50():
    torch.manual_seed(0)
    return randomized(torchvision.models.resnet50())


def forward(network, block):
    """ResNet's forward pass with `block(unit, x)` in each unit."""
    x = network.maxpool(network.relu(network.bn1(network.conv1(IMAGES))))
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for unit in stage:
            x = block(unit, x)
    return network.fc(torch.flatten(network.avgpool(x), 1))


def residual(unit, x):
    x = unit.bn1(unit.conv1(x)).relu()
    return unit.bn3(unit.conv3(unit.bn2(unit.conv2(x)).relu()))


@torch.no_grad()
@pytest.mark.parametrize("scale", [0, 0.3, 1])
def test_shortcuts_are_scaled_projections_included(resnet50, scale):
    network = torchvision.models.resnet50().eval()
    scale_shortcuts(network, scale)
    network.load_state_dict(resnet50.state_dict(), strict=True)

    def unit(block, x):
        shortcut = x if block.downsample is None else block.downsample(x)
        return (residual(block, x) + scale * shortcut).relu()

    torch.testing.assert_close(network(IMAGES), forward(resnet50, unit))
    assert torch.equal(network(IMAGES), resnet50(IMAGES)) == (scale == 1)


@torch.no_grad()
@pytest.mark.parametrize("scale", [0, 0.3, 1])
def test_residual_before_relu_has_resnets_parameters_and_its_own_shortcut(resnet50, scale):
    network = resnet50_before_relu().eval()
    scale_shortcuts(network, scale)
    network.load_state_dict(resnet50.state_dict(), strict=True)
    x = resnet50.maxpool(resnet50.bn1(resnet50.conv1(IMAGES)))
    for stage in (resnet50.layer1, resnet50.layer2, resnet50.layer3, resnet50.layer4):
        for unit in stage:
            shortcut = x if unit.downsample is None else unit.downsample(x)
            x = residual(unit, x.relu()) + scale * shortcut
    expected = resnet50.fc(torch.flatten(resnet50.avgpool(x.relu()), 1))
    torch.testing.assert_close(network(IMAGES), expected)
    assert not torch.allclose(network(IMAGES), resnet50(IMAGES))


@torch.no_grad()
@pytest.mark.parametrize("scale", [0, 0.3, 1])
def test_pseudo_resvgg_has_a_shortcut_around_each_group(scale):
    network, original = randomized(pseudo_resvgg(batchnorm=True)), randomized(pseudo_resvgg(batchnorm=True))
    scale_shortcuts(network, scale)
    network.load_state_dict(original.state_dict(), strict=True)
    x = original.maxpool(original.stem(IMAGES))
    for stage in (original.layer1, original.layer2, original.layer3, original.layer4):
        x = stage[0](x)
        for group in stage[1:]:
            shortcut = x if group.downsample is None else group.downsample(x)
            x = (group.residual(x) + scale * shortcut).relu()
    torch.testing.assert_close(network(IMAGES), original.fc(torch.flatten(original.avgpool(x), 1)))


@pytest.mark.parametrize("batchnorm", [False, True])
def test_pseudo_networks_have_resnets_depth_and_nothing_but_3x3(batchnorm):
    network = pseudo_resvgg(batchnorm=batchnorm)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    three = [module for module in convolutions if module.kernel_size == (3, 3)]
    assert len(three) == 1 + 3 * (3 + 4 + 6 + 3)
    assert all(module.stride == (1, 1) for module in convolutions)
    # 1×1 only in the shortcuts where the width changes: 64→128, 128→256, 256→512.
    assert len(convolutions) - len(three) == 3


def test_average_pooling_takes_the_place_of_max_pooling_only():
    """The same weights, as from any file of VGG's, and a mean of four wherever a maximum was taken."""
    with torch.device("meta"):  # almost all weights of a VGG are its classifier's, which nothing here reads
        pooled, original = average_pooled(model="vgg11").eval(), torchvision.models.vgg11().eval()
    assert pooled.state_dict().keys() == original.state_dict().keys()
    weights = {
        key: nn.init.normal_(torch.empty(values.shape), std=0.05)
        for key, values in original.features.state_dict().items()
    }
    for network in (pooled, original):
        network.features.load_state_dict(weights, assign=True)
    x, y = IMAGES, IMAGES
    with torch.no_grad():
        for ours, theirs in zip(pooled.features, original.features, strict=True):
            assert type(ours) is (nn.AvgPool2d if isinstance(theirs, nn.MaxPool2d) else type(theirs))
            x = ours(x)
            y = (
                y.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean(dim=(3, 5))
                if type(ours) is nn.AvgPool2d
                else theirs(y)
            )
    torch.testing.assert_close(x, y)


RESNET_END = {
    "stem_kernel": 7, "expansion": 4, "kernel": 1, "downsampling": "stride", "stem_pooling": 3, "batchnorm": True,
}  # fmt: skip


def with_weights_of(network, original, *, left_out):
    """The network with the original's tensors, which come in the same order."""
    theirs = [value for key, value in original.state_dict().items() if left_out not in key]
    network.load_state_dict(dict(zip(network.state_dict(), theirs, strict=True)))
    return network.eval()


@torch.no_grad()
def test_the_chain_begins_as_resnet_without_shortcuts(resnet50):
    """Any network of it is one builder's: that of `conf/network/chain_stem.yaml`, with a 7×7 stem, is NoResNet."""
    network = with_weights_of(between_resnet_and_vgg(**RESNET_END), resnet50, left_out="downsample")
    original = torchvision.models.resnet50().eval()
    scale_shortcuts(original, 0)
    original.load_state_dict(resnet50.state_dict())
    torch.testing.assert_close(network(IMAGES), original(IMAGES))


@torch.no_grad()
def test_the_chain_ends_as_pseudo_vgg():
    """Its last network lacks batch norm only."""
    last = architecture("chain_stem_pooling").builder(batchnorm=False)
    original = architecture("pseudo_vgg").build().eval()
    network = with_weights_of(last, original, left_out="downsample")
    torch.testing.assert_close(network(IMAGES), original(IMAGES))


def test_each_network_of_the_chain_differs_in_one_thing_from_the_one_before():
    names = "stem", "width", "kernels", "pooling", "stem_pooling"
    settings = [RESNET_END, *(architecture(f"chain_{name}").builder.keywords for name in names)]
    settings.append(settings[-1] | {"batchnorm": False})
    changed = [{key for key in before if before[key] != after[key]} for before, after in pairwise(settings)]
    assert [len(keys) for keys in changed] == [1] * 6
    assert set.union(*changed) == set(RESNET_END)
    assert len({str(between_resnet_and_vgg(**each)) for each in settings}) == len(settings)


@torch.no_grad()
@pytest.mark.parametrize("name", ["stem", "width", "kernels", "pooling", "stem_pooling"])
def test_networks_of_the_chain_are_read_where_resnet_is(name):
    """They have as many layers, of half, a quarter, … of the image's sides; a stem without a stride has all of them."""
    described = architecture(f"chain_{name}")
    tapped = TappedNetwork(described.build(), described.paths(described.style_taps))
    sides = [features.shape[-1] for features in tapped(IMAGES).values()]
    assert sides == [64 if "pooling" in name else 32, 16, 8, 4, 2]


def test_an_unknown_way_to_halve_the_sides():
    with pytest.raises(SettingError, match="downsampling"):
        between_resnet_and_vgg(**RESNET_END | {"downsampling": "hope"})


class TestParts:
    @staticmethod
    def seeded(build=resnet50_parts, **settings):
        torch.manual_seed(0)
        return build(**settings).eval()

    @pytest.mark.parametrize(
        "settings",
        [{"activation": "GELU"}, {"norm": "layer"}, {"squeeze": True}, {"zero_init": True}],
        ids=str,
    )
    def test_a_part_leaves_the_convolutions_as_they_are(self, settings):
        plain, other = (
            self.seeded(torchvision.models.resnet50).state_dict(),
            self.seeded(**settings).state_dict(),
        )
        shared = [key for key in plain if ".conv" in key or "downsample.0" in key]
        assert len(shared) == 52
        assert all(torch.equal(plain[key], other[key]) for key in shared)

    def test_without_changes_it_is_resnet50(self):
        picture = torch.rand(1, 3, 64, 64)
        assert torch.equal(self.seeded(torchvision.models.resnet50)(picture), self.seeded()(picture))

    def test_a_unit_without_branch_is_its_shortcut(self):
        unit, values = self.seeded(zero_init=True).layer1[1], torch.rand(1, 256, 8, 8)
        assert torch.equal(unit(values), values)

    def test_squeeze_and_excitation_ends_each_branch(self):
        network = self.seeded(squeeze=True)
        units = [module for module in network.modules() if isinstance(module, Bottleneck)]
        assert all(isinstance(unit.bn3[1], SqueezeExcitation) for unit in units)
        unit, values = units[1], torch.rand(1, 256, 8, 8)
        inner = unit.relu(unit.bn2(unit.conv2(unit.relu(unit.bn1(unit.conv1(values))))))
        branch = unit.bn3[0](unit.conv3(inner))
        shares = (unit.bn3(unit.conv3(inner)).std() / branch.std()).item()
        assert 0.3 < shares < 0.7  # a sigmoid of about 0

    def test_the_norm_and_the_activation_are_those_asked_for(self):
        kinds = {type(module) for module in resnet50_parts(norm="layer", activation="GELU").modules()}
        assert {LayerNorm2d, nn.GELU} <= kinds
        assert not {nn.BatchNorm2d, nn.ReLU} & kinds

    @pytest.mark.parametrize("settings", [{"activation": "Swish"}, {"norm": "group"}], ids=str)
    def test_others_are_refused(self, settings):
        [value] = settings.values()
        with pytest.raises(SettingError, match=value):
            resnet50_parts(**settings)
