from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from analysis import points
from analysis.commands import main
from analysis.drawing import lines
from analysis.drawing.lines import ASIDE
from analysis.explaining import explain
from analysis.figures import FIGURES, fig3
from analysis.tables import framed
from analysis.tables.collect import collect, read_table
from analysis.tables.runs import frame, swept
from experiments import asking
from experiments.asking import Cell, CellsError
from experiments.science import scientific
from experiments.settings import CONF
from experiments.sweeps.composing import Grid
from experiments.sweeps.sweep import Sweep
from swag_repro.errors import StoreError, UserError
from swag_repro.runs import files, records
from swag_repro.runs.identity import Identity
from swag_repro.runs.schema import SCHEMA_KEY
from swag_repro.runs.store import Store
from tests.analysis.drawn import assert_legible, caption, legend
from tests.analysis.made import IMAGES, STATISTICS, Outputs, answers, measured, number

SWEEP = ("network=resnet50,vgg19", "smoothing=none,softmax", "weights.seed=0,1")
EXPERIMENT = ("experiment=fig3", *SWEEP)


def compose_cells(overrides: Sequence[str]) -> list[Cell]:
    return asking.compose_cells(overrides, "measure_activations")


def fail(root: Path, cell: Cell, error: Exception) -> None:
    who = Identity("measure_activations", 1, scientific(cell.config, cell.entry), IMAGES)
    with pytest.raises(type(error)), Store(root).claim(who, config=cell.config, name="fig3", device="cpu"):
        raise error


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    root = tmp_path_factory.mktemp("computed")
    return Outputs.of(root, EXPERIMENT, "measure_activations")


@pytest.fixture
def outputs(computed: Outputs, tmp_path: Path) -> Outputs:
    """Runs of every cell, to be spoilt."""
    root = tmp_path / "outputs"
    shutil.copytree(computed.root, root)
    return Outputs(root, computed.cells, [root / "runs" / path.name for path in computed.paths])


@pytest.fixture(scope="module")
def loaded(computed: Outputs) -> points.Points:
    return points.load_points(list(EXPERIMENT), computed.root, partial=False)


@pytest.fixture(scope="module")
def modes(tmp_path_factory: pytest.TempPathFactory) -> points.Points:
    """Return runs of a sweep of batch norm; values under `batch` are a tenth."""
    root = tmp_path_factory.mktemp("modes")
    overrides = ["experiment=fig3_batchnorm", "network=resnet50", "weights.seed=0,1"]
    Outputs.of(root, overrides, "measure_activations")
    return points.load_points(overrides, root, partial=False)


def figure(outputs: Outputs, out: Path, *arguments: str, name: str = "fig3") -> int:
    return main(["figure", name, *SWEEP, "--output", str(outputs.root), "--results", str(out), *arguments])


def test_a_sweep_is_drawn_by_its_handle(
    outputs: Outputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)
    monkeypatch.setattr(
        fig3, "make", lambda data: {"": fig3._draw(data, fig3.Page(fig3.DEFINITIONS))}
    )  # one of its pages
    axes = tuple(
        tuple(f"{key}={one}" for one in values.split(",")) for key, values in map(parted, EXPERIMENT)
    )
    for entry in ("measure_activations", "stylize"):
        Sweep(
            directory=outputs.root / "sweeps" / entry,
            output=outputs.root,
            entry=entry,
            program=entry,
            label=entry,
            grid=Grid(axes),
            command=EXPERIMENT,
            launcher="basic",
            workers=1,
        ).write()
    given = ["--output", str(outputs.root), "--results", str(tmp_path / "results")]
    folder = str(outputs.root / "sweeps" / "measure_activations")
    for handle in ("measure_activations", folder):
        assert main(["figure", "fig3", *given, handle]) == 0, capsys.readouterr().err
        drawn = pd.read_csv(tmp_path / "results" / "fig3" / "fig3.csv")
        assert set(drawn["network.name"]) == {"resnet50", "vgg19"}
    known = explain(tmp_path / "results" / "fig3" / "fig3.png", None)
    assert known.commands[-1][:3] == ("swag", "figure", "fig3")
    assert known.commands[-1][-1] == "last"
    assert os.path.relpath(folder) in known.provenance.command
    assert main(["figure", "fig1", *given, folder]) == 1
    assert "`sweep` should be computed by swag stylize; found swag measure." in capsys.readouterr().err


