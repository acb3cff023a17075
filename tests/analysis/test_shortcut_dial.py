"""λ tells lines apart, and the figures along it: from tiny runs that the store has written."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from analysis import mechanism, points
from analysis.__main__ import main
from analysis.drawing import labels
from analysis.figures import FIGURES, curve, fig3, grid, shortcut_dial, shortcut_dial_style
from analysis.tables.cells import Cell, CellsError, compose_cells
from experiments.science import scientific
from swag_repro.runs.identity import Identity
from swag_repro.runs.store import Store

SCALES = [0.0, 0.5, 1.0]
SWEPT = "network.shortcut=0,0.5,1"  # fewer than in the experiments, for quick tests
LAYERS = ["conv1", "conv2_3", "conv3_4", "conv4_6", "conv5_3"]
PHOTOS = ["a", "b", "c"]
PAIRS = [("a", "waves"), ("b", "dots"), ("c", "dots")]
STATISTICS = (("maximum", None), ("normalized_entropy", "softmax"), ("normalized_entropy", "linear"))


def number(network: dict[str, Any], seed: int, photo: str, position: int, statistic: str) -> float:
    """Made up: grows with depth by λ, in pseudo-ResVGG faster; an entropy is below 1."""
    value = (1 + (network["shortcut"] or 0)) ** position * (1 + seed) * (1 + PHOTOS.index(photo))
    value *= 3 if network["name"] == "pseudo_resvgg" else 1
    return value if statistic == "maximum" else 1 / (1 + value)


def activations(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    network, seed = config["network"], config["weights"]["seed"]
    for photo in PHOTOS:
        for position, layer in enumerate(network["statistic_taps"], start=1):
            for statistic, definition in STATISTICS:
                for quantity in ("activation", "gram"):
                    yield {
                        "network": network["name"], "weights": "random", "smoothing": "none", "seed": seed,
                        "content": photo, "layer": layer, "depth": position, "position": position,
                        "quantity": quantity, "statistic": statistic, "definition": definition,
                        "value": number(network, seed, photo, position, statistic)
                        * (1 if quantity == "activation" else 100),
                    }  # fmt: skip


def distance(config: dict[str, Any], index: int) -> float:
    """Made up: λ keeps a plain picture from its style; SWAG doesn't mind."""
    plain = config["smoothing"]["name"] == "none"
    own, seed = 0.5 * index, config["weights"]["seed"]
    return 2 + own + 0.1 * seed + ((3 + own) * config["network"]["shortcut"] if plain else 0)


def told(config: dict[str, Any], index: int, pair: tuple[str, str]) -> dict[str, Any]:
    losses = {"content": 0.0, "style": 2.0, "total_variation": 0.0, "total": 2.0}
    measures = {"style_distance": distance(config, index), "cfsd": 0.1, "ssim": 0.5}
    return {
        "content": pair[0], "style": pair[1], "image": f"images/{index}.png", "status": "finished", "reason": "",
        "iterations": 7, "evaluations": 9, "recoveries": 0, "losses": losses, "first": losses,
        "measures": [
            {"statistic": name, "definition": None if name == "ssim" else "vgg16(file)", "value": value, "reason": None}
            for name, value in measures.items()
        ],
    }  # fmt: skip


