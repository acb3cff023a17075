"""The training loop: what it computes, how it resumes, and what stops it."""

import copy
import shutil

import pytest
import torch
from torch import nn

from experiments.building import build
from experiments.config import Config
from swag_repro.errors import DataError, SettingError, TrainingError
from swag_repro.networks import Architecture
from swag_repro.networks.architecture import scale_shortcuts
from swag_repro.networks.small import small_resnet
from swag_repro.training import (
    ClassifierLoop,
    ClassifierRecipe,
    Machine,
    Preparation,
    World,
    labelled_folder,
)
from swag_repro.training.loop import outputs_loss
from tests.parts import settings

RECIPE = {
    "epochs": 3, "batch_size": 8, "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4,
    "schedule": "one_cycle", "warmup": 0.25, "label_smoothing": 0.1, "clip": None,
}  # fmt: skip
PAD = Preparation(size=16, crop="pad", flip=True)
NETWORK = {
    "width": 4, "units": 1, "unit": "basic", "batchnorm": True, "downsampling": "stride", "leak": 0.0, "num_classes": 3,
}  # fmt: skip


class Greedy(nn.Module):
    """Wants more memory than there is, of the real allocator."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return torch.empty(2**60, dtype=torch.uint8) + x.sum() * self.weight


class Dropping(nn.Module):
    """Draws random numbers itself."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(3 * 16 * 16, 3))

    def forward(self, x):
        return self.layers(x)


def architecture(builder):
    return Architecture(
        name="tiny", label="tiny", builder=builder, taps={"a": "a"}, style_taps=["a"], content_tap="a", statistic_taps=["a"],
    )  # fmt: skip


def machine(**settings):
    alone = {
        "device": torch.device("cpu"),
        "precision": "float32",
        "compiled": False,
        "workers": 0,
        "world": World(),
    }
    return Machine(**{**alone, **settings})


def training(path, network=None, *, seed=0, kept=True, on=None, **recipe):
    torch.manual_seed(seed)
    network = network or small_resnet(**NETWORK)
    return ClassifierLoop(
        network, architecture(lambda: network), labelled_folder(path=str(path)), PAD, ClassifierRecipe(**{**RECIPE, **recipe}),
        seed=seed, machine=on or machine(), kept=kept,
    )  # fmt: skip


def weights(trained):
    return copy.deepcopy(trained.network.state_dict())


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_it_learns(colors):
    trained = training(colors)
    before = trained.test()
    for _ in trained:
        pass
    after = trained.test()
    assert trained.done == trained.steps == 3 * 6
    assert before.images == after.images == 24
    assert after.accuracy > 0.9 > before.accuracy
    assert after.loss < before.loss
    assert trained.fitted().accuracy > 0.9


def test_the_scores_are_those_of_the_images(colors):
    trained = training(colors)
    dataset = labelled_folder(path=str(colors)).test
    trained.network.eval()
    pixels = torch.stack([PAD.read(dataset[index][0]) for index in range(24)]) / 255
    logits = trained.network((pixels - trained.mean) / trained.std).detach()
    ranks = torch.tensor([dataset[index][1] for index in range(24)])
    score = trained.test()
    assert score.accuracy == pytest.approx(float((logits.argmax(1) == ranks).float().mean()))
    assert score.loss == pytest.approx(float(nn.functional.cross_entropy(logits, ranks)), rel=1e-5)


@pytest.mark.parametrize("network", [None, Dropping], ids=["resnet", "dropout"])
@pytest.mark.parametrize("stop", [1, 6, 11])
def test_an_interrupted_training_ends_with_the_same_weights(colors, network, stop):
    def begun():
        torch.manual_seed(1)
        return training(colors, network() if network else None)

    whole = begun()
    for _ in whole:
        pass
    first = begun()
    next(step for step in first if step == stop)
    state = copy.deepcopy(first.state())
    second = begun()
    second.load_state(state)
    steps = list(second)
    assert steps == list(range(stop + 1, whole.steps + 1))
    assert same(weights(second), weights(whole))
    assert second.running() == whole.running()


def test_workers_and_memory_change_nothing(colors):
    ends = []
    for kept, workers in ((True, 0), (False, 0), (False, 2)):
        trained = training(colors, kept=kept, on=machine(workers=workers), epochs=1)
        list(trained)
        ends.append(weights(trained))
    assert same(ends[0], ends[1])
    assert same(ends[0], ends[2])


def test_seeds_change_the_end(colors):
    one, other = training(colors, epochs=1), training(colors, epochs=1)
    other.network.load_state_dict(one.network.state_dict())
    other.images.seed, other.order = 5, other.order
    list(one), list(other)
    assert not same(weights(one), weights(other))