def parted(override: str) -> tuple[str, str]:
    key, _, values = override.partition("=")
    return key, values


class TestCells:
    def test_interpolations_are_resolved_in_each_cell(self) -> None:
        overrides = ["network=vgg16,resnet18", "weights=file", "weights.path=my/${network.name}.pth"]
        paths = [cell.config["weights"]["path"] for cell in compose_cells(overrides)]
        assert paths == ["my/vgg16.pth", "my/resnet18.pth"]

    def test_interpolated_settings_are_not_swept(self) -> None:
        overrides = ["network=vgg16,resnet18", "weights=file", "weights.path=my/${network.name}.pth"]
        cells = compose_cells(overrides)
        assert swept(framed(cells, [None, None])) == ["network.name"]
        typed = compose_cells([*overrides[:2], "weights.path=a.pth,b.pth"])
        assert swept(framed(typed, [None] * 4)) == ["network.name", "weights.path"]

    def test_are_those_hydra_would_launch(self) -> None:
        cells = compose_cells(EXPERIMENT)
        grid_cells = {
            (c.config["network"]["name"], c.config["smoothing"]["name"], c.config["weights"]["seed"])
            for c in cells
        }
        assert len(cells) == 8
        assert grid_cells == {
            (n, s, i) for n in ("resnet50", "vgg19") for s in ("none", "softmax") for i in (0, 1)
        }

    def test_of_the_paper(self) -> None:
        cells = compose_cells(["experiment=fig3", "images.size=64"])
        assert len(cells) == 50
        assert {cell.config["images"]["size"] for cell in cells} == {64}
        assert "experiment" not in str(cells[0])

    @pytest.mark.parametrize(
        "wrong", ["network=no_such_network", "imagges.size=3", "images.size=", "+nonsense=1", "images=folder"]
    )
    def test_wrong_override(self, wrong: str) -> None:
        with pytest.raises(UserError):
            compose_cells(["experiment=fig3", wrong])

    def test_match_each_its_own_run(self, computed: Outputs) -> None:
        assert answers(computed.root, computed.cells) == computed.paths

    @pytest.mark.parametrize("other", ["images.size=128", "batchnorm=batch", "smoothing.temperature=2"])
    def test_never_match_other_settings(self, computed: Outputs, other: str) -> None:
        cells = compose_cells(["network=resnet50", "smoothing=softmax", other])
        with pytest.raises(CellsError, match="1 of 1 cells missing"):
            answers(computed.root, cells)

    def test_match_in_spite_of_device_and_progress(self, computed: Outputs) -> None:
        same = compose_cells([*EXPERIMENT, "compute.device=cpu", "progress=false", "tracking=disabled"])
        assert answers(computed.root, same) == computed.paths

    def test_ambiguous_runs(self, outputs: Outputs) -> None:
        other = measured(outputs.root, outputs.cells[0], images={**IMAGES, "style/dots": "d" * 64})
        with pytest.raises(CellsError, match="should be one") as error:
            answers(outputs.root, outputs.cells)
        assert str(other) in str(error.value)
        assert str(outputs.paths[0]) in str(error.value)

    def test_named_files_decide(self, outputs: Outputs) -> None:
        cell = outputs.cells[0]
        elsewhere = {**cell.config, "images": {**cell.config["images"], "path": "elsewhere"}}
        measured(outputs.root, cell, images={"content/other": "e" * 64}, config=elsewhere)
        assert answers(outputs.root, outputs.cells) == outputs.paths

    def test_runs_of_different_images_never_share_a_figure(self, outputs: Outputs) -> None:
        shutil.rmtree(outputs.paths[0])
        measured(outputs.root, outputs.cells[0], images={**IMAGES, "style/dots": "d" * 64})
        with pytest.raises(CellsError, match="the same images"):
            answers(outputs.root, outputs.cells)

    def test_nor_do_runs_of_different_weights_of_one_network(self, tmp_path: Path) -> None:
        cells = compose_cells(["weights=imagenet", "network=resnet50,vgg19", "smoothing=none,softmax"])
        for cell, weights in zip(cells, ("r", "r", "v", "other"), strict=True):
            measured(tmp_path, cell, weights=weights * 64)
        assert None not in answers(tmp_path, cells[:3])
        with pytest.raises(CellsError, match="weight files"):
            answers(tmp_path, cells)

    def test_killed_before_its_identity(self, outputs: Outputs) -> None:
        (outputs.paths[0] / "identity.json").unlink()
        change_status(outputs.paths[0], state="running", files=None)
        assert answers(outputs.root, outputs.cells) == [None, *outputs.paths[1:]]


