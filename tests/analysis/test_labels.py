"""Names are for people: different settings never share one."""

from __future__ import annotations

import itertools

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import labels
from analysis.tables.runs import frame, line_numbers, swept, typed

TEMPERATURES = st.sampled_from([1, 2.0, 0.1234567, 0.12345678, "peak/2"])
VALUES = {
    "network.name": st.sampled_from(["resnet50", "vgg19", "resnet50_before_relu"]),
    "network.shortcut": st.sampled_from([None, 0, 0.5, 1]),
    "weights.name": st.sampled_from(["random", "imagenet", "file"]),
    "weights.seed": st.sampled_from([None, 0, 1]),
    "smoothing.name": st.sampled_from(["none", "softmax", "power"]),
    "smoothing.temperature": TEMPERATURES,
    "objective.name": st.sampled_from(["gram", "bn"]),
    "objective.style_weight": st.sampled_from([1, 1.0, 10, 1e6, 1000001]),
    "objective.tap_weights": st.sampled_from([1, [1, 2], [1.0, 2.0], "1", True]),
    "start": st.sampled_from([None, "null", "content", "true", "1"]),
    "steps": st.integers(1, 3),
}
NAMES = {"resnet50": "ResNet-50", "resnet50_before_relu": "ResNet-50", "vgg19": "VGG-19"}
CONFIGS = st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=6)


def runs(configs: list[dict[str, object]]) -> pd.DataFrame:
    core = {"run_id": "", "experiment": "stylize", "state": "missing", "path": ""}
    settings_of_rows = [
        {**core, **config, "network.label": NAMES[str(config["network.name"])], "objective.label": "Loss"}
        for config in configs
    ]
    return frame(typed(settings_of_rows, [*VALUES, "network.label", "objective.label"]))


@settings(max_examples=40)
@given(CONFIGS)
def test_different_settings_never_share_a_label(configs: list[dict[str, object]]) -> None:
    made = runs(configs)
    for shown in ([], ["weights.seed"], ["smoothing", "network.shortcut"]):
        numbers, names = line_numbers(made, shown), labels.label(made, shown)
        for one, other in itertools.combinations(made.index, 2):
            assert (numbers[one] == numbers[other]) == (names[one] == names[other])


@settings(max_examples=40)
@given(CONFIGS)
def test_what_was_swept_tells_all_runs_apart(configs: list[dict[str, object]]) -> None:
    made = runs(configs)
    every = made[list(VALUES)].astype(str).agg(tuple, axis=1)
    columns = swept(made)
    some = made[columns].astype(str).agg(tuple, axis=1) if columns else pd.Series(0, index=made.index)
    assert every.nunique() == some.nunique()


def test_a_temperature_that_was_swept_stands_behind_the_mark() -> None:
    config = dict.fromkeys(VALUES) | {
        "network.name": "resnet50", "weights.name": "random", "smoothing.name": "softmax", "network.shortcut": 1
    }  # fmt: skip
    made = runs([config | {"smoothing.temperature": temperature} for temperature in (1, 2)])
    assert swept(made) == ["smoothing.temperature"]
    assert labels.label(made).tolist() == ["r-ResNet-50* (T = 1)", "r-ResNet-50* (T = 2)"]
    assert labels.label(made, ["smoothing"]).tolist() == ["r-ResNet-50"] * 2


def test_an_arm_and_a_loss_stand_side_by_side_where_both_differ() -> None:
    config = dict.fromkeys(VALUES) | {"network.name": "resnet50", "weights.name": "random"}
    made = runs(
        [config | {"objective.name": loss, "steps": steps} for loss in ("gram", "bn") for steps in (1, 2)]
    )
    made["objective.label"] = made["objective.name"].map({"gram": "Gram", "bn": "BN"})
    made["arm.label"] = made["steps"].map({1: "plain", 2: "SWAG"})
    assert labels.label(made, ["steps"]).tolist() == ["Gram, plain", "Gram, SWAG", "BN, plain", "BN, SWAG"]
    same = made[made["steps"] == 2]
    assert labels.label(same, ["arm", "steps"]).tolist() == ["Gram", "BN"]


def test_types_of_columns() -> None:
    rows = [
        {"run_id": "a", "experiment": "e", "state": "finished", "path": "p"} | columns
        for columns in (
            {"int": 1, "float": 1, "list": [1.0], "mixed": 1, "flag": True, "text": "x"},
            {"int": None, "float": 0.5, "list": [1, 2], "mixed": "auto", "flag": None, "text": None},
        )
    ]
    table = typed(rows, ["int", "float", "list", "mixed", "flag", "text", "nothing"])
    assert [str(table.schema.field(name).type) for name in table.schema.names[-7:]] == [
        "int64", "double", "string", "string", "bool", "string", "string",
    ]  # fmt: skip
    assert table["list"].to_pylist() == ["[1]", "[1, 2]"]
    assert table["mixed"].to_pylist() == ["1", "auto"]