def stylization(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    common = {
        "network": config["network"]["name"], "weights": "random", "smoothing": config["smoothing"]["name"],
        "loss": "gram", "seed": config["weights"]["seed"],
    }  # fmt: skip
    for index, (content, style) in enumerate(PAIRS):
        of_pair = common | {"content": content, "style": style}
        for rank, layer in enumerate(config["network"]["style_taps"], start=1):
            for definition in ("loss", "gradient"):
                share = config["network"]["shortcut"] or 0 if rank == 5 else 0.0
                share /= 1 if definition == "loss" else 2
                yield of_pair | {
                    "layer": layer, "statistic": "style_share", "definition": definition, "value": share
                }  # fmt: skip
        for iteration, value in ((0, 8.0), (None, distance(config, index))):
            yield of_pair | {
                "iteration": iteration, "statistic": "style_distance", "definition": "vgg16(file)", "value": value
            }  # fmt: skip


def picture(seed: str) -> np.ndarray:
    return np.random.default_rng(list(seed.encode())).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def compute(root: Path, cell: Cell) -> Path:
    who = Identity(cell.entry, 1, scientific(cell.config, cell.entry), {"content/a": "a" * 64})
    with Store(root).claim(who, config=cell.config, name="dial", device="cpu") as run:
        if cell.entry == "measure_activations":
            run.write_rows(list(activations(cell.config)))
            return run.path
        results = [told(cell.config, index, pair) for index, pair in enumerate(PAIRS)]
        for result in results:
            files = {
                result["image"]: picture(f"{run.identity.run_id}{result['image']}"),
                f"images/content/{result['content']}.png": picture(result["content"]),
                f"images/style/{result['style']}.png": picture(result["style"]),
            }
            for name, image in files.items():
                with run.write_file(name) as file:
                    Image.fromarray(image).save(buffer := io.BytesIO(), "PNG")
                    file.write(buffer.getvalue())
        with run.write_file("pairs.json") as file:
            file.write(json.dumps(results).encode())
        run.write_rows(list(stylization(cell.config)))
    return run.path


def outputs(root: Path, overrides: list[str], entry: str) -> Path:
    for cell in compose_cells(overrides, entry):
        compute(root, cell)
    return root


def words(drawn: Figure) -> str:
    return " ".join(" ".join(text.get_text() for text in drawn.texts).split())


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
        assert labels.scale({"name": network, "shortcut": shortcut}) == said


class TestScalesAreNeverPooled:
    SWEEP = ("network=resnet50", "network.shortcut=0,0.5,1", "weights.seed=0,1")

    def test_points(self, tmp_path: Path) -> None:
        overrides = ["experiment=fig3", *self.SWEEP, "smoothing=none"]
        found = points.load(overrides, outputs(tmp_path, overrides, "measure_activations"), partial=False)
        deepest = found.table.query("position == 5 and quantity == 'activation' and statistic == 'maximum'")
        assert deepest["label"].tolist() == ["r-ResNet-50, λ = 0", "r-ResNet-50, λ = 0.5", "r-ResNet-50"]
        assert deepest["shortcut"].tolist() == [0, 0.5, 1]
        assert deepest["mean"].tolist() == pytest.approx(
            [(1 + scale) ** 5 * 1.5 * 2 for scale in (0, 0.5, 1)]
        )
        assert (deepest["seeds"] == 2).all()
        lines = fig3.make(found)[""].axes[0].get_lines()
        assert len({line.get_color() for line in lines}) == 3

    def test_a_network_without_shortcuts_keeps_its_provenance(self, tmp_path: Path) -> None:
        overrides = ["network=vgg19", "weights=random"]
        table = points.load(
            overrides, outputs(tmp_path, overrides, "measure_activations"), partial=False
        ).table
        assert table["label"].unique().tolist() == ["r-VGG-19"]
        assert table["shortcut"].isna().all()
        assert table["run_ids"].notna().all()

    def test_curve_and_grid(self, tmp_path: Path) -> None:
        overrides = [*self.SWEEP[:2], "weights.seed=0", "smoothing=none", "objective.style_weight=1,10"]
        root = outputs(tmp_path, overrides, "stylize")
        curves = curve.load(overrides, root, partial=False)
        names = ["r-ResNet-50, λ = 0", "r-ResNet-50, λ = 0.5", "r-ResNet-50"]
        assert curves.table["label"].unique().tolist() == names
        for scale, line in curves.table.groupby("shortcut"):
            assert line["style_distance"].tolist() == pytest.approx([2.5 + 3.5 * scale] * 2)
        drawn = curve.make(curves)
        assert len({bar.lines[0].get_color() for bar in drawn.axes[0].containers}) == 3
        data = grid.load([*overrides[:-1], "objective.style_weight=1"], root, partial=False)
        assert [arm.label for arm in data.arms] == names

    def test_missing_cells_of_mechanism_are_told_with_their_command(self, tmp_path: Path) -> None:
        told = ["experiment=mechanism_style", "network=resnet50", "weights.seed=0", "arm=plain"]
        with pytest.raises(CellsError) as error:
            mechanism.load(told, tmp_path, partial=False)
        assert f"python experiments/stylize.py -m {' '.join(told)}" in str(error.value)

    def test_mechanism(self, tmp_path: Path) -> None:
        overrides = [
            "experiment=mechanism_style", *self.SWEEP[:2], "weights.seed=0", "arm=plain,softmax"
        ]  # fmt: skip
        data = mechanism.load(overrides, outputs(tmp_path, overrides, "stylize"), partial=False)
        assert list(data.networks.values()) == ["r-ResNet-50, λ = 0", "r-ResNet-50, λ = 0.5", "r-ResNet-50"]
        gains = data.gains[(data.gains["content"] == "a") & (data.gains["arm"] == "plain")]["gain"]
        assert gains.tolist() == pytest.approx([math.log2(8 / (2 + 3 * scale)) for scale in (0, 0.5, 1)])


STATISTICAL = ["experiment=shortcut_dial", SWEPT]


@pytest.fixture(scope="module")
def statistics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return outputs(tmp_path_factory.mktemp("statistics"), STATISTICAL, "measure_activations")


@pytest.fixture(scope="module")
def dial(statistics: Path) -> shortcut_dial.Dial:
    return shortcut_dial.load(STATISTICAL, statistics, partial=False)


class TestStatistics:
    def test_lines_are_means_over_images_and_seeds(self, dial: shortcut_dial.Dial) -> None:
        axes = np.reshape(shortcut_dial.make(dial).axes, (2, 3))
        assert [axis.get_ylabel() for axis in axes[:, 0]] == ["r-ResNet-50", "r-pseudo-ResVGG"]
        assert [axis.get_yscale() for axis in axes[0]] == ["log", "linear", "linear"]
        for row, network in zip(axes, ("resnet50", "pseudo_resvgg"), strict=True):
            for axis, (statistic, _) in zip(row, STATISTICS, strict=True):
                lines = axis.get_lines()[:5]
                for position, line in enumerate(lines, start=1):
                    assert line.get_xdata().tolist() == SCALES
                    expected = [
                        np.mean(
                            [
                                number({"name": network, "shortcut": scale}, seed, photo, position, statistic)
                                for seed in (0, 1, 2)
                                for photo in PHOTOS
                            ]
                        )
                        for scale in SCALES
                    ]
                    assert line.get_ydata() == pytest.approx(expected)
                assert len({line.get_color() for line in lines}) == 5

    def test_bands_span_the_seeds(self, dial: shortcut_dial.Dial) -> None:
        band = shortcut_dial.make(dial).axes[0].collections[4].get_paths()[0].vertices
        at_one = band[band[:, 0] == 1][:, 1]
        means = [2**5 * (1 + seed) * 2 for seed in (0, 1, 2)]  # over images: 1, 2, 3 times
        assert (at_one.min(), at_one.max()) == pytest.approx((min(means), max(means)))

    def test_words(self, dial: shortcut_dial.Dial) -> None:
        drawn = shortcut_dial.make(dial)
        assert [text.get_text() for text in drawn.legends[0].get_texts()] == LAYERS
        assert "Means over 3 images (short side 128 px) and 3 seeds; bands: lowest to highest seed" in words(
            drawn
        )

    def test_everything_lies_within_the_page(self, dial: shortcut_dial.Dial) -> None:
        assert_within_the_page(shortcut_dial.make(dial))

    def test_missing_cells_are_told_with_their_command(self, statistics: Path) -> None:
        told = [STATISTICAL[0], "network=resnet50", "network.shortcut=0.1", "weights.seed=0"]
        with pytest.raises(CellsError) as error:
            shortcut_dial.load(told, statistics, partial=False)
        assert f"python experiments/measure_activations.py -m {' '.join(told)}" in str(error.value)

    def test_a_network_without_shortcuts_has_no_dial(self, tmp_path: Path) -> None:
        overrides = ["experiment=shortcut_dial", "network=vgg19", "network.shortcut=null", "weights.seed=0"]
        root = outputs(tmp_path, overrides, "measure_activations")
        with pytest.raises(CellsError, match="should have shortcuts to scale; found vgg19"):
            shortcut_dial.load(overrides, root, partial=False)

    def test_command(self, statistics: Path, tmp_path: Path, dial: shortcut_dial.Dial) -> None:
        assert (
            main(["figure", "shortcut_dial", SWEPT, "--runs", str(statistics), "--out", str(tmp_path)]) == 0
        )
        folder = tmp_path / "shortcut_dial"
        assert {path.name for path in folder.iterdir()} == {
            f"shortcut_dial.{end}" for end in ("png", "pdf", "csv")
        }
        written = pd.read_csv(folder / "shortcut_dial.csv")
        assert len(written) == 2 * 3 * 3 * 5 * 3
        assert written["value"].tolist() == dial.table["value"].tolist()


STYLE = ["experiment=shortcut_dial_style", SWEPT, "weights.seed=0,1"]


@pytest.fixture(scope="module")
def stylized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return outputs(tmp_path_factory.mktemp("stylized"), STYLE, "stylize")


@pytest.fixture(scope="module")
def style_dial(stylized: Path) -> shortcut_dial_style.Dial:
    return shortcut_dial_style.load(STYLE, stylized, partial=False)


class TestStyle:
    def test_panels_are_means_over_pairs_and_seeds(self, style_dial: shortcut_dial_style.Dial) -> None:
        axes = {str(axis.get_label()): axis for axis in shortcut_dial_style.make(style_dial).axes}
        lines = {bar.get_label(): bar.lines[0] for bar in axes["style_distance"].containers}
        assert list(lines) == ["plain", "SWAG"]
        assert lines["plain"].get_xdata().tolist() == SCALES
        assert lines["plain"].get_ydata() == pytest.approx([2.55 + 3.5 * scale for scale in SCALES])
        assert lines["SWAG"].get_ydata() == pytest.approx([2.55] * 3)
        for bar in axes["deepest_share"].containers:
            assert bar.lines[0].get_ydata() == pytest.approx(SCALES)

    def test_intervals_hold_the_means(self, style_dial: shortcut_dial_style.Dial) -> None:
        of_distance = style_dial.means[style_dial.means["measure"] == "style_distance"]
        assert len(of_distance) == 2 * 3
        assert (of_distance["low"] < of_distance["mean"]).all()
        assert (of_distance["mean"] < of_distance["high"]).all()
        assert set(zip(of_distance["pairs"], of_distance["seeds"], strict=True)) == {(3, 2)}

    def test_pictures_of_the_first_seed_stand_in_their_row_and_column(
        self, style_dial: shortcut_dial_style.Dial
    ) -> None:
        axes = by_label(shortcut_dial_style.make(style_dial))
        assert len(axes) == 2 * 3
        for arm in style_dial.data.arms:
            if arm.config["weights"]["seed"] != 0:
                continue
            assert arm.record is not None
            name, scale = arm.config["arm"]["label"], arm.config["network"]["shortcut"]
            axis = axes[f"a__waves__{name}__{scale:g}"]
            shown = np.asarray(axis.get_images()[0].get_array())
            assert (shown == np.asarray(Image.open(arm.record.path / "images/0.png"))).all()
            box = axis.get_position()
            assert (box.y0 > axes["a__waves__SWAG__0"].get_position().y0) == (name == "plain")
            assert box.x0 == axes[f"a__waves__plain__{scale:g}"].get_position().x0
        columns = [axes[f"a__waves__plain__{scale:g}"].get_position().x0 for scale in SCALES]
        assert columns == sorted(columns)

    def test_words(self, style_dial: shortcut_dial_style.Dial) -> None:
        drawn = shortcut_dial_style.make(style_dial)
        said = words(drawn)
        titles = [text.get_text() for text in drawn.texts if text.get_text().startswith("λ")]
        assert titles == ["λ = 0", "λ = 0.5", "λ = 1"]
        assert (
            "1 of 3 pairs of images. ResNet-50 with ReLU(R(F) + λF), the same weights (random, seed 0)"
            in said
        )
        assert "Gram loss: style only" in said
        assert "Images: 128×128 px." in said
        assert "Panels: means over 3 pairs of images and 2 seeds, with 95 % intervals" in said
        assert (
            "From λ = 0 to 1 the style distance changes by +3.5 [3, 4] for plain, +0 [0, 0] for SWAG." in said
        )
        assert "in a held-out network: vgg16 (file)" in said

    def test_more_pairs_stand_below_each_other(self, style_dial: shortcut_dial_style.Dial) -> None:
        assert len(by_label(shortcut_dial_style.make(style_dial, pairs=2))) == 2 * 2 * 3

    def test_everything_lies_within_the_page(self, style_dial: shortcut_dial_style.Dial) -> None:
        assert_within_the_page(shortcut_dial_style.make(style_dial))

    def test_networks_are_not_pooled(self, tmp_path: Path) -> None:
        overrides = [
            *STYLE[:1],
            "weights.seed=0",
            "network=resnet50,pseudo_resvgg",
            "network.shortcut=1",
            "arm=plain",
        ]
        root = outputs(tmp_path, overrides, "stylize")
        with pytest.raises(CellsError, match=r"network=resnet50.*; network=pseudo_resvgg"):
            shortcut_dial_style.load(overrides, root, partial=False)

    def test_command(self, stylized: Path, tmp_path: Path) -> None:
        name = "shortcut_dial_style"
        arguments = [
            "figure",
            name,
            *STYLE[1:],
            "--runs",
            str(stylized),
            "--out",
            str(tmp_path),
            "--pairs",
            "1",
        ]
        assert FIGURES[name].pictures
        assert main(arguments) == 0
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert files == {f"{name}.png", f"{name}.pdf", f"{name}.csv", f"{name}_means.csv"}
        assert len(pd.read_csv(tmp_path / name / f"{name}.csv")) == 2 * 3 * 2 * 3


def by_label(drawn: Figure) -> dict[str, Axes]:
    return {str(axis.get_label()): axis for axis in drawn.axes if "__" in str(axis.get_label())}


def assert_within_the_page(drawn: Figure) -> None:
    box, (width, height) = drawn.get_tightbbox(), drawn.get_size_inches()
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= width
    assert box.y1 <= height
    renderer = drawn.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in drawn.texts]
    boxes += [axis.get_tightbbox(renderer) for axis in drawn.axes if axis.get_lines()]
    boxes += [legend.get_window_extent(renderer) for legend in drawn.legends]
    assert not any(box.overlaps(other) for index, box in enumerate(boxes) for other in boxes[:index])