class TestPoints:
    def test_means_and_spread(self, loaded: points.Points, computed: Outputs) -> None:
        table = loaded.table
        assert len(table) == 4 * 5 * STATISTICS  # lines, layers
        configs = {path.name: cell.config for path, cell in zip(computed.paths, computed.cells, strict=True)}
        for point in table[table["statistic"] == "maximum"].itertuples():
            of_seed = [
                np.mean([number(configs[run], image, point.position, point.quantity) for image in range(3)])
                for run in point.run_ids.split(";")
            ]
            assert (point.low, point.mean, point.high) == pytest.approx(
                (min(of_seed), np.mean(of_seed), max(of_seed))
            )
        assert (table["seeds"] == 2).all()
        assert (table["images"] == 3).all()

    def test_settings_stand_beside_every_number(self, loaded: points.Points) -> None:
        table = loaded.table
        assert set(table["network.name"]) == {"resnet50", "vgg19"}
        assert set(table["smoothing.name"]) == {"none", "softmax"}
        assert set(table["images.size"]) == {256}
        assert sorted(table["label"].unique()) == ["r-ResNet-50", "r-ResNet-50*", "r-VGG-19", "r-VGG-19*"]

    def test_provenance(self, loaded: points.Points, computed: Outputs) -> None:
        line = loaded.table[loaded.table["label"] == "r-VGG-19*"]
        of_line = {
            path.name
            for path, cell in zip(computed.paths, computed.cells, strict=True)
            if cell.config["network"]["name"] == "vgg19" and cell.config["smoothing"]["name"] == "softmax"
        }
        assert set(line["run_ids"].iloc[0].split(";")) == of_line
        status = json.loads((computed.paths[0] / "status.json").read_text())
        for name in ("torch", "torchvision", "swag_repro"):
            assert set(loaded.table[f"versions.{name}"]) == {status["versions"][name]}
        assert set(loaded.table["commit"]) == {status["commit"] or "unknown"}

    def test_pretrained_weights_have_one_run_for_all_seeds(self, tmp_path: Path) -> None:
        overrides = ["weights=imagenet", "network=vgg19", "compute.batch_size=1,2"]
        Outputs.of(tmp_path, overrides, "measure_activations")
        data = points.load_points(overrides, tmp_path, partial=False)
        assert len(data.tables.runs) == 1
        assert set(data.table["label"]) == {"p-VGG-19"}
        assert (data.table["images"] == 3).all()
        assert (data.table["low"] == data.table["high"]).all()
        assert (data.table["seeds"] == 0).all()

    def test_any_sweep_has_lines_of_its_own(self, tmp_path: Path) -> None:
        """Size, batch norm and temperature; no column is named for them anywhere."""
        overrides = ["network=vgg19", "smoothing=softmax", "smoothing.temperature=1,2", "images.size=64,128"]
        Outputs.of(tmp_path, overrides, "measure_activations")
        data = points.load_points(overrides, tmp_path, partial=False)
        assert data.table["label"].unique().tolist() == [
            f"r-VGG-19* ({temperature}, {size})"
            for temperature in ("T = 1", "T = 2")
            for size in ("size = 64", "size = 128")
        ]
        assert set(data.table["smoothing.temperature"]) == {1, 2}
        assert "short side 64 px / short side 128 px" in caption(fig3.make(data)[""])

    def test_scales_are_never_pooled(self, tmp_path: Path) -> None:
        overrides = ["network=resnet50", "network.shortcut=0,0.5,1", "weights.seed=0,1"]
        Outputs.of(tmp_path, overrides, "measure_activations")
        data = points.load_points(overrides, tmp_path, partial=False)
        deepest = data.table.query("position == 5 and quantity == 'activation' and statistic == 'maximum'")
        assert deepest["label"].tolist() == ["r-ResNet-50, λ = 0", "r-ResNet-50, λ = 0.5", "r-ResNet-50"]
        assert deepest["mean"].tolist() == pytest.approx([(1 + scale) ** 5 * 3 for scale in (0, 0.5, 1)])
        assert (deepest["seeds"] == 2).all()
        colors = {line.get_color() for line in fig3.make(data)[""].axes[0].get_lines()}
        assert len(colors) == 3


