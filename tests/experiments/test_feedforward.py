"""Networks that stylise in one pass: their training and use by a user."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from safetensors.torch import load_file
from skimage.filters import sobel

from analysis.figures import draw_figure
from experiments import stylize, transfer
from experiments.config import checked
from experiments.export_decoder import write_decoder
from experiments.feedforward import trained
from experiments.feedforward.training import FeedforwardExperiment
from experiments.settings import CONF
from experiments.train_feedforward import main
from swag_repro.errors import WeightsError
from swag_repro.runs.records import all_runs
from tests.experiments.conftest import exit_status
from tests.feedforward.conftest import write_pictures

ROOT = Path(__file__).parents[2]
SMALL = [
    "network=small_no_shortcut",
    "network.builder.width=8",
    "recipe.steps=4",
    "recipe.batch_size=2",
    "crop.short=48",
    "crop.size=32",
    "images.size=32",
    "images.source.limit=2",
    "compute.workers=0",
]


LONGER = [setting for setting in SMALL if "steps" not in setting] + ["recipe.steps=80", "recipe.lr=3e-3"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    content, style = write_pictures(root / "content", 5), write_pictures(root / "style", 3, seed=1)
    return ["corpus=folder", f"corpus.content={content}", f"corpus.style={style}"]


def finished(output, experiment):
    return [
        record
        for record in all_runs(output)
        if record.status.experiment == experiment and record.status.state == "finished"
    ]


def numbers(record):
    return record.rows().to_pandas().query("statistic != 'seconds'").drop(columns=["run_id"])


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory, folders):
    """The output folder of a training, and its run."""
    output = tmp_path_factory.mktemp("trained")
    arguments = [*LONGER, *folders, "snapshots=[0.5]", f"output={output}", "tracking=disabled"]
    with pytest.MonkeyPatch.context() as patch:
        assert exit_status(main, arguments, patch) == 0
    [record] = finished(output, "train_feedforward")
    return output, record


def command(output, *arguments, entry="train_feedforward"):
    script = str(ROOT / "experiments" / f"{entry}.py")
    return [sys.executable, script, *arguments, f"output={output}", "tracking=disabled"]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def test_a_training_leaves_weights_curves_and_pictures(decoder):
    _, record = decoder
    state = load_file(record.path / "weights.safetensors")
    assert all(value.isfinite().all() for value in state.values())
    assert set(record.status.files) >= {"weights.safetensors", "snapshots/0.5.safetensors", "pairs.parquet"}
    rows = record.rows().to_pandas()
    assert set(rows["network"]) == {"small_no_shortcut"}
    assert set(rows["loss"]) == {"adain adain"}
    shown = rows[(rows["definition"] == "pairs") & (rows["statistic"] == "style_loss")]
    assert shown["iteration"].tolist() == [0, 1, 2, 8, 24, 48]
    kept = rows[(rows["definition"] == "train") & (rows["statistic"] == "style_loss")]
    assert kept["iteration"].tolist() == [20, 40, 60, 80]
    assert len(list((record.path / "images/grids").iterdir())) == 6
    pairs = record.pairs().to_pandas()
    assert pairs["status"].tolist() == ["finished", "finished"]
    for pair in pairs.itertuples():
        assert pixels(record.path / pair.image).shape == pixels(record.path / pair.content_image).shape
        assert pixels(record.path / pair.image).std() > 0


@pytest.mark.parametrize(
    "more",
    [
        ["generator=johnson", "corpus.style=edith", "crop.size=44"],
        ["generator=adain_batch", "loss@objective.style=gram"],
        ["generator=concat", "smoothing=softmax"],
        ["generator=adain_instance", "arm=weights_of_softmax"],
        ["loss@objective.style=sliced_wasserstein"],
        ["loss@objective.style=mmd_gaussian", "padding=zeros"],
        ["preset/feedforward=adain_port", "crop.short=48", "crop.size=32"],
    ],
    ids=" ".join,
)
def test_other_generators_objectives_and_arms(run, tmp_path, more):
    smaller = [setting for setting in SMALL if "size=32" not in setting]
    status, printed = run(*smaller, "images.size=64", "crop.size=32", *more, "recipe.steps=2", "shown=[]")
    assert status == 0, printed
    [record] = finished(tmp_path / "out", "train_feedforward")
    losses = record.rows().to_pandas().query("definition == 'train'")
    assert losses["value"].notna().all()


FIGURES = {
    "in_bn": [
        "content=[astronaut]",
        "generator=johnson",
        "crop.look=photograph,stylized",
        "images.source.limit=null",
    ],
    "decoders": ["generator=adain,concat"],
    "decoder_weights": ["objective.style_weight=0.1,10"],
    "decoder_layers": ["objective.layers=1,3"],
    "decoder_losses": ["loss@objective.style=gram,sliced_wasserstein", "arm=softmax"],
    "feedforward_swag": ["network=small_residual", "weights.seed=0", "arm=plain,weights_of_softmax"],
}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", FIGURES)
def test_every_experiment_runs_in_smoke_size_and_has_a_figure(run, tmp_path, experiment):
    chosen = [
        f"experiment={experiment}", "recipe.steps=2", "crop.short=48", "crop.size=44",
        "images.size=48", "images.source.limit=1", "compute.workers=0", "shown=[0,0.5]", *FIGURES[experiment],
    ]  # fmt: skip
    status, printed = run("-m", *chosen)
    assert status == 0, printed
    assert "2 computed" in printed or "2 judged" in printed
    paths = draw_figure(experiment, chosen[1:], tmp_path / "out", tmp_path / "results")
    assert {path.suffix for path in paths} == {".png", ".pdf", ".csv", ".json"}
    table = pd.read_csv(next(path for path in paths if path.suffix == ".csv"))
    assert table["run_id"].nunique() == 2
    assert set(table["definition"]) == {"train", "pairs"}


def test_a_judge_measures_its_pictures(run, tmp_path):
    judge = [
        "measures=small_before_relu", "measures.network.builder.width=16", "measures.projections=4", "shown=[]"
    ]  # fmt: skip
    status, printed = run(*SMALL, "recipe.steps=1", *judge)
    assert status == 0, printed
    [record] = finished(tmp_path / "out", "judge")
    rows = record.rows().to_pandas()
    assert set(rows["iteration"].dropna()) == {0}
    assert set(rows["content"]) == {"astronaut", "chelsea"}
    [trained_once] = finished(tmp_path / "out", "train_feedforward")
    assert set(rows["of_run"]) == {trained_once.path.name}
    status, printed = run(*SMALL, "recipe.steps=1", *judge, "measures.projections=8")
    assert status == 0, printed
    assert "judged in" in printed
    assert len(finished(tmp_path / "out", "judge")) == 2
    [still] = finished(tmp_path / "out", "train_feedforward")
    assert still.status.started_at == trained_once.status.started_at


def test_contents_in_one_style_are_those_of_the_decoder_that_ships(run, call, tmp_path):
    """This holds for the pairs that are shown, too; and no run has to come before."""
    pairs = ["content=[chelsea]", "style=[edith]", "images.source.limit=null"]
    short = [*SMALL, "crop.short=32", "recipe.steps=1", "shown=[]", *pairs]
    status, printed = run(*short, "crop.look=stylized", "crop.style=the_scream")
    assert status == 0, printed
    [record] = finished(tmp_path / "out", "train_feedforward")
    [pair] = record.pairs().to_pylist()
    sizes = ["images.resize=short", "images.size=32"]
    status, printed = call(transfer.main, "content=chelsea", "style=the_scream", *sizes)
    assert status == 0, printed
    [transferred] = finished(tmp_path / "out", "transfer")
    [expected] = transferred.pairs().to_pylist()
    found, wanted = pixels(record.path / pair["content_image"]), pixels(transferred.path / expected["image"])
    assert np.abs(found - wanted).max() <= 1
    assert np.abs(found - pixels(transferred.path / expected["content_image"])).mean() > 5


def test_one_pass_stands_beside_the_optimisation_of_the_same_loss(call, tmp_path):
    """Both sides are measured on the saved pictures, in units of which the content has 1 and 0."""
    chosen = ["content=[astronaut,chelsea]", "style=[starry_night,edith]", "images.size=32"]
    steps = ["steps=6", "measured_steps=[0,2]"]
    halves = ((stylize.main, "adain_gatys", [*chosen, *steps]), (transfer.main, "adain_pairs", chosen))
    for entry, experiment, overrides in halves:
        status, printed = call(entry, "-m", f"experiment={experiment}", *overrides)
        assert status == 0, printed
    paths = draw_figure("adain_gatys", [*chosen, *steps], tmp_path / "out", tmp_path / "results")
    table = pd.read_csv(next(path for path in paths if path.suffix == ".csv"))
    optimized, one_pass = (table[table["entry"] == entry] for entry in ("stylize", "transfer"))
    assert len(one_pass) == 4
    assert (one_pass["seconds"] > 0).all()
    terms = optimized.pivot_table(index="iteration", columns="statistic", values="value")
    assert terms.index.tolist() == [0, 2, 6]
    assert terms.loc[0].to_dict() == pytest.approx({"style_term": 1.0, "content_term": 0.0}, abs=1e-6)
    assert terms["style_term"].is_monotonic_decreasing
    assert optimized.groupby("iteration")["seconds"].mean().is_monotonic_increasing


def test_terms_of_more_layers_than_there_are_are_refused(call):
    status, printed = call(
        transfer.main, "content=chelsea", "style=edith", "measures=adain", "measures.layers=6"
    )
    assert status == 1
    assert "`measures.layers` should be from 1 to 5, the number of style taps; found 6" in printed.replace(
        "\n", " "
    )


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(run, tmp_path, folders):
    long = [
        *SMALL,
        *folders,
        "recipe.steps=120",
        "checkpoint_seconds=0.01",
        "shown=[0,0.1]",
        "compute.threads=1",
    ]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run(*long, f"output={whole}")[0] == 0
    process = subprocess.Popen(command(stopped, *long), env=environment(), stderr=subprocess.DEVNULL)
    while not list(stopped.glob("runs/*/checkpoints/*.pt")) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it was stopped"
    status, printed = run(*long, f"output={stopped}")
    assert status == 0, printed
    [one], [other] = finished(whole, "train_feedforward"), finished(stopped, "train_feedforward")
    assert "goes on from step" in (other.path / "run.log").read_text()
    first, second = (load_file(record.path / "weights.safetensors") for record in (one, other))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert numbers(one).equals(numbers(other))


@pytest.mark.slow
def test_torchrun_trains_as_one_process_does(tmp_path, folders):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    chosen = [*SMALL, *folders, "objective.balance=none"]  # each process would have its own units
    for output, start in ((tmp_path / "one", []), (tmp_path / "two", torchrun)):
        asked = [*start, *command(output, *chosen)[1 if start else 0 :]]
        done = subprocess.run(asked, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    one, two = (
        load_file(finished(tmp_path / name, "train_feedforward")[0].path / "weights.safetensors")
        for name in ("one", "two")
    )
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)


# --- Use --------------------------------------------------------------------------------------------------


@pytest.fixture
def use(call, decoder):
    """Calls `transfer` with the trained decoder."""
    output, record = decoder

    def used(*arguments):
        return call(transfer.main, f"run={record.path.name}", *arguments, f"output={output}")

    return used


def pictures_of(output, **about):
    """The pictures of the newest transfer with such settings, by the names of their pairs."""
    fitting = [
        record
        for record in finished(output, "transfer")
        if all(record.config[name] == value for name, value in about.items())
    ]
    record = max(fitting, key=lambda one: one.path.stat().st_mtime)
    pairs = record.pairs().to_pandas()
    return {(row.content, row.style): pixels(record.path / row.image) for row in pairs.itertuples()}, record


def test_transfer_of_pictures_at_their_own_size(use, decoder, tmp_path):
    photo = next(write_pictures(tmp_path / "photo", 1, size=(50, 71)).iterdir())
    status, printed = use(f"content={photo}", "style=[edith,the_scream]", "pairing=product")
    assert status == 0, printed
    found, record = pictures_of(decoder[0], pairing="product")
    assert {image.shape for image in found.values()} == {(50, 71, 3)}
    assert len(found) == 2
    rows = record.rows().to_pandas()
    assert (rows["statistic"] == "seconds").all()
    assert set(rows["network"]) == {"small_no_shortcut"}
    assert "skipped" in use(f"content={photo}", "style=[edith,the_scream]", "pairing=product")[1]


def test_alpha_mixes_and_tiles(use, decoder):
    base = ["content=chelsea", "images.resize=short", "images.size=64"]
    for more in (
        ["style=edith", "alpha=0"],
        ["style=edith", "alpha=0.5"],
        ["style=edith"],
        ["style=[edith,the_scream]", "pairing=mix", "style_weights=[0.5,0.5]"],
        ["style=edith", "tile=32", "force=true"],
    ):
        status, printed = use(*base, *more)
        assert status == 0, printed
    alphas = {
        record.config["alpha"]: pixels(record.path / record.pairs().to_pylist()[0]["image"])
        for record in finished(decoder[0], "transfer")
        if record.config["content"] == "chelsea" and record.config["style"] == "edith"
    }
    assert set(alphas) == {0.0, 0.5, 1.0}
    far = [np.abs(alphas[alpha] - alphas[0.0]).mean() for alpha in (0.0, 0.5, 1.0)]
    assert far[0] < far[1] < far[2]


def test_a_mask_leaves_the_rest_of_the_picture_as_it_is(use, decoder, tmp_path):
    photo = next(write_pictures(tmp_path / "photo", 1, size=(64, 64)).iterdir())
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    chosen = [
        f"content={photo}",
        "style=[edith]",
        "pairing=mix",
        f"masks=[{tmp_path / 'mask.png'}]",
        "feather=0",
    ]
    status, printed = use(*chosen)
    assert status == 0, printed
    [(_, found)] = pictures_of(decoder[0], pairing="mix", feather=0.0)[0].items()
    assert np.abs(found[:, 32:] - pixels(photo)[:, 32:]).max() <= 1
    assert np.abs(found[:, :32] - pixels(photo)[:, :32]).mean() > 1


def test_colours_of_the_content_are_kept(use, decoder):
    status, printed = use(
        "content=chelsea", "style=the_scream", "color=luminance", "images.resize=short", "images.size=48"
    )
    assert status == 0, printed
    found, record = pictures_of(decoder[0], color="luminance")
    content = pixels(record.path / record.pairs().to_pylist()[0]["content_image"])
    [image] = found.values()
    inside = ((image > 2) & (image < 253)).all(axis=2)
    for one, other in ((0, 1), (1, 2)):  # a number added to all channels leaves their differences
        difference = (image[..., one] - image[..., other]) - (content[..., one] - content[..., other])
        assert np.abs(difference[inside]).max() <= 2


def test_frames_of_a_video_as_a_folder(use, decoder, tmp_path):
    frames = write_pictures(tmp_path / "frames", 5, size=(32, 40))
    status, printed = use(
        "images=folder", f"images.path={frames}", "images.resize=none", f"style={frames / '003.png'}"
    )
    assert status == 0, printed
    found, _ = pictures_of(decoder[0], style=str(frames / "003.png"))
    assert len(found) == 5


BAD_USE = {
    "alpha": (["alpha=1.5"], "`alpha` should be a number from 0 to 1; found 1.5"),
    "run": (["run=0123456789abcdef"], "`run` should be the id of a finished training"),
    "weights": (["style_weights=[0]", "pairing=mix"], "`style_weights` should be numbers from 0, not all 0"),
    "tile": (["tile=0"], "`tile` should be a whole number from 1"),
    "color": (["color=blue"], "`color` should be one of style, luminance, matched"),
    "unknown": (["alhpa=1"], "alhpa"),
}


@pytest.mark.parametrize("case", BAD_USE)
def test_bad_use(use, case):
    more, message = BAD_USE[case]
    status, printed = use("content=chelsea", "style=edith", *more)
    assert status == 1
    assert message in printed.replace("\n", " ")
    assert "Traceback" not in printed


def test_a_style_of_one_colour_is_refused(use, tmp_path):
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    status, printed = use("content=chelsea", f"style={tmp_path / 'red.png'}")
    assert status == 1
    assert "`style` should not be of one colour" in printed.replace("\n", " ")


BAD_TRAINING = {
    "folder": (["corpus=folder", "corpus.content=nowhere", "corpus.style=nowhere"], "`corpus.content` should be"),
    "crop": (["crop.size=64"], "`crop.size` should be a whole number from 16 to 48"),
    "batch": (["recipe.batch_size=50"], "`recipe.batch_size` should be at most the number of images, 7"),
    "johnson": (["generator=johnson"], "should leave Johnson's network more than 40 pixels a side; found 32×32"),
    "norm": (["generator.norm=layer"], "`generator.norm` should be"),
    "look": (["crop.look=stylized"], "`crop.style` should name a style where crop.look=stylized; found null"),
    "shown": (["shown=[2]"], "`shown` should be a number from 0 to 1"),
    "layer": (["objective.layers=9"], "`objective.layers` should be from 1 to 5"),
    "gradient": (
        ["arm=weights_of_softmax", "objective.match=gradient"], "`objective.match` should be loss where",
    ),
    "diverges": (["recipe.lr=1e30", "recipe.steps=20"], "`loss` should stay finite; found NaN or infinity by step"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TRAINING)
def test_bad_training(run, case):
    more, message = BAD_TRAINING[case]
    status, printed = run(*SMALL, *more)
    assert status == 1
    assert message in printed.replace("\n", " ")
    assert "Traceback" not in printed


def test_the_decoder_that_ships_takes_the_style_s_colours(call, tmp_path):
    """Offline, at once: edges stay where they are, and mean colours come nearer to the style's."""
    chosen = ["content=[astronaut,chelsea]", "style=[starry_night,edith]", "pairing=product"]
    status, printed = call(transfer.main, *chosen, "images.resize=short", "images.size=96")
    assert status == 0, printed
    [record] = finished(tmp_path / "out", "transfer")
    nearer = []
    for pair in record.pairs().to_pylist():
        image, content, style = (
            pixels(record.path / pair[name]) for name in ("image", "content_image", "style_image")
        )
        colors = [one.mean(axis=(0, 1)) for one in (image, content, style)]
        nearer.append(np.linalg.norm(colors[0] - colors[2]) / np.linalg.norm(colors[1] - colors[2]))
        edges = [sobel(one.mean(axis=2)).ravel() for one in (image, content)]
        assert np.corrcoef(edges)[0, 1] > 0.3
    assert max(nearer) < 1
    assert np.mean(nearer) < 0.7


