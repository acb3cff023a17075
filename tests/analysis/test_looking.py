"""`plot`, `sheet` and `runs` on any sweep."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from rich.console import Console

from analysis.commands import INTERVAL_NAMES, RUN_STATES, main
from analysis.drawing import style
from analysis.explaining import explain
from analysis.figures import plot, sheet
from analysis.listing import load_listing
from analysis.observations import ENCODINGS, FILTERS, REST, Observations, PlotRequest
from analysis.stylizations import Stylizations
from experiments.asking import CellsError, Wanted, compose_cells
from experiments.science import scientific
from experiments.settings import CONF, entries
from swag_repro.errors import SettingError
from swag_repro.runs.identity import Identity
from swag_repro.runs.store import Store
from tests.analysis.drawn import assert_legible, by_label, caption, legend, words
from tests.analysis.made import IMAGES, PAIRS, Outputs, measures, number

MEASURED = (
    "experiment=fig3", "network=resnet50,vgg19", "smoothing=none,softmax", "weights.seed=0,1",
)  # fmt: skip
TEMPERATURES = (
    "experiment=fig3", "network=vgg19", "smoothing=softmax", "smoothing.temperature=1,2,10", "weights.seed=0",
)  # fmt: skip
PAINTED = ("experiment=fig1", "network=vgg19,resnet50", "weights=random", "smoothing=none,softmax")
ONE = (*TEMPERATURES[:3], TEMPERATURES[4])
TRAINED = ("experiment=family", "network=small_residual,small_vgg", "weights.seed=0,1")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of four sweeps in one folder."""
    root = tmp_path_factory.mktemp("runs")
    for overrides in (MEASURED, TEMPERATURES):
        Outputs.of(root, overrides, "measure_activations")
    Outputs.of(root, PAINTED, pairs=PAIRS[:3])
    Outputs.of(root, TRAINED, "train_classifier")
    return root


def observed(root: Path, overrides: Sequence[str], *asked: str) -> Observations:
    return plot.load(PlotRequest.split(asked)[0], Wanted.of(overrides, root), partial=False)


def refused(root: Path, overrides: Sequence[str], *asked: str) -> str:
    with pytest.raises(SettingError) as error:
        observed(root, overrides, *asked)
    return str(error.value)


def dots(drawn: Figure) -> list[Any]:
    """Where dots of values stand, jitter included."""
    return [one.get_offsets().tolist() for axis in drawn.axes for one in axis.collections]


class TestAsked:
    def test_is_told_from_overrides(self) -> None:
        asked, overrides = PlotRequest.split(
            ["experiment=fig3", "x=network", "layer=conv1,conv2_3", "+x=3", "y=maximum", "images.size=64"]
        )
        assert asked == PlotRequest(x="network", y="maximum", chosen={"layer": ("conv1", "conv2_3")})
        assert overrides == ["experiment=fig3", "+x=3", "images.size=64"]

    @pytest.mark.parametrize("wrong", [["x=a", "x=b"], ["layer="], ["y="]])
    def test_refuses(self, wrong: list[str]) -> None:
        with pytest.raises(SettingError, match="should be given once, with a value"):
            PlotRequest.split(wrong)

    def test_no_word_is_a_setting(self) -> None:
        for name in entries():
            settings = set(OmegaConf.load(CONF / f"{name}.yaml"))
            groups = {path.name for path in CONF.iterdir() if path.is_dir()}
            assert not {*ENCODINGS, *FILTERS} & (settings | groups)


