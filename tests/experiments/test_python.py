"""`from swag_repro import stylize`: a function that returns the command line's picture."""

import subprocess
import sys
import tempfile

import numpy as np
import pytest
from hydra.errors import HydraException
from PIL import Image

from experiments.stylize import main  # noqa: F401  (the fixture `run` calls it)
from swag_repro import stylize
from swag_repro.errors import UserError
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
    ],
)
def test_a_setting_that_cannot_be_meant_is_a_user_error(wrong, message, pictures, temporary):
    with pytest.raises(UserError) as raised:
        stylize(*pictures, *SMALL, wrong)
    assert str(raised.value).startswith(message)
    assert not list(temporary.iterdir())


def test_other_mistakes(pictures, temporary, tmp_path):
    with pytest.raises(HydraException, match="stpes"):
        stylize(*pictures, *SMALL, "stpes=3")
    with pytest.raises(UserError, match=r"nowhere\.png` should be a readable image; found .*No such file"):
        stylize(tmp_path / "nowhere.png", pictures[1])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"text\.png` should be an image"):
        stylize(pictures[0], tmp_path / "text.png")
    assert not list(temporary.iterdir())


def test_the_package_alone_imports_no_torch():
    code = "import sys, swag_repro; print('torch' in sys.modules, hasattr(swag_repro, 'nonsense'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