def test_an_exported_decoder_is_that_of_its_run(decoder, tmp_path, monkeypatch, call):
    _, record = decoder
    write_decoder(record.path, tmp_path / "shipped")
    config = (tmp_path / "shipped" / "config.yaml").read_text()
    assert str(record.path.parents[1]) not in config
    assert "/corpus" not in config
    monkeypatch.setattr(trained, "_shipped", lambda: tmp_path / "shipped")
    status, printed = call(
        transfer.main, "content=chelsea", "style=edith", "images.resize=short", "images.size=48"
    )
    assert status == 0, printed
    with pytest.raises(WeightsError, match="should be the id of a finished training"):
        write_decoder(tmp_path / "nowhere", tmp_path / "shipped")


def test_weights_of_another_network_or_damaged_ones(use, decoder):
    _, record = decoder
    path = record.path / "weights.safetensors"
    content = path.read_bytes()
    try:
        path.write_bytes(content[: len(content) // 2])
        status, printed = use("content=chelsea", "style=edith", "alpha=0.9")
    finally:
        path.write_bytes(content)
    assert status == 1
    assert "`run` should" in printed.replace("\n", " ")
    assert "Traceback" not in printed


ORIGINALS = {
    "adain_code": {
        "balance": "none", "style": "sum", "content": "mean", "weights": (1.0, 1e-2), "correction": 0,
        "taps": ["relu1_1", "relu2_1", "relu3_1", "relu4_1"], "tap": "relu4_1", "crop": (512, 256), "padding": "reflect",
        "recipe": (160000, 8, 1e-4, 5e-5),
    },
    "adain_port": {"style": "mean", "content": "mean", "weights": (1.0, 10.0), "correction": 1, "tap": "relu4_1"},
    "johnson": {
        "balance": "sides", "taps": ["relu1_2", "relu2_2", "relu3_3", "relu4_3"], "tap": "relu3_3", "recipe": (40000, 4, 1e-3, 0.0),
        "crop": (256, 256), "padding": "zeros",
    },
}  # fmt: skip


@pytest.mark.parametrize("preset", ORIGINALS)
def test_numbers_of_the_originals_are_frozen(preset):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train_feedforward", [f"preset/feedforward={preset}", "network=vgg16"])
    config = checked(composed, "train_feedforward")
    experiment = FeedforwardExperiment.build(config)
    found = {
        "balance": config.objective.balance,
        "style": config.objective.style.normalizer,
        "content": config.objective.content.normalizer,
        "weights": (config.objective.content_weight, config.objective.style_weight),
        "correction": config.select("generator.normalization.correction"),
        "taps": list(experiment.objective.style.taps),
        "tap": experiment.tap,
        "crop": (config.crop.short, config.crop.size),
        "padding": config.padding,
        "recipe": tuple(config.recipe.plain[name] for name in ("steps", "batch_size", "lr", "decay")),
    }
    assert {name: found[name] for name in ORIGINALS[preset]} == ORIGINALS[preset]
    assert {path.stem for path in (CONF / "preset/feedforward").glob("*.yaml")} == set(ORIGINALS)
