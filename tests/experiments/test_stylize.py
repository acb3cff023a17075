"""The stylisation as users call it: real Hydra, real run directories, random weights, small images."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from experiments.config import checked
from experiments.settings import CONF
from experiments.stylization.slow_run import SlowRunHint
from experiments.stylization.stylization import Stylization
from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro.errors import SettingError
from swag_repro.networks import TappedNetwork
from swag_repro.runs.records import all_runs

ROOT = Path(__file__).parents[2]
BASE = ["preset=equation", "weights=random", "measures=none"]
SMALL = [*BASE, "images.size=48", "images.source.limit=2", "network=resnet18", "steps=4"]
TINY = [*SMALL, f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]", "network=tiny"]
"""For what has nothing to do with the network."""


@pytest.fixture
def photos(tmp_path):
    """A wide photograph and a tall painting, of noise."""
    rng = np.random.default_rng(0)
    for name, shape in (("content", (40, 80, 3)), ("style", (90, 50, 3))):
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return [f"content={tmp_path / 'content.png'}", f"style={tmp_path / 'style.png'}"]


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return checked(compose("stylize", list(overrides)), "stylize")


def records(folder, experiment="stylize"):
    """The runs of an experiment: those of the judge stand beside them."""
    return [record for record in all_runs(folder / "out") if record.status.experiment == experiment]


def only(folder):
    [record] = records(folder)
    return record


def pairs(record):
    return record.pairs().to_pylist()


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def pixels(record, name):
    return np.asarray(opened(record.path / "images" / f"{name}.png"))


def test_one_picture_of_one_s_own(run, tmp_path, photos):
    status, printed = run(*SMALL, *photos)
    assert status == 0, printed
    record = only(tmp_path)
    [pair] = pairs(record)
    assert (pair["content"], pair["style"], pair["status"]) == ("content", "style", "finished")
    assert pair["total_loss"] < pair["first_total_loss"]
    picture = opened(record.path / pair["image"])
    assert picture.size == (96, 48)  # the content's ratio
    assert picture.text["run_id"] == record.identity.run_id
    assert str(record.path / pair["image"]) in printed
    curves = pd.read_parquet(record.path / "curves.parquet")
    assert curves["content__style/total"].iloc[0] == pair["first_total_loss"]
    assert set(record.identity.images) == {"content__style"}
    assert not (record.path / "checkpoints").exists()


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("flags", [(), ("-m",)])
def test_paths_count_from_where_the_command_was_given(run, tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    status, printed = run(
        *flags, *TINY, "hydra.job.chdir=true", "content=content.png", "style=style.png", "steps=1"
    )
    assert status == 0, printed
    assert pairs(only(tmp_path))[0]["content"] == "content"


def test_a_cut_out_stays_one(run, tmp_path, photos):
    cut_out = opened(tmp_path / "content.png")
    shape = Image.new("L", cut_out.size)
    shape.paste(255, (20, 10, 60, 30))
    cut_out.putalpha(shape)
    cut_out.save(tmp_path / "content.png")
    status, printed = run(*TINY, *photos, "steps=1")
    assert status == 0, printed
    record = only(tmp_path)
    [pair] = pairs(record)
    alpha = opened(record.path / pair["image"]).getchannel("A")
    assert alpha.size == (96, 48)
    assert [alpha.getpixel(place) for place in ((2, 2), (48, 24), (93, 45))] == [0, 255, 0]
    assert opened(record.path / pair["content_image"]).getpixel((2, 2)) == (
        255,
        255,
        255,
    )  # what the network saw


ODD = [
    "two words.png", "it's \"quoted\".png", "größe 画 é.png", "[b] (1).png", "a=b,c;d.png", "$x$ {y} #%&.png", "a__b.png",
    "-dash.png", "new\nline.png", "é" * 125 + ".png",
]  # fmt: skip


def test_odd_names_of_files(run, tmp_path):
    """Names stand in two kinds of quotes, of which Hydra reads the inner ones."""
    names = [name for name in ODD if can_be_saved(Image.effect_noise((40, 32), 60), tmp_path / name)]
    assert len(names) >= 7
    quoted = ["'{}'".format(str(tmp_path / name).replace("'", "\\'")) for name in names]
    status, printed = run(
        *TINY, f"content=[{','.join(quoted)}]", "style=composition_vii", "images.source.limit=null", "steps=1",
        tracking="offline",
    )  # fmt: skip
    assert status == 0, printed
    record = only(tmp_path)
    assert len(pairs(record)) == len(names)
    assert len(list((record.path / "images" / "content").glob("*.png"))) == len(names)
    assert record.rows().to_pandas()["content"].nunique() == len(names)
    for pair in pairs(record):
        assert opened(record.path / pair["image"]).size == (60, 48)
        assert str(record.path / pair["image"]) in printed


def can_be_saved(picture, path):
    try:
        picture.save(path)
    except OSError:  # some file systems can't hold every name
        return False
    return True


def test_a_name_by_itself(run, tmp_path):
    [path] = pictures(tmp_path, 'it\'s, "x" (1)/a b=c.png')
    quoted = path.replace("'", "\\'")
    status, printed = run(*TINY, f"content='{quoted}'", "style=the_scream", "steps=1")
    assert status == 0, printed
    assert pairs(only(tmp_path))[0]["content"] == "a b=c"


def pictures(folder, *files):
    """Pictures of noise, each another one."""
    for seed, name in enumerate(files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    return [str(folder / name) for name in files]


def test_pictures_with_one_stem_are_two(run, tmp_path):
    one, other, style = pictures(tmp_path, "x/p.png", "y/p.png", "b.png")
    arguments = [*TINY, f"content=[{one},{other}]", f"style={style}", "steps=1"]
    status, printed = run(*arguments)
    assert status == 0, printed
    assert [pair["content"] for pair in pairs(only(tmp_path))] == ["x/p.png", "y/p.png"]
    names = {"x_p.png__b", "y_p.png__b"}
    assert {path.stem for path in (only(tmp_path).path / "images").glob("*.png")} == names
    assert set(only(tmp_path).identity.images) == names
    assert len(list((only(tmp_path).path / "images" / "content").iterdir())) == 2
    pictures(tmp_path, "c.png", "x/p.png")  # another picture of the same name
    status, printed = run(*arguments)
    assert "computed" in printed
    assert len(records(tmp_path)) == 2


def test_a_file_named_as_a_bundled_picture(run, tmp_path):
    [own] = pictures(tmp_path, "chelsea.png")
    status, printed = run(*TINY, f"content=[chelsea,{own}]", "style=the_scream", "steps=1")
    assert status == 0, printed
    assert [pair["content"] for pair in pairs(only(tmp_path))] == ["chelsea", "chelsea.png"]


def test_pairs_whose_names_run_together(run, tmp_path):
    a, ab, bc, c = pictures(tmp_path, "a.png", "a__b.png", "b__c.png", "c.png")
    status, printed = run(*TINY, f"content=[{a},{ab}]", f"style=[{bc},{c}]", "steps=1")
    assert status == 0, printed
    assert len(list((only(tmp_path).path / "images").glob("*.png"))) == 2
    assert len(only(tmp_path).identity.images) == 2


def test_masks_with_one_stem_are_two(run, tmp_path):
    content, style, *masks = pictures(tmp_path, "a.png", "b.png", "x/m.png", "y/m.png")
    status, printed = run(
        *TINY,
        f"content={content}",
        f"style=[{style},{content}]",
        "pairing=mix",
        f"masks=[{','.join(masks)}]",
    )
    assert status == 0, printed
    assert len(list((only(tmp_path).path / "images" / "mask").iterdir())) == 2


def test_rows_are_tidy(run, tmp_path):
    run(*TINY)
    rows = only(tmp_path).rows().to_pandas()
    assert set(rows["loss"]) == {"gram"}
    assert rows.groupby(["content", "style"]).ngroups == 2
    assert {"total_loss", "first_total_loss", "iterations", "style_share"} <= set(rows["statistic"])


def test_pairing(run, tmp_path):
    run(*TINY, "pairing=product", "images.source.limit=3", "content=[astronaut,coffee]")
    found = {(pair["content"], pair["style"]) for pair in pairs(only(tmp_path))}
    assert len(found) == 6
    assert {content for content, _ in found} == {"astronaut", "coffee"}


@pytest.mark.parametrize("start", ["noise", "grey", "style", "recoloured", "histogram", "file"])
def test_starts(start, run, tmp_path, photos):
    place = str(tmp_path / "style.png") if start == "file" else start
    status, printed = run(*TINY, *photos, f"start={place}", "steps=1")
    assert status == 0, printed
    assert pairs(only(tmp_path))[0]["first_content_loss"] > 0


def test_matched_histograms_are_those_of_the_style(run, tmp_path, photos):
    status, printed = run(*TINY, *photos, "steps=0", "start=histogram")
    assert status == 0, printed
    record = only(tmp_path)
    [pair] = pairs(record)
    picture, style, content = (
        np.asarray(opened(record.path / pair[name])).reshape(-1, 3).astype(float)
        for name in ("image", "style_image", "content_image")
    )
    levels = np.linspace(5, 95, 19)
    found, wanted, before = (np.percentile(pixels, levels, axis=0) for pixels in (picture, style, content))
    assert np.abs(found - wanted).max() < 8 < np.abs(before - wanted).max()


@pytest.mark.parametrize("scales", ["[1.0]", "[0.5,1.0]"])
def test_without_steps_the_picture_is_the_start(run, tmp_path, photos, scales):
    """The start's details stay: nothing is done at a coarser scale."""
    status, printed = run(*TINY, *photos, "steps=0", f"scales={scales}")
    assert status == 0, printed
    record = only(tmp_path)
    [pair] = pairs(record)
    assert (pair["status"], pair["iterations"]) == ("finished", 0)
    assert pair["total_loss"] == pair["first_total_loss"]
    content = np.asarray(opened(record.path / pair["content_image"]))
    assert np.array_equal(pixels(record, "content__style"), content)


