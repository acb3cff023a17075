"""A run id changes with every setting that decides the result, and with no other setting."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.science import LATER, NOT_SCIENCE, NOT_SCIENCE_OF, scientific
from swag_repro.errors import SettingError
from swag_repro.runs.identity import Identity, leaves

CONFIG = {
    "network": {
        "name": "resnet50",
        "label": "ResNet-50",
        "builder": {"_target_": "torchvision.models.resnet50"},
        "taps": {"conv1": "relu", "conv5_3": "layer4.2"},
        "statistic_taps": ["conv1", "conv5_3"],
    },
    "weights": {"name": "file", "path": "/data/resnet50.pth", "sha256": None, "seed": 0},
    "smoothing": {"name": "softmax", "temperature": 1.0},
    "images": {
        "name": "mine",
        "path": "/data/images",
        "source": {"_target_": "swag_repro.images.folder", "path": "/data/images", "limit": None},
        "size": 256,
    },
    "tracking": {"mode": "offline", "tags": []},
    "sweep": {"failed": "retry", "workers": None},
    "compute": {"device": "cpu", "batch_size": 8, "threads": 2},
    "batchnorm": "eval",
    "precision": "float32",
    "name": "fig3",
    "output": "outputs",
    "force": False,
    "progress": True,
}

# Ids in users' output folders: a change here would compute every finished run again.
FROZEN = [
    (Identity("measure_activations", 1, {}, {}), "d79231441b104089"),
    (Identity("measure_activations", 2, {}, {}), "001a05144431c6d1"),
    (
        Identity("measure_activations", 1, {"seed": 0, "size": 256}, {"content/astronaut": "0a" * 32}),
        "2fd7f1ca98b6bbb5",
    ),
    (
        Identity("stylise", 1, {"weight": 0.1, "loss": None, "größe": [1, True]}, {}, "ff" * 32),
        "1295fc9f4c6dfe7e",
    ),
    (
        Identity(
            "measure_activations", 1, scientific(CONFIG, "measure_activations"), {"style/gouache": "1b" * 32}
        ),
        "74b76f378b581a0c",
    ),
]


# Settings that only a stylisation has.
STYLIZE = CONFIG | {
    "entry": "stylize",
    "arm": "swag",
    "save": "out.png",
    "content": "a.jpg",
    "style": "b.jpg",
    "masks": ["c.png"],
    "style_weights": [1.0],
    "objective": {"name": "bn", "label": "BN", "style_weight": 5.0},
    "optimizer": {"lr": 1.0},
    "keep": {"checkpoint_seconds": 60},
    "execution": {
        "fold_batchnorm": True, "in_place": True, "channels_last": True, "checkpoints": 0, "autocast": None,
    },
    "measures": {"weights": {"name": "file", "path": "/data/vgg19.pth", "sha256": None, "part": None}},
    "weights": {**CONFIG["weights"], "part": None, "output": "outputs", "folder": None, "run": None},
}  # fmt: skip


LEAVES = list(leaves(STYLIZE, "."))


def changed(config: dict, key: str, value: object = "something else") -> dict:
    first, _, rest = key.partition(".")
    return {**config, first: changed(config[first], rest, value) if rest else value}


def is_science(key: str) -> bool:
    left_out = NOT_SCIENCE | NOT_SCIENCE_OF["stylize"]
    return not any(key == other or key.startswith(f"{other}.") for other in left_out)


def run_id(config: dict) -> str:
    return Identity("stylize", 1, scientific(config, "stylize"), {}).run_id


def shuffled(value: object, chance: random.Random) -> object:
    if not isinstance(value, dict):
        return value
    names = list(value)
    chance.shuffle(names)
    return {name: shuffled(value[name], chance) for name in names}


@pytest.mark.parametrize(("identity", "expected"), FROZEN)
def test_ids_never_change(identity, expected):
    assert identity.run_id == expected


@pytest.mark.parametrize("key", [key for key in LEAVES if is_science(key)])
def test_every_scientific_setting_changes_the_id(key):
    assert run_id(changed(STYLIZE, key)) != run_id(STYLIZE)


@pytest.mark.parametrize("key", [key for key in LEAVES if not is_science(key)])
def test_no_other_setting_changes_the_id(key):
    assert run_id(changed(STYLIZE, key)) == run_id(STYLIZE)


def test_a_batch_decides_what_is_optimised_and_not_what_is_measured():
    """Each image is measured by itself; a stylisation goes on from rounding that depends on its neighbours."""
    other = changed(CONFIG, "compute.batch_size", 3)
    assert scientific(other, "measure_activations") == scientific(CONFIG, "measure_activations")
    assert scientific(other, "stylize") != scientific(CONFIG, "stylize")


def test_every_excluded_key_is_tried_above():
    assert all(any(f"{leaf}.".startswith(f"{key}.") for leaf in LEAVES) for key in NOT_SCIENCE)


@pytest.mark.parametrize("key", sorted(LATER))
def test_a_setting_that_came_later_changes_no_id_until_it_is_given(key):
    given = changed(STYLIZE, key, {"seed": None})
    for empty in (None, {}, False):
        assert run_id(changed(STYLIZE, key, empty)) == run_id(STYLIZE)
    assert run_id(given) not in (run_id(STYLIZE), run_id(changed(STYLIZE, key, {"seed": 0})))


@given(st.randoms(use_true_random=False))
def test_order_of_keys_does_not_matter(chance):
    assert run_id(shuffled(CONFIG, chance)) == run_id(CONFIG)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0, -0.0), (10**17, 1e17), ((1, 2), [1.0, 2.0])])
def test_equal_settings_are_equal(one, other):
    assert json.dumps(scientific({"x": one}, "e")) == json.dumps(scientific({"x": other}, "e"))


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, None), (1, "1"), (2**53, 2**53 + 1), (0.1, 0.2)])
def test_different_settings_are_different(one, other):
    assert run_id({"x": one}) != run_id({"x": other})


def test_images_weights_and_version_change_the_id():
    identity = Identity("measure_activations", 1, {}, {"content/a": "00"}, "11")
    others = [
        replace(identity, experiment="stylise"),
        replace(identity, version=2),
        replace(identity, images={"content/a": "01"}),
        replace(identity, images={"style/a": "00"}),
        replace(identity, weights=None),
    ]
    assert len({other.run_id for other in (identity, *others)}) == 6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_settings_are_refused(value):
    with pytest.raises(SettingError, match=r"`smoothing\.temperature` should be a finite number"):
        scientific(changed(CONFIG, "smoothing.temperature", value), "e")
    with pytest.raises(ValueError, match="not JSON compliant"):
        _ = Identity("e", 1, {"x": value}, {}).run_id


def test_objects_are_refused():
    with pytest.raises(TypeError, match=r"`x\.0` should be a plain value; found object"):
        scientific({"x": [object()]}, "e")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), plain, max_size=4))
def test_json_gives_the_identity_back(config):
    identity = Identity("e", 1, scientific(config, "e"), {"content/ä": "00"}, None)
    again = Identity.from_json(identity.to_json())
    assert again == identity
    assert again.run_id == identity.run_id
    assert scientific(identity.config, "e") == identity.config
