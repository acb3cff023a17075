import pytest
import torch
import torchvision
from torch import nn

from swag_repro.errors import SettingError
from swag_repro.networks import TappedNetwork

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


def normalized(images):
    return torchvision.transforms.functional.normalize(images, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class InPlace(nn.Module):
    """Overwrites what a careless reader would have captured, in every way torch offers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.relu = nn.ReLU(inplace=True)
        self.identity = nn.Identity()

    def forward(self, x):
        x = self.conv(x)
        self.relu(x)
        x = self.identity(x)
        x += 1
        x.mul_(3)
        return nn.functional.relu(x, inplace=True)


def test_in_place_operations_leave_a_tap_alone():
    network = InPlace()
    tapped = TappedNetwork(network, {"conv": "conv", "identity": "identity"}, mean=(0, 0, 0), std=(1, 1, 1))
    features = tapped(IMAGES)
    assert torch.equal(features["conv"], network.conv(IMAGES))
    assert (features["conv"] < 0).any()


@pytest.mark.parametrize("path", ["conv1", "bn1", "layer1.0.bn2", "layer2.1.conv1"])
def test_taps_before_in_place_relus_are_signed(resnet18, path):
    before = {}

    def keep(_module, _inputs, output):
        before[path] = output.clone()

    handle = resnet18.get_submodule(path).register_forward_hook(keep)
    with torch.no_grad():
        resnet18(normalized(IMAGES))
    handle.remove()
    found = TappedNetwork(resnet18, {"tap": path})(IMAGES)["tap"]
    torch.testing.assert_close(found, before[path])
    assert (found < 0).any()


def test_blocks_are_read_after_their_last_operation(resnet18):
    taps = {"conv1": "relu", "conv2_2": "layer1.1", "conv4_2": "layer3.1"}
    features = TappedNetwork(resnet18, taps)(IMAGES)
    with torch.no_grad():
        stem = resnet18.relu(resnet18.bn1(resnet18.conv1(normalized(IMAGES))))
        layer1 = resnet18.layer1(resnet18.maxpool(stem))
        layer3 = resnet18.layer3(resnet18.layer2(layer1))
    for tap, expected in zip(taps, (stem, layer1, layer3), strict=True):
        torch.testing.assert_close(features[tap], expected)


def test_nothing_behind_the_deepest_tap_runs(resnet18):
    tapped = TappedNetwork(resnet18, {"conv2_1": "layer1.0"})
    assert not [name for name, _ in tapped.named_parameters() if "layer1.1" in name or "layer2" in name]


def test_depth_counts_convolutions_on_the_longest_path(resnet18):
    taps = {"conv1": "relu", "conv2_2": "layer1.1", "conv3_1": "layer2.0", "shortcut": "layer2.0.downsample"}
    assert TappedNetwork(resnet18, taps).depths == {"conv1": 1, "conv2_2": 5, "conv3_1": 7, "shortcut": 6}


def test_parameters_are_frozen_and_gradients_reach_the_images(resnet18):
    tapped = TappedNetwork(resnet18, {"conv2_1": "layer1.0"})
    images = IMAGES.clone().requires_grad_()
    tapped(images)["conv2_1"].sum().backward()
    assert images.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in tapped.parameters())


def test_eval_batch_norm_of_a_fresh_network_is_the_identity():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    features = TappedNetwork(network, {"conv": "0", "norm": "1"})(IMAGES)
    torch.testing.assert_close(features["norm"], features["conv"], rtol=1e-4, atol=1e-4)


def test_batch_statistics_are_those_of_each_image():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    tapped = TappedNetwork(network, {"norm": "1"}, batchnorm="batch")
    together = tapped(IMAGES)["norm"]
    assert torch.allclose(together.mean(dim=(2, 3)), torch.zeros(2, 4), atol=1e-5)
    assert torch.allclose(together.std(dim=(2, 3)), torch.ones(2, 4), atol=1e-2)
    torch.testing.assert_close(tapped(IMAGES[1:])["norm"], together[1:])
    assert torch.equal(network[1].running_mean, torch.zeros(4))


def test_network_runs_in_the_dtype_asked_for(resnet18):
    tapped = TappedNetwork(resnet18, {"conv1": "relu"}, dtype=torch.bfloat16)
    assert tapped(IMAGES)["conv1"].dtype == torch.bfloat16
    resnet18.float()


def test_unknown_path_names_its_neighbours(resnet18):
    with pytest.raises(SettingError, match=r"`network.taps.conv2_9` should be .* found 'layer1.9'.*layer1"):
        TappedNetwork(resnet18, {"conv2_9": "layer1.9"})


@pytest.mark.parametrize("path", ["", "*", "layer.", "layer1.*", "layer1..", "nowhere"])
def test_a_path_is_no_pattern(resnet18, path):
    with pytest.raises(SettingError, match="`network.taps.wrong` should be the path of a module"):
        TappedNetwork(resnet18, {"conv1": "relu", "wrong": path})


def test_unknown_batch_norm_mode(resnet18):
    with pytest.raises(SettingError, match="`batchnorm` should be one of"):
        TappedNetwork(resnet18, {"conv1": "relu"}, batchnorm="train")


def test_untraceable_network():
    class Loop(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(SettingError, match="should build a module that torch.fx can trace"):
        TappedNetwork(Loop(), {"tap": "x"})


def test_too_small_images():
    network = nn.Sequential(nn.Conv2d(3, 4, 16))
    with pytest.raises(SettingError, match=r"`images.size` should leave .* found 8×8 pixels"):
        TappedNetwork(network, {"tap": "0"})(IMAGES[..., :8, :8])
