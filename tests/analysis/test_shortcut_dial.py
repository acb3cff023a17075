"""λ tells lines apart; figures along λ, from tiny runs that the store has written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from analysis import labels, mechanism
from analysis.commands import main
from analysis.drawing import style
from analysis.figures import FIGURES, curve, dial, shortcut_dial_style
from analysis.tables import CellsError
from tests.analysis.drawn import assert_legible, box, by_label, caption, legend, words
from tests.analysis.made import PAIRS, Outputs, number

SCALES = [0.0, 0.5, 1.0]
SWEPT = "network.shortcut=0,0.5,1"  # fewer values than in the experiments, for quick tests
LAYERS = ["conv1", "conv2_3", "conv3_4", "conv4_6", "conv5_3"]
STATISTICS = (
    ("maximum", None),
    ("normalized_entropy", "softmax"),
    ("normalized_entropy", "linear"),
    ("max_over_rms", None),
)


class TestLabels:
    @pytest.mark.parametrize(
        ("network", "shortcut", "said"),
        [
            ("resnet50", 1, ""),
            ("resnet50", 1.0, ""),
            ("resnet50", 0.5, ", λ = 0.5"),
            ("resnet50", 0, ", λ = 0"),
            ("noresnet50", 0, ""),
            ("noresnet50", 1, ", λ = 1"),
            ("pseudo_resvgg", 1, ""),
            ("pseudo_vgg", 0.0, ""),
            ("vgg19", None, ""),
            ("somebodys", 1, ""),
            ("somebodys", 0.5, ", λ = 0.5"),
        ],
    )
    def test_a_scale_is_named_unless_it_is_the_networks_own(
        self, network: str, shortcut: float | None, said: str
    ) -> None:
        assert labels.shortcut_suffix(network, shortcut) == said


class TestScalesAreNeverPooled:
    SWEEP = ("network=resnet50", "network.shortcut=0,0.5,1", "smoothing=none", "weights=random")
    NAMES = ("r-ResNet-50, λ = 0", "r-ResNet-50, λ = 0.5", "r-ResNet-50")

    def test_curve(self, tmp_path: Path) -> None:
        overrides = [*self.SWEEP, "objective.style_weight=1,10"]
        Outputs.of(tmp_path, overrides, pairs=PAIRS[:1])
        curves = curve.load(overrides, tmp_path, partial=False)
        assert curves.table["label"].unique().tolist() == list(self.NAMES)
        drawn = curve.make(curves)
        assert len({bar.lines[0].get_color() for bar in drawn.axes[0].containers}) == 3

    def test_missing_cells_of_mechanism_are_told_with_their_command(self, tmp_path: Path) -> None:
        overrides = ["experiment=mechanism_style", "network=resnet50", "weights.seed=0", "arm=plain"]
        with pytest.raises(CellsError) as error:
            mechanism.load_mechanism(overrides, tmp_path, partial=False)
        assert f"swag stylize -m {' '.join(overrides)}" in str(error.value)

    def test_mechanism(self, tmp_path: Path) -> None:
        overrides = ["experiment=mechanism_style", *self.SWEEP[:2], "weights.seed=0", "arm=plain,softmax"]
        Outputs.of(tmp_path, overrides, pairs=PAIRS[:2])
        data = mechanism.load_mechanism(overrides, tmp_path, partial=False)
        assert list(data.networks.values()) == list(self.NAMES)
        gains = data.gains[(data.gains["content"] == "content1") & (data.gains["arm.name"] == "plain")]
        of_distance = gains[gains["measure"] == "style_distance"]["gain"]
        assert of_distance.tolist() == pytest.approx([math.log2(8 / 2)] * 3)

    def test_mechanism_needs_a_judge(self, tmp_path: Path) -> None:
        overrides = ["experiment=mechanism_style", "network=resnet50", "weights.seed=0", "arm=plain"]
        Outputs.of(tmp_path, overrides, pairs=PAIRS[:1], judged=False)
        with pytest.raises(CellsError, match=r"swag judge -m experiment=mechanism_style"):
            mechanism.load_mechanism(overrides, tmp_path, partial=False)


STATISTICAL = ["experiment=shortcut_dial", SWEPT]


@pytest.fixture(scope="module")
def statistics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Outputs.of(tmp_path_factory.mktemp("statistics"), STATISTICAL, "measure_activations").root


@pytest.fixture(scope="module")
def turned(statistics: Path) -> dial.Dial:
    return dial.load(STATISTICAL, statistics, partial=False, setting="network.shortcut")


class TestStatistics:
    def test_lines_are_means_over_images_and_seeds(self, turned: dial.Dial) -> None:
        axes = np.reshape(dial.make(turned).axes, (2, 4))
        assert [axis.get_ylabel() for axis in axes[:, 0]] == ["r-ResNet-50", "r-pseudo-ResVGG"]
        assert [axis.get_yscale() for axis in axes[0]] == ["log", "linear", "linear", "linear"]
        for row, network in zip(axes, ("resnet50", "pseudo_resvgg"), strict=True):
            for axis, (statistic, definition) in zip(row, STATISTICS, strict=True):
                lines = axis.get_lines()
                for position, line in enumerate(lines, start=1):
                    assert line.get_xdata().tolist() == [0, 1, 2]
                    configs = [cell_config(network, scale, seed) for scale in SCALES for seed in (0, 1, 2)]
                    values = np.array(
                        [
                            [number(config, image, position, "activation") for image in range(3)]
                            for config in configs
                        ]
                    )
                    values = values if statistic == "maximum" else values / (1 + values)
                    values = values / 2 if definition == "linear" else values
                    expected = np.full(3, 7.0) if "rms" in statistic else values.reshape(3, 9).mean(axis=1)
                    assert line.get_ydata() == pytest.approx(expected)
                assert len({line.get_color() for line in lines}) == 5

    def test_bands_span_the_seeds(self, turned: dial.Dial) -> None:
        band = dial.make(turned).axes[0].collections[4].get_paths()[0].vertices
        at_one = band[band[:, 0] == 2][:, 1]
        means = [2**5 * (1 + seed) * 2 for seed in (0, 1, 2)]  # the images' values are 1, 2 and 3 times this
        assert (at_one.min(), at_one.max()) == pytest.approx((min(means), max(means)))

    def test_words(self, turned: dial.Dial) -> None:
        drawn = dial.make(turned)
        assert legend(drawn) == LAYERS
        assert "Means over 3 images (short side 128 px) and 3 seeds; bands: lowest to highest" in caption(
            drawn
        )
        assert_legible(drawn)

    def test_missing_cells_are_told_with_their_command(self, statistics: Path) -> None:
        given = [STATISTICAL[0], "network=resnet50", "network.shortcut=0.1", "weights.seed=0"]
        with pytest.raises(CellsError) as error:
            dial.load(given, statistics, partial=False, setting="network.shortcut")
        assert f"swag measure -m {' '.join(given)}" in str(error.value)

    def test_a_network_without_shortcuts_has_no_dial(self, tmp_path: Path) -> None:
        overrides = ["experiment=shortcut_dial", "network=vgg19", "network.shortcut=null", "weights.seed=0"]
        root = Outputs.of(tmp_path, overrides, "measure_activations").root
        with pytest.raises(CellsError, match="should have network.shortcut; found vgg19"):
            dial.load(overrides, root, partial=False, setting="network.shortcut")

    def test_command(
        self, statistics: Path, tmp_path: Path, turned: dial.Dial, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(style, "DPI", 50)  # quicker
        drawing = ["figure", "shortcut_dial", SWEPT, "--output", str(statistics), "--results", str(tmp_path)]
        folder = tmp_path / "shortcut_dial"
        assert main(drawing) == 0
        first = {path: path.read_bytes() for path in folder.iterdir()}
        assert main(drawing) == 0
        assert {path: path.read_bytes() for path in folder.iterdir()} == first
        assert {path.name for path in folder.iterdir()} == {
            f"shortcut_dial.{end}" for end in ("png", "pdf", "csv", "provenance.json")
        }
        written = pd.read_csv(folder / "shortcut_dial.csv")
        assert len(written) == 2 * 3 * 3 * 5 * 4
        assert written["value"].tolist() == turned.table["value"].tolist()


class TestWords:
    """A setting without numbers has its values in the order of the sweep, by their names."""

    def ticks(self, drawn: Figure) -> list[str]:
        return [label.get_text() for label in drawn.axes[-1].get_xticklabels()]

    def test_initialisations(self, tmp_path: Path) -> None:
        overrides = [
            "experiment=initialisations", "weights.init=xavier_normal,torchvision,orthogonal", "weights.seed=0,1",
        ]  # fmt: skip
        Outputs.of(tmp_path, overrides, "measure_activations")
        made = dial.load(overrides, tmp_path, partial=False, setting="weights.init")
        drawn = dial.make(made)
        assert self.ticks(drawn) == ["xavier_normal", "torchvision", "orthogonal"]
        assert [axis.get_ylabel() for axis in np.reshape(drawn.axes, (2, 4))[:, 0]] == [
            "r-ResNet-50", "r-NoResNet",
        ]  # fmt: skip
        assert drawn.axes[0].get_lines()[0].get_xdata().tolist() == [0, 1, 2]
        assert_legible(drawn)

    def test_networks_stand_side_by_side_in_one_row(self, tmp_path: Path) -> None:
        overrides = ["experiment=chain", "network=resnet50,chain_stem,chain_width", "weights.seed=0,1"]
        Outputs.of(tmp_path, overrides, "measure_activations")
        made = dial.load(overrides, tmp_path, partial=False, setting="network.name")
        drawn = dial.make(made)
        assert len(drawn.axes) == 4
        assert self.ticks(drawn) == ["ResNet-50", "3×3 stem", "no widening"]
        conv1 = drawn.axes[0].get_lines()[0].get_ydata()
        with_shortcuts, without = (
            np.mean([(1 + seed) * (1 + image) for seed in (0, 1) for image in range(3)]) * base
            for base in (2, 0.5)
        )
        assert conv1.tolist() == pytest.approx([with_shortcuts, without, without])
        assert_legible(drawn)


STYLE = ["experiment=shortcut_dial_style", SWEPT, "weights.seed=0,1"]


@pytest.fixture(scope="module")
def stylized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Outputs.of(tmp_path_factory.mktemp("stylized"), STYLE, pairs=PAIRS[:3]).root


@pytest.fixture(scope="module")
def style_dial(stylized: Path) -> shortcut_dial_style.StyleDial:
    return shortcut_dial_style.load(STYLE, stylized, partial=False)


@pytest.fixture(scope="module")
def drawn(style_dial: shortcut_dial_style.StyleDial) -> Figure:
    return shortcut_dial_style.make(style_dial)


class TestStyle:
    def test_panels_are_means_over_pairs_and_seeds(self, drawn: Figure) -> None:
        axes = {str(axis.get_label()): axis for axis in drawn.axes}
        lines = {bar.get_label(): bar.lines[0] for bar in axes["style_distance"].containers}
        assert list(lines) == ["plain", "SWAG (T = peak/2)"]
        assert lines["plain"].get_xdata().tolist() == SCALES
        assert lines["plain"].get_ydata() == pytest.approx([2 + 3.5 * scale for scale in SCALES])
        assert lines["SWAG (T = peak/2)"].get_ydata() == pytest.approx([2] * 3)
        for bar in axes["deepest_share"].containers:
            assert bar.lines[0].get_ydata() == pytest.approx(SCALES)

    def test_intervals_hold_the_means(self, style_dial: shortcut_dial_style.StyleDial) -> None:
        of_distance = style_dial.points[style_dial.points["measure"] == "style_distance"]
        assert len(of_distance) == 2 * 3
        assert (of_distance["low"] < of_distance["mean"]).all()
        assert (of_distance["mean"] < of_distance["high"]).all()
        assert set(zip(of_distance["pairs"], of_distance["seeds"], strict=True)) == {(3, 2)}

    def test_pictures_of_the_first_seed_stand_in_their_row_and_column(
        self, style_dial: shortcut_dial_style.StyleDial, drawn: Figure
    ) -> None:
        axes = by_label(drawn)
        assert len(axes) == 2 * 3
        for arm in style_dial.data.arms:
            if arm.config["weights"]["seed"] != 0:
                continue
            name, scale = arm.config["arm"]["label"], arm.config["network"]["shortcut"]
            axis = axes[f"content0__painting/0__{name}__λ = {scale:g}"]
            shown = np.asarray(axis.get_images()[0].get_array())
            tables = style_dial.data.tables
            path = tables.root / tables.runs.loc[arm.index, "path"] / "images/0.png"
            assert (shown == np.asarray(Image.open(path))).all()
            assert axis.get_images()[0].get_interpolation() == "none"
            above = axes["content0__painting/0__SWAG (T = peak/2)__λ = 0"]
            assert (box(axis).y0 > box(above).y0) == (name == "plain")
            assert box(axis).x0 == box(axes[f"content0__painting/0__plain__λ = {scale:g}"]).x0
        columns = [box(axes[f"content0__painting/0__plain__λ = {scale:g}"]).x0 for scale in SCALES]
        assert columns == sorted(columns)

    def test_words(self, drawn: Figure) -> None:
        titles = [text for text in words(drawn) if text.startswith("λ =")]
        assert titles == ["λ = 0", "λ = 0.5", "λ = 1"]
        said = caption(drawn)
        assert said.startswith(
            "ReLU(R(F) + λF), the same weights at every λ. 1 of 3 pairs (128×128 px); r-ResNet-50;"
        )
        assert "Gram loss, content weight 0, style weight 1, balance sides, at most 40 steps" in said
        assert (
            "Sliced Wasserstein distance of luminance to the style (0: as the style) by vgg19(imagenet)."
            in said
        )
        assert "Panels: means over pairs and 2 seeds, and 95 % intervals" in said
        assert_legible(drawn)

    def test_changes_are_paired(self, style_dial: shortcut_dial_style.StyleDial) -> None:
        changes = shortcut_dial_style.changes(style_dial).set_index("label")[["mean", "low", "high"]]
        half = 4.3027 * math.sqrt(0.25 / 3)  # Student's interval of pairs that change by 3, 3.5 and 4
        assert changes.loc["plain"].tolist() == pytest.approx([3.5, 3.5 - half, 3.5 + half], abs=1e-3)
        assert changes.loc["SWAG (T = peak/2)"].tolist() == pytest.approx([0, 0, 0])

    def test_more_pairs_stand_below_each_other(self, style_dial: shortcut_dial_style.StyleDial) -> None:
        assert len(by_label(shortcut_dial_style.make(style_dial, pairs=2))) == 2 * 2 * 3

    def test_networks_are_not_pooled(self, tmp_path: Path) -> None:
        overrides = [
            STYLE[0], "weights.seed=0", "network=resnet50,pseudo_resvgg", "network.shortcut=1", "arm=plain"
        ]  # fmt: skip
        root = Outputs.of(tmp_path, overrides, pairs=PAIRS[:1]).root
        made = shortcut_dial_style.load(overrides, root, partial=False)
        assert list(made.names.values()) == ["r-ResNet-50", "r-pseudo-ResVGG"]

    def test_command(self, stylized: Path, tmp_path: Path) -> None:
        name = "shortcut_dial_style"
        arguments = [
            "figure",
            name,
            *STYLE[1:],
            "--output",
            str(stylized),
            "--results",
            str(tmp_path),
            "--pairs",
            "1",
        ]
        assert FIGURES[name].pictures
        assert main(arguments) == 0
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert files == {
            f"{name}{end}"
            for end in (".png", ".pdf", ".csv", "_means.csv", "_changes.csv", ".provenance.json")
        }
        assert len(pd.read_csv(tmp_path / name / f"{name}.csv")) == 2 * 3 * 2 * 3


def cell_config(network: str, scale: float, seed: int) -> dict[str, Any]:
    return {
        "network": {"name": network, "shortcut": scale}, "weights": {"seed": seed}, "smoothing": {"name": "none"},
        "batchnorm": "eval",
    }  # fmt: skip
