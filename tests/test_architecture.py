"""Imports go one way: see "How it is laid out" in CONTRIBUTING.md."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = {"errors", "names", "runs", "tracking"}
LAYERS = [
    "errors", "memory", "quantiles", "images", "networks", "weights", "trained", "training", "peaks", "smoothing", "statistics", "measures", "losses", "transfer", "feedforward",
]  # fmt: skip
MAY_IMPORT_TORCH = set(LAYERS) - {"errors"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def part(path):
    """`networks` for swag_repro/networks/tapped.py."""
    return path.relative_to(ROOT / "swag_repro").parts[0].removesuffix(".py")


def of_package(path, package="swag_repro"):
    return {name.split(".")[1] for name in imports(path) if name.startswith(f"{package}.")}


@pytest.mark.parametrize("path", modules("swag_repro"), ids=str)
def test_the_science_descends_and_services_know_nothing_of_it(path):
    if part(path) == "__init__":
        assert not list(imports(path))
        return
    found = of_package(path) - {part(path), "__version__"}
    allowed = SERVICES if part(path) in SERVICES else {*LAYERS[: LAYERS.index(part(path))], "names", "runs"}
    assert found <= allowed
    assert not {name.split(".")[0] for name in imports(path)} & {"experiments", "analysis", "hydra"}
    if part(path) not in MAY_IMPORT_TORCH:
        assert "torch" not in {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", modules("analysis"), ids=str)
def test_analysis_reads_files_only(path):
    names = set(imports(path))
    assert not {name.split(".")[0] for name in names} & {"torch", "torchvision", "wandb"}
    assert of_package(path) <= SERVICES | {"__version__"}
    assert of_package(path, "experiments") <= {"asking", "command", "comments", "config", "science", "sweeps"}


@pytest.mark.parametrize("path", [path for path in modules("experiments") if path.name != "cli.py"], ids=str)
def test_experiments_do_not_draw(path):
    assert not {name.split(".")[0] for name in imports(path)} & {"analysis", "seaborn", "matplotlib"}
