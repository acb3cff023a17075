"""Peaks through residual units: values by hand, and the network's own."""

import math

import pytest
import torch
import torchvision
from torch import nn

from swag_repro.errors import SettingError
from swag_repro.networks import Architecture
from swag_repro.networks.architecture import residual_units, scale_shortcuts
from swag_repro.networks.small import small_resnet
from swag_repro.networks.units import Peaks, additions
from swag_repro.networks.variants import pseudo_resvgg, resnet50_before_relu

SMALL = {
    "width": 4,
    "units": 2,
    "unit": "basic",
    "batchnorm": True,
    "downsampling": "stride",
    "num_classes": 3,
}


def architecture(builder):
    return Architecture(
        name="a", label="a", builder=builder, taps={"x": "x"}, style_taps=["x"], content_tap="x", statistic_taps=["x"],
        mean=[0, 0, 0], std=[1, 1, 1],
    )  # fmt: skip


def values(shortcut, branch):
    shaped = (
        torch.tensor(side, dtype=torch.float32).unsqueeze(0).unsqueeze(2) for side in (shortcut, branch)
    )
    return {key: float(value) for key, value in Peaks.of(*shaped).changes().items()}


def test_by_hand():
    """Three channels of three positions; the third has no positive peak and counts nowhere."""
    shortcut = [[4.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 0.0]]
    branch = [[-2.0, 1.0, 0.0], [0.0, 0.0, 7.0], [9.0, 9.0, 9.0]]
    assert values(shortcut, branch) == pytest.approx({
        ("peaks_shrunk", "branch"): 0.5,  # 1 < 4, and 7 > 2
        ("peaks_shrunk", "sum"): 0.5,  # 2 < 4, and 8 > 2
        ("peaks_shrunk", "there"): 0.5,  # 2 < 4, and 2 = 2
        ("log2_peak", "branch"): (math.log2(1 / 4) + math.log2(7 / 2)) / 2,
        ("log2_peak", "sum"): (-1 + 2) / 2,
        ("log2_highest", "branch"): math.log2(9 / 4),
        ("log2_highest", "sum"): math.log2(9 / 4),
    })  # fmt: skip


def test_nothing_positive_is_no_number():
    found = values([[0.0, 0.0]], [[1.0, 2.0]])
    assert all(not math.isfinite(value) for value in found.values())


def test_a_branch_that_is_never_negative_shrinks_no_peak():
    torch.manual_seed(0)
    shortcut, branch = torch.rand(2, 5, 4, 4), torch.rand(2, 5, 4, 4)
    changes = Peaks.of(shortcut, branch).changes()
    assert changes["peaks_shrunk", "sum"].eq(0).all()
    assert changes["log2_peak", "sum"].gt(0).all()


BUILDERS = {
    "resnet18": torchvision.models.resnet18,
    "resnet50": torchvision.models.resnet50,
    "before_relu": resnet50_before_relu,
    "pseudo_resvgg": pseudo_resvgg,
    "small": lambda: small_resnet(**SMALL, leak=0.0),
    "leaky": lambda: small_resnet(**SMALL, leak=0.1),
    "no batch norm": lambda: small_resnet(**{**SMALL, "batchnorm": False}, leak=0.0),
}
UNITS = {
    "resnet18": 8,
    "resnet50": 16,
    "before_relu": 16,
    "pseudo_resvgg": 16,
    "small": 8,
    "leaky": 8,
    "no batch norm": 8,
}


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("scale", [1, 0.5, 0])
def test_additions_are_what_the_units_put_out(name, scale):
    if name == "before_relu" and scale != 1:
        pytest.skip("the ablation has no dial")
    torch.manual_seed(0)
    network = BUILDERS[name]().eval()
    if scale != 1:
        scale_shortcuts(network, scale)
    images, outputs = torch.rand(1, 3, 64, 64), {}
    for path, unit in residual_units(network).items():
        unit.register_forward_hook(lambda *args, path=path: outputs.update({path: args[2].clone()}))
    expected = network(images)
    found = additions(network, architecture(lambda: network), images)
    assert len(found) == UNITS[name]
    assert list(found) == list(outputs)
    end = {"before_relu": nn.Identity(), "leaky": nn.LeakyReLU(0.1)}.get(name, nn.ReLU())
    for path, addition in found.items():
        torch.testing.assert_close(end(addition.sum), outputs[path], rtol=1e-4, atol=1e-5)
        assert scale or addition.shortcut.eq(0).all()
    torch.testing.assert_close(network(images), expected)  # no hook is left


def test_a_network_without_units():
    with pytest.raises(SettingError, match="`network` should have residual units; found a"):
        additions(nn.Conv2d(3, 3, 1), architecture(nn.Identity), torch.rand(1, 3, 8, 8))
