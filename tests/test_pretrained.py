"""The pretrained weights that ship: they are complete, fit their networks, and are refused by others."""

import csv
from dataclasses import replace

import pytest
import torch
import torchvision
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file
from torch.nn import functional as F

from experiments.building import build, build_network
from experiments.config import checked
from experiments.settings import CONF
from swag_repro import pretrained
from swag_repro.errors import SettingError, WeightsError
from swag_repro.images import Resize, bundled, load_image
from swag_repro.networks import TappedNetwork
from swag_repro.networks.architecture import IMAGENET_MEAN, IMAGENET_STD
from swag_repro.pretrained import PRETRAINED_FOLDER, PretrainedWeights
from swag_repro.runs.files import digest_of

WEIGHTS = PretrainedWeights(name="pretrained")
MOST = 35e6
"""Bytes of both files."""


def architecture(name):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("measure_activations", [f"network={name}", "weights=pretrained"])
    return build(checked(config, "measure_activations").network)


@pytest.fixture(scope="module")
def photograph():
    """`(1, 3, 64, 64)`, as the networks take it: BGR or another range would still give features."""
    resize = Resize(size=64, policy="squash", interpolation="lanczos")
    image = load_image(bundled(limit=1)[0], resize)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return image[None], ((image - mean) / std)[None]


def features(name, image):
    """Return the features of all style taps, by the project's own network."""
    network = architecture(name)
    tapped = TappedNetwork(WEIGHTS.build(network), network.paths(network.style_taps))
    with torch.no_grad():
        return tapped(image)


def state_of(name):
    return {key: value.float() for key, value in load_file(PRETRAINED_FOLDER / f"{name}.safetensors").items()}


def test_the_table_is_of_all_files_and_they_are_small():
    rows = list(csv.DictReader((PRETRAINED_FOLDER / "table.csv").read_text(encoding="utf-8").splitlines()))
    files = {path.name: path for path in PRETRAINED_FOLDER.glob("*.safetensors")}
    assert {row["file"] for row in rows} == set(files)
    assert all(digest_of(files[row["file"]]) == row["sha256"] for row in rows)
    assert sum(path.stat().st_size for path in files.values()) < MOST
    assert all(f"`{name}`" in (PRETRAINED_FOLDER / "README.md").read_text(encoding="utf-8") for name in files)


def test_vgg16_is_torchvisions_as_far_as_relu5_1(photograph):
    image, normalized = photograph
    expected = torchvision.models.vgg16(weights=None, init_weights=False).features[:26]
    state = state_of("vgg16")
    expected.load_state_dict({name.removeprefix("features."): value for name, value in state.items()})
    found = features("vgg16", image)
    with torch.no_grad():
        torch.testing.assert_close(found["relu5_1"], expected(normalized), rtol=1e-3, atol=1e-3)
    assert list(found) == ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]


def test_vgg16_with_average_pooling_has_the_same_weights():
    assert WEIGHTS.digest(architecture("vgg16_avg")) == WEIGHTS.digest(architecture("vgg16"))


def test_resnet50_half_is_the_caffe_resnet(photograph):
    """Written down once more, from its definition: the stride on the first 1×1 convolution, unpadded pooling."""
    image, normalized = photograph
    state = state_of("resnet50_half")

    def norm(x, name):
        weights = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *weights)

    def convolved(x, name, number, **settings):
        return norm(F.conv2d(x, state[f"{name}.conv{number}.weight"], **settings), f"{name}.bn{number}")

    def unit(x, name, stride):
        shortcut = x
        if f"{name}.downsample.0.weight" in state:
            projected = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
            shortcut = norm(projected, f"{name}.downsample.1")
        y = convolved(x, name, 1, stride=stride).relu()
        y = convolved(y, name, 2, padding=1).relu()
        return (convolved(y, name, 3) + shortcut).relu()

    x = norm(F.conv2d(normalized, state["conv1.weight"], stride=2, padding=3), "bn1").relu()
    expected = {"conv1": x}
    x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
    for stage, units in enumerate((3, 4, 6, 3), start=1):
        for index in range(units):
            x = unit(x, f"layer{stage}.{index}", stride=2 if stage > 1 and index == 0 else 1)
        expected[f"conv{stage + 1}_{units}"] = x
    found = features("resnet50_half", image)
    assert list(found) == list(expected)
    for tap, layer in expected.items():
        torch.testing.assert_close(found[tap], layer, rtol=1e-3, atol=1e-3)


def test_the_stride_of_resnet50_half_stands_on_the_first_convolution():
    network = WEIGHTS.build(architecture("resnet50_half"))
    for stage in (network.layer2, network.layer3, network.layer4):
        strides = [getattr(stage[0], f"conv{number}").stride for number in (1, 2, 3)]
        assert strides == [(2, 2), (1, 1), (1, 1)]
    assert network.layer4[2].conv3.out_channels == 1024  # half as many as ResNet-50's


def test_a_tap_behind_relu5_1_is_refused():
    with pytest.raises(SettingError, match=r"`network.taps.relu5_2` should be .*reach as far as relu5_1"):
        build_network(WEIGHTS, architecture("vgg16"), ["relu5_1", "relu5_2"])


@pytest.mark.parametrize("name", ["vgg16", "resnet50_half"])
def test_a_damaged_file_is_refused(name, tmp_path, monkeypatch):
    content = bytearray((PRETRAINED_FOLDER / f"{name}.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / f"{name}.safetensors").write_bytes(content)
    (tmp_path / "table.csv").write_bytes((PRETRAINED_FOLDER / "table.csv").read_bytes())
    monkeypatch.setattr(pretrained, "PRETRAINED_FOLDER", tmp_path)
    for use in (WEIGHTS.build, WEIGHTS.digest):
        with pytest.raises(WeightsError, match=f"should have the sha256 .*{name}.safetensors"):
            use(architecture(name))


def test_a_network_without_shipped_weights_names_the_remedies():
    rule = "`weights` can be pretrained for resnet50_half, vgg16, vgg16_avg, whose weights ship"
    with pytest.raises(WeightsError, match=rf"{rule}; found resnet50\. .*weights=imagenet.*weights=random"):
        WEIGHTS.digest(architecture("resnet50"))
    with pytest.raises(WeightsError, match=rf"{rule}; found pseudo_vgg") as raised:
        WEIGHTS.build(architecture("pseudo_vgg"))
    assert "imagenet" not in str(raised.value)  # torchvision has no such weights either


def test_weights_of_another_width_are_refused():
    whole = replace(architecture("resnet50_half"), builder=torchvision.models.resnet50)
    with pytest.raises(
        WeightsError, match=r"`weights` should fit resnet50_half; found of another shape: layer1\.0\."
    ):
        WEIGHTS.build(whole)
