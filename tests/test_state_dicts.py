"""Checkpoints as users have them: each loads like the plain state dict, or its error names the remedy."""

import argparse
import re
import shlex
import subprocess
import sys
from collections import OrderedDict
from functools import partial

import pytest
import torch
from torch import nn

from swag_repro.errors import WeightsError
from swag_repro.networks import Architecture
from swag_repro.weights import FileWeights


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)


class Small(nn.Module):
    """Names as in VGG, a DenseNet and a ResNet at once."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.denselayer1 = Layer()
        self.fc = nn.Linear(4, 10)


torch.manual_seed(0)
PLAIN = Small().state_dict()
OTHER = {key: value + 1 for key, value in PLAIN.items()}
BODY = {key: value for key, value in PLAIN.items() if not key.startswith("fc.")}
ADAM = {"state": {0: {"exp_avg": torch.zeros(4), "step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
OLD = {
    re.sub(r"(norm|conv)1\.", r"\1.1.", key): value
    for key, value in PLAIN.items()
    if "num_batches" not in key
}


def prefixed(prefix, state=PLAIN):
    return OrderedDict((prefix + key, value) for key, value in state.items())


CHECKPOINTS = {
    "plain": PLAIN,
    "DataParallel": prefixed("module."),
    "torch.compile": prefixed("_orig_mod."),
    "both": prefixed("_orig_mod.module."),
    "a prefix": prefixed("model."),
    "a prefix of several parts": prefixed("net.encoder.body."),
    "a backbone without head": prefixed("backbone.", BODY),
    "a backbone with another head": {**prefixed("backbone.", BODY), "head.weight": torch.zeros(3, 4)},
    "features in DataParallel": {key.replace("features.", "features.module."): v for key, v in PLAIN.items()},
    "in a key": {"model": PLAIN, "optimizer": ADAM, "epoch": 5, "best": 0.5},
    "in another key": {"model_state_dict": PLAIN, "optimizer_state_dict": ADAM, "loss": torch.tensor(0.1)},
    "net": {"net": PLAIN, "acc": 93.2},
    "ImageNet's example": {"state_dict": prefixed("module."), "epoch": 90, "arch": "resnet18"},
    "Lightning": {
        "state_dict": {**prefixed("model."), "criterion.weight": torch.ones(10)},
        "hyper_parameters": {"lr": 0.1},
        "optimizer_states": [ADAM],
    },
    "contrastive": {"state_dict": prefixed("module.encoder_q.", BODY)},
    "names of old DenseNets": OLD,
    "old names in a checkpoint": {"state_dict": prefixed("module.", OLD)},
    "timm's heads": {**BODY, "head.fc.weight": torch.zeros(3, 4), "pre_logits.fc1.weight": torch.zeros(3)},
    "one of two": {"model": PLAIN, "model_ema": {"conv.weight": torch.zeros(3)}},
}


def architecture(builder=Small):
    return Architecture(
        name="small", label="Small", builder=builder, taps={"conv1": "features"}, style_taps=["conv1"],
        content_tap="conv1", statistic_taps=["conv1"], head=["fc"],
    )  # fmt: skip


def loaded(path, content, **settings):
    torch.save(content, path)
    return FileWeights(path=str(path), **settings).build(architecture()).state_dict()


def same(state, other=PLAIN):
    return all(
        torch.equal(state[key], value)
        for key, value in other.items()
        if not key.startswith("fc.") and "num_batches" not in key
    )


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_state_dict_is_found(tmp_path, kind):
    assert same(loaded(tmp_path / "c.pth", CHECKPOINTS[kind]))


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"model": PLAIN, "model_ema": OTHER}, ("model", "model_ema")),
        ({"state_dict": {**prefixed("q."), **prefixed("k.", OTHER)}}, ("state_dict.q", "state_dict.k")),
        ({**PLAIN, **prefixed("ema.", OTHER)}, (".", "ema")),
    ],
)
def test_of_several_one_is_asked_for(tmp_path, content, names):
    path = tmp_path / "c.pth"
    with pytest.raises(
        WeightsError, match=rf"`weights.part` should be one of {', '.join(names)}; found none"
    ):
        loaded(path, content)
    with pytest.raises(WeightsError, match=rf"should be one of {', '.join(names)}; found nothing"):
        loaded(path, content, part="nothing")
    if names[0] != ".":
        assert same(loaded(path, content, part=names[0]))
    assert same(loaded(path, content, part=names[1]), OTHER)
    digests = {FileWeights(path=str(path), part=part).digest(architecture()) for part in (None, *names)}
    assert len(digests) == 3


def test_another_network_in_a_checkpoint_is_told_by_its_names(tmp_path):
    content = {"model": {"features.0.weight": PLAIN["features.0.weight"]}, "optimizer": ADAM}
    with pytest.raises(WeightsError, match="should fit small; found missing: features.0.bias"):
        loaded(tmp_path / "c.pth", content)
    with pytest.raises(WeightsError, match="unexpected: layer9.weight"):
        loaded(tmp_path / "c.pth", prefixed("module.", {**PLAIN, "layer9.weight": torch.ones(2)}))


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"model": PLAIN, "args": argparse.Namespace(lr=0.1)}, "argparse.Namespace"),
        (nn.Sequential(OrderedDict(features=nn.Linear(2, 2))), "torch.nn.modules.container.Sequential"),
        ({"model": nn.Linear(2, 2), "epoch": 3}, "torch.nn.modules.linear.Linear"),
    ],
)
def test_classes_are_named_and_the_printed_line_saves_the_file_anew(tmp_path, content, named, old_format):
    path = tmp_path / "it's mine.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    weights = partial(FileWeights, path=str(path))
    with pytest.raises(WeightsError, match=named) as error:
        weights().build(architecture())
    message = str(error.value)
    line = shlex.split(message[message.index("python -c") :])
    if old_format or isinstance(content, dict):
        exec(line[2], {})
    else:  # one as it is typed
        subprocess.run([sys.executable, *line[1:]], check=True, timeout=300)
    anew = torch.load(tmp_path / "it's mine_tensors.pth", weights_only=True)
    whole = content.get("model") if isinstance(content, dict) else content
    expected = whole if isinstance(whole, dict) else whole.state_dict()
    assert anew.keys() == expected.keys()
