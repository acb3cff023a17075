"""`swag`, the installed command, as a process of its own."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from analysis import commands as analysis
from analysis.cli import COMMANDS
from experiments.listing import list_experiments
from experiments.programs import NAMES
from experiments.settings import entry_of, experiments

SWAG = Path(sys.executable).with_name("swag")


def swag(*arguments, folder):
    done = subprocess.run([SWAG, *arguments], capture_output=True, text=True, cwd=folder, check=False)
    return done.returncode, done.stdout, done.stderr


def test_help_names_all_commands(tmp_path):
    status, printed, _ = swag("--help", folder=tmp_path)
    assert status == 0
    assert all(f"\n  {name} " in printed for name in COMMANDS)


def test_its_commands_are_those_there_are():
    modules = {module for module, _ in COMMANDS.values()}
    assert all(find_spec(module) for module in modules)
    assert {f"experiments.{entry_of(name)}" for name in experiments()} <= modules
    offered = {name for name, (module, _) in COMMANDS.items() if module == "analysis.commands"}
    assert analysis.ANALYSIS_COMMANDS.keys() == offered


def test_printed_commands_have_the_names_of_swag():
    assert {f"experiments.{entry}": name for entry, name in NAMES.items()}.items() <= {
        module: name for name, (module, _) in COMMANDS.items()
    }.items()


def test_an_unknown_command_is_one_message(tmp_path):
    status, _, printed = swag("stylise", folder=tmp_path)
    assert status == 2
    assert printed == "error: `swag` has no command 'stylise'. Did you mean stylize?\n"


def test_commands_run_as_their_entry_points_do(tmp_path):
    assert swag("status", folder=tmp_path)[::2] == (
        1,
        "error: `sweep` should be one that was begun; found none in outputs yet."
        " A command with -m begins one. Other folders: --output FOLDER.\n",
    )


def test_a_command_may_be_one_of_a_modules(tmp_path):
    assert swag("sync", folder=tmp_path)[::2] == (
        1,
        "error: `--output` should be an output folder of experiments; found no folder outputs."
        " Nothing was computed into it yet: `swag experiments` lists what can be.\n",
    )


def test_experiments_are_listed_with_their_cells(tmp_path):
    rows = {one.name: one for one in list_experiments(tmp_path)}
    assert list(rows) == experiments()
    assert (rows["fig3"].entry, rows["fig3"].cells, rows["fig3"].seconds) == ("measure_activations", 50, None)
    assert rows["smoke"].about == "Seconds: whether everything works on this machine"
    status, printed, _ = swag("experiments", folder=tmp_path)
    assert status == 0
    assert [line.split()[0] for line in printed.splitlines()[1:-1]] == experiments()


HEAVY = {
    "duckdb", "matplotlib", "optuna", "pandas", "scipy", "seaborn", "skimage", "statsmodels", "submitit",
    "torch", "torchvision", "wandb",
}  # fmt: skip
LATER = {"optuna", "scipy", "seaborn", "skimage", "wandb"}


def test_entry_points_load_what_they_need_when_they_need_it():
    """Nothing heavy before they compute; then what they compute with."""
    entries = [f"experiments.{entry}" for entry in {entry_of(name) for name in experiments()}]
    commands = ["analysis.cli", "experiments.launching", "analysis.commands", *entries]
    computing = [
        "experiments.running",
        "experiments.measurements",
        "experiments.stylization.stylization",
    ]
    script = f"""
import importlib, sys
for modules, heavy in (({commands}, {HEAVY}), ({computing}, {LATER})):
    for module in modules:
        importlib.import_module(module)
    print(sorted(heavy & sys.modules.keys()))
sys.modules["swag_repro.images"].bundled()
print(sorted({LATER} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[]\n[]\n[]\n", 0), done.stderr
