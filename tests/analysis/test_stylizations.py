"""Grids of pictures and the style–content curve, from tiny runs that the store has written."""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from analysis import style, stylizations
from analysis.__main__ import main
from analysis.cells import Cell, CellsError, compose_cells, match
from analysis.collect import read_records
from analysis.figures import curve, grid
from swag_repro import identity
from swag_repro.errors import StoreError
from swag_repro.store import Store

SWEEP = ("network=vgg19,resnet50", "weights=random", "smoothing=none,softmax", "steps=150", "evaluations=300")
EXPERIMENT = ("experiment=fig1", *SWEEP)
CURVE = ("network=vgg19,resnet50", "weights=random", "smoothing=none", "objective.style_weight=1,10,1000")
PAIRS = [(f"content{index}", f"painting/{index}") for index in range(5)]
SIZE = (16, 24)
LOSSES = {"content": 1.0, "style": 2.0, "total_variation": 0.5, "total": 3.5}
HELD_OUT = {"vgg19": "resnet50(random)", "resnet50": "vgg19(imagenet)"}


def smoothing(config: dict[str, Any]) -> str:
    part = config["smoothing"]
    return "none" if part["name"] == "none" else f"softmax(temperature={part['temperature']})"


def measures(config: dict[str, Any], index: int) -> dict[str, float | None]:
    """Made-up numbers: more weight, more style, less content."""
    weight = config["objective"]["style_weight"]
    return {
        "style_distance": (1 + index) / math.sqrt(weight),
        "cfsd": 0.01 * (1 + index) * math.sqrt(weight),
        "ssim": 1 / (1 + weight),
        "lpips": None,
    }