class TestNumbers:
    def test_are_those_of_the_tables(self, root: Path) -> None:
        data = observed(
            root, MEASURED, "y=maximum", "x=layer", "hue=network", "quantity=gram", "layer=conv1,conv2_3"
        )
        assert data.averaged == {"smoothing.name": 2}
        [cell] = [
            cell.config
            for cell in compose_cells(["experiment=fig3", "smoothing=none", "network=resnet50", "weights.seed=1"], "measure_activations")
        ]  # fmt: skip
        row = data.replicates.set_index(["layer", "network.name", "weights.seed", "content"]).loc[
            ("conv2_3", "resnet50", 1, "astronaut")
        ]
        position = cell["network"]["statistic_taps"].index("conv2_3") + 1
        smoothed = {**cell, "smoothing": {"name": "softmax"}}
        expected = [number(config, 0, position, "gram") for config in (cell, smoothed)]
        assert row["value"] == pytest.approx(sum(expected) / 2)
        assert row["numbers"] == 2
        assert len(row["run_id"].split(";")) == 2

    def test_means_over_seeds_and_images(self, root: Path) -> None:
        data = observed(root, MEASURED, "y=maximum", "x=network", "quantity=activation", "position=1")
        assert data.asked.hue == REST
        means = data.means.set_index(["network.name", REST])
        assert (means["size"] == 2 * len(IMAGES)).all()
        one = data.replicates[
            (data.replicates["network.name"] == "vgg19") & (data.replicates[REST] == "smoothing none")
        ]
        assert means.loc[("vgg19", "smoothing none"), "mean"] == pytest.approx(one["value"].mean())
        assert means.loc[("vgg19", "smoothing none"), "sem"] == pytest.approx(
            one["value"].std() / math.sqrt(6)
        )

    def test_of_judges_are_those_of_finished_pictures(self, root: Path) -> None:
        data = observed(root, PAINTED, "y=style_distance", "x=network", "hue=smoothing", "col=content")
        config = {
            **compose_cells(
                ["experiment=fig1", "network=vgg19", "weights=random", "smoothing=none"], "stylize"
            )[0].config
        }
        row = data.replicates.set_index(["network.name", "smoothing.name", "content"]).loc[
            ("vgg19", "none", PAIRS[1][0])
        ]
        assert row["value"] == measures(config, 1)["style_distance"]
        assert len(data.replicates) == 4 * 3

    def test_of_trainings_are_the_last(self, root: Path) -> None:
        last = observed(root, TRAINED, "y=accuracy", "x=network", "definition=test")
        curve = observed(root, TRAINED, "y=accuracy", "x=iteration", "definition=test")
        assert len(last.replicates) == 2 * 2
        ends = curve.replicates.sort_values("iteration").groupby(["rest", "weights.seed"])["value"].last()
        assert sorted(ends) == sorted(last.replicates["value"])

    def test_of_whole_runs(self, root: Path) -> None:
        data = observed(root, MEASURED, "y=seconds", "x=network", "hue=smoothing")
        assert len(data.replicates) == 8
        assert data.replicates["value"].ge(0).all()

    def test_without_x_are_counted(self, root: Path) -> None:
        sweep = ("experiment=fig3", "network=vgg19", "smoothing=none,softmax", "weights.seed=0")
        data = observed(root, sweep, "y=kurtosis", "x=smoothing.temperature")
        assert data.without_x == len(IMAGES)
        assert f"{len(IMAGES)} without temperature T are left out." in caption(plot.make(data))


@pytest.mark.parametrize(
    ("overrides", "x", "y"),
    [
        (MEASURED, "layer", "maximum"),
        (PAINTED, "network.name", "luminance_wasserstein"),
        (TRAINED, "network.name", "accuracy"),
    ],
)
def test_without_axes_the_main_number_is_drawn(root: Path, overrides: Sequence[str], x: str, y: str) -> None:
    data = observed(root, overrides)
    assert (data.asked.x, data.asked.y) == (x, y)
    assert_legible(plot.make(data))


class TestLayout:
    def test_of_one_s_choice(self, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "my.mplstyle").write_text("font.size: 5\naxes.grid: False\nxtick.labelsize: 4\n")
        asked = [*PAINTED, "--output", str(root), "--results", str(tmp_path / "results")]
        chosen = [
            "--style",
            str(tmp_path / "my.mplstyle"),
            "--width",
            "3.5",
            "--format",
            "svg",
            "--no-caption",
        ]
        assert main(["plot", *asked, *chosen]) == 0
        files = capsys.readouterr().out.splitlines()
        assert [Path(file).suffix for file in files] == [".svg", ".csv", ".csv", ".json"]
        drawn = Path(files[0]).read_text()
        assert 'width="252pt"' in drawn
        assert "clip-path" in drawn
        assert main(["plot", *asked, "--style", str(tmp_path / "none")]) == 1
        assert capsys.readouterr().err.startswith("error: `--style` should be a style of matplotlib; found")

    def test_the_user_s_matplotlibrc_counts_where_nothing_is_set_on_purpose(self, root: Path) -> None:
        data = observed(root, PAINTED)
        with matplotlib.rc_context({"font.family": ["monospace"], "font.size": 30}):
            drawn = plot.make(data)
        axis = drawn.axes[0]
        assert axis.xaxis.label.get_fontfamily() == ["monospace"]
        assert axis.xaxis.label.get_fontsize() == style.RC["axes.labelsize"]

    def test_the_judge_stands_in_the_caption(self, root: Path) -> None:
        data = observed(root, PAINTED)
        assert "Measured by resnet50(random), vgg19(imagenet)." in caption(plot.make(data))
        assert observed(root, MEASURED).judges == []

    def test_words_fit_narrow_figures(self, root: Path) -> None:
        assert_legible(plot.make(observed(root, PAINTED), layout=style.Layout(width=4.5)))


