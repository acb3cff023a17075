"""The decoders and Johnson's network, counted against the papers."""

from itertools import pairwise

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn
from torchvision import models

from experiments.building import build
from experiments.config import checked
from experiments.settings import CONF
from swag_repro.feedforward import AdaIN, Johnson, Normalization, reflect, stages
from swag_repro.feedforward.decoder import mirror_decoder, reach, stride
from swag_repro.feedforward.generators import JohnsonNetwork

NORMALIZATION = Normalization(correction=0, eps=1e-5)


def convolutions(network):
    return [
        (one.in_channels, one.out_channels, one.kernel_size[0], one.padding_mode)
        for one in network.modules()
        if isinstance(one, nn.Conv2d)
    ]


def test_the_decoder_of_vgg19_is_the_papers():
    path, channels = stages(models.vgg19(weights=None), "features.20")
    assert (stride(path), channels) == (8, 512)
    decoder = mirror_decoder(path, channels, norm="none")
    widths = [512, 256, 256, 256, 256, 128, 128, 64, 64, 3]
    assert convolutions(decoder) == [(before, after, 3, "reflect") for before, after in pairwise(widths)]
    kinds = [type(layer).__name__ for layer in decoder]
    assert kinds.count("Upsample") == 3
    assert [kinds[i - 2 : i] for i, kind in enumerate(kinds) if kind == "Upsample"] == [
        ["Conv2d", "ReLU"]
    ] * 3
    assert kinds[-1] == "Conv2d"
    assert all(layer.mode == "nearest" for layer in decoder if isinstance(layer, nn.Upsample))
    assert decoder(torch.rand(1, 512, 4, 6)).shape == (1, 3, 32, 48)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_norms_stand_before_each_relu(norm):
    path, channels = stages(models.vgg16(weights=None), "features.8")
    kinds = [type(layer).__name__ for layer in mirror_decoder(path, channels, norm=norm)]
    norms = [i for i, kind in enumerate(kinds) if "Norm" in kind]
    assert len(norms) == kinds.count("ReLU") == kinds.count("Conv2d") - 1
    assert all(kinds[i - 1 : i + 2 : 2] == ["Conv2d", "ReLU"] for i in norms)


@pytest.mark.parametrize(
    ("network", "tap", "shrinks"),
    [
        ("small_residual", "conv4_2", 4),
        ("small_no_shortcut", "conv5_2", 8),
        ("small_vgg", "conv4_2", 4),
        ("resnet18", "conv4_2", 16),
        ("resnet50", "conv3_4", 8),
        ("pseudo_resvgg", "conv3_4", 8),
        ("densenet121", "conv4", 16),
    ],
)
def test_other_encoders_have_mirrors_too(network, tap, shrinks):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        architecture = build(checked(compose("stylize", [f"network={network}"]), "stylize").network)
    path, channels = stages(architecture.build(), architecture.taps[tap])
    assert stride(path) == shrinks
    decoder = mirror_decoder(path, channels, norm="none")
    assert decoder(torch.rand(1, channels, 6, 6)).shape == (1, 3, 6 * shrinks, 6 * shrinks)
    assert decoder[-1].out_channels == 3


def test_shortcuts_and_projections_are_not_mirrored():
    path, _ = stages(models.resnet18(weights=None), "layer2.1")
    assert (
        sum(stage.channels is not None for stage in path) == 9
    )  # the stem's, and two for each of four units


def test_reach_bounds_what_a_position_sees():
    network = models.vgg19(weights=None).features[:21].eval()
    path, _ = stages(models.vgg19(weights=None), "features.20")
    far = torch.rand(1, 3, 256, 256, requires_grad=True)
    network(far)[..., 16, 16].sum().backward()
    seen = far.grad[0].abs().sum(dim=0).nonzero()
    around = (seen - torch.tensor([16 * 8, 16 * 8])).abs().max()
    assert around <= reach(path) + 8


def test_reflection_padding_leaves_convolutions_without_padding():
    network = reflect(models.resnet18(weights=None))
    modes = {one.kernel_size: one.padding_mode for one in network.modules() if isinstance(one, nn.Conv2d)}
    assert modes == {(7, 7): "reflect", (3, 3): "reflect", (1, 1): "zeros"}
    constant = network.conv1(torch.ones(1, 3, 32, 32))
    torch.testing.assert_close(constant, constant[..., :1, :1].expand_as(constant), rtol=1e-4, atol=1e-5)


def test_johnsons_network_is_the_papers():
    network = JohnsonNetwork(norm="instance", upsampling="transposed")
    wanted = [(3, 32, 9), (32, 64, 3), (64, 128, 3), *[(128, 128, 3)] * 10, (32, 3, 9)]
    assert [layer[:3] for layer in convolutions(network)] == wanted
    ups = [one for one in network.modules() if isinstance(one, nn.ConvTranspose2d)]
    assert [(one.in_channels, one.out_channels, one.stride[0]) for one in ups] == [(128, 64, 2), (64, 32, 2)]
    assert sum(isinstance(one, nn.InstanceNorm2d) for one in network.modules()) == 15


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
@pytest.mark.parametrize("size", [(64, 64), (75, 62)])
def test_johnsons_network_keeps_the_size_and_the_range(upsampling, size):
    network = JohnsonNetwork(norm="none", upsampling=upsampling).eval()
    painted = network(torch.rand(2, 3, *size))
    assert painted.shape == (2, 3, *size)
    assert 0 <= float(painted.detach().min()) <= float(painted.detach().max()) <= 1


def test_the_same_seed_gives_the_same_decoder_and_leaves_randomness_alone():
    spec = AdaIN(
        name="adain", norm="none", fusion="adain", content_target="adain", normalization=NORMALIZATION
    )
    encoder = models.vgg16(weights=None)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two, other = (spec.network(encoder, "features.8", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one[0].weight, two[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)


def test_concatenation_gives_the_decoder_both_features():
    spec = AdaIN(
        name="concat", norm="none", fusion="concat", content_target="content", normalization=NORMALIZATION
    )
    encoder = models.vgg16(weights=None)
    decoder = spec.network(encoder, "features.8", seed=0)
    content, style = torch.rand(2, 1, 128, 8, 8).unbind()
    assert decoder[0].in_channels == 256
    given = spec.given(content, content, style)
    assert torch.equal(given, torch.cat([content, style], dim=1))
    assert spec.wanted(given, content) is content


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Johnson(name="j", norm="layer", upsampling="nearest"), "generator.norm"),
        (
            lambda: AdaIN(
                name="a", norm="none", fusion="concat", content_target="adain", normalization=NORMALIZATION
            ),
            "should be content where features are not normalised",
        ),
    ],
)
def test_choices_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()
