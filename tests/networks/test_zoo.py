"""Networks by name: their taps by the rule, what they tell of themselves, and names that no library has."""

import sys

import pytest
import torch
from torch import nn

from experiments.building import build, build_network
from experiments.show_network import settings_of
from swag_repro.errors import SettingError, WeightsError
from swag_repro.networks import Architecture, TappedNetwork, zoo
from swag_repro.networks.layouts import Layout
from swag_repro.networks.rule import Layer, taps_by_rule
from swag_repro.weights import ImageNetWeights
from tests.parts import RandomWeights


def architecture(name):
    return build(settings_of(name), Architecture)


STAGED = {"scale2": "relu", "scale4": "layer1", "scale8": "layer2", "scale16": "layer3", "scale32": "layer4"}

BY_RULE = {
    "resnet18": (STAGED, []),
    "resnet50": (STAGED, []),
    # VGG: the last ReLU of each stage, which Gatys does not take, and the pooling at the end.
    "vgg16": (
        {"scale1": "features.3", "scale2": "features.8", "scale4": "features.15", "scale8": "features.22", "scale16": "features.29", "scale32": "features.30"},
        ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"],
    ),
    # DenseNet: blocks, without the norm and the ReLU behind each that we declare.
    "densenet121": (
        {"scale2": "features.relu0", "scale4": "features.denseblock1", "scale8": "features.denseblock2", "scale16": "features.denseblock3", "scale32": "features.norm5"},
        ["conv2", "conv3", "conv4", "conv5"],
    ),
    "inception_v3": (
        {"scale2": "Conv2d_2b_3x3", "scale4": "Conv2d_4a_3x3", "scale8": "Mixed_5d", "scale16": "Mixed_6e", "scale32": "Mixed_7c"},
        [],
    ),
    "googlenet": ({"scale2": "conv1", "scale4": "conv3", "scale8": "inception3b", "scale16": "inception4e", "scale32": "inception5b"}, []),
}  # fmt: skip
"""Network with a file → its taps by the rule, and the declared style taps that are none of them."""


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize("name", BY_RULE)
def test_where_rule_and_declaration_differ(name):
    rule, others = BY_RULE[name]
    declared, described = architecture(name), zoo.describe(name)
    assert described.taps == rule
    last_units = {"layer1": "layer1.", "layer2": "layer2.", "layer3": "layer3.", "layer4": "layer4."}
    ends = {path: _last(declared, last_units.get(path, path)) for path in rule.values()}
    apart = [tap for tap in declared.style_taps if declared.taps[tap] not in ends.values()]
    assert apart == others
    assert set(described.head) <= {name.partition(".")[0] for name in declared.head}


def _last(declared, path):
    """A stage's last unit, whose output is the stage's, or the module itself."""
    units = [one for one in declared.taps.values() if one.startswith(path)]
    return units[-1] if path.endswith(".") else path


FAMILIES = {
    "alexnet": ["scale4", "scale8", "scale16", "scale32"],
    "convnext_tiny": ["scale4", "scale8", "scale16", "scale32"],
    "efficientnet_b0": ["scale2", "scale4", "scale8", "scale16", "scale32"],
    "mobilenet_v3_small": ["scale2", "scale4", "scale8", "scale16", "scale32"],
    "regnet_y_400mf": ["scale2", "scale4", "scale8", "scale16", "scale32"],
    "shufflenet_v2_x0_5": ["scale2", "scale4", "scale8", "scale16", "scale32"],
    "squeezenet1_1": ["scale2", "scale4", "scale8", "scale16"],
    "swin_t": ["scale4", "scale8", "scale16", "scale32"],
    "vit_b_32": ["block3", "block6", "block9", "block12"],
}


def captured(network, paths, pictures):
    """What the modules return in the network as it is, before anything overwrites it."""
    found = {}
    handles = [
        network.get_submodule(path).register_forward_hook(lambda _m, _i, made, path=path: found.__setitem__(path, made.clone()))
        for path in paths
    ]  # fmt: skip
    with torch.no_grad():
        network(pictures)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_maps_with_the_values_of_the_library(name):
    described = architecture(name)
    assert list(described.taps) == FAMILIES[name]
    assert described.content_tap == FAMILIES[name][-2]
    network = build_network(RandomWeights(seed=0), described)
    pictures = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    plain = captured(network.eval(), described.taps.values(), pictures)
    tapped = TappedNetwork(network, described.taps, mean=(0, 0, 0), std=(1, 1, 1))
    for tap, features in tapped(pictures).items():
        layout, layer = tapped.layouts[tap], plain[described.taps[tap]]
        height, width = features.shape[-2:]
        assert abs(96 / layout.scale - height) <= 1
        assert abs(128 / layout.scale - width) <= 1
        positions = layer[:, layout.apart :] if layout.kind == "tokens" else layer
        channels = 1 if layout.kind == "maps" else -1
        there = positions.movedim(channels, 1).reshape(features.shape)
        torch.testing.assert_close(features, there, rtol=1e-4, atol=1e-4)


def test_a_library_tells_mean_weights_and_head():
    large, huge = zoo.describe("efficientnet_v2_s"), zoo.describe("vit_h_14")
    assert large.imagenet == "EfficientNet_V2_S_Weights.IMAGENET1K_V1"
    assert large.head == ["classifier"]
    assert huge.imagenet == "ViT_H_14_Weights.IMAGENET1K_SWAG_E2E_V1"  # it has no V1
    assert zoo.describe("efficientnet_v2_l").mean == (0.5, 0.5, 0.5)