def test_a_recoloured_start_has_the_mean_and_covariance_of_the_style_s_colours(run, tmp_path, photos):
    """The style has no extremes, so that nothing is clipped."""
    rng = np.random.default_rng(1)
    colours = rng.multivariate_normal([90, 120, 150], [[90, 60, 0], [60, 80, -30], [0, -30, 60]], (90, 50))
    Image.fromarray(colours.clip(0, 255).astype(np.uint8)).save(tmp_path / "style.png")
    status, printed = run(*TINY, *photos, "steps=0", "start=recoloured", "objective.style_weight=1")
    assert status == 0, printed
    record = only(tmp_path)
    [pair] = pairs(record)
    assert pair["status"] == "finished"
    picture, style = (
        np.asarray(opened(record.path / name)).reshape(-1, 3).astype(float)
        for name in (pair["image"], pair["style_image"])
    )
    assert 0 < picture.min() < picture.max() < 255
    np.testing.assert_allclose(picture.mean(axis=0), style.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(np.cov(picture.T), np.cov(style.T), atol=1)


def test_the_shortest_command_paints_by_the_weights_that_ship(run, tmp_path, photos):
    """Content and style alone, but for size and steps: no setting is needed for a picture and its scores."""
    status, printed = run(*photos, "images.size=64", "steps=[20,10]", "compute.threads=1")
    assert status == 0, printed
    assert "random weights" not in printed
    [pair] = pairs(only(tmp_path))
    assert pair["status"] == "finished"
    assert pair["total_loss"] < pair["first_total_loss"]
    config = only(tmp_path).config
    assert (config["network"]["name"], config["weights"]["name"]) == ("resnet50_half", "pretrained")
    [judged] = records(tmp_path, "judge")
    numbers = judged.rows().to_pandas().set_index("statistic")
    distance = numbers.loc["luminance_wasserstein"]
    assert distance["definition"] == "vgg16(pretrained)"
    said = " ".join(printed.split())
    scores = re.search(
        r"content × style by vgg16\(pretrained\): distance to the style \(0: as the style\) (\S+), "
        r"likeness to the content \(1: the same\) (\S+)",
        said,
    )
    assert scores is not None, printed
    assert float(scores[1]) == pytest.approx(distance["value"], abs=0.006)
    assert float(scores[2]) == pytest.approx(numbers.loc["ssim", "value"], abs=0.006)


@pytest.mark.parametrize("sweep", [False, True])
def test_random_weights_are_told_of_a_single_run(run, photos, sweep):
    status, printed = run(*(["-m"] if sweep else []), *TINY, *photos, "steps=1")
    assert status == 0, printed
    assert ("random weights: this network has learnt nothing" in " ".join(printed.split())) is not sweep


def test_scales_intermediate_images_and_animation(run, tmp_path, photos):
    status, printed = run(*TINY, *photos, "scales=[0.5,1.0]", "keep.every=1", "keep.animation=true")
    assert status == 0, printed
    record = only(tmp_path)
    steps = sorted((record.path / "images" / "steps" / "content__style").glob("*.png"))
    assert opened(steps[0]).size == (48, 24)
    assert opened(steps[-1]).size == (96, 48)
    with Image.open(record.path / "images" / "content__style.webp") as animation:
        assert 1 < animation.n_frames <= len(steps)  # equal frames become one


def test_scales_that_are_too_coarse_are_left_out(run, tmp_path, photos):
    """The picture is 96 pixels wide: at a quarter 24, at half 48."""
    status, printed = run(*TINY, *photos, "scales=[0.25,0.5,1.0]", "coarsest=48")
    assert status == 0, printed
    assert pd.read_parquet(only(tmp_path).path / "curves.parquet")["scale"].unique().tolist() == [0, 1]
    run(*TINY, *photos, "scales=[0.5,1.0]", "steps=4", "force=true")
    coarse, same = sorted(records(tmp_path), key=lambda record: record.config["coarsest"], reverse=True)
    assert np.array_equal(pixels(coarse, "content__style"), pixels(same, "content__style"))


def test_steps_and_precisions_of_each_scale(run, tmp_path, photos):
    """Two scales with values of their own are as one value for both, but for what each of them changes."""
    shared = ["scales=[0.5,1.0]", "steps=[3,2]", "evaluations=[9,2]"]
    status, printed = run(*TINY, *photos, *shared)
    assert status == 0, printed
    run(*TINY, *photos, *shared, "execution.autocast=[bfloat16,null]")
    run(*TINY, *photos, *shared, "execution.autocast=[null,null]")
    by_precision = {str(record.config["execution"]["autocast"]): record for record in records(tmp_path)}
    curves = {name: pd.read_parquet(record.path / "curves.parquet") for name, record in by_precision.items()}
    plain, coarse = curves["None"], curves["['bfloat16', None]"]
    assert plain.groupby("scale")["evaluation"].max().tolist()[1] == 2
    assert 4 <= plain.groupby("scale")["evaluation"].max().tolist()[0] <= 9
    pd.testing.assert_frame_equal(
        plain.drop(columns="seconds"), curves["[None, None]"].drop(columns="seconds")
    )
    first = [each["content__style/style"].iloc[0] for each in (plain, coarse)]
    assert first[0] != first[1] == pytest.approx(first[0], rel=0.1)  # in bfloat16, and near it


def test_a_long_run_is_told_once_what_is_quicker():
    lines = []
    hint = SlowRunHint(work=1000.0, tell=lines.append)
    for evaluation in range(9):
        hint.observe(1.0, seconds=100.0 + 2 * evaluation)  # the first one takes long, and doesn't count
    assert len(lines) == 1
    assert "33:20" in lines[0]  # 1000 evaluations of two seconds
    assert "preset=fast" in lines[0]
    short = SlowRunHint(work=290.0, tell=lines.append)
    for evaluation in range(9):
        short.observe(1.0, seconds=2.0 * evaluation)
    assert len(lines) == 1


def test_only_runs_of_one_scale_are_told(run, photos, monkeypatch):
    monkeypatch.setattr("experiments.stylization.slow_run.SLOW_SECONDS", 0.0)
    monkeypatch.setattr("experiments.stylization.slow_run.LEAST_SECONDS", 0.0)
    _, printed = run(*TINY, *photos, "steps=8")
    assert printed.count("preset=fast takes less") == 1
    _, printed = run(*TINY, *photos, "preset=fast", "steps=[4,4]")
    assert "quicker" not in printed
    _, printed = run(*TINY, *photos, "objective=mmd_gaussian", "steps=8")
    assert "quicker" not in printed


def test_adam(run, tmp_path, photos):
    status, printed = run(*TINY, *photos, "optimizer=adam")
    assert status == 0, printed
    assert pairs(only(tmp_path))[0]["total_loss"] < pairs(only(tmp_path))[0]["first_total_loss"]


def test_batches_change_rounding_only(run, tmp_path):
    arguments = [*SMALL, "network=small_residual", "images.resize=squash"]
    run(*arguments, "compute.batch_size=1")
    alone = pairs(only(tmp_path))
    _, printed = run(*arguments, "compute.batch_size=2")
    assert "computed" in printed  # this is another run, since its pictures differ
    [both] = [record for record in records(tmp_path) if record.config["compute"]["batch_size"] == 2]
    together = pairs(both)
    for one, other in zip(alone, together, strict=True):
        assert one["total_loss"] == pytest.approx(other["total_loss"], rel=0.02)


@pytest.mark.parametrize("batch", ["auto", 2])
def test_pictures_too_large_for_the_memory_are_refused_before_the_start(run, tmp_path, monkeypatch, batch):
    monkeypatch.setattr("experiments.stylization.memory.free_memory", lambda _: 2**20)
    monkeypatch.setattr("experiments.stylization.stylization.SURE", 0)
    status, printed = run(*TINY, f"compute.batch_size={batch}")
    printed = " ".join(printed.split())
    assert status == 1
    assert "`images.size` should leave pictures, gradient and optimiser room in the 0.0 GiB" in printed
    first = "a smaller compute.batch_size or " if batch == 2 else ""
    assert f"Choose {first}a smaller size or execution.checkpoints=true" in printed
    assert not list(tmp_path.glob("out/runs/*/images/*.png"))
    _, printed = run(
        *TINY, f"compute.batch_size={batch}", "execution.checkpoints=true", "optimizer.history=100"
    )
    assert f"Choose {first}a smaller size or optimizer.history=10." in " ".join(printed.split())


def test_memory_is_predicted_for_the_whole_size_by_a_small_picture():
    """A picture of twice the sides takes four times as much: what it keeps, and the optimiser's history."""
    settings = (*BASE, "network=resnet18", "images.resize=squash", "images.source.limit=1")
    cells = [Stylization.build(composed(*settings, f"images.size={size}")) for size in (256, 512)]
    small, large = (cell._predict_memory(cell.network(), cell._largest()) for cell in cells)
    assert (small.height, large.height) == (256, 512)
    assert large.pair == pytest.approx(4 * small.pair, rel=0.02)


def test_tiles_take_less_memory_where_a_picture_is_larger(monkeypatch):
    """They are advised there, and what is predicted with them hardly grows."""
    monkeypatch.setattr("experiments.stylization.stylization.TILE", 256)
    settings = (
        *BASE, "network=resnet18", "objective.layers=2", "objective.content_layer=2", "images.resize=squash",
        "images.source.limit=1", "optimizer.history=1", "execution.checkpoints=true",
    )  # fmt: skip
    whole, tiled = {}, {}
    for found, more in ((whole, []), (tiled, ["tile=256"])):
        for size in (256, 1024):
            cell = Stylization.build(composed(*settings, f"images.size={size}", *more))
            found[size] = cell._predict_memory(cell.network(), cell._largest())
    assert tiled[256].pair < 1.5 * whole[256].pair
    assert tiled[1024].pair < 0.6 * whole[1024].pair
    assert whole[256].remedies == tiled[1024].remedies == ()
    assert whole[1024].remedies == ("tile=256",)


def test_a_picture_in_tiles_is_that_of_the_whole(run, tmp_path):
    settings = [*TINY, "images.size=64", "images.source.limit=1", "smoothing=softmax", "steps=3"]
    for folder, more in (("whole", []), ("tiled", ["tile=32"])):
        status, printed = run(*settings, *more, f"output={tmp_path / folder}")
        assert status == 0, printed
    one, other = (
        pd.read_parquet(next(tmp_path.glob(f"{folder}/runs/*/pairs.parquet")))
        for folder in ("whole", "tiled")
    )
    assert list(other.first_total_loss) == pytest.approx(list(one.first_total_loss), rel=1e-5)
    assert list(other.total_loss) == pytest.approx(list(one.total_loss), rel=1e-2)


def test_a_resumed_run_keeps_its_batches(run, tmp_path, monkeypatch):
    """Its first attempt fits two pairs; when it goes on, memory is left for one."""
    arguments = [*TINY, "images.resize=squash", "compute.batch_size=auto"]

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as first:
        first.setattr("experiments.stylization.stylization.save_pictures", interrupted)
        run(*arguments)
    [status] = tmp_path.glob("out/runs/*/status.json")
    assert json.loads(status.read_text())["state"] == "failed"
    monkeypatch.setattr("experiments.stylization.memory.free_memory", lambda _: 1)
    status, printed = run(*arguments)
    assert status == 0, printed
    [record] = records(tmp_path)
    assert json.loads((record.path / "batch_size.json").read_text())["batch_size"] > 1
    resumed = [pixels(record, Path(pair["image"]).stem) for pair in pairs(record)]
    status, printed = run(*arguments, "compute.batch_size=2")
    [other] = [one for one in records(tmp_path) if one.path != record.path]
    assert all(
        np.array_equal(one, pixels(other, Path(pair["image"]).stem))
        for one, pair in zip(resumed, pairs(other), strict=True)
    )


def test_memory_that_runs_out_in_the_middle_says_what_to_change(run, tmp_path, monkeypatch):
    whole, evaluations = TappedNetwork.forward, []

    def starved(network, images):
        if images.requires_grad:
            evaluations.append(len(images))
            if len(evaluations) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return whole(network, images)

    monkeypatch.setattr(TappedNetwork, "forward", starved)
    status, printed = run(*TINY, "images.resize=squash", "compute.batch_size=auto")
    assert status == 1
    assert "Choose a smaller compute.batch_size" in " ".join(printed.split())
    assert evaluations == [1, 2]  # a prediction's, and a batch's
    assert not list(tmp_path.glob("out/runs/*/images/*.png"))


def test_the_release_s_scaling_is_a_re_weighting(run, tmp_path, photos):
    """0.001 · F at the two deepest layers, and weights of 1e-6 and 1e-12 there: the same function."""
    small = [*SMALL, *photos, "images.size=48", "evaluations=6"]
    run(*small, "preset=release")
    run(*small, "preset=release_reweighted")
    scaled, weighted = sorted(
        records(tmp_path), key=lambda record: record.config["smoothing"]["name"], reverse=True
    )
    assert scaled.config["smoothing"]["factor"] == 0.001
    first = [pairs(record)[0]["first_total_loss"] for record in (scaled, weighted)]
    assert first[0] == pytest.approx(first[1], rel=1e-5)
    assert (
        np.abs(pixels(scaled, "content__style").astype(int) - pixels(weighted, "content__style")).max() <= 1
    )


CAFFE = [0.48501961, 0.45795686, 0.40760392]
PRESETS = {
    "paper": {"balance": "sides", "normalizer": "paper", "content": "half_sum", "line_search": "strong_wolfe"},
    "release": {
        "balance": "none", "normalizer": "mean", "content": "mean", "line_search": "none", "weights": (1.0, 1e17),
        "size": 512, "resize": "squash", "evaluations": 1020, "smoothing": "scale", "smoothed_deepest": 2,
        "interpolation": "bilinear", "canvas": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), "result": "last",
    },
    "release_reweighted": {
        "balance": "none", "normalizer": "mean", "content": "mean", "line_search": "none", "weights": (1e-6, 1e17),
        "size": 512, "resize": "squash", "evaluations": 1020, "smoothing": "none",
        "interpolation": "bilinear", "canvas": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), "result": "last",
    },
    "gatys": {
        "balance": "none", "normalizer": "gatys", "content": "mean", "line_search": "none",
        "weights": (57.5**2, 57.5**4), "size": 512, "evaluations": 520, "steps": 520, "interpolation": "bilinear",
        "canvas": (CAFFE, [1 / 255] * 3), "result": "last", "network": "vgg19",
        "taps": [1e3 / channels**2 for channels in (64, 128, 256, 512, 512)],
    },
    "equation": {
        "balance": "sides", "normalizer": "paper", "line_search": "armijo", "scales": [1.0], "coarsest": 0,
        "steps": 150, "evaluations": 300, "result": "best",
    },
    "headline": {"balance": "sides", "normalizer": "paper", "scales": [1.0], "steps": 100, "evaluations": 200},
    "picture": {"balance": "layers", "scales": [0.5, 1.0], "coarsest": 128, "steps": [80, 8], "evaluations": None},
    "mechanism": {"balance": "sides", "normalizer": "paper", "size": 128, "resize": "squash", "steps": 40, "evaluations": 60},
    "mechanism_full": {"balance": "sides", "normalizer": "paper", "size": 256, "resize": "squash", "steps": 150, "evaluations": 300},
    "fast": {
        "balance": "layers", "normalizer": "paper", "line_search": "armijo", "scales": [0.5, 1.0], "coarsest": 128,
        "steps": [50, 4], "evaluations": None, "result": "best",
    },
    "demystifying": {
        "balance": "none", "normalizer": "demystifying", "content": "half_sum", "optimizer": "SGD", "start": "grey",
        "steps": 1000, "evaluations": None, "stop": (0.005, 1, "image"), "network": "vgg19_avg", "size": 600,
        "resize": "long", "weights": (2.0, 2.0), "result": "last",
    },
    "demystifying_balanced": {
        "taps": 0.2, "optimizer": "Adam", "start": "noise", "steps": 1000, "evaluations": None, "network": "vgg19_avg",
        "stop": (0.005, 50, "loss"),
    },
}  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_numbers_of_presets_are_frozen(preset):
    config = composed(f"preset={preset}")
    found = {
        "balance": config.objective.balance,
        "normalizer": config.objective.style.normalizer,
        "content": config.objective.content.normalizer,
        "optimizer": config.optimizer._target_.rsplit(".")[-1],
        "line_search": config.select("optimizer.line_search"),
        "start": config.start,
        "steps": config.steps,
        "stop": (config.stop.change, config.stop.every, config.stop.of),
        "interpolation": config.images.interpolation,
        "canvas": (config.select("canvas.mean"), config.select("canvas.std")),
        "result": config.result,
        "network": config.network.name,
        "weights": (config.objective.content_weight, config.objective.style_weight),
        "size": config.images.size,
        "resize": config.images.resize,
        "evaluations": config.evaluations,
        "scales": config.scales,
        "coarsest": config.coarsest,
        "smoothing": config.smoothing.name,
        "smoothed_deepest": config.objective.smoothed_deepest,
        "taps": config.objective.tap_weights,
    }
    assert {key: found[key] for key in PRESETS[preset]} == PRESETS[preset]
    assert {path.stem for path in (ROOT / "conf" / "preset").glob("*.yaml")} == set(PRESETS)


