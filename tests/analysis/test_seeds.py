"""Figures of trainings and of residual units: what stands in their axes and tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.figures import seeds
from tests.analysis.drawn import assert_legible, caption, legend
from tests.analysis.made import Outputs, accuracy

FAMILY = [
    "experiment=family",
    "network=small_residual,small_no_shortcut",
    "weights.seed=0,1",
    "recipe.epochs=4",
]


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> seeds.Lines:
    made = Outputs.of(tmp_path_factory.mktemp("trainings"), FAMILY, "train_classifier")
    return seeds.load(FAMILY, made.root, partial=False, entry="train_classifier")


def by_label(axis: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in axis.get_lines()}


def config(shortcut: float, seed: int) -> dict:
    return {"network": {"shortcut": shortcut}, "seed": seed}


class TestTrainings:
    def test_lines_are_means_over_seeds(self, trainings: seeds.Lines) -> None:
        drawn = seeds.make(trainings)
        assert legend(drawn) == ["small ResNet", "small NoResNet"]
        held_out = by_label(drawn.axes[0])
        for name, shortcut in (("small ResNet", 1), ("small NoResNet", 0)):
            x, y = held_out[name].get_data()
            assert x.tolist() == [1, 2, 3, 4]
            expected = [
                sum(accuracy(config(shortcut, seed), epoch, "test") for seed in (0, 1)) / 2
                for epoch in (1, 2, 3, 4)
            ]
            assert y == pytest.approx(expected)
        assert "2 seeds; bands: lowest to highest seed" in caption(drawn)
        assert_legible(drawn)

    def test_the_table_of_ends(self, trainings: seeds.Lines) -> None:
        ends = trainings.written["_ends"].set_index("label")
        for name, shortcut in (("small ResNet", 1), ("small NoResNet", 0)):
            both = pd.Series([accuracy(config(shortcut, seed), 4, "test") for seed in (0, 1)])
            row = ends.loc[name]
            assert row["seeds"] == 2
            assert row["test_accuracy_mean"] == pytest.approx(both.mean())
            assert row["test_accuracy_std"] == pytest.approx(both.std())
            fitted = sum(accuracy(config(shortcut, seed), 4, "fitted") for seed in (0, 1)) / 2
            assert row["train_accuracy_mean"] == pytest.approx(fitted)
            reached = [
                next(
                    epoch for epoch in (1, 2, 3, 4) if accuracy(config(shortcut, seed), epoch, "train") >= 0.7
                )
                for seed in (0, 1)
            ]
            assert row["epochs_to_0.7_mean"] == pytest.approx(sum(reached) / 2)


def test_units_are_means_over_images(tmp_path: Path) -> None:
    overrides = ["experiment=whack_a_mole", "network=small_residual,small_leaky_relu"]
    root = Outputs.of(tmp_path, overrides, "measure_units").root
    drawn = seeds.make(seeds.load(overrides, root, partial=False, entry="measure_units"))
    names = ["r-small ResNet", "p-small ResNet", "r-small ResNet, LeakyReLU", "p-small ResNet, LeakyReLU"]
    assert sorted(legend(drawn)) == sorted(names)
    shares = by_label(drawn.axes[0])
    assert shares["r-small ResNet"].get_data()[1] == pytest.approx([0.2, 0.3, 0.4, 0.5])
    assert shares["p-small ResNet"].get_data()[1] == pytest.approx([0.1, 0.15, 0.2, 0.25])
    assert_legible(drawn)
