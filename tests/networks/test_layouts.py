"""Layers of any layout are read as maps, and what two sizes of pictures don't tell is refused."""

import pytest
import torch
from torch import nn
from torchvision.models import vit_b_32
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from swag_repro.errors import SettingError
from swag_repro.networks import TappedNetwork
from swag_repro.networks.layouts import PROBES, Layout, outputs
from swag_repro.networks.variants import AnySizeViT

IMAGES = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))


class Channels(nn.Module):
    """Maps of 5 channels, 8 pixels apart, as another layout."""

    def __init__(self, arranged):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 8, stride=8)
        self.arranged = nn.Module()
        self.arranged.forward = arranged

    def forward(self, x):
        return self.arranged(self.conv(x))


def behind_registers(maps):
    positions = maps.flatten(2).transpose(1, 2)
    registers = 100 * torch.ones_like(positions[:, :1]).expand(-1, 2, -1)
    return torch.cat([registers, positions], dim=1)


LAYOUTS = {
    "maps": (lambda maps: maps.relu(), "maps, 8 pixels apart", torch.relu),
    "channels last": (lambda maps: maps.permute(0, 2, 3, 1), "channels last, 8 pixels apart", nn.Identity()),
    "tokens": (lambda maps: maps.flatten(2).transpose(1, 2), "tokens, 8 pixels apart", nn.Identity()),
    "registers": (behind_registers, "tokens behind 2 others, 8 pixels apart", nn.Identity()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(48, 64), (64, 48), (52, 60), (8, 8)])
def test_every_layout_is_read_as_the_same_maps(layout, size):
    arranged, said, expected = LAYOUTS[layout]
    network = Channels(arranged)
    pictures = torch.nn.functional.interpolate(IMAGES, size)
    tapped = TappedNetwork(network, {"tap": "arranged"}, mean=(0, 0, 0), std=(1, 1, 1))
    assert str(tapped.layouts["tap"]) == said
    features = tapped(pictures)["tap"]
    assert features.shape == (2, 5, size[0] // 8, size[1] // 8)
    torch.testing.assert_close(features, expected(network.conv(pictures)))


def test_gradients_pass_through_the_adapter():
    tapped = TappedNetwork(Channels(behind_registers), {"tap": "arranged"})
    pictures = IMAGES.clone().requires_grad_()
    tapped(pictures)["tap"].square().sum().backward()
    assert (pictures.grad.flatten(1).abs().sum(dim=1) > 0).all()


NO_LAYOUT = {
    "no positions": lambda maps: maps.mean(dim=(2, 3)),
    "one position": lambda maps: maps.mean(dim=(2, 3), keepdim=True),
    "positions in the batch": lambda maps: maps.permute(0, 2, 3, 1).flatten(0, 1),
    "sides swapped": lambda maps: maps.transpose(2, 3),
    "channels first": lambda maps: maps.flatten(2),
    "a fixed grid": lambda maps: nn.functional.adaptive_avg_pool2d(maps, 7),
}


@pytest.mark.parametrize("case", NO_LAYOUT)
def test_what_the_sizes_do_not_tell_is_refused(case):
    with pytest.raises(
        SettingError, match=r"`network.taps.tap` should be a layer with positions: .* found \("
    ):
        TappedNetwork(Channels(NO_LAYOUT[case]), {"tap": "arranged"})


def test_a_network_of_a_fixed_size_is_refused():
    network = nn.Sequential(nn.Conv2d(3, 5, 8, stride=8), nn.Unflatten(2, (6, 1)))
    with pytest.raises(
        SettingError, match=r"`network` should take pictures of several sizes.*found Sequential"
    ):
        TappedNetwork(network, {"tap": "1"})


def test_tokens_of_no_grid_over_the_pictures_are_refused():
    layout = Layout("tokens", (16, 16), 1)
    message = (
        "`images.size` should be such that .* multiples of 16; found 40×40 pixels and 7 tokens at block3"
    )
    with pytest.raises(SettingError, match=message):
        layout.as_maps(torch.zeros(1, 8, 4), "block3", 40, 40)


def test_padded_tokens_are_those_of_the_larger_grid():
    maps = torch.arange(24.0).view(1, 2, 3, 4)
    tokens = maps.flatten(2).mT
    assert torch.equal(Layout("tokens", (16, 16)).as_maps(tokens, "tap", 40, 50), maps)


class MakesTensors(nn.Module):
    def forward(self, x):
        return x + torch.ones(1)


class LooksAtValues(nn.Module):
    def forward(self, x):
        return x * float(x.amax() >= 0)


@pytest.mark.parametrize("first", [MakesTensors(), LooksAtValues()])
def test_what_a_network_needs_to_run_it_gets_when_probed(first):
    small, large = outputs(nn.Sequential(first, nn.Conv2d(3, 5, 8, stride=8)))
    assert [tuple(small.shape), tuple(large.shape)] == [(2, 5, h // 8, w // 8) for h, w in PROBES]


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    network = VisionTransformer(
        64, 16, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=10
    ).eval()
    for parameter in network.parameters():  # the library's head begins at 0
        nn.init.normal_(parameter, std=0.2)
    return network


def test_a_vision_transformer_of_any_size_has_torchvisions_parameters_and_values(vit):
    mine = AnySizeViT(vit)
    assert {name: value.shape for name, value in mine.state_dict().items()} == {
        name: value.shape for name, value in vit.state_dict().items()
    }
    pictures = torch.rand(2, 3, 64, 64)
    assert torch.equal(mine(pictures), vit(pictures))


def test_its_position_embeddings_are_interpolated_as_torchvision_does(vit):
    larger = VisionTransformer(
        96, 16, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=10
    ).eval()
    larger.load_state_dict(interpolate_embeddings(96, 16, vit.state_dict()))
    pictures = torch.rand(2, 3, 96, 96)
    torch.testing.assert_close(AnySizeViT(vit)(pictures), larger(pictures))


def test_its_blocks_are_read_as_maps(vit):
    tapped = TappedNetwork(AnySizeViT(vit), {"block1": "encoder.layers.encoder_layer_0"})
    assert str(tapped.layouts["block1"]) == "tokens behind 1 others, 16 pixels apart"
    assert tapped(torch.rand(1, 3, 50, 81))["block1"].shape == (1, 8, 3, 5)


def test_torchvisions_own_vision_transformer_is_refused():
    with torch.device("meta"):
        network = vit_b_32()
    with pytest.raises(
        SettingError, match="`network` should take pictures of several sizes.*found VisionTransformer: Ass"
    ):
        TappedNetwork(network, {"tap": "encoder.layers.encoder_layer_3"})
