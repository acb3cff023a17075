"""The figure of networks at initialisation, and the table that says what they are made of."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import t
from torch import nn
from torchvision.ops import StochasticDepth

from analysis.figures import zoo
from experiments.asking import compose_cells
from experiments.building import build
from experiments.show_network import settings_of
from swag_repro.networks import Architecture
from swag_repro.networks.layouts import without_values
from tests.analysis.made import Outputs

OVERRIDES = [
    "experiment=zoo",
    "network=resnet50,noresnet50,shufflenet_v2_x0_5,convnext_tiny,maxvit_t",
    "weights.seed=0,1",
]
FACTORS = pd.read_csv(Path(zoo.__file__).with_name("zoo.csv"), index_col="network", keep_default_na=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> zoo.Zoo:
    root = Outputs.of(tmp_path_factory.mktemp("zoo"), OVERRIDES, "measure_activations").root
    return zoo.load(OVERRIDES, root, partial=False)


def test_growth_is_that_of_the_mean_maximum_from_first_layer_to_last(data: zoo.Zoo) -> None:
    growth = data.table[data.table["measure"] == "growth"].set_index(
        ["network.name", "batchnorm", "weights.seed"]
    )
    # made.number: each layer is 1 + λ times the one before, or half of it where there is no λ.
    assert growth.loc[("resnet50", "eval", 0), "value"] == pytest.approx(4 * math.log2(2))
    assert growth.loc[("noresnet50", "batch", 1), "value"] == pytest.approx(0)
    assert growth.loc[("convnext_tiny", "eval", 1), "value"] == pytest.approx(-3)
    assert len(growth) == 5 * 2 * 2


def test_a_maximum_that_is_not_positive_has_no_growth() -> None:
    rows = pd.DataFrame(
        [
            {
                "cell": 0,
                "statistic": statistic,
                "position": position,
                "value": value,
                "quantity": "activation",
                "definition": None,
            }
            for statistic in ("maximum", "max_over_rms")
            for position, value in ((1, 2.0), (2, 0.0))
        ]
    )
    values = zoo.measures(rows).set_index("measure")["value"]
    assert values[["growth", "rms_growth", "peak_growth"]].isna().all()


def of_networks(growth: dict[str, float], kinds: dict[str, str]) -> pd.DataFrame:
    """Return rows of these networks, a family each unless the name has a number behind a dot."""
    return pd.DataFrame(
        {"batchnorm": "eval", "measure": "growth", "network.name": name, "value": value,
         "family": name.partition(".")[0], "made_of": kinds[name.partition(".")[0]]}
        for name, value in growth.items()
    )  # fmt: skip


def test_families_are_the_units_of_contrasts() -> None:
    kinds = {"a": "sum", "b": "sum, then ReLU", "c": "none", "d": "concatenation"}
    table = of_networks({"a.1": 2, "a.2": 4, "b": 5, "c": 1, "d": 2}, kinds)
    [first, *others] = zoo.contrasts(table).to_dict("records")
    assert first["mean"] == pytest.approx((3 + 5) / 2 - (1 + 2) / 2)
    assert (first["families"], first["families_against"]) == (2, 2)
    assert not others  # no side has two families of one kind of sums
    # Welch's by hand: variances 2 and 0.5 over two families each
    error, freedom = math.sqrt(2 / 2 + 0.5 / 2), (2 / 2 + 0.5 / 2) ** 2 / ((2 / 2) ** 2 + (0.5 / 2) ** 2)
    half = error * t.ppf(0.975, freedom)
    assert (first["low"], first["high"]) == pytest.approx((2.5 - half, 2.5 + half))
    swapped = dict(zip("abcd", ("none", "concatenation", "sum", "sum, then ReLU"), strict=True))
    turned = zoo.contrasts(
        of_networks(dict(zip(table["network.name"], table["value"], strict=True)), swapped)
    )
    assert turned.loc[0, "mean"] == pytest.approx(-2.5)


def test_growth_that_is_all_scale_is_explained_by_it() -> None:
    kinds = dict.fromkeys("abc", "none")
    growth, flat = {"a": 1.0, "b": 2.0, "c": 4.0}, {"a": 0.1, "b": -0.1, "c": 0.0}
    parts = {"growth": growth, "rms_growth": growth, "peak_growth": flat}
    table = pd.concat(of_networks(values, kinds).assign(measure=name) for name, values in parts.items())
    found = zoo.explained(table).set_index("part")
    assert found.loc["rms_growth", "correlation"] == pytest.approx(1)
    assert abs(found.loc["peak_growth", "correlation"]) < 0.5
    assert (found["networks"] == 3).all()


def test_networks_are_ranked_and_coloured_by_what_they_are_made_of(data: zoo.Zoo) -> None:
    pages = zoo.make(data)
    assert list(pages) == ["", "_batch"]
    first = pages[""].axes[0]
    names = [label.get_text() for label in first.get_yticklabels()]
    assert names[-1] == "ResNet-50"
    assert names[-2] == "NoResNet"
    marks = {line.get_ydata()[0]: line for line in first.get_lines() if len(line.get_xdata()) == 1}
    kinds = {name: (marks[row].get_color(), marks[row].get_marker()) for row, name in enumerate(names)}
    assert kinds["ResNet-50"] == (zoo.COLORS["sum, then ReLU"], "s")
    assert kinds["NoResNet"] == (zoo.COLORS["none"], "s")
    assert kinds["shufflenet_v2_x0_5"] == (zoo.COLORS["concatenation"], "s")
    assert kinds["convnext_tiny"] == (zoo.COLORS["sum"], "D")
    assert kinds["maxvit_t"] == (zoo.COLORS["unknown"], "x")


def test_the_numbers_are_written_with_what_the_networks_are_made_of(
    data: zoo.Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)
    zoo.save(zoo.make(data), data, tmp_path, "zoo")
    written = pd.read_csv(tmp_path / "zoo.csv")
    assert {"network.name", "measure", "value", "images", "run_id", *zoo.FACTORS} <= set(written)
    assert written["family"].value_counts()["ConvNeXt"] == 4 * (
        4 + 2
    )  # four runs; the panels and the two parts of the growth


def test_the_table_has_each_network_of_the_experiment_once() -> None:
    networks = [
        cell.config["network"]["name"]
        for cell in compose_cells(
            ["experiment=zoo", "weights.seed=0", "batchnorm=eval"], "measure_activations"
        )
    ]
    assert networks == list(dict.fromkeys(networks))
    assert set(networks) == set(FACTORS.index)
    assert len(networks) >= 40
    assert FACTORS["family"].nunique() >= 12
    assert list(FACTORS) == zoo.FACTORS


NORMS = {"batch": nn.BatchNorm2d, "layer": nn.LayerNorm}
ACTIVATIONS = {
    "ReLU": nn.ReLU,
    "ReLU6": nn.ReLU6,
    "Hardswish": nn.Hardswish,
    "SiLU": nn.SiLU,
    "GELU": nn.GELU,
}


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize("family", sorted(FACTORS["family"].unique()))
def test_what_modules_tell_of_a_network_the_table_says(family: str) -> None:
    for name, factors in FACTORS[FACTORS["family"] == family].iterrows():
        network = without_values(build(settings_of(str(name)), Architecture).build)
        kinds = {type(module) for module in network.modules() if not any(True for _ in module.children())}
        norms = {norm for norm, kind in NORMS.items() if any(issubclass(one, kind) for one in kinds)}
        assert norms == {factors["normalisation"]} - {"none"}, name
        if family != "Inception" and "ResNet" not in family:  # functions, or one of several
            assert ACTIVATIONS[factors["activation"]] in kinds, name
        assert any(kind is StochasticDepth for kind in kinds) == (
            family in ("ConvNeXt", "EfficientNet", "Swin")
        ), name
        scaled = any(key.endswith("layer_scale") for key in network.state_dict())
        assert scaled == (factors["branch_scale"] != "no"), name
