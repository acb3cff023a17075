"""Imports go one way, also those within functions: see "How it is laid out" in CONTRIBUTING.md."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import swag_repro

ROOT = Path(__file__).parents[1]

ORDER = """
swag_repro swag_repro.errors swag_repro.names
swag_repro.runs swag_repro.program swag_repro.parts
swag_repro.tracking swag_repro.memory
swag_repro.images swag_repro.networks
swag_repro.state_dicts
swag_repro.weights swag_repro.smoothing
swag_repro.trained swag_repro.pretrained swag_repro.statistics
swag_repro.measures
swag_repro.tiles swag_repro.losses
swag_repro.tiling
swag_repro.optimisation swag_repro.training
swag_repro.feedforward

experiments experiments.results experiments.programs experiments.science experiments.signals experiments.settings
experiments.complaints
experiments.config
experiments.building
experiments.sweeps
experiments.command
experiments.help experiments.asking experiments.frame experiments.checkpoints experiments.launching
experiments.flags experiments.running
experiments.network experiments.objective experiments.stored
experiments.pictures experiments.training
experiments.measurements experiments.stylization experiments.feedforward
experiments.searching
experiments.measure_activations experiments.measure_units experiments.stylize experiments.judge
experiments.train_classifier experiments.train_feedforward experiments.transfer experiments.search
experiments.python experiments.listing experiments.show_network experiments.measure_pictures experiments.export_decoder experiments.export_weights
experiments.plugins

analysis analysis.effects
analysis.tables
analysis.labels
analysis.stylizations analysis.observations analysis.points analysis.mechanism
analysis.drawing
analysis.study
analysis.figures analysis.claims
analysis.progress analysis.listing analysis.explaining analysis.exporting analysis.dashboard
analysis.report
analysis.questionnaire
analysis.commands
analysis.completion
analysis.cli
swag_repro.__main__
"""
"""Rooms, the lowest line first. A room may import those of lines above its own here, and no other."""

COMPOSING = {
    f"experiments.{name}"
    for name in ("asking", "command", "complaints", "config", "programs", "science", "settings", "sweeps")
}
"""What `analysis` uses of the experiments: that checks and composes configs."""

FOR_NOTEBOOKS = {
    "swag_repro": {"analysis.tables", "experiments.python", "swag_repro.errors", "swag_repro.parts"}
}
"""Where the names lie that the package hands to notebooks; no module of ours asks it for them."""

SERVICES = {
    "swag_repro",
    "swag_repro.errors",
    "swag_repro.names",
    "swag_repro.program",
    "swag_repro.runs",
    "swag_repro.tracking",
}

LEVEL = {room: level for level, line in enumerate(ORDER.splitlines()) for room in line.split()}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    name_of(path): path
    for package in ("swag_repro", "experiments", "analysis")
    for path in (ROOT / package).rglob("*.py")
}


@cache
def imported(module):
    """All that a module names: modules of ours as far as they are files, others by their first name."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in inner}
        elif isinstance(node, ast.Constant) and node.value in FILES and "." in node.value:
            found.add(node.value)  # the module is imported by its name
    found -= FOR_NOTEBOOKS.get(module, set())
    return {name if name in FILES else name.partition(".")[0] for name in found} - {module}


@cache
def of_ours(module):
    return imported(module) & FILES.keys()


def room(module):
    """The nearest of the rooms that a module lies in."""
    near = module
    while near not in LEVEL:
        near = near.rpartition(".")[0]
    assert near == module or "." in near, f"{module} has no room yet: add it to ORDER"
    return near


def reached(modules):
    """All modules that these import, and those that they import."""
    found, left = set(), set(modules)
    while left:
        found |= left
        left = {name for module in left for name in of_ours(module)} - found
    return found


def within(package, module):
    """The part of a package that a module is or lies in; the package's own file is `__init__`."""
    return module.removeprefix(package).strip(".").partition(".")[0] or "__init__"


@pytest.mark.parametrize("package", sorted(name for name in FILES if FILES[name].name == "__init__.py"))
def test_no_two_parts_of_a_package_import_each_other(package):
    """Modules and whole packages import each other neither at once nor by way of others."""
    inside = {name for name in FILES if f"{name}.".startswith(f"{package}.")}
    graph = {}
    for module in inside:
        parts = {within(package, name) for name in of_ours(module) & inside}
        own = within(package, module)
        graph.setdefault(own, set()).update(parts - {own})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


def test_imports_go_down():
    assert not LEVEL.keys() - {room(name) for name in FILES}, "rooms without a module"
    up = [
        f"{module} → {name}"
        for module in FILES
        for name in of_ours(module)
        if room(name) != room(module) and LEVEL[room(name)] >= LEVEL[room(module)]
    ]
    assert not up


def test_services_know_nothing_of_the_science_nor_it_of_configs_and_tracking():
    for module in (name for name in FILES if room(name).startswith("swag_repro")):
        rooms = {room(name) for name in of_ours(module)}
        assert not imported(module) & {"hydra", "omegaconf"}, module
        assert rooms <= SERVICES if room(module) in SERVICES else "swag_repro.tracking" not in rooms, module


def test_experiments_do_not_draw():
    for module in (name for name in FILES if room(name).startswith("experiments")):
        assert not imported(module) & {"seaborn", "matplotlib"}, module


def test_analysis_reads_files_only():
    """Nothing that it imports imports torch either; the command line, which starts everything, is on top."""
    analysis = {name for name in FILES if room(name).startswith("analysis")} - {
        "analysis.cli",
        "analysis.completion",
    }
    for module in analysis:
        assert {room(name) for name in of_ours(module) - analysis} <= SERVICES | COMPOSING, module
        assert "wandb" not in imported(module), module
    for module in reached(analysis):
        assert not imported(module) & {"torch", "torchvision"}, module


def test_nothing_of_ours_asks_the_package_for_what_it_hands_to_notebooks():
    asking = [
        module
        for module, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "swag_repro" and module != "swag_repro"
        and {alias.name for alias in node.names} & {*swag_repro.__all__}
    ]  # fmt: skip
    assert not asking