def test_the_release_smooths_the_two_deepest_stages():
    cell = Stylization.build(composed(*BASE, "preset=release", "network=resnet50"))
    assert set(cell.objective.style.smoothed) == {"conv4_6", "conv5_3"}
    assert cell.objective.content.smoothed is None


@pytest.mark.parametrize("objective", ["mmd_linear", "mmd_gaussian", "bn_poly", "linear_gaussian"])
def test_demystifying_s_presets_take_any_of_its_losses(objective):
    config = composed("preset=demystifying", f"objective={objective}")
    style = config.objective.style.plain
    assert {loss["normalizer"] for loss in style.get("losses", {"": style}).values()} == {"demystifying"}
    assert config.optimizer._target_.endswith("SGD")
    config = composed("preset=demystifying_balanced", f"objective={objective}")
    style = config.objective.style.plain
    assert {loss["normalizer"] for loss in style.get("losses", {"": style}).values()} == {"mean"}


# --- Objectives -----------------------------------------------------------------------------------------


FEW_SAMPLES = {
    "mmd_gaussian": ["objective.style.least_pairs=256"],
    "linear_gaussian": ["objective.style.losses.mmd_gaussian.least_pairs=256"],
    "strotss": [
        "preset=picture",  # this objective has a schedule and weights of its own
        *(f"objective.{key}=200" for key in ("style.samples", "style.style_samples", "content.samples")),
    ],
}


