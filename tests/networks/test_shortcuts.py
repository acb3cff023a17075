"""One network with the same weights from λ = 1 to λ = 0, by `conf/network` and the command line."""

import operator
from dataclasses import replace
from functools import cache

import pytest
import torch
import torchvision
from hydra import compose, initialize_config_dir
from torch import nn

import conf
from experiments.building import build
from experiments.config import checked
from swag_repro.errors import SettingError, WeightsError
from swag_repro.networks import Execution, TappedNetwork
from swag_repro.networks.architecture import idle_modules
from swag_repro.weights import FileWeights
from tests.parts import RandomWeights

IMAGES = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
UNITS = {
    "resnet18": 8, "resnet34": 16, "resnet50": 16, "resnet101": 33, "wide_resnet50_2": 16, "noresnet50": 16,
    "resnet50_before_relu": 16, "pseudo_vgg": 16, "pseudo_resvgg": 16,
}  # fmt: skip
WITHOUT = ["vgg16", "vgg19", "vgg19_avg", "inception_v3", "googlenet", "densenet121"]


@cache
def architecture(name, *overrides):
    with initialize_config_dir(str(conf.__path__[0]), version_base=None):
        composed = compose("measure_activations", [f"network={name}", *overrides])
    return build(checked(composed, "measure_activations").network)


def unfilled(found):
    """The network without any values, for what only its structure tells."""
    with torch.device("meta"):
        return found.build()


def tapped(name, *overrides, batchnorm="eval", execution=None, weights=None):
    weights = weights or RandomWeights(seed=0)
    found = architecture(name, *overrides)
    network = weights.build(found)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and batchnorm == "eval" and weights.name == "random":
            nn.init.uniform_(module.weight, 0.5, 1.0, generator=generator)
            nn.init.normal_(module.bias, std=0.1, generator=generator)
            nn.init.normal_(module.running_mean, std=0.1, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 2.0, generator=generator)
    paths = found.paths(found.statistic_taps)
    return TappedNetwork(network, paths, batchnorm=batchnorm, execution=execution)


def features_and_gradient(network):
    images = IMAGES.clone().requires_grad_()
    features = network(images)
    sum(values.square().mean() for values in features.values()).backward()
    return {tap: values.detach() for tap, values in features.items()}, images.grad


@cache
def without_execution(name, override):
    return features_and_gradient(tapped(name, override))


@pytest.mark.parametrize("name", UNITS)
def test_the_dial_turns_every_shortcut_of_every_family(name):
    found = architecture(name, "network.shortcut=0.5")
    graph = TappedNetwork(unfilled(found), found.paths(found.statistic_taps)).extractor.graph
    scaled = [node for node in graph.nodes if node.target is operator.mul]
    assert len(scaled) == UNITS[name]
    assert all(node.args[1] == 0.5 for node in scaled)
    assert all(user.target is operator.add for node in scaled for user in node.users)


@pytest.mark.parametrize("model", ["resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2"])
def test_one_has_torchvisions_parameters(model):
    with torch.device("meta"):
        expected = torchvision.models.get_model(model).state_dict()
    found = unfilled(architecture(model, "network.shortcut=1.0")).state_dict()
    assert {key: values.shape for key, values in found.items()} == {
        key: values.shape for key, values in expected.items()
    }


@pytest.mark.parametrize("model", ["resnet18", "resnet50"])  # one for each kind of unit
def test_one_is_torchvisions_network_bit_for_bit_at_no_cost(model):
    torch.manual_seed(0)
    original = torchvision.models.get_model(model)
    network = RandomWeights(seed=0).build(architecture(model, "network.shortcut=1.0"))
    paths = architecture(model).paths(architecture(model).statistic_taps)
    ours, theirs = TappedNetwork(network, paths), TappedNetwork(original, paths)
    assert ours.extractor.code == theirs.extractor.code
    expected = theirs(IMAGES)
    for tap, values in ours(IMAGES).items():
        assert torch.equal(values, expected[tap])


@pytest.mark.parametrize(
    ("residual", "controls"),
    [("resnet50", ["noresnet50", "resnet50_before_relu"]), ("pseudo_resvgg", ["pseudo_vgg"])],
)
@pytest.mark.parametrize("init", ["torchvision", "kaiming_normal_fan_in"])
def test_a_control_has_the_weights_of_its_original(residual, controls, init):
    weights = RandomWeights(seed=3, init=init)
    expected = weights.build(architecture(residual)).state_dict()
    for control in controls:
        found = weights.build(architecture(control)).state_dict()
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert torch.equal(found[name], values), (control, name)


