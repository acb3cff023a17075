"""`from swag_repro import ...`: what notebooks have, which is the command line's."""

import doctest
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import swag_repro
from experiments import measure_activations, python
from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro import (
    UserError,
    load_image,
    load_network,
    load_smoothing,
    load_tables,
    statistics_of,
    style_loss,
    stylize,
)
from swag_repro.runs.records import all_runs

SMALL = ("images.size=48", "steps=[2,1]", "compute.threads=1")


@pytest.fixture
def pictures(tmp_path):
    """A photograph and a painting of noise, at names that Hydra's command line would want quotes for."""
    paths = []
    for seed, (name, size) in enumerate({"my photo, (1).png": (60, 40), "it's=b.png": (50, 70)}.items()):
        noise = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
        paths.append(tmp_path / name)
    return paths


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The only folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


def test_it_is_the_command_line_s_picture_and_leaves_nothing(run, pictures, temporary, tmp_path, capfd):
    before = sorted(tmp_path.iterdir())
    image = stylize(*pictures, *SMALL)
    assert sorted(tmp_path.iterdir()) == before
    assert not list(temporary.iterdir())
    assert capfd.readouterr() == ("", "")
    assert (image.mode, image.size) == ("RGB", (72, 48))
    with Image.open(pictures[0]) as photo, Image.open(pictures[1]) as painting:
        assert np.array_equal(stylize(photo, painting, *SMALL), image)
    for path, name in zip(pictures, ("photo", "painting"), strict=True):
        path.rename(tmp_path / f"{name}.png")
    paths = (f"content={tmp_path / 'photo.png'}", f"style={tmp_path / 'painting.png'}")
    status, printed = run(*SMALL, *paths, "measures=none")
    assert status == 0, printed
    [record] = all_runs(tmp_path / "out")
    with Image.open(record.path / record.pairs().to_pylist()[0]["image"]) as expected:
        assert np.array_equal(image, expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("steps=-1", "`steps` should be a whole number from 0; found -1"),
        ("weights=2", "`weights` should be one of"),
        ("network=resnet50", "`weights` can be pretrained for"),
        ("experiment=fig3", "`experiment` should be one that stylize.py computes"),
        ("=1", "`command` should be key=value"),
        (
            "stpes=3",
            "`stpes` should be a setting of this command; found none of that name. Did you mean steps",
        ),
    ],
)
def test_a_setting_that_cannot_be_meant_is_a_user_error(wrong, message, pictures, temporary):
    with pytest.raises(UserError) as raised:
        stylize(*pictures, *SMALL, wrong)
    assert str(raised.value).startswith(message)
    assert not list(temporary.iterdir())


def test_pictures_that_cannot_be_had(pictures, temporary, tmp_path):
    with pytest.raises(
        UserError, match=r"`style` should be an image file or a known name; found 'stary_night'"
    ):
        stylize("chelsea", "stary_night")
    with pytest.raises(UserError, match=r"nowhere\.png` should be an image file; found no such file. Check"):
        stylize(tmp_path / "nowhere.png", pictures[1])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"text\.png` should be an image"):
        stylize(pictures[0], tmp_path / "text.png")
    assert not list(temporary.iterdir())


PUBLIC = [
    "UserError", "load_image", "load_network", "load_smoothing", "load_tables", "statistics_of", "style_loss", "stylize",
]  # fmt: skip


def test_what_is_public():
    assert swag_repro.__all__ == PUBLIC
    assert dir(swag_repro) == sorted([*PUBLIC, "__version__"])
    for name in PUBLIC:
        assert getattr(swag_repro, name).__doc__
    assert not hasattr(swag_repro, "nonsense")


def test_the_examples_of_docstrings():
    with torch.random.fork_rng(devices=[]):
        done = doctest.testmod(python)
    assert (done.failed, done.attempted > 10) == (0, True)


def test_the_package_alone_imports_nothing_heavy():
    code = "import sys, swag_repro; print(sorted({'torch', 'pandas', 'hydra'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


NETWORK = ("small_residual", "weights=trained", "weights.seed=1")


def test_statistics_are_those_of_swag_measure(call, tmp_path):
    settings = [
        "network=small_residual",
        *NETWORK[1:],
        "smoothing=softmax",
        "images.size=32",
        "images.source.limit=1",
    ]
    status, printed = call(measure_activations.main, *settings)
    assert status == 0, printed
    [record] = all_runs(tmp_path / "out")
    rows = record.rows().to_pandas()
    network, smoothing = load_network(*NETWORK), load_smoothing("softmax")
    for name, of_command in (("astronaut", rows["content"]), ("starry_night", rows["style"])):
        table = statistics_of(network, load_image(name, "images.size=32"), smoothing)
        expected = rows[of_command == name].reset_index(drop=True)
        about = ["layer", "depth", "position", "quantity", "statistic", "definition"]
        pd.testing.assert_frame_equal(table[about], expected[about], check_dtype=False)
        np.testing.assert_allclose(table["value"], expected["value"].astype(float), rtol=1e-4, atol=1e-6)


