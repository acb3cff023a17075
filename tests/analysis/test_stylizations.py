"""Grids of pictures and the style–content curve, from tiny runs that the store has written."""

from __future__ import annotations

import functools
import itertools
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from analysis import stylizations
from analysis.commands import main
from analysis.drawing import captions, style
from analysis.figures import FIGURES, curve, grid, matrix
from experiments.asking import Cell, CellsError, compose_cells
from swag_repro.errors import UserError
from swag_repro.runs import files, records
from tests.analysis.drawn import assert_legible, box, by_label, caption, legend, words
from tests.analysis.made import PAIRS, Outputs, answers, judge, losses, measures, stylized

SWEEP = ("network=vgg19,resnet50", "weights=random", "smoothing=none,softmax", "steps=150", "evaluations=300")
EXPERIMENT = ("experiment=fig1", *SWEEP)
CURVE = ("network=vgg19,resnet50", "weights=random", "smoothing=none", "objective.style_weight=1,10,1000")


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


@pytest.fixture(scope="module")
def drawn_curves(curves: curve.Curves) -> Figure:
    return curve.make(curves)


def figure(outputs: Outputs, out: Path, *arguments: str, name: str = "fig1") -> int:
    return main(["figure", name, *SWEEP, "--output", str(outputs.root), "--results", str(out), *arguments])


class TestCells:
    def test_files_only_prefer(self, outputs: Outputs) -> None:
        cell = outputs.cells[0]
        elsewhere = {**cell.config, "content": "elsewhere.jpg"}
        other = stylized(outputs.root, cell, pairs=[("other", "other")], config=elsewhere)
        assert answers(outputs.root, outputs.cells) == outputs.paths
        [named] = compose_cells([*cell.overrides, "content=elsewhere.jpg"], "stylize")
        assert answers(outputs.root, [named]) == [other]

    def test_runs_of_another_entry_point_never_match(self, outputs: Outputs) -> None:
        cells = [Cell(cell.overrides, cell.config, "measure_activations") for cell in outputs.cells]
        with pytest.raises(CellsError, match="4 of 4 cells missing"):
            answers(outputs.root, cells)


class TestTable:
    def test_all_pairs_of_all_arms(self, loaded: stylizations.Stylizations) -> None:
        assert loaded.pairs == tuple(PAIRS)
        assert [arm.label for arm in loaded.arms] == [
            "r-VGG-19", "r-VGG-19*", "r-ResNet-50", "r-ResNet-50*",
        ]  # fmt: skip
        assert len(loaded.table) == 20
        counts = loaded.table["status"].value_counts().to_dict()
        assert counts == {"finished": 18, "diverged": 1, "unchanged": 1}

    def test_one_row(self, loaded: stylizations.Stylizations, computed: Outputs) -> None:
        row = loaded.table.set_index(["label", "content"]).loc[("r-ResNet-50", "content0")].to_dict()
        config, path = computed.cells[2].config, computed.paths[2]
        numbers = {name: value for name, value in measures(config, 0).items() if value is not None}
        expected = numbers | losses(config) | {
            "network.name": "resnet50", "weights.name": "random", "weights.seed": 0, "smoothing.name": "none",
            "images.size": 256, "images.resize": "short", "objective.name": "gram",
            "objective.style_weight": 10.0, "start": "content", "style": "painting/0", "status": "diverged",
            "reason": "it had to be", "judge": "vgg19(imagenet)", "random": False,
            "not_measured": "lpips: no weights here", "run_id": path.name,
        }  # fmt: skip
        assert {name: row[name] for name in expected} == expected

    def test_sweeps_of_anything_have_names(self, tmp_path: Path) -> None:
        overrides = ("network=vgg19", "weights.seed=0,1", "weights=random", "steps=1,2")
        data = grids(tmp_path, *overrides)
        assert [arm.label for arm in data.arms] == [
            f"r-VGG-19 (steps = {steps}, seed = {seed})" for seed in (0, 1) for steps in (1, 2)
        ]
        assert set(data.table["steps"]) == {1, 2}
        drawn = grid.make(data, pairs=1)
        assert "r-VGG-19 (steps = 1, seed = 1)" in [text.replace("\n", " ") for text in words(drawn)]
        assert "r-: random, seed 0 / random, seed 1; " in caption(drawn)
        assert_legible(drawn)

    def test_different_pairs(self, outputs: Outputs) -> None:
        path = outputs.paths[0]
        table = pq.read_table(path / "pairs.parquet").slice(1)
        pq.write_table(table, path / "pairs.parquet")
        changed = replace(records.read_status(path), files=files.digests(path))
        (path / "status.json").write_text(changed.to_json())
        with pytest.raises(CellsError, match="the same pairs"):
            grid.load(list(EXPERIMENT), outputs.root, partial=False)

    @pytest.mark.parametrize(
        ("name", "spoil"),
        [
            ("pairs.parquet", lambda path: path.write_bytes(b"PAR1")),
            ("pairs.parquet", lambda path: path.unlink()),
            ("images/0.png", lambda path: path.write_bytes(path.read_bytes()[:50])),
            ("images/style/painting_0.png", lambda path: path.unlink()),
            ("images/0.png", lambda path: Image.effect_noise((48, 48), 9).save(path)),  # another picture
        ],
    )
    def test_broken_files(self, outputs: Outputs, name: str, spoil: Callable[[Path], None]) -> None:
        spoil(outputs.paths[0] / name)
        with pytest.raises(UserError, match="should be a complete file of a run"):
            grid.make(grid.load(list(EXPERIMENT), outputs.root, partial=False))