def test_one_step_is_that_of_sgd(colors):
    trained = training(
        colors, epochs=1, schedule="cosine", warmup=0.5, nesterov=False, momentum=0.0, weight_decay=0.0
    )
    by_hand = copy.deepcopy(trained.network).train()
    lr = trained.lr
    batch = trained.images
    keys = next(iter(trained.order))
    items = [batch[key][1] for key in keys]
    pixels = (torch.stack([image for image, _ in items]) / 255 - trained.mean) / trained.std
    ranks = torch.tensor([rank for _, rank in items])
    nn.functional.cross_entropy(by_hand(pixels), ranks, label_smoothing=0.1).backward()
    next(iter(trained))
    for moved, still in zip(trained.network.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(moved, still - lr * still.grad, rtol=1e-4, atol=1e-7)


def test_idle_projections_are_not_trained(colors):
    network = small_resnet(**NETWORK)
    scale_shortcuts(network, 0)
    before = {key: value.clone() for key, value in network.state_dict().items() if "downsample" in key}
    trained = training(colors, network, epochs=1)
    list(trained)
    after = trained.network.state_dict()
    assert before
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_schedules_rise_to_lr_and_fall_to_nothing(schedule):
    recipe = ClassifierRecipe(**{**RECIPE, "schedule": schedule, "lr": 0.4})
    optimizer = recipe.optimizer(nn.Linear(2, 2))
    scheduler = recipe.scheduler(optimizer, 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.4, rel=0.01)
    assert 20 <= top <= 30
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[0] == pytest.approx(0.016)
    assert rates[-1] < 0.001
    shares = (0.125, 0.25, 0.625, 1.0)
    assert [recipe.part_of_lr(share) for share in shares] == pytest.approx([0.52, 1, 0.5, 0])


def test_auxiliary_classifiers_count_a_third():
    logits, classes = torch.randn(3, 4, 5), torch.tensor([0, 1, 2, 3])
    loss = nn.CrossEntropyLoss()
    one, two, three = (loss(each, classes) for each in logits)
    assert outputs_loss(loss, (logits[0], logits[1], None), classes) == pytest.approx(float(one + 0.3 * two))
    assert outputs_loss(loss, tuple(logits), classes) == pytest.approx(float(one + 0.3 * (two + three)))


def test_a_training_that_diverges_says_where(colors):
    trained = training(colors, lr=1e20, warmup=0.0)
    message = r"NaN or infinity by step \d+ of \d+\. Choose a smaller recipe.lr"
    with pytest.raises(TrainingError, match=message):
        [trained.running() for _ in trained]


def test_out_of_memory_names_the_batch(colors):
    with pytest.raises(TrainingError, match=r"`recipe.batch_size` .* found 8 images .*allocate memory"):
        next(iter(training(colors, Greedy())))


def test_clipping_bounds_the_step(colors):
    trained = training(colors, epochs=1, clip=0.1, momentum=0.0, nesterov=False, weight_decay=0.0)
    before, lr = [parameter.clone() for parameter in trained.network.parameters()], trained.lr
    next(iter(trained))
    moved = sum(
        float((a - b).detach().square().sum())
        for a, b in zip(trained.network.parameters(), before, strict=True)
    )
    assert moved**0.5 == pytest.approx(0.1 * lr, rel=0.01)


def test_unreadable_images_are_left_out_and_counted_up_to_one_in_a_hundred(colors, tmp_path):
    copied = shutil.copytree(colors, tmp_path / "copy")
    for index in range(60):
        source = copied / "train" / "red" / f"{index % 16:03}.png"
        shutil.copy(source, copied / "train" / "red" / f"more{index}.png")
    (copied / "train" / "blue" / "003.png").write_bytes(b"damaged")
    trained = training(copied, epochs=1, batch_size=27)
    list(trained)
    assert trained.unreadable == {3}
    assert trained.running().images == 107
    for index in range(4, 8):
        (copied / "train" / "blue" / f"{index:03}.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"at most 1% unreadable images; found \d of 108, such as number"):
        list(training(copied, epochs=1, batch_size=27))


def test_bfloat16_trains(colors):
    trained = training(colors, on=machine(precision="bfloat16"))
    list(trained)
    assert trained.test().accuracy > 0.9
    assert all(value.dtype != torch.bfloat16 for value in weights(trained).values())


def test_a_batch_larger_than_the_data(colors):
    with pytest.raises(DataError, match="should be at most the number of images, 48"):
        training(colors, batch_size=49)


BAD = {"epochs": 0, "batch_size": 0, "lr": 0.0, "momentum": 1.0, "weight_decay": -1.0, "warmup": 1.0, "label_smoothing": 1.0, "clip": 0.0, "schedule": "step"}  # fmt: skip


@pytest.mark.parametrize("setting", BAD)
def test_recipes_are_checked(setting):
    with pytest.raises(SettingError, match=f"`recipe.{setting}` should be"):
        ClassifierRecipe(**{**RECIPE, setting: BAD[setting]})


@pytest.mark.parametrize("name", ["small", "imagenet"])
def test_the_recipes_of_conf_are_recipes(name):
    assert isinstance(build(Config(settings(f"recipe/{name}"), "recipe")), ClassifierRecipe)