@pytest.mark.parametrize("objective", [p.stem for p in sorted((ROOT / "conf" / "objective").glob("*.yaml"))])
def test_every_objective_lowers_its_loss(objective, run, tmp_path):
    status, printed = run(
        *SMALL, "network=small_residual", f"objective={objective}", "smoothing=softmax", "steps=6",
        "images.source.limit=1", "scales=[1.0]", *FEW_SAMPLES.get(objective, []),
    )  # fmt: skip
    assert status == 0, printed
    [pair] = pairs(only(tmp_path))
    assert pair["status"] == "finished"
    assert pair["total_loss"] < 0.95 * pair["first_total_loss"]
    assert set(only(tmp_path).rows().to_pandas()["loss"]) == {objective}


# Demystifying's γ of its Figure 3, and STROTSS's weights and schedule.
OBJECTIVES = {
    "gram": {"style_weight": 10, "balance": "layers"},
    "robust_gram": {"style_weight": 10, "balance": "layers"},
    "adain": {"style_weight": 1, "layers": 4, "content_layer": 4, "balance": "sides"},
    "mmd_linear": {"style_weight": 2},
    "mmd_poly": {"style_weight": 2},
    "mmd_gaussian": {"style_weight": 2, "optimizer": "Adam"},
    "bn": {"style_weight": 5},
    "bn_poly": {"style_weight": 5, "fused": ["bn", "mmd_poly"]},
    "linear_gaussian": {"style_weight": 5, "fused": ["mmd_linear", "mmd_gaussian"], "optimizer": "Adam"},
    "sliced_wasserstein": {"optimizer": "Adam"},
    "strotss": {
        "style_weight": 1, "content_weight": 16, "content_decay": 0.5, "balance": "none", "optimizer": "RMSprop",
        "steps": 250, "scales": [0.125, 0.25, 0.5, 1.0], "coarsest": 64, "start": "laplacian", "canvas": "LaplacianPyramid",
        "last_step_scale": 0.5, "samples": [1024, 1000, 5],
    },
}  # fmt: skip


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_settings_of_objectives_are_frozen(objective):
    config = composed(f"objective={objective}")
    found = {
        **config.objective.plain,
        "fused": list(config.objective.style.plain.get("losses", {})),
        "optimizer": config.optimizer._target_.rsplit(".")[-1],
        "canvas": config.canvas._target_.rsplit(".")[-1],
        "samples": [
            config.objective.style.plain.get(key) for key in ("samples", "style_samples", "style_draws")
        ],
        **{key: config.plain[key] for key in ("steps", "scales", "coarsest", "start", "last_step_scale")},
    }
    assert found["name"] == objective
    assert {key: found[key] for key in OBJECTIVES[objective]} == OBJECTIVES[objective]
    assert {path.stem for path in (ROOT / "conf" / "objective").glob("*.yaml")} == set(OBJECTIVES)