class TestGrid:
    def test_panels_and_words(self, drawn: Figure) -> None:
        assert len(drawn.axes) == 4 * (2 + 4)
        assert len(by_label(drawn)) == 4 * 4
        drawn_words = words(drawn)
        for title in ("content", "style", "r-VGG-19", "r-VGG-19*", "r-ResNet-50", "r-ResNet-50*"):
            assert drawn_words.count(title) == 1
        for index in (0, 1, 3, 4):  # the pairs are evenly spread
            assert {f"content{index}", f"painting/{index}"} <= set(drawn_words)
        assert "content2" not in drawn_words
        assert drawn_words.count("style 0.316\nCFSD 0.032\nSSIM 0.091") == 4

    def test_pixels_are_the_runs(self, drawn: Figure, computed: Outputs) -> None:
        for index in (0, 1, 3, 4):
            for path, label in zip(
                computed.paths, ("r-VGG-19", "r-VGG-19*", "r-ResNet-50", "r-ResNet-50*"), strict=True
            ):
                axis = by_label(drawn)[f"content{index}__painting/{index}__{label}"]
                shown = np.asarray(axis.get_images()[0].get_array())
                assert (shown == np.asarray(Image.open(path / f"images/{index}.png"))).all()

    def test_printed_without_resampling(self, drawn: Figure) -> None:
        """A pixel is a whole number of printed ones wide, and in the PDF itself."""
        assert style.PICTURES_DPI <= drawn.dpi < style.PICTURES_DPI + 100
        for axis in by_label(drawn).values():
            [image] = axis.get_images()
            assert image.get_interpolation() == "none"
            scale = axis.get_window_extent().width / image.get_size()[1]
            assert scale == pytest.approx(round(scale), rel=0.001)

    def test_results_are_of_one_scale(self, drawn: Figure) -> None:
        sizes = [box(axis).size for axis in by_label(drawn).values()]
        assert np.ptp(sizes, axis=0) == pytest.approx(0, abs=1e-3)
        for axis in drawn.axes:
            height, width = axis.get_images()[0].get_size()
            assert box(axis).width / box(axis).height == pytest.approx(width / height, rel=0.02)

    def test_marks(self, drawn: Figure) -> None:
        marked = {label: axis.texts[0].get_text() for label, axis in by_label(drawn).items() if axis.texts}
        assert marked == {
            "content0__painting/0__r-ResNet-50": "diverged",
            "content0__painting/0__r-ResNet-50*": "unchanged",
        }
        for label, axis in by_label(drawn).items():
            frame = [spine for spine in axis.spines.values() if spine.get_visible()]
            assert len(frame) == 4 * (label in marked)
            assert {to_hex(spine.get_edgecolor()).upper() for spine in frame} <= {style.ALARM}

    def test_caption(self, drawn: Figure) -> None:
        said = caption(drawn)
        assert said.startswith("4 of 5 pairs (short side 256 px); r-: random, seed 0; * softmax (")
        assert "temperature = peak/2); Gram loss, content weight 1, style weight 10, balance sides, " in said
        assert "at most 150 steps a scale, LBFGS, from content." in said
        assert "by resnet50(random) for VGG-19; vgg19(imagenet) for ResNet-50." in said
        assert "different held-out networks do not compare" in said
        assert "Caution: a held-out network with random weights" in said
        assert "Of 20 pictures of all 5 pairs: 1 diverged, 1 unchanged." in said

    def test_many_arms_stand_in_bands(self, tmp_path: Path) -> None:
        overrides = ("experiment=fig1", "network=vgg19,resnet50", "weights=random")
        root = Outputs.of(tmp_path, overrides).root
        data = grid.load(list(overrides), root, partial=False)
        drawn = grid.make(data, pairs=2)
        assert len(drawn.axes) == 2 * (2 + 6)
        assert words(drawn).count("r-ResNet-50†") == 2
        boxes = {label: box(axis) for label, axis in by_label(drawn).items()}
        vgg, resnet = (boxes[f"content0__painting/0__r-{name}"] for name in ("VGG-19", "ResNet-50"))
        assert vgg.x0 == resnet.x0
        assert vgg.y0 > resnet.y1
        content, painting = (box(axis) for axis in drawn.axes[:8] if axis.get_label() in ("content", "style"))
        assert content.y0 == pytest.approx(vgg.y0)
        assert painting.y1 < content.y0

    def test_legible(self, drawn: Figure) -> None:
        assert_legible(drawn)