def test_images_of_a_batch_are_told_apart():
    network, images = load_network(*NETWORK), torch.rand(2, 3, 32, 32)
    table = statistics_of(network, images)
    assert table["image"].unique().tolist() == [0, 1]
    second = table[table["image"] == 1]["value"].to_numpy()
    np.testing.assert_allclose(second, statistics_of(network, images[1:])["value"], rtol=1e-4, atol=1e-9)


def test_a_picture_is_read_whatever_names_it(pictures):
    with Image.open(pictures[0]) as picture:
        expected = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
        assert torch.equal(load_image(picture, "images.resize=none"), expected)
    assert torch.equal(load_image(pictures[0], "images.resize=none"), expected)
    assert load_image("starry_night", "images.size=16").shape[0] == 1


def test_the_style_loss_is_its_equation_s_and_leads_to_the_style():
    network = load_network(*NETWORK)
    photo, painting = load_image("chelsea", "images.size=32"), load_image("edith", "images.size=40")
    of_photo, of_painting = network(photo)["conv1"].double(), network(painting)["conv1"].double()
    (_, d, *_), m, n = of_photo.shape, of_photo[0, 0].numel(), of_painting[0, 0].numel()
    grams = [torch.einsum("dhw,ehw->de", layer[0], layer[0]) for layer in (of_photo, of_painting)]
    expected = (grams[0] / m - grams[1] / n).square().sum() / (4 * d**2)
    photo.requires_grad_()
    found = style_loss(network, photo, painting, "gram")
    assert list(found) == ["conv1", "conv2_2", "conv3_2", "conv4_2", "conv5_2"]
    torch.testing.assert_close(found["conv1"], expected[None], rtol=1e-4, atol=0.0)
    [slope] = torch.autograd.grad(found["conv1"].sum(), photo)
    step = 1e-3 * float(found["conv1"].detach() / slope.square().sum())
    with torch.no_grad():
        nearer = style_loss(network, photo - step * slope, painting, "gram")["conv1"]
    assert nearer < found["conv1"]
    mean = style_loss(network, photo, painting, "gram", "objective.style.normalizer=mean")["conv1"]
    torch.testing.assert_close(mean, found["conv1"] * 4 / d**2)
    unlike = style_loss(network, photo, painting, "mmd_linear", smoothing=load_smoothing("log1p"))
    assert all(value > 0 for value in unlike.values())


MISTAKES = {
    "an unknown network": (lambda: load_network("resnet"), "`network` should be one of"),
    "no weights that ship": (lambda: load_network("resnet18"), "`weights` can be pretrained for"),
    "a setting of something else": (
        lambda: load_network("resnet18", "steps=3"),
        "`settings` should begin with one of network, weights, batchnorm, precision here; found 'steps=3'",
    ),
    "an unknown setting": (lambda: load_image("chelsea", "images.sise=3"), "`images.sise` should be a"),
    "no size": (lambda: load_image("chelsea", "images.size=3"), "`images.size` should be a whole number from 16"),
    "an unknown smoothing": (lambda: load_smoothing("swga"), "`smoothing` should be one of"),
    "no temperature": (
        lambda: load_smoothing("swag", "smoothing.temperature=-1"),
        "`smoothing.temperature` should be a positive number",
    ),
    "one image": (
        lambda: statistics_of(load_network(*NETWORK), torch.rand(3, 32, 32)),
        "`images` should be a tensor (B, 3, H, W) of floats, RGB in [0, 1]; found torch.float32 of shape (3, 32, 32)",
    ),
    "a picture": (
        lambda: style_loss(load_network(*NETWORK), torch.rand(1, 3, 32, 32), "edith", "gram"),
        "`style` should be a tensor (B, 3, H, W) of floats, RGB in [0, 1]; found a str. load_image returns one.",
    ),
    "an unknown loss": (
        lambda: style_loss(load_network(*NETWORK), *torch.rand(2, 1, 3, 32, 32), "grma"),
        "`loss` should be one of",
    ),
    "sums over other sizes": (
        lambda: style_loss(
            load_network(*NETWORK), torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 48), "gram", smoothing=load_smoothing("swag")
        ),
        "`smoothing.mean_one` should be true where images differ in size",
    ),
    "no sweep": (lambda: load_tables("last"), "`sweep` should be one that was begun"),
    "no runs": (lambda: load_tables(["experiment=smoke"]), "`runs` should hold every cell of the figure; found 4 of 4"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message(mistake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, message = MISTAKES[mistake]
    with pytest.raises(UserError) as raised:
        call()
    assert str(raised.value).startswith(message)


def test_the_newest_sweep_is_loaded_by_its_handle(call, tmp_path):
    settings = ["network=small_residual", "weights.seed=0,1", "images.size=32", "images.source.limit=1"]
    status, printed = call(measure_activations.main, "-m", *settings)
    assert status == 0, printed
    tables = load_tables("last", tmp_path / "out")
    assert tables.runs["weights.seed"].tolist() == [0, 1]
    assert set(tables.numbers["run_id"]) == set(tables.runs["run_id"])