def test_pictures_that_are_moved_at_each_look(run, tmp_path):
    """Batches of one and of two move alike; with a content term they are refused."""
    moved = [
        *TINY,
        "transformations=random",
        "transformations.jitter=2",
        "optimizer=adam",
        "images.resize=squash",
    ]
    status, printed = run(*moved)
    assert status == 1
    assert "`objective.content_weight` should be 0 with transformations" in " ".join(printed.split())
    status, printed = run("-m", *moved, "objective.content_weight=0", "compute.batch_size=1,2")
    assert status == 0, printed
    one, two = records(tmp_path)
    for alone, beside in zip(pairs(one), pairs(two), strict=True):
        assert alone["status"] == "finished"
        assert alone["total_loss"] == pytest.approx(beside["total_loss"], rel=1e-3)
    plain = run("-m", *TINY, "optimizer=adam", "objective.content_weight=0", "transformations=none,random")
    assert plain[0] == 0, plain[1]
    found = [record.identity.config.get("transformations", "none") for record in records(tmp_path)]
    assert found.count("none") == 1


def test_any_loss_can_be_fused_with_any(run, tmp_path):
    status, printed = run(
        *TINY, "objective=bn_poly", "+loss@objective.style.losses.strotss=strotss", "optimizer=rmsprop",
        "objective.style.weights=[0.2,0.3,0.5]", "images.source.limit=1", "objective.style.losses.strotss.samples=200",
        "objective.style.losses.strotss.style_samples=200",
    )  # fmt: skip
    assert status == 0, printed
    config = only(tmp_path).config["objective"]["style"]
    assert list(config["losses"]) == ["bn", "mmd_poly", "strotss"]