@pytest.mark.parametrize(
    ("residual", "control"), [("resnet50", "noresnet50"), ("pseudo_resvgg", "pseudo_vgg")]
)
def test_zero_is_the_control_and_neither_adds_nor_projects(residual, control):
    dialled, network = tapped(residual, "network.shortcut=0"), tapped(control)
    expected = network(IMAGES)
    for tap, values in dialled(IMAGES).items():
        assert torch.equal(values, expected[tap])
    assert not [node for node in network.extractor.graph.nodes if node.target in (operator.add, operator.mul)]
    assert not [name for name, _ in network.named_parameters() if "downsample" in name]


@pytest.mark.parametrize("name", ["resnet18", "resnet50_before_relu", "pseudo_resvgg"])
@pytest.mark.parametrize("scale", [0, 0.5])
@pytest.mark.parametrize(
    "execution",
    [
        {"in_place": True},
        {"fold_batchnorm": True, "in_place": True, "channels_last": True, "checkpoints": 3},
    ],
    ids=str,
)
def test_no_switch_changes_neither_features_nor_gradients(name, scale, execution):
    override = f"network.shortcut={scale}"
    plain, gradient = without_execution(name, override)
    quick = tapped(name, override, execution=Execution(**execution))
    features, found = features_and_gradient(quick)
    for tap, values in features.items():
        torch.testing.assert_close(values, plain[tap], rtol=1e-3, atol=1e-5)
    assert (found - gradient).norm() <= 1e-4 * gradient.norm()
    assert "fold_batchnorm" not in execution or not [
        m for m in quick.modules() if isinstance(m, nn.BatchNorm2d)
    ]


def test_additions_of_a_scaled_shortcut_are_in_place():
    graph = tapped("resnet18", "network.shortcut=0.5", execution=Execution(in_place=True)).extractor.graph
    assert len([node for node in graph.nodes if node.target is operator.iadd]) == 8
    assert not [node for node in graph.nodes if node.target is operator.add]


def test_batch_statistics_are_those_of_each_image_with_any_scale():
    """The reference is torchvision's own layers in training mode."""
    found = tapped("resnet18", "network.shortcut=0.5", batchnorm="batch")
    network = RandomWeights(seed=0).build(architecture("resnet18")).train()

    def unit(block, x):
        shortcut = x if block.downsample is None else block.downsample(x)
        x = block.bn1(block.conv1(x)).relu()
        return (block.bn2(block.conv2(x)) + 0.5 * shortcut).relu()

    with torch.no_grad():
        x = network.maxpool(network.bn1(network.conv1((IMAGES - found.mean) / found.std)).relu())
        for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
            for block in stage:
                x = unit(block, x)
        torch.testing.assert_close(found(IMAGES)["conv5_2"], x, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found(IMAGES.repeat(2, 1, 1, 1))["conv5_2"][1:], x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet50", "pseudo_resvgg"])
@pytest.mark.parametrize("seed", [0, 1])
def test_peaks_grow_with_the_shortcut(name, seed):
    def peak(scale):
        network = RandomWeights(seed=seed).build(replace(plain, shortcut=scale))
        return TappedNetwork(network, plain.paths(["conv5_3"]))(IMAGES)["conv5_3"].max().item()

    plain = architecture(name)
    peaks = [peak(scale) for scale in (0, 0.5, 1)]
    assert peaks == sorted(peaks)
    assert peaks[-1] > 10 * peaks[0]


def test_a_file_of_resnet_fits_every_scale_and_no_shortcuts_needs_no_projections(tmp_path):
    state = RandomWeights(seed=5).build(architecture("resnet50")).state_dict()
    torch.save(state, tmp_path / "whole.pth")
    torch.save({k: v for k, v in state.items() if "downsample" not in k}, tmp_path / "without.pth")
    whole, without = (FileWeights(path=str(tmp_path / f"{name}.pth")) for name in ("whole", "without"))
    expected = tapped("noresnet50", weights=whole)(IMAGES)
    for tap, values in tapped("noresnet50", weights=without)(IMAGES).items():
        assert torch.equal(values, expected[tap])
    half = whole.build(architecture("resnet50", "network.shortcut=0.5"))
    assert all(torch.equal(values, state[name]) for name, values in half.state_dict().items())
    assert idle_modules(half) == []
    with pytest.raises(WeightsError, match="missing: layer1.0.downsample.0.weight"):
        without.build(architecture("noresnet50", "network.shortcut=0.5"))


@pytest.mark.parametrize("scale", ["-0.1", "1.1", "nan", "inf", "half", "true", "[0.5]"])
def test_no_scale_outside_its_range(scale):
    with pytest.raises(
        SettingError, match=r"`network.shortcut` should be (a number from 0 to 1|a number or null); found"
    ):
        architecture("resnet18", f"network.shortcut={scale}")


@pytest.mark.parametrize("name", WITHOUT)
def test_no_scale_without_shortcuts(name):
    with pytest.raises(
        SettingError, match="`network.shortcut` should be null for a network without shortcuts"
    ):
        unfilled(architecture(name, "network.shortcut=1"))