class TestErrors:
    def test_list_what_there_is(self, root: Path) -> None:
        assert "found 'no'. There are effective_rank, kurtosis, max_over_rms, maximum," in refused(
            root, MEASURED, "y=no"
        )
        assert "found 'max'. There are " in refused(root, MEASURED, "y=max", "x=network")
        for part in ("x", "hue", "col", "row"):
            said = refused(root, MEASURED, "y=maximum", "x=network", f"{part}=colour") if part != "x" else refused(
                root, MEASURED, "y=maximum", "x=colour"
            )  # fmt: skip
            assert said.startswith(
                f"`{part}` should be a setting of these runs, or a column of their numbers"
            )
            assert "swept network.name, smoothing.name, weights.seed; columns of this number: layer," in said

    def test_of_filters(self, root: Path) -> None:
        said = refused(root, MEASURED, "y=maximum", "x=network", "quantity=grams")
        assert (
            "`quantity` should be of maximum; found grams. There are activation, gram, gram_per_dm." in said
        )
        said = refused(root, MEASURED, "y=maximum", "x=network", "definition=softmax")
        assert "maximum has none: leave it out" in said

    def test_no_mean_over_several_quantities(self, root: Path) -> None:
        said = refused(root, MEASURED, "y=maximum", "x=layer", "col=network", "row=smoothing")
        assert "Add quantity=activation." in said

    def test_too_many_panels(self, root: Path) -> None:
        data = observed(
            root, MEASURED, "y=maximum", "x=network", "quantity=gram", "col=layer", "row=weights.seed"
        )
        many = {str(index): index for index in range(20)}
        data.replicates["layer"] = [str(index % 20) for index in range(len(data.replicates))]
        assert len(many) * 2 > plot.MOST
        with pytest.raises(SettingError, match="at most 30 panels together; found 40"):
            plot.make(data)

    def test_no_experiment(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["plot", "network=vgg19", "x=network", "y=maximum"]) == 1
        assert "`experiment` should be given, or the entry point" in capsys.readouterr().err

    def test_of_a_sweep_without_an_experiment(self, root: Path) -> None:
        overrides = ["entry=measure_activations", *MEASURED[1:]]
        assert len(observed(root, overrides, "y=maximum", "x=depth", "quantity=gram").replicates)