@pytest.fixture(scope="module")
def drawn(loaded: points.Points) -> dict[str, Figure]:
    return fig3.make(loaded)


class TestFigure:
    def test_panels_show_the_means(self, loaded: points.Points, drawn: dict[str, Figure]) -> None:
        axes = drawn[""].axes
        wanted = [("activation", "maximum"), ("activation", "normalized_entropy")]
        wanted += [("gram_per_dm", statistic) for _, statistic in wanted]
        assert [axis.get_yscale() for axis in axes] == ["log", "linear", "log", "linear"]
        for axis, (quantity, statistic) in zip(axes, wanted, strict=True):
            assert len(axis.get_lines()) == 4
            for line in axis.get_lines():
                table = loaded.table.query(f"label == '{line.get_label()}' and quantity == '{quantity}'")
                table = table.query(f"statistic == '{statistic}' and definition != 'linear'")
                assert list(line.get_ydata()) == list(table["mean"])
                assert np.round(line.get_xdata()).tolist() == [1, 2, 3, 4, 5]

    def test_bands_span_the_seeds(self, loaded: points.Points, drawn: dict[str, Figure]) -> None:
        axis = drawn[""].axes[0]
        table = loaded.table.query("quantity == 'activation' and statistic == 'maximum'")
        spans = [collection.get_paths()[0].vertices[:, 1] for collection in axis.collections]
        assert {(low.min(), low.max()) for low in spans} == {
            (line["low"].min(), line["high"].max()) for _, line in table.groupby("label")
        }

    def test_smoothed_lines_are_dashed_rings_of_their_networks_colour(self, drawn: dict[str, Figure]) -> None:
        lines = {line.get_label(): line for line in drawn[""].axes[0].get_lines()}
        plain, smoothed = lines["r-ResNet-50"], lines["r-ResNet-50*"]
        assert (plain.get_linestyle(), smoothed.get_linestyle()) == ("-", "--")
        assert smoothed.get_markerfacecolor() == "none"
        assert smoothed.get_color() == plain.get_color() != lines["r-VGG-19"].get_color()
        assert smoothed.get_marker() == plain.get_marker() != lines["r-VGG-19"].get_marker()

    def test_words(self, drawn: dict[str, Figure]) -> None:
        page = drawn[""]
        ticks = [label.get_text() for label in page.axes[2].get_xticklabels()]
        assert ticks[0] == "1\nconv1\nrelu1_1"
        assert ticks[4] == "5\nconv5_3\nrelu5_1"
        assert legend(page) == ["r-ResNet-50", "r-ResNet-50*", "r-VGG-19", "r-VGG-19*"]
        assert "3 images (short side 256 px) and 2 seeds; bands: smallest to largest" in caption(page)
        assert "over = layer, temperature = peak/2)." in caption(page)

    def test_long_names_of_layers_take_two_lines(self, loaded: points.Points) -> None:
        table = loaded.table.replace({"layer": {"relu1_1": "Conv2d_2b_3x3"}})
        drawn = fig3._draw(replace(loaded, table=table), fig3.Page(fig3.FIG3))
        assert drawn.axes[2].get_xticklabels()[0].get_text() == "1\nconv1\nConv2d_\n2b_3x3"

    def test_lines_that_coincide_are_seen(self, drawn: dict[str, Figure]) -> None:
        """Their markers stand side by side, and the one below is wider."""
        lines = {line.get_label(): line for line in drawn[""].axes[1].get_lines()}
        one, other = lines["r-ResNet-50"], lines["r-VGG-19"]
        apart = other.get_transform().transform((1, 1)) - one.get_transform().transform((1, 1))
        assert apart.tolist() == pytest.approx([ASIDE / 72 * drawn[""].dpi, 0])
        assert one.get_linewidth() > other.get_linewidth() + 1
        assert one.get_zorder() <= other.get_zorder()

    def test_definitions_side_by_side(self, drawn: dict[str, Figure]) -> None:
        axes = drawn["_definitions"].axes
        for softmax, linear in ((axes[0], axes[1]), (axes[2], axes[3])):
            for one, other in zip(softmax.get_lines(), linear.get_lines(), strict=True):
                assert np.allclose(one.get_ydata(), 2 * np.asarray(other.get_ydata()))

    def test_shape_has_a_page_of_its_own(self, loaded: points.Points, drawn: dict[str, Figure]) -> None:
        page = drawn["_shape"]
        wanted = ["max_over_rms", "kurtosis", "participation_ratio", "effective_rank"]
        for axis, statistic in zip(page.axes, wanted, strict=True):
            assert [line.get_label() for line in axis.get_lines()] == ["r-ResNet-50", "r-VGG-19"]
            for line in axis.get_lines():
                table = loaded.table.query(f"label == '{line.get_label()}' and statistic == '{statistic}'")
                assert list(line.get_ydata()) == list(table["mean"])
        assert caption(page).endswith("Before any smoothing.")

    def test_modes_of_batch_norm_stand_side_by_side(self, modes: points.Points) -> None:
        assert set(modes.table["label"]) == {"r-ResNet-50"}
        [drawn] = fig3.make(modes).values()
        assert len(drawn.axes) == 6
        for axis, mode in zip(drawn.axes, 3 * ("eval", "batch"), strict=True):
            assert axis.get_title(loc="left").endswith(f"batchnorm={mode}")
            assert len(axis.get_lines()) == 1
        maxima = modes.table.query("quantity == 'activation' and statistic == 'maximum'")
        for axis, mode in zip(drawn.axes[:2], ("eval", "batch"), strict=True):
            expected = maxima[maxima["batchnorm"] == mode]["mean"]
            assert list(axis.get_lines()[0].get_ydata()) == list(expected)
        assert drawn.axes[0].get_ylim() == drawn.axes[1].get_ylim()

    def test_one_network_alone_is_legible(self, modes: points.Points, drawn: dict[str, Figure]) -> None:
        for page in (*drawn.values(), *fig3.make(modes).values()):
            assert_legible(page)

    def test_seven_networks_and_their_smoothings_are_told_apart(self, loaded: points.Points) -> None:
        networks = [*lines.NETWORK_STYLES, "densenet121", "googlenet"]
        table = loaded.table[loaded.table["network.name"] == "vgg19"]
        many = [
            table.assign(
                label=table["label"] + f" {number}", network=number, line=2 * number + table["smoothing"]
            ).assign(**{"network.name": name})
            for number, name in enumerate(networks)
        ]
        [line, *_] = table["line"].unique()
        seeds = loaded.by_seed[loaded.by_seed["line"] == line]
        shown = pd.concat([seeds.assign(line=number) for number in range(14)])
        page = fig3._draw(replace(loaded, table=pd.concat(many), by_seed=shown), fig3.Page(fig3.FIG3))
        assert_legible(page)
        styles = {
            (line.get_color(), line.get_marker(), line.get_markerfacecolor() == "none", line.is_dashed())
            for line in page.axes[0].get_lines()
        }
        assert len(styles) == 14
        assert len({line_style[1:3] for line_style in styles}) == 14  # on grey paper, too

    def test_looks_differ_without_colour(self) -> None:
        networks = [*lines.NETWORK_STYLES, "densenet121", "googlenet", "wide_resnet50_2", "inception_v3"]
        styles = lines.line_styles(networks)
        assert len({line_style.marker for line_style in styles}) == len(networks)
        assert len({to_rgb(line_style.color) for line_style in styles}) == len(networks)
        first, second = lines.line_styles(["vgg19", "vgg19"])
        known = lines.NETWORK_STYLES["vgg19"]
        assert (first.color, first.marker) == (known.color, known.marker) != (second.color, second.marker)