def picture(seed: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    generator = np.random.default_rng(list(seed.encode()))
    return generator.integers(0, 256, (*size, 3), dtype=np.uint8)


def status(config: dict[str, Any], index: int) -> str:
    if config["network"]["name"] == "resnet50" and index == 0:
        return "diverged" if config["smoothing"]["name"] == "none" else "unchanged"
    return "finished"


def described(config: dict[str, Any], index: int, pair: tuple[str, str]) -> dict[str, Any]:
    held_out = HELD_OUT.get(config["network"]["name"], "vgg19(random)")
    return {
        "content": pair[0],
        "style": pair[1],
        "image": f"images/{index}.png",
        "status": status(config, index),
        "reason": "" if status(config, index) == "finished" else "it had to be",
        "iterations": 7,
        "evaluations": 9,
        "recoveries": 0,
        "losses": LOSSES,
        "first": {loss: 2 * value for loss, value in LOSSES.items()},
        "measures": [
            {
                "statistic": name,
                "definition": {"ssim": None, "lpips": "alexnet(imagenet)"}.get(name, held_out),
                "value": value,
                "reason": "no weights here" if value is None else None,
            }
            for name, value in measures(config, index).items()
        ],
    }


def row(config: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    return {
        "network": config["network"]["name"],
        "weights": config["weights"]["name"],
        "smoothing": smoothing(config),
        "loss": "gram",
        "content": told["content"],
        "style": told["style"],
        "statistic": "total_loss",
        "value": told["losses"]["total"],
    }


def compute(
    root: Path,
    cell: Cell,
    *,
    pairs: list[tuple[str, str]] = PAIRS,
    images: str = "a",
    config: dict[str, Any] | None = None,
) -> Path:
    hashes = {
        f"{role}/{name}": images * 64
        for pair in pairs
        for role, name in zip(("content", "style"), pair, strict=True)
    }
    who = identity.Identity("stylize", 1, identity.scientific(cell.config), hashes)
    claimed = Store(root).claim(who, config=config or cell.config, name="fig1", device="cpu")
    with claimed as run:
        results = [described(cell.config, index, pair) for index, pair in enumerate(pairs)]
        for told in results:
            files = {
                told["image"]: picture(f"{run.identity.run_id}{told['image']}"),
                f"images/content/{told['content']}.png": picture(told["content"]),
                f"images/style/{told['style'].replace('/', '_')}.png": picture(told["style"], (16, 60)),
            }
            for name, image in files.items():
                with run.write_file(name) as file:
                    Image.fromarray(image).save(buffer := io.BytesIO(), "PNG")
                    file.write(buffer.getvalue())
        with run.write_file("pairs.json") as file:
            file.write(json.dumps(results).encode())
        run.write_rows([row(cell.config, told) for told in results])
    return run.path


@dataclass(frozen=True)
class Outputs:
    root: Path
    cells: list[Cell]
    paths: list[Path]

    @classmethod
    def of(cls, root: Path, overrides: tuple[str, ...]) -> Outputs:
        cells = compose_cells(overrides, "stylize")
        return cls(root, cells, [compute(root, cell) for cell in cells])


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return Outputs.of(tmp_path_factory.mktemp("computed"), EXPERIMENT)


@pytest.fixture
def outputs(computed: Outputs, tmp_path: Path) -> Outputs:
    """Runs of every cell, to be spoilt."""
    root = tmp_path / "outputs"
    shutil.copytree(computed.root, root)
    return Outputs(root, computed.cells, [root / "runs" / path.name for path in computed.paths])


@pytest.fixture(scope="module")
def loaded(computed: Outputs) -> stylizations.Stylizations:
    return grid.load(list(EXPERIMENT), computed.root, partial=False)


@pytest.fixture(scope="module")
def drawn(loaded: stylizations.Stylizations) -> Figure:
    return grid.make(loaded)


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> curve.Curves:
    overrides = ("experiment=style_content_curve", *CURVE)
    root = Outputs.of(tmp_path_factory.mktemp("curves"), overrides).root
    return curve.load(list(overrides), root, partial=False)


def figure(outputs: Outputs, out: Path, *arguments: str, name: str = "fig1") -> int:
    return main(["figure", name, *SWEEP, "--runs", str(outputs.root), "--out", str(out), *arguments])


def words(drawn: Figure) -> list[str]:
    return [text.get_text() for text in drawn.texts]


def by_label(drawn: Figure) -> dict[str, Axes]:
    return {str(axis.get_label()): axis for axis in drawn.axes if "__" in str(axis.get_label())}


class TestCells:
    def test_files_only_prefer(self, outputs: Outputs) -> None:
        cell = outputs.cells[0]
        elsewhere = {**cell.config, "content": "elsewhere.jpg"}
        other = compute(outputs.root, cell, pairs=[("other", "other")], config=elsewhere)
        records = read_records(outputs.root)[0]
        assert [record.path for _, record in match(outputs.cells, records).found] == outputs.paths
        [named] = compose_cells([*cell.overrides, "content=elsewhere.jpg"], "stylize")
        assert [record.path for _, record in match([named], records).found] == [other]

    def test_runs_of_another_entry_point_never_match(self, outputs: Outputs) -> None:
        cells = [Cell(cell.overrides, cell.config, "measure_activations") for cell in outputs.cells]
        assert match(cells, read_records(outputs.root)[0]).found == []


class TestTable:
    def test_all_pairs_of_all_arms(self, loaded: stylizations.Stylizations) -> None:
        assert loaded.pairs == tuple(PAIRS)
        assert [arm.label for arm in loaded.arms] == [
            "r-VGG-19", "r-VGG-19*", "r-ResNet-50", "r-ResNet-50*",
        ]  # fmt: skip
        assert loaded.marks == {"none": "", "softmax(temperature=peak/2)": "*"}
        assert len(loaded.table) == 20
        counts = loaded.table["status"].value_counts().to_dict()
        assert counts == {"finished": 18, "diverged": 1, "unchanged": 1}

    def test_one_row(self, loaded: stylizations.Stylizations, computed: Outputs) -> None:
        told = loaded.table.set_index(["label", "content"]).loc[("r-ResNet-50", "content0")].to_dict()
        config, path = computed.cells[2].config, computed.paths[2]
        run = json.loads((path / "status.json").read_text())
        assert told.pop("commit") == (run["commit"] or "unknown")
        assert {name: told.pop(name) for name in ("torch", "torchvision", "swag_repro")} == {
            name: run["versions"][name] for name in ("torch", "torchvision", "swag_repro")
        }
        missing = {name for name, value in told.items() if pd.isna(value)}
        assert missing == {"sliced_wasserstein", "sifid", "lpips"}
        numbers = {name: value for name, value in measures(config, 0).items() if value is not None}
        assert {name: value for name, value in told.items() if name not in missing} == numbers | {
            "network": "resnet50",
            "weights": "random",
            "weights_used": "random, seed 0",
            "smoothing": "none",
            "seed": 0,
            "loss": "gram",
            "content_weight": 1.0,
            "style_weight": 10.0,
            "style": "painting/0",
            "image": "images/0.png",
            "status": "diverged",
            "reason": "it had to be",
            "iterations": 7,
            "evaluations": 9,
            "recoveries": 0,
            "content_loss": 1.0,
            "style_loss": 2.0,
            "total_variation": 0.5,
            "total_loss": 3.5,
            "first_content_loss": 2.0,
            "first_style_loss": 4.0,
            "first_total_variation": 1.0,
            "first_total_loss": 7.0,
            "held_out": "vgg19(imagenet)",
            "not_measured": "lpips: no weights here",
            "run_id": path.name,
        }

    def test_weights_are_named_where_signs_do_not_tell_them(self, tmp_path: Path) -> None:
        overrides = ("network=vgg19", "weights.seed=0,1", "weights=random")
        root = Outputs.of(tmp_path, overrides).root
        data = grid.load(list(overrides), root, partial=False)
        assert [arm.label for arm in data.arms] == ["r-VGG-19 (random, seed 0)", "r-VGG-19 (random, seed 1)"]
        assert "r-VGG-19\n(random, seed 1)" in words(grid.make(data, pairs=1))

    def test_a_sweep_that_columns_cannot_show(self, tmp_path: Path) -> None:
        overrides = ("network=vgg19", "steps=1,2")
        root = Outputs.of(tmp_path, overrides).root
        with pytest.raises(CellsError, match=r"steps=1; .*steps=2"):
            grid.load(list(overrides), root, partial=False)

    def test_different_pairs(self, outputs: Outputs) -> None:
        results = json.loads((outputs.paths[0] / "pairs.json").read_text())
        (outputs.paths[0] / "pairs.json").write_text(json.dumps(results[1:]))
        with pytest.raises(CellsError, match="the same pairs"):
            grid.load(list(EXPERIMENT), outputs.root, partial=False)

    @pytest.mark.parametrize(
        ("name", "spoil"),
        [
            ("pairs.json", lambda path: path.write_text("[{}]")),
            ("pairs.json", lambda path: path.unlink()),
            ("images/0.png", lambda path: path.write_bytes(path.read_bytes()[:50])),
            ("images/style/painting_0.png", lambda path: path.unlink()),
        ],
    )
    def test_broken_files(self, outputs: Outputs, name: str, spoil: Callable[[Path], None]) -> None:
        spoil(outputs.paths[0] / name)
        with pytest.raises(StoreError, match="should be a complete file of a run"):
            grid.make(grid.load(list(EXPERIMENT), outputs.root, partial=False))


class TestGrid:
    def test_panels_and_words(self, drawn: Figure) -> None:
        assert len(drawn.axes) == 4 * (2 + 4)
        assert len(by_label(drawn)) == 4 * 4
        told = words(drawn)
        for title in ("content", "style", "r-VGG-19", "r-VGG-19*", "r-ResNet-50", "r-ResNet-50*"):
            assert told.count(title) == 1
        for index in (0, 1, 3, 4):  # evenly spread
            assert {f"content{index}", f"painting/{index}"} <= set(told)
        assert "content2" not in told
        assert told.count("style 0.316\nCFSD 0.032  SSIM 0.091") == 4

    def test_pixels_are_the_runs(self, drawn: Figure, computed: Outputs) -> None:
        for index in (0, 1, 3, 4):
            for path, label in zip(
                computed.paths, ("r-VGG-19", "r-VGG-19*", "r-ResNet-50", "r-ResNet-50*"), strict=True
            ):
                axis = by_label(drawn)[f"content{index}__painting/{index}__{label}"]
                shown = np.asarray(axis.get_images()[0].get_array())
                assert (shown == np.asarray(Image.open(path / f"images/{index}.png"))).all()

    def test_printed_without_resampling(
        self, drawn: Figure, loaded: stylizations.Stylizations, tmp_path: Path
    ) -> None:
        paths = grid.save(drawn, loaded, tmp_path, "fig1")
        with Image.open(paths[0]) as saved:
            printed = np.asarray(saved.convert("RGB"))
            assert saved.info["dpi"][0] >= 200
            assert printed.shape[1] / saved.info["dpi"][0] == pytest.approx(style.WIDTH, rel=0.01)
        axis = by_label(drawn)["content4__painting/4__r-VGG-19*"]
        image = np.asarray(axis.get_images()[0].get_array())
        height, width = printed.shape[:2]
        box = axis.get_position()
        scale = round(box.width * width / SIZE[1])
        top, left = round((1 - box.y1) * height), round(box.x0 * width)
        region = printed[top : top + scale * SIZE[0], left : left + scale * SIZE[1]]
        assert (region == image.repeat(scale, axis=0).repeat(scale, axis=1)).all()

    def test_only_a_style_of_another_ratio_shrinks(self, drawn: Figure) -> None:
        size = drawn.get_size_inches()
        for axis in drawn.axes:
            inches = axis.get_position().size * size
            height, width = np.asarray(axis.get_images()[0].get_array()).shape[:2]
            assert inches[0] / inches[1] == pytest.approx(width / height, rel=0.02)
            assert inches[0] == pytest.approx(drawn.axes[0].get_position().width * size[0], rel=0.02)

    def test_marks(self, drawn: Figure) -> None:
        marked = {label: axis.texts[0].get_text() for label, axis in by_label(drawn).items() if axis.texts}
        assert marked == {
            "content0__painting/0__r-ResNet-50": "diverged",
            "content0__painting/0__r-ResNet-50*": "unchanged",
        }
        for label, axis in by_label(drawn).items():
            frames = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
            assert len(frames) == (label in marked)
            assert all(frame.get_edgecolor()[:3] == pytest.approx((0xD0 / 255, 0, 0)) for frame in frames)

    def test_caption(self, drawn: Figure) -> None:
        caption = " ".join(words(drawn)[-1].split())
        assert "4 of 5 pairs of images, evenly spread. r-: random, seed 0;" in caption
        assert "* SWAG, softmax(temperature=peak/2);" in caption
        assert "Gram loss (paper normaliser), content weight 1, style weight 10," in caption
        assert "at most 150 steps and 300 evaluations of L-BFGS from the content." in caption
        assert "resnet50 (random weights) for VGG-19; vgg19 (imagenet) for ResNet-50." in caption
        assert "different held-out networks do not compare" in caption
        assert "Caution: a held-out network with random weights" in caption
        assert "Red frames: not finished (1 diverged, 1 unchanged of 20 pictures of all pairs)" in caption

    def test_many_arms_stand_in_bands(self, tmp_path: Path) -> None:
        overrides = ("experiment=fig1", "weights=random")
        root = Outputs.of(tmp_path, overrides).root
        data = grid.load(list(overrides), root, partial=False)
        drawn = grid.make(data, pairs=2)
        assert data.marks == {
            "none": "", "softmax(temperature=peak/2)": "*", "softmax(temperature=1)": "†",
        }  # fmt: skip
        assert len(drawn.axes) == 2 * (2 + 6)
        assert words(drawn).count("r-ResNet-50†") == 2
        boxes = {label: axis.get_position() for label, axis in by_label(drawn).items()}
        vgg, resnet = (boxes[f"content0__painting/0__r-{name}"] for name in ("VGG-19", "ResNet-50"))
        assert vgg.x0 == resnet.x0
        assert vgg.y0 > resnet.y1
        content, painting = (axis.get_position() for axis in drawn.axes[:2])
        assert content.y0 == pytest.approx(vgg.y0)
        assert painting.y1 < content.y0

    def test_everything_lies_within_the_page(self, drawn: Figure) -> None:
        box, (width, height) = drawn.get_tightbbox(), drawn.get_size_inches()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height

    def test_words_do_not_run_into_each_other(self, drawn: Figure) -> None:
        boxes = [text.get_window_extent() for text in drawn.texts]
        assert not any(box.overlaps(other) for index, box in enumerate(boxes) for other in boxes[:index])


class TestCommand:
    def test_files(self, computed: Outputs, tmp_path: Path, loaded: stylizations.Stylizations) -> None:
        assert figure(computed, tmp_path, "--pairs", "1") == 0
        folder = tmp_path / "fig1"
        assert {path.name for path in folder.iterdir()} == {"fig1.png", "fig1.pdf", "fig1.csv"}
        with Image.open(folder / "fig1.png") as saved:
            assert saved.info["Title"] == "fig1"
            assert saved.info["Description"].startswith("4 runs; commit ")
        assert (folder / "fig1.pdf").read_bytes().startswith(b"%PDF")
        empty = {measure: [""] for measure in stylizations.MEASURES}
        written = pd.read_csv(folder / "fig1.csv", keep_default_na=False, na_values=empty)
        pd.testing.assert_frame_equal(written, loaded.table, check_dtype=False)

    def test_missing_cells(
        self, outputs: Outputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.rmtree(outputs.paths[1])
        assert figure(outputs, tmp_path / "out") == 1
        said = capsys.readouterr().err
        assert f"1 of 4 cells missing. The missing ones are:\n  {outputs.cells[1]}\n" in said
        assert f"python experiments/stylize.py -m experiment=fig1 {' '.join(SWEEP)}" in said
        assert not (tmp_path / "out").exists()

    def test_partial_figure_is_marked(self, outputs: Outputs, tmp_path: Path) -> None:
        shutil.rmtree(outputs.paths[1])
        assert figure(outputs, tmp_path / "out", "--allow-partial") == 0
        data = grid.load(list(EXPERIMENT), outputs.root, partial=True)
        drawn = grid.make(data)
        assert "PARTIAL: 1 of 4 cells missing" in words(drawn)
        blank = [axis for axis in drawn.axes if not axis.get_images()]
        assert len(blank) == 4
        assert all(axis.texts[0].get_text() == "missing" for axis in blank)
        assert all(str(axis.get_label()).endswith("__r-VGG-19*") for axis in blank)
        assert len(data.table) == 15

    def test_a_missing_smoothing_is_named_by_its_settings(self, outputs: Outputs) -> None:
        for path in (outputs.paths[1], outputs.paths[3]):
            shutil.rmtree(path)
        data = grid.load(list(EXPERIMENT), outputs.root, partial=True)
        assert data.marks == {"none": "", "softmax(over=layer, temperature=peak/2, mean_one=True)": "*"}

    @pytest.mark.parametrize("arguments", [["fig1", "--pairs", "0"], ["fig3", "--pairs", "2"]])
    def test_wrong_pairs(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="2"):
            main(["figure", *arguments])
        assert "--pairs" in capsys.readouterr().err

    def test_needs_no_torch(self, computed: Outputs, tmp_path: Path) -> None:
        arguments = ["figure", "fig1", *SWEEP, "--runs", str(computed.root), "--out", str(tmp_path)]
        script = (
            f"import sys; from analysis.__main__ import main; status = main({arguments})\n"
            "sys.exit(status or 2 * ('torch' in sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()


class TestCurve:
    def test_points_are_means_over_pairs(self, curves: curve.Curves) -> None:
        assert len(curves.table) == 2 * 3
        for point in curves.table.itertuples():
            config = {"objective": {"style_weight": point.style_weight}}
            numbers = pd.DataFrame(measures(config, index) for index in range(5))
            for measure in ("style_distance", "cfsd", "ssim"):
                assert getattr(point, measure) == pytest.approx(numbers[measure].mean())
                error = numbers[measure].std() / math.sqrt(5)
                assert getattr(point, f"{measure}_error") == pytest.approx(error, abs=1e-12)
            assert math.isnan(point.lpips)
            assert (point.pairs, point.not_finished) == (5, int(point.network == "resnet50"))

    def test_a_row_of_panels_for_each_judge(self, curves: curve.Curves) -> None:
        axes = curve.make(curves).axes
        assert [axis.get_title(loc="left") for axis in axes] == [
            "held-out network: resnet50 (random weights)", "", "held-out network: vgg19 (imagenet)", "",
        ]  # fmt: skip
        for axis, label in zip(axes, ("r-VGG-19", "r-VGG-19", "r-ResNet-50", "r-ResNet-50"), strict=True):
            assert axis.get_legend_handles_labels()[1] == [label]

    def test_lines_follow_the_weight(self, curves: curve.Curves) -> None:
        axes = curve.make(curves).axes
        for axis, measure in zip(axes, ("cfsd", "ssim") * 2, strict=True):
            [label] = axis.get_legend_handles_labels()[1]
            line = axis.get_lines()[0]
            points = curves.table[curves.table["label"] == label]
            assert points["style_weight"].tolist() == [1, 10, 1000]
            assert list(line.get_xdata()) == points[measure].tolist()
            assert list(line.get_ydata()) == points["style_distance"].tolist()
            assert [text.get_text() for text in axis.texts] == ["1", "1000"]
            assert axis.get_yscale() == "log"
            assert (axis.get_xscale() == "log") == (measure == "cfsd")
            assert axis.xaxis_inverted() == (measure == "ssim")

    def test_points_with_unfinished_pairs_have_rings(self, curves: curve.Curves) -> None:
        drawn = curve.make(curves)
        rings = [len(axis.collections[-1].get_offsets()) for axis in drawn.axes]
        assert rings == [0, 0, 3, 3]
        assert "Red rings: some pairs of that point did not finish (3 in all points" in words(drawn)[-1]

    def test_caption(self, curves: curve.Curves) -> None:
        caption = " ".join(words(curve.make(curves))[-1].split())
        assert (
            "Means over 5 pairs of images, and their standard errors, along style weights 1, 10, 1000;"
            in caption
        )
        assert "r-: random, seed 0;" in caption
        assert "Caution: a held-out network with random weights" in caption
        assert "style weight 1" not in caption

    def test_files(self, curves: curve.Curves, tmp_path: Path) -> None:
        paths = curve.save(curve.make(curves), curves, tmp_path, "curve")
        assert [path.name for path in paths] == ["curve.png", "curve.pdf", "curve.csv", "curve_pairs.csv"]
        written = pd.read_csv(paths[2])
        assert written["style_distance"].tolist() == curves.table["style_distance"].tolist()
        assert len(pd.read_csv(paths[3])) == 2 * 3 * 5

    def test_everything_lies_within_the_page(self, curves: curve.Curves) -> None:
        drawn = curve.make(curves)
        box, (width, height) = drawn.get_tightbbox(), drawn.get_size_inches()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height

    def test_a_sweep_that_lines_cannot_show(self, tmp_path: Path) -> None:
        overrides = ("network=vgg19", "steps=1,2")
        root = Outputs.of(tmp_path, overrides).root
        with pytest.raises(CellsError, match=r"objective\.style_weight.*steps=1; .*steps=2"):
            curve.load(list(overrides), root, partial=False)