class TestPlot:
    def test_a_line_for_each_network_where_x_is_a_number(self, root: Path) -> None:
        data = observed(
            root, MEASURED, "y=maximum", "x=position", "hue=network", "col=smoothing", "row=quantity"
        )
        drawn = plot.make(data)
        assert_legible(drawn)
        assert legend(drawn) == ["ResNet-50", "VGG-19"]
        panels = drawn.axes
        assert [axis.get_title(loc="left") for axis in panels] == [
            f"{quantity}; {smoothing}"
            for quantity in ("activations", "Gram matrix", "Gram matrix / D·M")
            for smoothing in ("none", "softmax")
        ]
        points = data.means.set_index(["position", "network.name", "smoothing.name", "quantity"])["mean"]
        for axis, (quantity, smoothing) in zip(
            panels,
            [(q, s) for q in ("activation", "gram", "gram_per_dm") for s in ("none", "softmax")],
            strict=True,
        ):
            [line, _] = axis.get_lines()
            assert list(line.get_ydata()) == pytest.approx(
                [points[p, "resnet50", smoothing, quantity] for p in line.get_xdata()]
            )
            assert axis.get_yscale() == "log"
        assert "Means over 3 images and 2 seeds (bands: standard errors). Colours: network." in caption(drawn)

    def test_points_where_it_is_none(self, root: Path) -> None:
        data = observed(root, PAINTED, "y=ssim", "x=network", "hue=smoothing")
        drawn = plot.make(data, interval="range")
        first, second = (dots(made) for made in (drawn, plot.make(data, interval="range")))
        assert first == second
        assert_legible(drawn)
        [axis] = drawn.axes
        assert [label.get_text() for label in axis.get_xticklabels()] == ["VGG-19", "ResNet-50"]
        assert axis.get_ylabel() == "SSIM (1: as the content)"
        assert axis.get_yscale() == "linear"
        assert "3 pairs (points with bars: lowest to highest)" in caption(drawn)
        offsets = pd.concat([pd.DataFrame(one.get_offsets()) for one in axis.collections])
        assert len(offsets) == 12

    def test_numbers_as_colours_go_from_dark_to_light(self, root: Path) -> None:
        data = observed(
            root, TEMPERATURES, "y=maximum", "x=layer", "hue=smoothing.temperature", "quantity=gram"
        )
        assert legend(plot.make(data)) == ["1", "2", "10"]

    def test_settings_along_x(self, root: Path) -> None:
        data = observed(
            root, TEMPERATURES, "y=maximum", "x=smoothing.temperature", "quantity=gram", "col=layer"
        )
        drawn = plot.make(data)
        assert_legible(drawn)
        shown = [axis for axis in drawn.axes if axis.get_lines()]
        assert len(shown) == 5
        assert [axis.get_xlabel() for axis in shown] == ["", "", *["temperature T"] * 3]
        assert {axis.get_xscale() for axis in shown} == {"log"}

    def test_long_names_are_slanted(self, root: Path) -> None:
        drawn = plot.make(
            observed(root, MEASURED, "y=maximum", "x=layer", "col=smoothing", "row=network", "quantity=gram")
        )
        assert_legible(drawn)

    def test_neither_backend_nor_screen_nor_torch_is_needed(self, root: Path, tmp_path: Path) -> None:
        asked = ["x=network", "y=maximum", "quantity=gram", "--output", str(root), "--results", str(tmp_path)]
        script = (
            f"import sys; from analysis.commands import main; status = main({['plot', *MEASURED, *asked]})\n"
            "sys.exit(status or 2 * ('torch' in sys.modules))"
        )
        backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "DISPLAY": ""}
        command = [sys.executable, "-c", script]
        ended = subprocess.run(command, env=os.environ | backend, capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, ended.stderr

    def test_command(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(style, "DPI", 50)  # quicker
        asked = ["x=network", "y=maximum", "hue=smoothing", "quantity=gram", "--interval", "ci"]
        arguments = ["plot", *MEASURED, *asked, "--output", str(root), "--results", str(tmp_path)]
        assert main(arguments) == 0
        files = capsys.readouterr().out.split()
        stem = tmp_path / "plot/fig3/maximum_gram_over_network_by_smoothing"
        assert files == [
            f"{stem}{end}" for end in (".png", ".pdf", ".csv", "_replicates.csv", ".provenance.json")
        ]
        for file in files[:-1]:
            known = explain(Path(file), None)
            assert known.provenance.command == tuple(arguments)
            assert {run.state for run in known.runs} == {"unchanged"}
            assert len(known.runs) == 8


@pytest.fixture(scope="module")
def loaded(root: Path) -> Stylizations:
    return sheet.load(Wanted.of(PAINTED, root), partial=False)


class TestSheet:
    def test_rows_are_pairs_and_columns_cells(self, loaded: Stylizations) -> None:
        [(end, drawn)] = sheet.make(loaded)
        assert end == ""
        assert_legible(drawn)
        assert len(by_label(drawn)) == 3 * 4
        titles = [word.replace("\n", " ") for word in words(drawn)]
        assert "VGG-19 smoothing softmax" in titles
        assert "content: content2" in titles
        assert "fig1, which swept network, smoothing: 4 of 4 cells; 3 of 3 pairs" in caption(drawn)

    def test_rows_and_columns_of_one_s_choice(self, loaded: Stylizations) -> None:
        [(_, drawn)] = sheet.make(loaded, pairs=1, row="smoothing", col="network")
        drawn_words = words(drawn)
        assert drawn_words.count("smoothing softmax") == 1
        assert drawn_words.count("VGG-19") == 1
        assert (
            len([word for word in drawn_words if word.startswith("content: ")]) == 2
        )  # beside each of the rows
        assert_legible(drawn)
        (_, drawn), *_ = sheet.make(loaded, pairs=1, col="style")
        assert not [word for word in words(drawn) if word.startswith("style: ")]
        with pytest.raises(
            SettingError, match="`col` should be settings that were swept; found seed. There are"
        ):
            next(sheet.make(loaded, col="seed"))

    def test_fewer_pairs(self, loaded: Stylizations) -> None:
        [(_, drawn)] = sheet.make(loaded, pairs=1)
        assert len(by_label(drawn)) == 4

    def test_pages(self, loaded: Stylizations, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sheet, "PAGE_COLUMNS", 5)
        monkeypatch.setattr(sheet, "PAGE_HEIGHT", 4.0)
        pages = dict(sheet.make(loaded))
        assert list(pages) == ["_1", "_2", "_3", "_4"]
        shown = [set(by_label(drawn)) for drawn in pages.values()]
        assert [len(keys) for keys in shown] == [4, 2, 4, 2]  # two cells side by side, two pairs and one
        assert len(set.union(*shown)) == 12
        assert "2 of 4 cells; 1 of 3 pairs" in caption(pages["_4"])

    def test_pages_are_made_one_by_one(
        self, loaded: Stylizations, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(sheet, "PAGE_HEIGHT", 0.1)
        made: list[int] = []

        def written(*_: Any, **__: Any) -> None:
            made.append(len(list(tmp_path.glob("*"))))

        monkeypatch.setattr(Figure, "savefig", written)
        sheet.save(sheet.make(loaded), loaded, tmp_path, "sheet")
        assert made == [0, 1, 2, 3, 4, 5]

    def test_missing_cells(self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copytree(root, tmp_path / "outputs")
        loaded = sheet.load(Wanted.of(PAINTED, root), partial=False)
        for index in (2, 3):
            shutil.rmtree(tmp_path / "outputs" / str(loaded.tables.runs["path"][index]))
        with pytest.raises(CellsError, match="2 of 4 cells missing"):
            sheet.load(Wanted.of(PAINTED, tmp_path / "outputs"), partial=False)
        monkeypatch.setattr(sheet, "PAGE_COLUMNS", 4)  # a page whose only pictures are inputs
        pages = dict(sheet.make(sheet.load(Wanted.of(PAINTED, tmp_path / "outputs"), partial=True)))
        assert words(pages["_2"]).count("missing") == 6

    def test_a_name_is_no_path(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)
        (tmp_path / "a" / "b").mkdir(parents=True)
        out = tmp_path / "a" / "b" / "out"
        folders = ["--output", str(root), "--results", str(out)]
        assert main(["sheet", *PAINTED, "name=../../../escaped", *folders]) == 0, capsys.readouterr().err
        assert not list(tmp_path.glob("*escaped*"))
        assert len(list((out / "sheet").glob("*escaped*"))) >= 2

    def test_of_a_sweep_without_pictures(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["sheet", *MEASURED, "--output", str(root)]) == 1
        said = capsys.readouterr().err
        assert "should be computed by swag stylize or swag train-feedforward, to have pictures" in said

    def test_networks_that_stylise_have_one_too(self, tmp_path: Path) -> None:
        asked = ["experiment=decoders", "generator=adain,concat"]
        Outputs.of(tmp_path, asked, "train_feedforward")
        loaded = sheet.load(Wanted.of(asked, tmp_path), partial=False)
        [(_, drawn)] = sheet.make(loaded)
        assert "generator concat" in [word.replace("\n", " ") for word in words(drawn)]
        assert len(loaded.pairs) * 2 == len(loaded.table)


class TestRuns:
    @pytest.mark.parametrize("width", [40, 80, 100, 400])
    def test_ids_are_whole_on_any_terminal(self, root: Path, width: int) -> None:
        listing = load_listing(root)
        console = Console(width=width)
        with console.capture() as capture:
            console.print(listing.to_table())
        assert all(run_id in capture.get() for run_id in listing.table["run_id"])
        assert width < 400 or "3, 1 unchanged or diverged" in " ".join(capture.get().split())

    def listed(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
        assert main(["runs", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    def test_of_an_experiment(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rows = self.listed(capsys, *PAINTED, "--output", str(root))
        drawn_words = [(*row["swept"].values(), row["pictures"], row["not_finished"]) for row in rows]
        assert sorted(drawn_words) == [
            ("resnet50", "none", 3, 1), ("resnet50", "softmax", 3, 1),
            ("vgg19", "none", 3, 0), ("vgg19", "softmax", 3, 0),
        ]  # fmt: skip
        assert {tuple(row["swept"]) for row in rows} == {("network.name", "smoothing.name")}
        for row in rows:
            assert (root / row["path"] / "status.json").is_file()
            assert row["commit"]

    @pytest.mark.parametrize("every", [[], ["all"]])
    def test_all(self, every: list[str], root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rows = self.listed(capsys, *every, "--output", str(root))
        assert len(rows) == len(list((root / "runs").iterdir()))
        assert {row["experiment"] for row in rows} == {
            "measure_activations",
            "stylize",
            "judge",
            "train_classifier",
        }

    def test_whatever_became_of_them(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        outputs = Outputs.of(tmp_path, [*ONE, "smoothing.temperature=1,2"], "measure_activations")
        [cell] = compose_cells([*ONE, "smoothing.temperature=10"], "measure_activations")
        who = Identity("measure_activations", 1, scientific(cell.config, cell.entry), IMAGES)
        with (
            pytest.raises(MemoryError),
            Store(tmp_path).claim(who, config=cell.config, name="fig3", device="cpu"),
        ):
            raise MemoryError("no [bold] memory")
        (outputs.paths[0] / "config.yaml").write_text("other")
        (tmp_path / "runs" / "0123456789abcdef").mkdir()
        every = self.listed(capsys, "--output", str(tmp_path))
        assert sorted(row["state"] for row in every) == ["damaged", "damaged", "failed", "finished"]
        [failed] = self.listed(capsys, "--state", "failed", "--output", str(tmp_path))
        assert failed["reason"] == "MemoryError: no [bold] memory"
        sweep = [*ONE, "smoothing.temperature=1,2,10"]
        assert len(self.listed(capsys, *sweep, "--output", str(tmp_path))) == 3
        assert main(["runs", "--output", str(tmp_path)]) == 0
        said = capsys.readouterr().out
        assert "MemoryError: no [bold] memory" in said
        assert "nan" not in said
        assert "T = 10" in said
        assert "T = –" not in said, "of the damaged run no setting is read"

    def test_with_and_without_a_judge(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for network, judge in (("vgg19", "none"), ("resnet50", "default")):
            overrides = ["experiment=fig1", f"network={network}", "weights=random", f"measures={judge}"]
            Outputs.of(tmp_path, overrides, pairs=PAIRS[:1])
        assert main(["runs", "--output", str(tmp_path)]) == 0
        assert "nan" not in capsys.readouterr().out

    @pytest.mark.parametrize("command", ["runs", "collect"])
    def test_a_folder_that_cannot_be_read_is_no_empty_one(
        self, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "runs").write_text("no folder")
        results = ["--results", str(tmp_path / "out")] if command == "collect" else []
        assert main([command, "--output", str(tmp_path), *results]) == 1
        assert str(tmp_path / "runs") in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("command", ["runs", "collect"])
    def test_a_folder_without_runs_is_told(
        self, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([command, "--output", str(tmp_path)]) == 1
        assert f"found no folder {tmp_path / 'runs'}" in capsys.readouterr().err

    def test_a_name_is_shown_as_it_is(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Outputs.of(tmp_path, ["network=resnet50", "name='[red]x'"], "measure_units")
        assert main(["runs", "--output", str(tmp_path)]) == 0
        assert "[red]x (measure_units)" in capsys.readouterr().out

    def test_a_folder_of_a_long_name_is_none(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["runs", "--output", 5000 * "a"]) == 1
        assert "should be an output folder" in capsys.readouterr().err

    def test_a_path_may_begin_at_home(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("HOME", str(root.parent))
        assert main(["runs", "--output", f"~/{root.name}"]) == 0
        assert "finished" in capsys.readouterr().out

    def test_csv(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["runs", *MEASURED, "--output", str(root), "--csv"]
        assert main(arguments) == 0
        said = capsys.readouterr().out
        rows = list(csv.DictReader(io.StringIO(said)))
        assert len(rows) == 8
        assert {row["weights.seed"] for row in rows} == {"0", "1"}

    def test_of_the_same_settings_with_other_images(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        overrides = ["network=vgg19"]
        for images in (IMAGES, {"content/other": "d" * 64}):
            Outputs.of(tmp_path, overrides, "measure_activations", images=images)
        assert main(["runs", "--output", str(tmp_path)]) == 0
        said = [line.split("  images ")[-1] for line in capsys.readouterr().out.splitlines()[1:]]
        assert len(said) == len(set(said)) == 2

    def test_no_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["runs", "--output", str(tmp_path / "nowhere")]) == 1
        assert "nowhere" in capsys.readouterr().err


def test_words_of_commands_are_those_of_what_they_run() -> None:
    assert set(INTERVAL_NAMES) == set(plot.INTERVALS)
    assert {"finished", "failed", "running", "damaged", "other version"} == set(RUN_STATES)