class TestJudges:
    """Who measured a picture, and of several judgements which counts."""

    OVERRIDES = ("experiment=fig1", "network=resnet50", "weights=random", "smoothing=none")

    @pytest.fixture
    def unjudged(self, tmp_path: Path) -> Outputs:
        return Outputs.of(tmp_path, self.OVERRIDES, judged=False, pairs=PAIRS[:1])

    def drawn(self, outputs: Outputs) -> tuple[stylizations.Stylizations, Figure]:
        data = grid.load(list(self.OVERRIDES), outputs.root, partial=False)
        return data, grid.make(data)

    def test_none(self, unjudged: Outputs) -> None:
        data, drawn = self.drawn(unjudged)
        assert data.table["style_distance"].isna().all()
        assert "style –\nCFSD –\nSSIM –" in words(drawn)
        command = f"swag judge -m {' '.join(self.OVERRIDES)} output={unjudged.root}"
        assert f"–: 1 of 1 cells are not judged. This judges them: {command}" in caption(drawn)

    @pytest.mark.parametrize("unmeasured", [["measures=none"], ["experiment=fig2_trained"]])
    def test_without_a_judge_the_default_one_is_named(self, tmp_path: Path, unmeasured: list[str]) -> None:
        overrides = [*self.OVERRIDES[1:], *unmeasured, "objective.style_weight=1"]
        made = Outputs.of(tmp_path, overrides, pairs=PAIRS[:1])
        with pytest.raises(CellsError) as error:
            curve.load(overrides, made.root, partial=False)
        said = str(error.value)
        assert "measures=default" in said
        assert "measures=none" not in said

    def test_the_newest_counts(self, unjudged: Outputs) -> None:
        config, path = unjudged.cells[0].config, unjudged.paths[0]
        one = judge(unjudged.root, config, path, worse=1)
        other = judge(unjudged.root, config, path, worse=2, version=2)
        for newest, day in ((one, 2), (other, 1)):
            changed = replace(records.read_status(newest), started_at=f"2026-01-0{day}T00:00:00+00:00")
            (newest / "status.json").write_text(changed.to_json())
        data, _ = self.drawn(unjudged)
        assert data.table["style_distance"].tolist() == [measures(config, 0)["style_distance"] + 1]

    def test_of_other_pictures(self, unjudged: Outputs) -> None:
        judge(unjudged.root, unjudged.cells[0].config, unjudged.paths[0], pictures={"images/0.png": "e" * 64})
        assert self.drawn(unjudged)[0].tables.unjudged == 1

    def test_by_another_judge(self, unjudged: Outputs) -> None:
        [other] = compose_cells([*self.OVERRIDES, "measures=vgg16"], "stylize")
        judge(unjudged.root, other.config, unjudged.paths[0])
        data, _ = self.drawn(unjudged)
        assert (data.tables.unjudged, data.judges) == (1, {})
        asked = [*self.OVERRIDES, "measures=vgg16,resnet50_half"]
        both = grid.load(asked, unjudged.root, partial=False)
        assert [arm.label for arm in both.arms] == [
            "r-ResNet-50 (judge = vgg16)", "r-ResNet-50 (judge = resnet50_half)",
        ]  # fmt: skip
        assert both.table["style_distance"].isna().tolist() == [False, True]

    def test_nothing_is_said_where_none_is_asked_for(self, tmp_path: Path) -> None:
        drawn = grid.make(grids(tmp_path, "network=vgg19", "measures=none"))
        assert "distance of luminance" not in caption(drawn)
        assert not any(text.startswith("style ") for text in words(drawn))