def test_layers_of_a_reconstruction_and_of_a_texture():
    vgg = [*BASE, "network=vgg19"]
    deep = Stylization.build(composed(*vgg, "objective.style_weight=0", "objective.content_layer=3"))
    assert deep.taps == ("relu3_1",)
    shallow = Stylization.build(composed(*vgg, "objective.content_weight=0", "objective.layers=2"))
    assert shallow.taps == ("relu1_1", "relu2_1")
    columns = Stylization.build(composed(*BASE, "network=vgg19", "preset=picture", "objective=strotss"))
    assert len(columns.taps) == 9


@pytest.mark.parametrize(
    ("number", "taps"),
    [
        (1, ["conv5_2"]),
        (2, ["conv1", "conv5_2"]),
        (3, ["conv1", "conv3_2", "conv5_2"]),
        (5, ["conv1", "conv2_2", "conv3_2", "conv4_2", "conv5_2"]),
        (
            9,
            ["conv1", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1", "conv5_2"],
        ),
    ],
)
def test_a_number_of_layers_is_spread_over_all(number, taps):
    settings = ["network=resnet18", "weights=random", "objective.content_weight=0"]
    built = Stylization.build(composed(*BASE, *settings, f"objective.taps={number}"))
    assert list(built.objective.style.taps) == taps


def test_reconstruction_and_texture_read_the_authors_layers():
    """Issue 8 of their repository: "conv3_5", and all layers with a softmax on those of layer3 and layer4."""
    settings = ["network=resnet50", "smoothing=softmax", "weights=random", "measures=none"]
    reconstruction = Stylization.build(composed("experiment=reconstruction", *settings))
    assert reconstruction.architecture.paths(reconstruction.taps) == {"conv4_6": "layer3.5"}
    assert reconstruction.objective.content.smoothed is None
    texture = Stylization.build(composed("experiment=texture", *settings))
    blocks = {1: 3, 2: 4, 3: 6, 4: 3}
    every = [f"layer{stage}.{block}" for stage, count in blocks.items() for block in range(count)]
    assert list(texture.architecture.paths(texture.taps).values()) == ["relu", *every]
    smoothed = texture.architecture.paths(texture.objective.style.smoothed)
    assert list(smoothed.values()) == [path for path in every if path[:6] in ("layer3", "layer4")]


@pytest.mark.parametrize("wrong", ["objective.smoothed_taps=conv9*", "+objective.smoothed_deepest=2"])
def test_smoothed_taps_that_fit_nothing(wrong):
    given = ["objective.smoothed_taps='*5_*'", wrong.removeprefix("+")]
    with pytest.raises(SettingError, match="`objective.smoothed_taps` should"):
        Stylization.build(composed(*given, "measures=none"))


def test_the_last_scale_has_a_smaller_step():
    """STROTSS's authors' code: 2e-3, and at the last scale 1e-3."""
    cell = Stylization.build(
        composed(
            "objective=strotss",
            "network=resnet18",
            "weights=random",
            "images.size=32",
            "images.source.limit=1",
            "measures=none",
        )
    )
    network = cell.network()
    batch = cell.batch(cell.pairs[:1])
    found = [
        cell.optimisation(network, batch, batch.contents, last=last)._optimizer._images[0].lr
        for last in (False, True)
    ]
    assert found == [2e-3, 1e-3]
    with pytest.raises(SettingError, match="`last_step_scale` should be a number above 0"):
        Stylization.build(composed("last_step_scale=0", "measures=none"))


# --- Mixes, masks and colours ---------------------------------------------------------------------------


def test_a_mix_of_styles_is_one_picture(run, tmp_path):
    mixed = [
        *TINY,
        "pairing=mix",
        "content=coffee",
        "style=[starry_night,composition_vii]",
        "images.source.limit=null",
    ]
    status, printed = run(*mixed, "style_weights=[3,1]")
    assert status == 0, printed
    record = only(tmp_path)
    [pair] = pairs(record)
    assert (pair["content"], pair["style"]) == ("coffee", "starry_night+composition_vii")
    inputs = {path.name for path in (record.path / "images" / "style").glob("*.png")}
    assert inputs == {"starry_night.png", "composition_vii.png", "starry_night+composition_vii.png"}
    run(*mixed, "style_weights=[1,3]")
    assert len(records(tmp_path)) == 2
    one, other = (pixels(record, "coffee__starry_night+composition_vii") for record in records(tmp_path))
    assert not np.array_equal(one, other)


def test_a_style_stays_behind_its_mask(run, tmp_path, photos):
    """The left half of a picture takes a style; what no mask covers stays the photograph, with a soft seam."""
    mask = np.zeros((40, 80), dtype=np.uint8)
    mask[:, :40] = 255
    Image.fromarray(mask).save(tmp_path / "left.png")
    status, printed = run(
        *SMALL, *photos, "pairing=mix", f"masks={tmp_path / 'left.png'}", "steps=30", "images.size=40",
        "network=vgg16", "objective.layers=2", "feather=0.05", "objective.content_weight=0",
    )  # fmt: skip
    assert status == 0, printed
    record = only(tmp_path)
    assert opened(record.path / "images" / "mask" / "left.png").size == (80, 40)
    before = np.asarray(opened(record.path / "images" / "content" / "content.png")).astype(int)
    moved = np.abs(pixels(record, "content__style") - before).mean(axis=(0, 2))
    assert moved[:32].min() > 5
    assert moved[50:].max() == 0  # the blur ends at three standard deviations, 6 pixels
    assert 0 < moved[42] < moved[36]


def test_colours_are_kept(run, tmp_path):
    for color in ("style", "luminance", "matched"):
        status, printed = run(*TINY, "images.source.limit=1", "steps=15", f"color={color}")
        assert status == 0, printed
    found = {record.config["color"]: record for record in records(tmp_path)}
    assert len(found) == 3
    [name] = [path.stem for path in (found["style"].path / "images").glob("*.png")]
    content = opened(next((found["style"].path / "images" / "content").glob("*.png"))).convert("YCbCr")

    def chroma_change(color):
        picture = opened(found[color].path / "images" / f"{name}.png").convert("YCbCr")
        return np.abs(np.asarray(picture).astype(int) - np.asarray(content))[..., 1:].mean()

    assert chroma_change("luminance") < 2 < chroma_change("style")
    assert chroma_change("matched") < chroma_change("style")


def test_pairs_decide_who_a_run_is(run, tmp_path):
    """The same pictures in other pairs are another run."""
    two = [*TINY, "content=[astronaut,coffee]", "steps=1", "images.source.limit=null"]
    run(*two, "style=[starry_night,composition_vii]")
    run(*two, "style=[composition_vii,starry_night]")
    assert len(records(tmp_path)) == 2
    assert {record.status.state for record in records(tmp_path)} == {"finished"}


def test_masks_are_refused_before_anything_is_computed(run, tmp_path, photos):
    """The first content is as large as the mask, the second is not."""
    Image.new("L", (80, 40), 255).save(tmp_path / "mask.png")
    content, style = photos
    both = f"content=[{content.removeprefix('content=')},{style.removeprefix('style=')}]"
    status, printed = run(*TINY, both, style, "pairing=mix", f"masks={tmp_path / 'mask.png'}")
    assert status == 1
    assert "`mask/mask` should have the size of style, 50x90; found 80x40" in printed.replace("\n", " ")
    assert not records(tmp_path)


BAD = {
    "unknown key": (["stpes=3"], "`stpes` should be a setting of this command"),
    "no such content": (["content=nowhere.jpg"], "`content` should be an image file or a known name"),
    "a folder as content": (["content=.."], "`content` should be .*; found the folder '..'. Write images=folder images.path=.. in"),
    "a folder without a path": (["images=folder"], "`images.path` should be given"),
    "a misspelt interpolation": (["weights=file", r"weights.path=my/${network.nme}.pth"], "`weights.path` should refer to a setting; found .*nme"),
    "a seed that is true": (["weights.seed=true"], "`weights.seed` should be a whole number; found True"),
    "a name that is a number": (["weights.name=1"], "`weights.name` should be text; found 1"),
    "no step": (["guards.step_scale=null"], "`guards.step_scale` should be a number; found None"),
    "a group given a number": (["weights=2"], "`weights` should be one of file, imagenet, pretrained, random, run, trained; found 2"),
    "no group": (["images=null"], "`images` should be one of bundled, folder; found nothing"),
    "a tap on nothing": (["network.taps.conv1=nowhere"], "`network.taps.conv1` should be the path of a module of resnet18"),
    "a loss that is a number": (["objective=bn_poly", "+objective.style.losses.nonsense=1"], "`objective.style.losses` should be"),
    "an unknown key of a loss": (["+objective.style.nonsense=1"], "`objective.style.nonsense` should be one of .*normalizer"),
    "an unknown argument of a builder": (["+network.builder.nonsense=1"], "`network.builder` should be a function"),
    "two channels": (["+network.mean=[1,2]"], "`network.mean` should be three numbers, of red, green and blue"),
    "no spread": (["+network.std=[0,1,1]"], "`network.std` should be three positive numbers"),
    "never a checkpoint": (["keep.checkpoint_seconds=nan"], "`keep.checkpoint_seconds` should be a number from 0; found nan"),
    "an unknown switch": (["+execution.nonsense=1"], "`execution.nonsense` should be one of fold_batchnorm, "),
    "text that is no override": (["content=a(1.png"], "`command` should be key=value.*two kinds of quotes"),
    "a sweep without -m": (["experiment=fig1"], "a sweep over smoothing.*-m.*experiment=fig1"),
    "another entry point's experiment": (["experiment=fig3"], "should be one that stylize.py computes.*swag measure -m experiment=fig3"),
    "a pair given twice": (["content=[astronaut,astronaut]", "style=the_scream"], "should name each pair once"),
    "no picture": (["content=[]"], "`content` should name at least one image"),
    "a name of 300 letters": (["content=" + 300 * "a"], "`content` should be an image file or a known name.*quotes"),
    "a name of no letters": (["content='\udcff.png'"], "`content` should be text in UTF-8"),
    "home of nobody": (["content='~nobody_here/a.png'"], "`content` should be an image file or a known name"),
    "too few steps": (["steps=-1"], "`steps` should be a whole number from 0; found -1"),
    "negative weight": (["objective.style_weight=-1"], "style_weight` should be a number from 0"),
    "no weight": (["objective.style_weight=0", "objective.content_weight=0"], "should leave a term"),
    "too few tap weights": (["objective.tap_weights=[1,2]"], "should have one weight for each of the taps"),
    "scales that don't end": (["scales=[0.5]"], "`scales` should be parts of the size"),
    "fast at one scale": (["preset=fast", "scales=[1.0]", "steps=[4,2,1]"], "`steps` should have one value for each of the 1 scales.*3: .4, 2, 1."),
    "steps for other scales": (["scales=[0.5,1.0]", "steps=[4,2,1]", "evaluations=null"], "`steps` should have one value for each of the 2"),
    "a scale of too few steps": (["scales=[0.5,1.0]", "steps=[4,-1]", "evaluations=null"], "`steps` should be a whole number from 0"),
    "an unknown precision of a scale": (["scales=[0.5,1.0]", "execution.autocast=[int8,null]"], "`execution.autocast` should be one of"),
    "impossible batch": (["compute.batch_size=0"], "`compute.batch_size` should be a whole number from 1"),
    "unknown line search": (["optimizer.line_search=golden"], "line_search"),
    "unknown normalizer": (["objective.style.normalizer=max"], "normalizer"),
    "unknown tap": (["network.content_tap=relu9_9"], "should name taps of resnet18"),
    "weights without a mix": (["style_weights=[1,2]"], "`style_weights` needs pairing=mix"),
    "masks without a mix": (["masks=[a.png]"], "`masks` needs pairing=mix"),
    "too few weights": (["pairing=mix", "style_weights=[1]"], "`style_weights` should have one entry for each of the 2"),
    "weights that sum to 0": (["pairing=mix", "style_weights=[0,0]"], "`style_weights` should be numbers from 0, not all 0"),
    "negative style weight": (["pairing=mix", "style_weights=[-1,2]"], "`style_weights` should be numbers from 0"),
    "no such mask": (["pairing=mix", "masks=[nowhere.png,null]"], "`masks` should be an image file"),
    "no such layer": (["objective.layers=6"], "`objective.layers` should be from 1 to 5"),
    "no such number of layers": (["objective.taps=10"], "`objective.taps` should be from 1 to 9, the number of taps"),
    "no content layer": (["objective.content_layer=0"], "`objective.content_layer` should be from 1 to 5"),
    "unknown loss in a fusion": (["objective=bn_poly", "+loss@objective.style.losses.x=mean"], "`loss` should be one of "),
    "too few fusion weights": (["objective=bn_poly", "objective.style.weights=[1]"], "bn.*mmd_poly"),
    "fusion weights of 0": (["objective=bn_poly", "objective.style.weights=[0,0]"], "sum above 0"),
    "no bandwidth": (["objective=mmd_gaussian", "objective.style.bandwidth=0"], "bandwidth"),
    "samples for a quasi-Newton": (["objective=mmd_gaussian", "optimizer=lbfgs"], "`optimizer` should be adam or rmsprop"),
    "one position": (["objective=mmd_gaussian", "images.size=16"], "`images.size` should leave conv5_2 at least 2 positions"),
    "animation of nothing": (["keep.animation=true"], "`keep.every` should be above 0 for an animation"),
    "too small": (["network=inception_v3", "images.size=32"], "`images.size` should leave every layer"),
    "tiles of a loss of pairs of positions": (["objective=mmd_gaussian", "optimizer=adam", "tile=64"], "`tile` should be null for a loss"),
    "tiles of whole images": (["batchnorm=batch", "tile=64"], "`tile` should be null for a network .* found BatchNorm2d"),
    "no tile": (["tile=0"], "`tile` should be a whole number from 1; found 0"),
    "judge is the judged": (
        ["measures=default", "network@measures.network=resnet34", "network@measures.alternative=resnet18", "weights@measures.weights=random"],
        "should not be the network that is optimised",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_message(case, run, tmp_path):
    arguments, message = BAD[case]
    status, printed = run(*SMALL, *arguments)
    assert status == 1
    assert re.search(message, printed.replace("\n", " ")), printed
    assert "Traceback" not in printed
    assert not [record for record in records(tmp_path) if record.status.state == "finished"]


def test_extreme_ratios(run, tmp_path, photos):
    Image.effect_noise((400, 40), 60).save(tmp_path / "content.png")
    status, printed = run(*TINY, *photos, "images.size=40")
    assert status == 0, printed
    assert opened(only(tmp_path).path / "images" / "content__style.png").size == (400, 40)


def is_of_stylize(path):
    return "experiments/stylize.py" in path.read_text().splitlines()[1]


EXPERIMENTS = [p.stem for p in sorted((ROOT / "conf" / "experiment").glob("*.yaml")) if is_of_stylize(p)]


ONE = ("content=astronaut", "style=starry_night", "shares=loss")

ONE_ARM = ("network=resnet18", "smoothing=softmax")

# Fewer values than large experiments sweep.
FEWER = {
    **dict.fromkeys(("fig1", "fig2", "fig2_pretrained", "fig6", "reconstruction", "texture"), ONE_ARM),
    "fig7": [*ONE_ARM, "objective=mmd_gaussian", "scales=[1.0]"],
    "headline": ["network=resnet18", "arm=softmax,recolouring"],
    "preferences": ["network=resnet18", *ONE],
    "presets": ["network=resnet18", "preset=picture,fast"],
    "style_content_curve": ["network=resnet18", "objective.style_weight=1,10", "smoothing=softmax"],
    "demystifying_fig1": ["network=resnet18", "objective=bn", "objective.layers=1,5"],
    "demystifying_fig2": ["network=resnet18", "objective=bn", "objective.style_weight=0.1,10"],
    "demystifying_fig3": ["network=resnet18", "objective=mmd_poly,mmd_gaussian"],
    "demystifying_fig4": ["network=resnet18", "objective=bn_poly", "objective.style.weights=[1,0],[0.5,0.5]"],
    "mechanism": [
        "network=resnet18",
        "arm=weights_of_softmax,log1p_even",
        "weights.seed=0",
        "objective.style_weight=1",
        *ONE,
    ],
    "mechanism_small": ["network=resnet18", "arm=plain,softmax", "objective.style_weight=1", *ONE],
    "mechanism_style": ["network=resnet18", "weights.seed=0", "arm=plain,softmax", *ONE],
    "chain_style": ["network=chain_stem,chain_stem_pooling", "arm=plain", *ONE],
    "claims_style": ["network=resnet18", "weights.seed=0", "arm=plain", *ONE],
    "claims_vgg": ["network=resnet18", *ONE],
    "mechanism_pretrained": ["network=resnet18", "arm=plain,even", *ONE],
    "mechanism_trained": ["network=small_residual", "weights.seed=0", "arm=even", *ONE],
    "fig2_trained": ["network=small_residual", "smoothing=softmax"],
    # tests/networks tests the other families. 80 pixels, since Inception needs at least 75.
    "mechanism_zoo": ["network=inception_v3,googlenet,densenet121", "images.size=80", "arm=even", *ONE],
    "zoo_style": ["network=squeezenet1_1,timm/repvgg_a0", "arm=softmax", *ONE],
    "taps": ["network=resnet18", "objective.taps=1,9", *ONE],
    "shortcut_dial_style": [
        "network=resnet18",
        "network.shortcut=0,0.5",
        "weights.seed=0",
        "arm=plain",
        *ONE,
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs_in_smoke_size(experiment, run, tmp_path):
    status, printed = run(
        "-m", f"experiment={experiment}", "weights=random", "images.size=48", "images.source.limit=1",
        "steps=1", "measures=none", *FEWER.get(experiment, []),
    )  # fmt: skip
    assert status == 0, printed
    assert {record.status.state for record in records(tmp_path)} == {"finished"}


def test_a_picture_that_hardly_changes_has_a_remedy(run, two_pairs):
    status, printed = run(*two_pairs, "steps=1", "optimizer=adam", "optimizer.lr=1e-9", "measures=none")
    assert status == 0, printed
    assert "unchanged: all 1 steps taken. More steps or evaluations change it" in " ".join(printed.split())