def test_what_is_given_is_not_told():
    node = settings_of("regnet_y_400mf")
    node.plain.update(imagenet="IMAGENET1K_V2", style_taps=["scale4"], mean=[0.5, 0.5, 0.5])
    found = build(node, Architecture)
    assert found.imagenet == "RegNet_Y_400MF_Weights.IMAGENET1K_V2"
    assert (found.style_taps, found.statistic_taps, found.mean) == (["scale4"], ["scale4"], [0.5] * 3)
    node.plain.update(imagenet="IMAGENET1K_V3")
    with pytest.raises(
        SettingError, match="`network.imagenet` should be one of IMAGENET1K_V1, IMAGENET1K_V2"
    ):
        build(node, Architecture)


REFUSED = {
    "convnext_tin": "found 'convnext_tin'. Did you mean convnext_tiny or",
    "resnet5": "found 'resnet5'. Did you mean resnet50 or resnet",
    "timm/repvgg_a": "Did you mean timm/repvgg_a",
    "nothing/like/it": "--help network explains those that have a file",
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_unknown_name_is_one_message_with_the_nearest(name):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    with pytest.raises(SettingError, match=f"`network` should be one of conf/network, .*{REFUSED[name]}"):
        settings_of(name)


def test_an_unknown_tag_is_one_message_with_those_there_are():
    pytest.importorskip("timm")
    with pytest.raises(
        SettingError, match="`network` should have a tag of timm's weights of repvgg_a2: .*in1k"
    ):
        settings_of("timm/repvgg_a2.nobody_in1k")


def test_without_timm_the_message_says_which_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SettingError, match=r"`network` needs timm; .*pip install 'swag-repro\[zoo\]'"):
        settings_of("timm/repvgg_a2")


@pytest.mark.parametrize("name", ["maxvit_t"])
def test_a_network_of_one_size_says_so(name):
    with pytest.raises(SettingError, match="`network` should take pictures of several sizes.*found MaxVit"):
        architecture(name)


def layer(path, stride, before, kind=nn.Conv2d):
    return Layer(
        path, kind, *(None if one is None else zoo_layout(one) for one in (stride, before)), (2, 4, 8, 8)
    )


def zoo_layout(stride):
    return Layout("maps", (stride, stride))


def test_the_rule_opens_only_what_changes_scale_twice():
    layers = [
        layer("stem.0", 2, 1), layer("stem.1", 4, 2), layer("stem", 4, 1),
        layer("stage.0.expand", 4, 4), layer("stage.0.shrink", 8, 4), layer("stage.0", 8, 4), layer("stage", 8, 4),
        layer("pool", None, 8), layer("head.conv", 8, 8), layer("head", None, 8), layer("", None, 1),
    ]  # fmt: skip
    assert taps_by_rule(layers, ["head"]) == {"scale2": "stem.0", "scale4": "stem.1", "scale8": "stage"}


@pytest.mark.parametrize(("count", "chosen"), [(4, [1, 2, 3, 4]), (12, [3, 6, 9, 12]), (27, [7, 14, 21, 27])])
def test_like_blocks_are_evenly_spaced(count, chosen):
    layers = [layer("patches", 16, 1), *(layer(f"blocks.{n}", 16, 16, nn.Linear) for n in range(count))]
    assert taps_by_rule(layers, []) == {f"block{n}": f"blocks.{n - 1}" for n in chosen}


# --- timm ---------------------------------------------------------------------------------------------------

TIMM = {
    "timm/repvgg_a0": ("scale16", "maps, 16 pixels apart", (1, 192, 6, 8)),
    "timm/vit_tiny_patch16_224": ("block9", "tokens behind 1 others, 16 pixels apart", (1, 192, 6, 8)),
    "timm/swin_tiny_patch4_window7_224": ("scale16", "channels last, 16 pixels apart", (1, 384, 6, 8)),
    "timm/mixer_s16_224": None,
}


@pytest.mark.parametrize("name", TIMM)
def test_models_of_timm_are_read_as_maps(name):
    pytest.importorskip("timm")
    if TIMM[name] is None:
        with pytest.raises(SettingError, match="`network` should take pictures of several sizes"):
            architecture(name)
        return
    content, layout, shape = TIMM[name]
    described = architecture(name)
    assert (described.content_tap, described.name, described.label) == (content, name, name)
    network, pictures = build_network(RandomWeights(seed=0), described).eval(), torch.rand(1, 3, 96, 128)
    plain = captured(network, [described.taps[content]], pictures)[described.taps[content]]
    tapped = TappedNetwork(network, {content: described.taps[content]}, mean=(0, 0, 0), std=(1, 1, 1))
    assert str(tapped.layouts[content]) == layout
    features = tapped(pictures)[content]
    assert features.shape == shape
    positions = plain[:, 1:] if "behind 1" in layout else plain
    assert features.mean() == pytest.approx(positions.mean().item(), abs=1e-5)


def test_timms_weights_are_named_with_their_tag():
    timm = pytest.importorskip("timm")
    described = architecture("timm/vit_tiny_patch16_224")
    weights = ImageNetWeights()
    assert described.mean == (0.5, 0.5, 0.5)
    assert weights.digest(described) == described.imagenet
    assert described.imagenet.removeprefix("timm/") in timm.list_models(pretrained=True)


def test_a_download_from_timms_hub_that_fails_is_one_message(monkeypatch):
    pytest.importorskip("timm")
    described = architecture("timm/repvgg_a0")

    def refuse(*_, **__):
        raise OSError("no route to host\nmore")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    with pytest.raises(
        WeightsError, match=r"timm/repvgg_a0.* of timm's hub; found OSError \(no route to host\)"
    ):
        ImageNetWeights().build(described)