class TestCommand:
    def test_files(self, computed: Outputs, tmp_path: Path, loaded: stylizations.Stylizations) -> None:
        assert figure(computed, tmp_path, "--pairs", "1") == 0
        folder = tmp_path / "fig1"
        assert {path.name for path in folder.iterdir()} == {
            "fig1.png", "fig1.pdf", "fig1.csv", "fig1.provenance.json",
        }  # fmt: skip
        with Image.open(folder / "fig1.png") as saved:
            assert saved.info["Title"] == "fig1"
            assert saved.info["Description"].startswith("4 runs; commit ")
        assert (folder / "fig1.pdf").read_bytes().startswith(b"%PDF")
        written = pd.read_csv(folder / "fig1.csv")
        assert list(written.columns) == list(loaded.table.columns)
        assert written["style_distance"].tolist() == loaded.table["style_distance"].tolist()

    def test_missing_cells(
        self, outputs: Outputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.rmtree(outputs.paths[1])
        assert figure(outputs, tmp_path / "out") == 1
        said = capsys.readouterr().err
        assert f"1 of 4 cells missing. The missing ones are:\n  {outputs.cells[1]}\n" in said
        assert f"swag stylize -m experiment=fig1 {' '.join(SWEEP)} output={outputs.root}\n" in said
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

    @pytest.mark.parametrize("arguments", [["fig1", "--pairs", "0"], ["fig3", "--pairs", "2"]])
    def test_wrong_pairs(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["figure", *arguments]) == 2
        assert "--pairs" in capsys.readouterr().err


class TestCurve:
    def test_points_are_means_over_pairs(self, curves: curve.Curves) -> None:
        assert len(curves.table) == 2 * 3
        for point in curves.table.itertuples():
            numbers = pd.DataFrame(measures(curves.data.arms[point.cell].config, index) for index in range(5))
            for measure in ("style_distance", "cfsd", "ssim"):
                assert getattr(point, measure) == pytest.approx(numbers[measure].mean())
                error = numbers[measure].std() / math.sqrt(5)
                assert getattr(point, f"{measure}_error") == pytest.approx(error, abs=1e-12)
            assert math.isnan(point.lpips)
            assert (point.pairs, point.not_finished) == (5, int("ResNet" in point.label))

    def test_a_row_of_panels_for_each_judge(self, drawn_curves: Figure) -> None:
        axes = drawn_curves.axes
        assert [axis.get_title(loc="left") for axis in axes] == [
            "held-out network: resnet50(random)", "", "held-out network: vgg19(imagenet)", "",
        ]  # fmt: skip
        for axis, label in zip(axes, ("r-VGG-19", "r-VGG-19", "r-ResNet-50", "r-ResNet-50"), strict=True):
            assert axis.get_legend_handles_labels()[1] == [label]

    def test_weights_stand_before_error_bars(self, drawn_curves: Figure) -> None:
        for axis in drawn_curves.axes:
            bars = [part.get_zorder() for bar in axis.containers for part in bar.lines[2]]
            assert all(text.get_zorder() > max(bars) and text.get_path_effects() for text in axis.texts)

    def test_without_measures_there_is_no_curve(
        self, curves: curve.Curves, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        none = replace(curves.data, table=curves.data.table.assign(judge=None))
        monkeypatch.setattr(stylizations, "load_stylizations", lambda *_, **__: none)
        with pytest.raises(CellsError, match="should have measures"):
            curve.load([], Path(), partial=False)

    def test_lines_follow_the_weight(self, curves: curve.Curves, drawn_curves: Figure) -> None:
        axes = drawn_curves.axes
        for axis, measure in zip(axes, ("cfsd", "ssim") * 2, strict=True):
            [label] = axis.get_legend_handles_labels()[1]
            line = axis.get_lines()[0]
            points = curves.table[curves.table["label"] == label]
            assert points["objective.style_weight"].tolist() == [1, 10, 1000]
            assert list(line.get_xdata()) == points[measure].tolist()
            assert list(line.get_ydata()) == points["style_distance"].tolist()
            assert [text.get_text() for text in axis.texts] == ["1", "1000"]
            assert axis.get_yscale() == "log"
            assert (axis.get_xscale() == "log") == (measure == "cfsd")
            assert axis.xaxis_inverted() == (measure == "ssim")

    def test_points_with_unfinished_pairs_have_rings(self, drawn_curves: Figure) -> None:
        rings = [len(axis.collections[-1].get_offsets()) for axis in drawn_curves.axes]
        assert rings == [0, 0, 3, 3]
        assert "Red rings: pairs of that point did not finish (3 in all points" in caption(drawn_curves)

    def test_caption(self, drawn_curves: Figure) -> None:
        said = caption(drawn_curves)
        assert said.startswith("5 pairs (short side 256 px); r-: random, seed 0;")
        assert "Means over pairs and their standard errors." in said
        assert "Caution: a held-out network with random weights" in said
        assert "style weight" not in said

    def test_files(self, curves: curve.Curves, tmp_path: Path) -> None:
        paths = curve.save(curve.make(curves), curves, tmp_path, "curve")
        assert [path.name for path in paths] == [
            "curve.png", "curve.pdf", "curve.csv", "curve_pairs.csv", "curve.provenance.json",
        ]  # fmt: skip
        written = pd.read_csv(paths[2])
        assert written["style_distance"].tolist() == curves.table["style_distance"].tolist()
        assert len(pd.read_csv(paths[3])) == 2 * 3 * 5

    def test_legible(self, drawn_curves: Figure) -> None:
        assert_legible(drawn_curves)

    def test_losses_have_lines_of_their_own(self, tmp_path: Path) -> None:
        overrides = ("experiment=style_content_curve", "objective=bn,gram", *CURVE)
        root = Outputs.of(tmp_path, overrides).root
        axis, *_ = curve.make(curve.load(list(overrides), root, partial=False)).axes
        lines = {bar.get_label(): bar.lines[0] for bar in axis.containers}
        assert set(lines) == {"BN: r-VGG-19", "Gram: r-VGG-19"}
        assert len({line.get_color() for line in lines.values()}) == 2
        assert len({line.get_marker() for line in lines.values()}) == 2


def grids(root: Path, *overrides: str) -> stylizations.Stylizations:
    return grid.load(list(overrides), Outputs.of(root, overrides).root, partial=False)


class TestLosses:
    def test_names_of_loss_and_network(self, finished: Callable[[str], Path]) -> None:
        data = grid.load(["experiment=fig7"], finished("fig7"), partial=False)
        assert [arm.label for arm in data.arms] == [
            f"{loss}: p-{network}"
            for loss in ("STROTSS", "MMD, Gaussian")
            for network in ("VGG-16", "VGG-16*", "ResNet-50 half", "ResNet-50 half*")
        ]
        drawn = grid.make(data, pairs=1)
        assert {"STROTSS\np-VGG-16*", "MMD, Gaussian\np-ResNet-50 half"} <= set(words(drawn))
        boxes = {label: box(axis) for label, axis in by_label(drawn).items()}
        first, second = (
            boxes[f"content0__painting/0__{label}"]
            for label in ("STROTSS: p-VGG-16", "MMD, Gaussian: p-VGG-16")
        )
        assert first.x0 == second.x0  # a row for each loss
        assert first.y0 > second.y1

    def test_loss_alone_where_all_else_is_equal(self, finished: Callable[[str], Path]) -> None:
        name = "demystifying_fig3"
        drawn = grid.make(grid.load([f"experiment={name}"], finished(name), partial=False), pairs=1)
        losses = (
            "MMD, linear", "MMD, polynomial", "MMD, Gaussian", "BN", "linear + Gaussian", "BN + poly",
        )  # fmt: skip
        assert set(losses) <= set(words(drawn))
        assert "p-VGG-19 avg; p-: ImageNet; MMD, linear / MMD, polynomial / MMD, Gaussian / BN" in caption(
            drawn
        )
        assert "content weight 1, style weight 2 / 5, balance " in caption(drawn)
        assert "at most 1000 steps a scale, Adam, from noise." in caption(drawn)

    @pytest.mark.parametrize(
        ("overrides", "phrase"),
        [
            ("objective.balance=none", "balance none"),
            ("start=some/where.png", "from where.png"),
            ("start=style", "from style"),
            ("steps=1,2", "at most 1 / 2 steps a scale"),
        ],
    )
    def test_objective(self, tmp_path: Path, overrides: str, phrase: str) -> None:
        runs = grids(tmp_path, "network=vgg19", overrides).tables.runs
        assert phrase in [*captions.objective(runs)]
        assert not any(
            "style weight" in part for part in captions.objective(runs, ["objective.style_weight"])
        )

    @pytest.mark.parametrize(
        ("name", "shown", "other", "below"),
        [
            ("texture", "style", "content", "style 0.316"),
            ("reconstruction", "content", "style", "CFSD 0.010\nSSIM 0.500"),
        ],
    )
    def test_a_side_without_weight_is_left_out(
        self, finished: Callable[[str], Path], name: str, shown: str, other: str, below: str
    ) -> None:
        data = grid.load([f"experiment={name}"], finished(name), partial=False)
        drawn = grid.make(data, pairs=1)
        assert data.roles == (shown,)
        assert [axis.get_label() for axis in drawn.axes if axis.get_label() in ("content", "style")] == [
            shown
        ]
        assert words(drawn).count(below) == 4
        assert f"{other} weight 0," in caption(drawn)
        judged = caption(drawn)
        assert ("distance of luminance" in judged) == (shown == "style")
        assert [word in judged for word in ("CFSD", "SSIM")] == 2 * [shown == "content"]
        assert (data.table[f"{other}_loss"] == 0).all()
        assert data.table["start"].unique().tolist() == ["noise"]


def matrix_of(root: Path, name: str, *overrides: str, partial: bool = False) -> matrix.Matrix:
    asked = (f"experiment={name}", *overrides)
    if not root.exists():
        Outputs.of(root, asked)
    return matrix.load(list(asked), root, partial=partial, **FIGURES[name].settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The output folder of an experiment, computed once."""

    @functools.cache
    def of(name: str) -> Path:
        return Outputs.of(tmp_path_factory.mktemp(name), (f"experiment={name}",)).root

    return of


@pytest.fixture(scope="module")
def layers(finished: Callable[[str], Path]) -> matrix.Matrix:
    return matrix_of(finished("demystifying_fig1"), "demystifying_fig1")


@pytest.fixture(scope="module")
def balance(finished: Callable[[str], Path]) -> matrix.Matrix:
    return matrix_of(finished("demystifying_fig2"), "demystifying_fig2")


@pytest.fixture(scope="module")
def fusion(finished: Callable[[str], Path]) -> matrix.Matrix:
    return matrix_of(finished("demystifying_fig4"), "demystifying_fig4")


@pytest.fixture(scope="module")
def drawn_balance(balance: matrix.Matrix) -> Figure:
    return matrix.make(balance)


@pytest.mark.slow
class TestMatrix:
    def test_each_picture_stands_in_its_row_and_column(
        self, balance: matrix.Matrix, drawn_balance: Figure
    ) -> None:
        axes = by_label(drawn_balance)
        rows = ["MMD, linear", "MMD, polynomial", "MMD, Gaussian", "BN"]
        columns = ["γ = 0.1", "γ = 0.2", "γ = 1", "γ = 5", "γ = 10"]
        assert list(axes) == [f"content0__painting/0__{row}__{column}" for row in rows for column in columns]
        places = [box(axis) for axis in axes.values()]
        assert [axis.get_title() for axis in axes.values()] == [*columns, *([""] * 15)]
        names = [axis.get_ylabel().replace("\n", " ") for axis in axes.values()]
        assert names[::5] == rows
        assert {*names} == {*rows, ""}
        for index, place in enumerate(places):
            assert place.x0 == pytest.approx(places[index % 5].x0)
            assert place.y0 == pytest.approx(places[index - index % 5].y0)
        assert [place.x0 for place in places[:5]] == sorted(place.x0 for place in places[:5])
        assert all(above.y0 > below.y1 for above, below in itertools.pairwise(places[::5]))
        for arm in balance.data.arms:
            weight = arm.config["objective"]["style_weight"]
            axis = axes[f"content0__painting/0__{arm.label}__γ = {weight:g}"]
            shown = np.asarray(axis.get_images()[0].get_array())
            path = balance.data.tables.root / balance.data.tables.runs.loc[arm.index, "path"]
            assert (shown == np.asarray(Image.open(path / "images/0.png"))).all()

    def test_titles_of_columns(self, layers: matrix.Matrix, fusion: matrix.Matrix) -> None:
        drawn_words = words(matrix.make(layers))
        assert [text for text in drawn_words if text.startswith("layer")] == [
            "layer 1", "layers 1–2", "layers 1–3", "layers 1–4", "layers 1–5",
        ]  # fmt: skip
        assert "style: painting/0" in drawn_words
        assert not any("content: " in text for text in drawn_words)
        drawn_words = words(matrix.make(fusion))
        assert [text for text in drawn_words if len(text) <= 7 and "/" in text] == [
            "1/0", "0.9/0.1", "0.7/0.3", "0.5/0.5", "0.3/0.7", "0.1/0.9", "0/1",
        ]  # fmt: skip
        assert {"content: content0", "style: painting/0"} <= {text.replace("\n", " ") for text in drawn_words}

    def test_all_layers_have_a_name_too(self, tmp_path: Path) -> None:
        made = matrix_of(
            tmp_path / "runs", "demystifying_fig1", "objective.layers=2,null", "objective=bn,gram"
        )
        assert {"layers 1–2", "all layers"} <= set(words(matrix.make(made)))

    def test_pairs_stand_below_each_other(self, layers: matrix.Matrix) -> None:
        drawn = matrix.make(layers, pairs=2)
        assert words(drawn).count("layer 1") == 1
        assert words(drawn).count("BN") == 2
        above, below = (
            box(by_label(drawn)[f"content{index}__painting/{index}__BN__layer 1"]) for index in (0, 4)
        )
        assert above.x0 == below.x0
        assert above.y0 > below.y1
        assert_legible(drawn)

    def test_lines_are_means_over_all_pairs(self, balance: matrix.Matrix, drawn_balance: Figure) -> None:
        panels = {axis.get_label(): axis for axis in drawn_balance.axes if axis.get_lines()}
        assert list(panels) == ["content_loss", "style_loss"]
        for measure, axis in panels.items():
            assert axis.get_xscale() == "log"
            lines = {line.get_label(): line for line in axis.get_lines()}
            for name, line in lines.items():
                assert line.get_xdata().tolist() == [0.1, 0.2, 1, 5, 10]
                configs = [arm.config for arm in balance.data.arms if arm.label == name]
                expected = [losses(config)[measure] for config in configs]
                assert line.get_ydata() == pytest.approx(expected)
            assert len({line.get_color() for line in lines.values()}) == 4
            assert len({line.get_marker() for line in lines.values()}) == 4

    def test_panels_and_their_words_stand_apart(self, fusion: matrix.Matrix) -> None:
        """Measures of any size, whose ticks have words of any length."""
        scale = {"style_distance": 1.0, "sliced_wasserstein": 1.2345e4, "sifid": 1.234e-4, "cfsd": 1e-7}
        points, table = (
            known.assign(**{name: known["style_distance"] * factor for name, factor in scale.items()})
            for known in (fusion.points, fusion.data.table)
        )
        drawn = matrix.make(replace(fusion, points=points, data=replace(fusion.data, table=table)))
        assert len([axis for axis in drawn.axes if axis.get_lines()]) == 4
        assert_legible(drawn)

    def test_bands_are_standard_errors(self, fusion: matrix.Matrix) -> None:
        panel = next(axis for axis in matrix.make(fusion).axes if axis.get_lines())
        for name, band in zip(("linear + Gaussian", "BN + poly"), panel.collections, strict=True):
            point = fusion.points[(fusion.points["label"] == name) & (fusion.points["along"] == 1)].iloc[0]
            corners = band.get_paths()[0].vertices
            at_one = corners[corners[:, 0] == 1][:, 1]
            mean, error = point["style_distance"], point["style_distance_error"]
            assert (at_one.min(), at_one.max()) == pytest.approx((mean - error, mean + error))

    def test_caption(self, drawn_balance: Figure, layers: matrix.Matrix) -> None:
        said = caption(drawn_balance)
        assert said.startswith("1 of 5 pairs (short side 256 px); p-VGG-19 avg; p-: ImageNet;")
        assert said.endswith("Bands: standard errors of means over pairs.")
        assert "style weight" not in said
        assert "Bands" not in caption(matrix.make(layers))

    def test_fusions_are_drawn_along_the_first_weight(self, fusion: matrix.Matrix) -> None:
        assert fusion.points["along"].tolist() == [1, 0.9, 0.7, 0.5, 0.3, 0.1, 0] * 2
        drawn = matrix.make(fusion)
        panels = {axis.get_label(): axis for axis in drawn.axes if axis.get_lines()}
        assert list(panels) == [
            "style_distance",
            "sliced_wasserstein",
            "cfsd",
        ]  # other measures are unknown
        axis = panels["style_distance"]
        assert axis.xaxis_inverted()  # the columns of pictures have the same order
        for line in axis.get_lines():
            along, style_distance = line.get_data()
            assert along.tolist() == [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]
            assert style_distance == pytest.approx((3 + along) / math.sqrt(5))
        assert legend(drawn) == ["linear + Gaussian", "BN + poly"]

    def test_weights_are_scaled_to_a_sum_of_one(self, tmp_path: Path) -> None:
        swept = "objective.style.weights=[3,1],[1,1]"
        made = matrix_of(tmp_path / "runs", "demystifying_fig4", "objective=bn_poly", swept)
        assert made.points["along"].tolist() == [0.75, 0.5]
        assert {"3/1", "1/1"} <= set(words(matrix.make(made)))

    def test_one_value_has_no_panels(self, tmp_path: Path) -> None:
        made = matrix_of(tmp_path / "runs", "demystifying_fig2", "objective.style_weight=1")
        drawn = matrix.make(made)
        assert made.panels == {}
        assert not any(axis.get_lines() for axis in drawn.axes)
        assert "Bands" not in caption(drawn)

    def test_a_missing_cell_is_marked_in_its_place(self, tmp_path: Path) -> None:
        overrides = ("objective=bn,gram", "objective.layers=1,2")
        complete = matrix_of(tmp_path / "runs", "demystifying_fig1", *overrides)
        [gone] = [arm for arm in complete.data.arms if (arm.label, *_layers(arm)) == ("BN", 2)]
        shutil.rmtree(tmp_path / "runs" / complete.data.tables.runs.loc[gone.index, "path"])
        with pytest.raises(CellsError, match="1 of 4 cells missing"):
            matrix_of(tmp_path / "runs", "demystifying_fig1", *overrides)
        drawn = matrix.make(matrix_of(tmp_path / "runs", "demystifying_fig1", *overrides, partial=True))
        assert "PARTIAL: 1 of 4 cells missing" in words(drawn)
        blank = [axis.get_label() for axis in drawn.axes if not axis.get_images()]
        assert blank == ["content0__painting/0__BN__layers 1–2"]

    def test_command(self, balance: matrix.Matrix, tmp_path: Path) -> None:
        name, runs = "demystifying_fig2", balance.data.tables.root
        assert main(["figure", name, "--output", str(runs), "--results", str(tmp_path), "--pairs", "1"]) == 0
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert files == {f"{name}{end}" for end in (".png", ".pdf", ".csv", "_means.csv", ".provenance.json")}
        assert len(pd.read_csv(tmp_path / name / f"{name}.csv")) == 4 * 5 * 5
        written = pd.read_csv(tmp_path / name / f"{name}_means.csv")
        assert written["style_loss"].tolist() == balance.points["style_loss"].tolist()


def _layers(arm: stylizations.Arm) -> tuple[int]:
    return (arm.config["objective"]["layers"],)
