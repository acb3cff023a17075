"""The wheel, in an empty environment, asked from a folder with packages of the same names as ours."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import swag_repro

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[1]

SMALL = ["network=small_residual", "images.size=32", "compute.threads=1"]
PICTURE = ["stylize", "content=a.png", "style=b.png", *SMALL, "weights=trained", "steps=2", "save=c.png"]
SWEEP = ["experiment=fig3", *SMALL, "smoothing=none,softmax", "weights.seed=0", "images.source.limit=1"]


def build(source: Path, to: Path, kind: str) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", to],
        cwd=source,
        check=True,
        capture_output=True,
    )
    [built] = to.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


def installed(wheel: Path, folder: Path, others: list[str]) -> Path:
    """`swag` of a new environment that has the wheel, and for all else the packages of these folders."""
    venv.create(folder, with_pip=True)
    install = ["pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run([folder / "bin" / "python", "-m", *install], check=True, env=alone())
    [packages] = folder.glob("lib/python*/site-packages")
    # Paths in such a file are not asked for files of its kind: the editable install of this checkout isn't found.
    (packages / "others.pth").write_text("\n".join(others))
    return folder / "bin" / "swag"


OTHERS = [path for path in sys.path if path.endswith("site-packages")]


@pytest.fixture(scope="module")
def program(wheel, tmp_path_factory):
    return installed(wheel, tmp_path_factory.mktemp("environment"), OTHERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder: two pictures, and packages of the names of ours that can't even be imported."""
    folder = tmp_path_factory.mktemp("mine")
    for name in ("experiments", "analysis", "conf"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise RuntimeError('somebody else\\'s')\n")
    for seed, name in enumerate(("a.png", "b.png")):
        noise = np.random.default_rng(seed).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    return folder


def alone() -> dict[str, str]:
    """The variables without those by which this checkout is found."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def run(folder: Path, *command: str | Path, status: int = 0, **variables: str) -> str:
    environment = {**alone(), "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_it_has_one_package_and_no_tests(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    [about] = {name.partition("/")[0] for name in names} - {"swag_repro"}
    assert {f"{about}/licenses/{name}" for name in ("LICENSE", "swag_repro/pretrained/README.md")} <= {*names}
    parts = {name.split("/")[2] for name in names if name.startswith("swag_repro/_parts/")}
    assert parts == {"experiments", "analysis", "conf", "hydra_plugins"}
    assert not [name for name in names if {"tests", "benchmarks", "reference"} & {*name.split("/")[:-1]}]


def test_the_sources_build_the_same_wheel(wheel, tmp_path):
    with tarfile.open(build(ROOT, tmp_path / "sources", "sdist")) as file:
        file.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.glob("swag_repro-*")
    assert build(unpacked, tmp_path / "again", "wheel").read_bytes() == wheel.read_bytes()


def test_the_version_is_the_citation_s():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert cited == swag_repro.__version__


def test_pictures_sweeps_and_figures(program, folder):
    run(folder, program, *PICTURE)
    with Image.open(folder / "c.png") as picture:
        assert min(picture.size) == 32
    # SLURM's workers are started alike: a process of its own, which has the folder it works in first on its path.
    said = run(folder, program, "measure", "-m", *SWEEP, "hydra/launcher=submitit_local")
    assert "2 cells" in said
    assert "2 computed" in said
    run(folder, program, "figure", "fig3", *SWEEP[1:])
    assert (folder / "results/fig3/fig3.png").is_file()


def test_runs_are_those_of_a_checkout(program, folder):
    run(folder, program, *PICTURE)
    checkout = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}
    assert "skipped" in run(folder, sys.executable, "-m", "swag_repro", *PICTURE, **checkout)


def test_python_gets_the_function_or_hears_why_not(program, folder):
    python = program.parent / "python"
    asked = "import swag_repro; print(swag_repro.stylize, __import__('experiments').__file__)"
    assert "_parts" in run(folder, python, "-c", asked)
    foreign = "import sys, types; mine = sys.modules['conf'] = types.ModuleType('conf'); mine.__path__ = ['/mine/conf']"
    said = subprocess.run(
        [python, "-c", f"{foreign}; {asked}"],
        cwd=folder,
        env=alone(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "`conf` should be the package in" in said.stderr
    assert "found /mine/conf." in said.stderr


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("pretrained/resnet50_half.safetensors", ["stylize", "content=a.png", "style=b.png"]),
        ("pretrained/vgg16.safetensors", PICTURE),
        ("trained/small_residual-0.safetensors", PICTURE),
        ("images/paintings/starry_night.jpg", ["measure", *SMALL]),
        ("feedforward/shipped/weights.safetensors", ["transfer", "content=a.png", "style=b.png"]),
    ],
)
def test_a_file_that_should_ship_is_told_before_anything_is_computed(program, folder, missing, command):
    [package] = program.parents[1].glob("lib/python*/site-packages/swag_repro")
    (package / missing).rename(package / "away")
    said = run(folder, program, *command, "output=none", status=1)
    (package / "away").rename(package / missing)
    [error] = [line for line in said.splitlines() if line]
    assert str(package / missing) in error
    assert error.endswith("It ships with swag-repro: install that again.")
    assert not (folder / "none/runs").exists()


def test_a_command_without_its_extra_says_which(wheel, folder, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    extras = ("timm", "optuna", "wandb_workspaces", "hydra_plugins", "swag_repro", "torchmetrics")
    for path in (path for others in OTHERS for path in Path(others).iterdir()):
        if not path.name.startswith(extras) and path.suffix != ".pth":
            (bare / path.name).symlink_to(path)
    swag = installed(wheel, tmp_path / "environment", [str(bare)])
    for extra, command in {
        "zoo": ["measure", "network=timm/resnet18"],
        "search": ["search", "content=a.png", "style=b.png"],
        "dashboard": ["dashboard"],
        "launchers": ["measure", "-m", "weights.seed=0,1", "hydra/launcher=joblib"],
        "ray": ["measure", "-m", "weights.seed=0,1", "hydra/launcher=ray"],
    }.items():
        [error] = [line for line in run(folder, swag, *command, status=1).splitlines() if line]
        assert f"pip install 'swag-repro[{extra}]'" in error
