import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import VisionTransformer

from swag_repro.errors import SettingError
from swag_repro.networks import Execution, TappedNetwork
from swag_repro.networks.execution import _parts
from swag_repro.networks.variants import AnySizeViT

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
RESNET = {
    "before": "layer1.0.bn2",  # in the middle of a block, before its ReLU
    "conv1": "relu",
    "conv2_2": "layer1.1",
    "conv3_2": "layer2.1",
    "conv5_2": "layer4.1",
}
VGG = {"relu1_1": "features.1", "conv2_1": "features.5", "relu4_1": "features.18"}


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network.eval()


@pytest.fixture(scope="module")
def vgg11():
    torch.manual_seed(0)
    with torch.device("meta"):  # the classifier stays on meta, since nothing reads it
        network = torchvision.models.vgg11()
    network.features.to_empty(device="cpu").apply(initialized)
    return network.eval()


def initialized(module):
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(module.bias)


def features_and_gradient(tapped):
    images = IMAGES.clone().requires_grad_()
    features = tapped(images)
    sum(values.float().square().mean() for values in features.values()).backward()
    return features, images.grad


@pytest.mark.parametrize(
    "execution",
    [
        {"fold_batchnorm": True},
        {"in_place": True},
        {"channels_last": True},
        {"checkpoints": True},
        {"fold_batchnorm": True, "in_place": True, "channels_last": True, "checkpoints": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("network", ["resnet18", "vgg11"])
def test_no_switch_changes_neither_features_nor_gradients(network, execution, request):
    taps = RESNET if network == "resnet18" else {**VGG, "relu4_1": "features.12"}
    network = request.getfixturevalue(network)
    plain, gradient = features_and_gradient(TappedNetwork(network, taps))
    features, found = features_and_gradient(TappedNetwork(network, taps, execution=Execution(**execution)))
    assert list(features) == list(plain)
    for tap, values in features.items():
        torch.testing.assert_close(values, plain[tap], rtol=1e-4, atol=1e-5)
    assert (found - gradient).norm() <= 1e-4 * gradient.norm()


def test_folding_leaves_no_batch_norm_and_the_network_as_it_was(resnet18):
    before = resnet18.conv1.weight.clone()
    taps = {"conv1": "relu", "conv5_2": "layer4.1"}
    tapped = TappedNetwork(resnet18, taps, execution=Execution(fold_batchnorm=True))
    assert not [module for module in tapped.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(parameter.requires_grad for parameter in tapped.parameters())
    assert torch.equal(resnet18.conv1.weight, before)
    assert any(isinstance(module, nn.BatchNorm2d) for module in resnet18.modules())


def test_a_convolution_that_a_tap_reads_is_not_folded(resnet18):
    taps = {"convolution": "conv1", "conv1": "relu"}
    plain = TappedNetwork(resnet18, taps)(IMAGES)
    folded = TappedNetwork(resnet18, taps, execution=Execution(fold_batchnorm=True, in_place=True))(IMAGES)
    for tap in taps:
        torch.testing.assert_close(folded[tap], plain[tap])


def test_relus_are_in_place_but_where_a_tap_reads_their_input(resnet18):
    tapped = TappedNetwork(resnet18, RESNET, execution=Execution(in_place=True))
    calls = [node for node in tapped.extractor.graph.nodes if node.kwargs.get("inplace")]
    kept = [
        node
        for node in tapped.extractor.graph.nodes
        if node.op == "call_module" and isinstance(tapped.extractor.get_submodule(node.target), nn.ReLU)
    ]
    assert len(calls) == 17  # ResNet-18 has 17 ReLUs, each after a batch norm or an addition
    assert kept == []


def test_a_network_that_reads_tensors_of_its_own_has_the_same_features_with_checkpoints():
    torch.manual_seed(0)
    vit = VisionTransformer(64, 16, num_layers=4, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=10)
    taps = {f"block{n + 1}": f"encoder.layers.encoder_layer_{n}" for n in range(4)}
    plain = TappedNetwork(AnySizeViT(vit), taps)(IMAGES)
    switched = TappedNetwork(AnySizeViT(vit), taps, execution=Execution(checkpoints=True))
    assert len(list(switched.extractor.children())) > 1
    for tap, features in switched(IMAGES).items():
        torch.testing.assert_close(features, plain[tap])


def test_checkpoints_keep_less(resnet18):
    def kept(execution):
        sizes = []

        def pack(tensor):
            sizes.append(tensor.numel())
            return tensor

        tapped = TappedNetwork(resnet18, {"conv5_2": "layer4.1"}, execution=execution)
        images = IMAGES.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            tapped(images)
        return sum(sizes)

    assert kept(Execution(checkpoints=True)) < 0.5 * kept(Execution())


def test_autocast_computes_in_bfloat16_and_stays_near(vgg11):
    plain, _ = features_and_gradient(TappedNetwork(vgg11, VGG))
    features, _ = features_and_gradient(TappedNetwork(vgg11, VGG, execution=Execution(autocast="bfloat16")))
    for tap, values in features.items():
        assert values.dtype == torch.bfloat16
        assert (values - plain[tap]).norm() < 0.02 * plain[tap].norm()


def test_batch_statistics_cannot_be_folded(resnet18):
    with pytest.raises(SettingError, match="`execution.fold_batchnorm` needs batchnorm=eval"):
        TappedNetwork(
            resnet18, {"conv1": "relu"}, batchnorm="batch", execution=Execution(fold_batchnorm=True)
        )


def test_another_precision_of_the_same_network(vgg11):
    """One scale of several has it: no weight is copied, and the network itself stays as it is."""
    network = TappedNetwork(vgg11, VGG)
    other = network.with_autocast("bfloat16")
    expected, _ = features_and_gradient(TappedNetwork(vgg11, VGG, execution=Execution(autocast="bfloat16")))
    before, _ = features_and_gradient(network)
    found, _ = features_and_gradient(other)
    after, _ = features_and_gradient(network)
    assert all(torch.equal(found[tap], expected[tap]) for tap in expected)
    assert all(torch.equal(before[tap], after[tap]) for tap in before)
    assert any(not torch.equal(before[tap], found[tap]) for tap in before)
    assert [p.data_ptr() for p in other.parameters()] == [p.data_ptr() for p in network.parameters()]


def test_an_unknown_precision_is_refused():
    with pytest.raises(SettingError, match="`execution.autocast` should be"):
        Execution(autocast="int8")


def test_the_largest_part_and_all_inputs_are_least():
    """Four layers of 4, 1, 1, 4 bytes, cheapest to cut in the middle: the largest part then has 5 bytes."""
    assert _parts([4, 1, 1, 4], [3, 1, 3, 0]) == [0, 0, 1, 1]
    assert _parts([4, 1, 1, 4], [9, 9, 9, 0]) == [0, 0, 0, 0]  # no cut saves as much as its input costs
    assert _parts([1] * 6, [9, 9, 0, 9, 9, 0]) == [0, 0, 0, 1, 1, 1]
