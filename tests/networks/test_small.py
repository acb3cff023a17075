"""The small family: its networks differ in one thing at a time."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn
from torchvision.models.resnet import BasicBlock

import conf
from experiments.building import build
from experiments.config import checked
from swag_repro.errors import SettingError
from swag_repro.networks import TappedNetwork
from swag_repro.networks.small import BeforeReLUBasicBlock, small_resnet, small_vgg

FAMILY = sorted(path.stem for path in (Path(conf.__file__).parent / "network").glob("small_*.yaml"))
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TINY = {
    "width": 4,
    "units": 2,
    "unit": "basic",
    "batchnorm": True,
    "downsampling": "stride",
    "leak": 0.0,
    "num_classes": 3,
}


@pytest.fixture(scope="module")
def networks():
    """Each network of the family with the same seed, by name, with its architecture."""
    found = {}
    with initialize_config_dir(str(Path(conf.__file__).parent), version_base="1.3"):
        for name in FAMILY:
            architecture = build(
                checked(compose("train_classifier", [f"network={name}"]), "train_classifier").network
            )
            torch.manual_seed(0)
            found[name] = architecture, architecture.build().eval()
    return found


def convolutions(network):
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_every_member_has_a_name_of_its_own(networks):
    assert len(networks) == 11
    assert all(architecture.name == name for name, (architecture, _) in networks.items())
    assert len({architecture.label for architecture, _ in networks.values()}) == 11


@pytest.mark.parametrize("name", FAMILY)
def test_taps_are_those_of_the_stages(networks, name):
    architecture, network = networks[name]
    tapped = TappedNetwork(network, architecture.paths(architecture.statistic_taps))
    layers = tapped(IMAGES)
    width = 32 if name == "small_wide" else 16
    shapes = [tuple(layer.shape[1:]) for layer in layers.values()]
    assert shapes == [
        (width, 32, 32),
        (width, 32, 32),
        (2 * width, 16, 16),
        (4 * width, 8, 8),
        (8 * width, 4, 4),
    ]
    deep = 2 if "deep" in name else 1
    assert list(tapped.depths.values()) == [1, 1 + 4 * deep, 1 + 8 * deep, 1 + 12 * deep, 1 + 16 * deep]
    if name != "small_leaky_relu":
        assert all(float(layer.min()) >= 0 for layer in layers.values())


def test_parameters_are_shared_where_nothing_but_the_shortcut_differs(networks):
    _, residual = networks["small_residual"]
    for name in ("small_no_shortcut", "small_half_shortcut", "small_before_relu", "small_leaky_relu"):
        other = networks[name][1].state_dict()
        expected = residual.state_dict()
        assert other.keys() == expected.keys(), name
        assert all(torch.equal(other[key], expected[key]) for key in expected), name


def test_one_thing_differs(networks):
    outputs = {name: network(IMAGES).detach() for name, (_, network) in networks.items()}
    for name, output in outputs.items():
        assert output.shape == (2, 10)
        assert name == "small_residual" or not torch.allclose(output, outputs["small_residual"])
    assert any(module.kernel_size == (1, 1) for module in convolutions(networks["small_residual"][1]))
    vgg = convolutions(networks["small_vgg"][1])
    assert len(vgg) == 17
    assert {module.kernel_size for module in vgg} == {(3, 3)}
    assert {module.stride for module in vgg + convolutions(networks["small_max_pool"][1])} == {(1, 1)}
    assert not any(
        isinstance(module, nn.BatchNorm2d) for module in networks["small_no_batchnorm"][1].modules()
    )
    assert not any(type(module) is nn.ReLU for module in networks["small_leaky_relu"][1].modules())


def test_the_residual_is_torchvisions_unit(networks):
    _, network = networks["small_residual"]
    x = network.stem(IMAGES)
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for unit in stage:
            assert type(unit) is BasicBlock
            branch = unit.bn2(unit.conv2(unit.bn1(unit.conv1(x)).relu()))
            x = (branch + (x if unit.downsample is None else unit.downsample(x))).relu()
    torch.testing.assert_close(network(IMAGES), network.fc(x.mean(dim=(2, 3))))


def test_before_relu_starts_its_shortcut_there(networks):
    _, network = networks["small_before_relu"]
    x = network.stem(IMAGES)
    assert (x < 0).any()
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for unit in stage:
            assert type(unit) is BeforeReLUBasicBlock
            branch = unit.bn2(unit.conv2(unit.bn1(unit.conv1(x.relu())).relu()))
            x = branch + (x if unit.downsample is None else unit.downsample(x))
    torch.testing.assert_close(network(IMAGES), network.fc(x.relu().mean(dim=(2, 3))))


def test_without_batch_norm_each_unit_begins_as_its_shortcut():
    network = small_resnet(**{**TINY, "batchnorm": False}).eval()
    unit = network.layer1[0]
    x = torch.rand(1, 4, 8, 8)
    torch.testing.assert_close(unit(x), x)


@pytest.mark.parametrize("setting", ["width", "units", "num_classes"])
def test_sizes_are_checked(setting):
    with pytest.raises(SettingError, match=f"`network.builder.{setting}` should be a whole number from 1"):
        small_resnet(**{**TINY, setting: 0})
    with pytest.raises(SettingError, match=f"`network.builder.{setting}`"):
        small_vgg(**{"width": 4, "units": 1, "num_classes": 3, setting: 0})