class TestCommand:
    def test_files(self, computed: Outputs, tmp_path: Path, loaded: points.Points) -> None:
        assert figure(computed, tmp_path) == 0
        folder = tmp_path / "fig3"
        assert {path.name for path in folder.iterdir()} == {
            "fig3.png", "fig3.pdf", "fig3_definitions.png", "fig3_definitions.pdf",
            "fig3_shape.png", "fig3_shape.pdf", "fig3.csv", "fig3.provenance.json",
        }  # fmt: skip
        with Image.open(folder / "fig3.png") as picture:
            assert picture.info["dpi"][0] >= 200
            assert picture.info["Description"].startswith("8 runs; commit ")
        assert (folder / "fig3.pdf").read_bytes().startswith(b"%PDF")
        written = pd.read_csv(folder / "fig3.csv")
        assert list(written.columns) == list(loaded.table.columns)
        assert written["mean"].tolist() == loaded.table["mean"].tolist()

    def test_missing_cells(
        self, outputs: Outputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for path in outputs.paths[:2]:
            shutil.rmtree(path)
        fail(outputs.root, outputs.cells[1], MemoryError("no memory left"))
        assert figure(outputs, tmp_path / "out") == 1
        said = capsys.readouterr().err
        assert "2 of 8 cells missing" in said
        assert f"\n  {outputs.cells[0]}\n  {outputs.cells[1]} (failed: MemoryError: no memory left)\n" in said
        assert f"swag measure -m experiment=fig3 {' '.join(SWEEP)}" in said
        assert "Traceback" not in said
        assert not (tmp_path / "out").exists()

    def test_partial_figure_is_marked(
        self, outputs: Outputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.rmtree(outputs.paths[0])
        saved: list[Figure] = []
        monkeypatch.setattr(Figure, "savefig", lambda drawn, *_, **__: saved.append(drawn))
        assert figure(outputs, tmp_path / "out", "--allow-partial") == 0
        assert len(saved) == 3 * 2  # pages, formats
        for drawn in saved:
            [mark] = [text for text in drawn.texts if "PARTIAL" in text.get_text()]
            assert mark.get_text() == "PARTIAL: 1 of 8 cells missing"
            assert mark.get_window_extent().width > drawn.bbox.width / 2
        assert (tmp_path / "out/fig3/fig3.png").exists()

    def test_nothing_to_draw(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert figure(Outputs(tmp_path, [], []), tmp_path / "out", "--allow-partial") == 1
        assert "8 of 8 cells missing" in capsys.readouterr().err

    def test_wrong_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["collect", "--output", str(tmp_path / "nowhere")]) == 1
        assert "nowhere" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "arguments", [["figure", "fig3", "--alow-partial"], ["collect", "images.size=3"]]
    )
    def test_unknown_arguments(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(arguments) == 2
        assert capsys.readouterr().err.startswith(f"error: unknown argument: {arguments[-1]}. ")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["fig33"], "found 'fig33'. Did you mean fig3?\n"),
            (["nothing"], "should be one of fig1, "),
            ([], "the following arguments are required: name. Type"),
        ],
    )
    def test_a_figure_that_is_none(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
    ) -> None:
        assert main(["figure", *arguments]) != 0
        assert said in capsys.readouterr().err

    def test_every_figure_has_its_experiment(self) -> None:
        for source in FIGURES.values():
            assert (CONF / "experiment" / f"{source.experiment}.yaml").is_file()

    def test_help_imports_nothing_heavy(self) -> None:
        script = (
            "import contextlib, sys; from analysis.cli import main\n"
            "sys.argv[1:] = ['--help']\n"
            "with contextlib.suppress(SystemExit): main()\n"
            "sys.exit(' '.join({'torch', 'pandas', 'seaborn', 'matplotlib', 'hydra'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        assert done.stderr == b"\n", done.stderr.decode()


class TestCollect:
    def test_counts_and_table(
        self, outputs: Outputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for path in outputs.paths[:2]:
            shutil.rmtree(path)
        fail(outputs.root, outputs.cells[0], ValueError("bad luck"))
        (outputs.root / "runs" / "0123456789abcdef").mkdir()  # the run was killed at once
        assert main(["collect", "--output", str(outputs.root), "--results", str(tmp_path)]) == 0
        rows_of_one = 3 * 5 * STATISTICS
        said = capsys.readouterr().out
        assert f"6 finished runs, {6 * rows_of_one} rows" in said
        assert "1 failed: ValueError: bad luck" in said
        assert "1 running or killed" in said
        table = pd.read_parquet(tmp_path / "table.parquet")
        assert table["run_id"].value_counts().to_dict() == {
            path.name: rows_of_one for path in outputs.paths[2:]
        }
        written = pd.read_csv(tmp_path / "table.csv")
        assert written["value"].tolist() == table["value"].tolist()
        assert pq.read_schema(tmp_path / "table.parquet").metadata[SCHEMA_KEY] == b"3"

    def test_runs_have_their_configs(self, outputs: Outputs, tmp_path: Path) -> None:
        fail(outputs.root, compose_cells(["network=vgg16"])[0], ValueError("bad luck"))
        collect(outputs.root, tmp_path)
        runs = frame(read_table(tmp_path / "runs.parquet"))
        assert runs["state"].value_counts().to_dict() == {"finished": 8, "failed": 1}
        known = runs[runs["state"] == "finished"].set_index("run_id")
        for path, cell in zip(outputs.paths, outputs.cells, strict=True):
            row = known.loc[path.name]
            assert row["path"] == f"runs/{path.name}"
            assert row["network.name"] == cell.config["network"]["name"]
            assert row["weights.seed"] == cell.config["weights"]["seed"]
            assert json.loads(row["network.style_taps"]) == cell.config["network"]["style_taps"]
        assert runs["images.size"].dtype == pd.Int64Dtype()
        assert (
            runs["network.shortcut"].dtype.kind in "fi" or runs["network.shortcut"].dtype == pd.Int64Dtype()
        )
        assert len(known["config_key"].unique()) == 8
        assert runs["name"].tolist() == ["fig3"] * 9
        assert swept(known.assign(experiment="measure_activations")) == [
            "network.name", "smoothing.name", "weights.seed",
        ]  # fmt: skip

    @pytest.mark.parametrize("name", ["table", "runs", "pairs"])
    def test_a_table_of_another_version_is_refused(
        self, computed: Outputs, tmp_path: Path, name: str
    ) -> None:
        collect(computed.root, tmp_path)
        path = tmp_path / f"{name}.parquet"
        pq.write_table(read_table(path).replace_schema_metadata({SCHEMA_KEY: b"99"}), path)
        with pytest.raises(StoreError, match="should have schema .*; found 99. Collect again"):
            read_table(path)

    def test_same_runs_same_bytes(self, computed: Outputs, tmp_path: Path) -> None:
        files = [collect(computed.root, tmp_path / out).files for out in ("one", "two")]
        for one, other in zip(*files, strict=True):
            assert one.read_bytes() == other.read_bytes()

    def test_no_runs(self, tmp_path: Path) -> None:
        (tmp_path / "runs").mkdir()
        assert collect(tmp_path, tmp_path / "out").rows == 0

    def test_no_folder_of_runs(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=f"no folder {tmp_path / 'runs'}"):
            collect(tmp_path, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda path: change_status(path, rows=7), "instead of the 7 its status tells of"),
            (lambda path: (path / "status.json").write_text("{"), "should be a complete file"),
            (lambda path: (path / "rows.parquet").write_bytes(b"PAR1"), "should be a complete file"),
        ],
    )
    def test_nothing_is_lost_silently(
        self, outputs: Outputs, tmp_path: Path, spoil: Callable[[Path], None], message: str
    ) -> None:
        spoil(outputs.paths[3])
        with pytest.raises(StoreError, match=message):
            collect(outputs.root, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "spoil",
        [lambda path: change_status(path, schema=2), lambda path: change_rows_schema(path, b"99")],
        ids=["earlier", "later"],
    )
    def test_runs_of_another_version_are_named_and_left_alone(
        self,
        outputs: Outputs,
        tmp_path: Path,
        spoil: Callable[[Path], None],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        spoil(path := outputs.paths[3])
        before = (path / "status.json").read_bytes()
        assert main(["collect", "--output", str(outputs.root), "--results", str(tmp_path / "out")]) == 0
        said = capsys.readouterr().out
        assert "7 finished runs" in said
        assert f"1 of another version of the store, left alone: runs/{path.name}" in said
        assert (path / "status.json").read_bytes() == before


def change_status(path: Path, **fields: Any) -> None:
    (path / "status.json").write_text(replace(records.read_status(path), **fields).to_json())


def change_rows_schema(path: Path, version: bytes) -> None:
    table = pq.read_table(path / "rows.parquet").replace_schema_metadata({SCHEMA_KEY: version})
    with pa.OSFile(str(path / "rows.parquet"), "wb") as file:
        pq.write_table(table, file)
    change_status(path, files=files.digests(path))
